// Package procid names a process so that another process of the same machine can prove that it is
// gone.
//
// A name holds the boot of the machine, the process-id namespace, the process id and the time the
// process started (proc(5): /proc/sys/kernel/random/boot_id, /proc/self/ns/pid, field 22 of
// /proc/PID/stat). Only a reader of the same boot and namespace can say anything about it; to all
// others, and on systems without /proc, every process might be alive.
package procid

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// Prefix begins every name, so that it can be told from other words.
const Prefix = "process="

// Self names this process; "" where processes cannot be named.
func Self() string {
	place, err := place()
	if err != nil {
		return ""
	}
	started, err := started(os.Getpid())
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%s%s/%d/%s", Prefix, place, os.Getpid(), started)
}

// Gone says whether it is certain that the process has ended.
func Gone(name string) bool {
	parts := strings.Split(strings.TrimPrefix(name, Prefix), "/")
	here, err := place()
	if err != nil || len(parts) != 4 || parts[0]+"/"+parts[1] != here {
		return false
	}
	pid, err := strconv.Atoi(parts[2])
	if err != nil || pid < 1 {
		return false
	}
	now, err := started(pid)
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	return err == nil && now != parts[3]
}

// place is the boot and the process-id namespace that this process lives in.
func place() (string, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	ns, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(boot)) + "/" + ns, nil
}

// started is the time, in clock ticks since boot, at which a process started. A process that has
// ended and waits for its parent is not there.
func started(pid int) (string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	// The second field is the command in parentheses and may hold anything.
	_, rest, ok := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 {
		return "", fmt.Errorf("/proc/%d/stat has an unknown form", pid)
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return "", fs.ErrNotExist
	}
	return fields[19], nil
}
