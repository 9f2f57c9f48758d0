package procid_test

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/procid"
)

func TestProcessIsGoneOnlyWhenItHasEnded(t *testing.T) {
	t.Parallel()
	self := procid.Self()
	if self == "" {
		t.Fatal("this process has no name; is /proc mounted?")
	}
	if procid.Gone(self) {
		t.Errorf("%s is said to be gone", self)
	}
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(self, "/")
	parts[2] = strconv.Itoa(cmd.Process.Pid)
	if other := strings.Join(append(parts[:3:3], "1"), "/"); !procid.Gone(other) {
		t.Error("a process with another start time is taken for the one that was named")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("sleep was not killed")
	}
	if !procid.Gone(strings.Join(parts, "/")) {
		t.Error("a process that has ended is not gone")
	}
}

func TestNothingIsCertainAboutOtherMachines(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"", "process=", "process=boot/ns/1/1", "process=a/b/c/d", "process=" + strings.Repeat("/", 9),
		strings.Replace(procid.Self(), "pid:[", "pid:[1", 1),
	} {
		if procid.Gone(name) {
			t.Errorf("%q is said to be gone", name)
		}
	}
}
