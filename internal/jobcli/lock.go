package jobcli

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/slipway-ci/slipway/internal/agent/wire"
)

// lockPoll is how often a waiting command looks whether a lock is free.
const lockPoll = 100 * time.Millisecond

// States of a lock, besides free ("") and held (the token of the holder).
const (
	lockDoing = "doing"
	lockDone  = "done"
)

func lockCommands() []command {
	return []command{
		{name: "lock acquire", args: "<key>", about: "Wait for a lock of this machine and print its token", setup: lockAcquire},
		{name: "lock release", args: "<key> <token>", about: "Release a lock", setup: lockRelease},
		{name: "lock do", args: "<key>", about: "Print do, or done if another job of this machine did it", setup: lockDo},
		{name: "lock done", args: "<key>", about: "Say that what lock do began is done", setup: lockMarkDone},
		{name: "lock get", args: "<key>", about: "Print the state of a lock", setup: lockGet},
	}
}

// lockFlags say where locks are kept.
type lockFlags struct{ scope, sockets *string }

func (f *flags) locks() lockFlags {
	return lockFlags{
		f.text("lock-scope", "BUILDKITE_LOCK_SCOPE", "machine", "machine is the only one"),
		f.text("sockets-path", "BUILDKITE_SOCKETS_PATH", "", "the directory that the agents of this machine share; default: .buildkite-agent/sockets in the home directory"),
	}
}

// open returns the lock with that key.
func (l lockFlags) open(p *program, args []string) (*lockFile, error) {
	key, err := only(args, "lock key")
	if err != nil {
		return nil, err
	}
	if *l.scope != "machine" {
		return nil, fmt.Errorf("--lock-scope %q: only machine exists", *l.scope)
	}
	dir := *l.sockets
	if dir == "" {
		home := p.env["HOME"]
		if home == "" {
			return nil, errors.New("no directory for locks: give --sockets-path or set HOME")
		}
		dir = filepath.Join(home, ".buildkite-agent", "sockets")
	}
	dir = filepath.Join(dir, "locks")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("directory for locks: %w", err)
	}
	name := fmt.Sprintf("%x", sha256.Sum256([]byte(key)))
	return &lockFile{path: filepath.Join(dir, name), agent: p.env["BUILDKITE_AGENT_PID"]}, nil
}

// lockFile is a lock kept in a file: the process id of the agent whose job set
// it, a line end, and the state. A state is void once that agent is gone, as
// buildkite-agent's locks end with the agent that serves them; otherwise a job
// that was killed would block its successors for good.
type lockFile struct {
	path  string
	agent string
}

// swap sets the state to next if it is want. It returns the state found, and
// whether it was set. All of it happens under an exclusive lock of the file.
func (l *lockFile) swap(want, next string) (string, bool, error) {
	f, found, err := l.open()
	if err != nil {
		return "", false, fmt.Errorf("lock file: %w", err)
	}
	defer f.Close() //nolint:errcheck // only ends the exclusive lock
	if found != want {
		return found, false, nil
	}
	if err := l.write(f, next); err != nil {
		return found, false, fmt.Errorf("lock file: %w", err)
	}
	return found, true, nil
}

// open returns the file under an exclusive lock, which ends when it is closed,
// and the state in it.
func (l *lockFile) open() (*os.File, string, error) {
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, "", err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, "", errors.Join(err, f.Close())
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, "", errors.Join(err, f.Close())
	}
	return f, lockState(string(text)), nil
}

// take waits until the lock is free and then sets its state. settled is asked
// about every other state found, and ends the wait without the lock.
func (l *lockFile) take(ctx context.Context, state string, settled func(found string) (bool, error)) (bool, error) {
	for {
		found, ok, err := l.swap("", state)
		if err != nil || ok {
			return ok, err
		}
		if end, err := settled(found); end || err != nil {
			return false, err
		}
		if !wire.Sleep(ctx, lockPoll) {
			return false, context.Cause(ctx)
		}
	}
}

func (l *lockFile) write(f *os.File, state string) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(l.agent+"\n"+state), 0)
	return err
}

// lockState reads the content of a lock file.
func lockState(text string) string {
	agent, state, _ := strings.Cut(text, "\n")
	pid, err := strconv.Atoi(agent)
	if err == nil && pid > 0 && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return ""
	}
	return state
}

// withTimeout bounds waiting; 0 waits as long as ctx.
func withTimeout(ctx context.Context, limit string) (context.Context, context.CancelFunc, error) {
	if limit == "" || limit == "0" {
		return ctx, func() {}, nil
	}
	d, err := time.ParseDuration(limit)
	if err != nil || d < 0 {
		return nil, nil, fmt.Errorf("--lock-wait-timeout %q: want a duration such as 30s", limit)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, d, fmt.Errorf("the lock was not free within %s", d))
	return ctx, cancel, nil
}

func (f *flags) lockTimeout() *string {
	return f.text("lock-wait-timeout", "BUILDKITE_LOCK_WAIT_TIMEOUT", "", "how long to wait, such as 30s; default: for ever")
}

func lockAcquire(f *flags) action {
	locks, limit := f.locks(), f.lockTimeout()
	return func(ctx context.Context, p *program, args []string) error {
		l, err := locks.open(p, args)
		if err != nil {
			return err
		}
		ctx, cancel, err := withTimeout(ctx, *limit)
		if err != nil {
			return err
		}
		defer cancel()
		token := fmt.Sprintf("acquired(pid=%d,otp=%s)", os.Getpid(), strings.ReplaceAll(newUUID(), "-", ""))
		if _, err := l.take(ctx, token, func(string) (bool, error) { return false, nil }); err != nil {
			return err
		}
		_, err = fmt.Fprintln(p.stdio.Out, token)
		return err
	}
}

func lockRelease(f *flags) action {
	locks := f.locks()
	return func(_ context.Context, p *program, args []string) error {
		if len(args) != 2 {
			return errors.New("want the key and the token that lock acquire printed")
		}
		l, err := locks.open(p, args)
		if err != nil {
			return err
		}
		found, ok, err := l.swap(args[1], "")
		switch {
		case err != nil:
			return err
		case ok:
			return nil
		case found == "":
			return errors.New("the lock is already free")
		}
		return errors.New("the lock is held with another token")
	}
}

func lockDo(f *flags) action {
	locks, limit := f.locks(), f.lockTimeout()
	return func(ctx context.Context, p *program, args []string) error {
		l, err := locks.open(p, args)
		if err != nil {
			return err
		}
		ctx, cancel, err := withTimeout(ctx, *limit)
		if err != nil {
			return err
		}
		defer cancel()
		taken, err := l.take(ctx, lockDoing, func(found string) (bool, error) {
			if found != lockDoing && found != lockDone {
				return true, fmt.Errorf("the lock is used by lock acquire, its state is %q", found)
			}
			return found == lockDone, nil
		})
		if err != nil {
			return err
		}
		answer := lockDone
		if taken {
			answer = "do"
		}
		_, err = fmt.Fprintln(p.stdio.Out, answer)
		return err
	}
}

func lockMarkDone(f *flags) action {
	locks := f.locks()
	return func(_ context.Context, p *program, args []string) error {
		l, err := locks.open(p, args)
		if err != nil {
			return err
		}
		found, ok, err := l.swap(lockDoing, lockDone)
		if err == nil && !ok {
			err = fmt.Errorf("lock do was not called before, the state is %q", found)
		}
		return err
	}
}

func lockGet(f *flags) action {
	locks := f.locks()
	return func(_ context.Context, p *program, args []string) error {
		l, err := locks.open(p, args)
		if err != nil {
			return err
		}
		file, found, err := l.open()
		if err != nil {
			return fmt.Errorf("lock file: %w", err)
		}
		defer file.Close() //nolint:errcheck // only ends the exclusive lock
		_, err = fmt.Fprintln(p.stdio.Out, found)
		return err
	}
}
