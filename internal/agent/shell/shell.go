// Package shell runs the processes of a job: its commands, hooks and git.
//
// Every process gets exactly the environment in [Shell.Env] and nothing of the
// agent's own, and leads a process group. With PTY set it also leads a session
// on a pseudo-terminal; what it prints is logged as a terminal would show it.
// Run returns when the process has ended and its output, to the last byte, is
// in the log. Processes that it left behind in the background do not hold Run
// up: output is read until it ends or is quiet for a quarter of a second.
//
// When Run's context ends, the group gets [Shell.Signal], and SIGKILL after
// [Shell.Grace] or when [Shell.Kill] is closed, whichever is first. If the
// agent itself dies, the kernel kills the process (Linux) and hangs up its
// terminal.
//
// A Shell belongs to one job and is not safe for concurrent use, except that
// Kill may be closed at any time.
package shell

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// Shell is the state that the phases of a job share.
type Shell struct {
	Env    Env
	Dir    string // absolute
	Log    *Log
	PTY    bool
	Signal syscall.Signal
	Grace  time.Duration
	Kill   <-chan struct{}

	tail []byte // the end of what the last Run printed
}

// The size of the pseudo-terminal: that of buildkite-agent v3.138,
// internal/process/pty.go.
const (
	rows = 100
	cols = 160
)

// quiet is how long to wait for more output of a process that has ended while
// another still holds its terminal.
const quiet = 250 * time.Millisecond

// ExitError says that a process ended with a status other than 0.
type ExitError struct {
	Name   string
	Code   int            // -1 if a signal ended it
	Signal syscall.Signal // 0 if none did
}

// Error names the process and how it ended.
func (e *ExitError) Error() string {
	if e.Signal != 0 {
		return fmt.Sprintf("%s: ended by %s", e.Name, SignalName(e.Signal))
	}
	return fmt.Sprintf("%s: exit status %d", e.Name, e.Code)
}

// ExitCode returns the status that err stands for: 0 for nil, the process's
// own for an ExitError, 1 for anything else.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*ExitError](err); ok {
		return e.Code
	}
	return 1
}

// Chdir makes dir, relative to the present directory, the one that processes
// start in.
func (s *Shell) Chdir(dir string) error {
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(s.Dir, dir)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("changing directory: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("changing directory: %s is not a directory", dir)
	}
	s.Dir = dir
	return nil
}

// Prompt runs a command after showing it in the log.
func (s *Shell) Prompt(ctx context.Context, argv ...string) error {
	s.Log.Prompt("%s", Quote(argv))
	return s.Run(ctx, nil, argv...)
}

// Run runs a command with extra added to its environment. A status other than
// 0 is an *ExitError; a context that has ended before the start is returned as
// its cause.
func (s *Shell) Run(ctx context.Context, extra Env, argv ...string) error {
	cmd, err := s.command(ctx, extra, argv)
	if err != nil {
		return err
	}
	out, err := s.start(cmd)
	if err != nil {
		return fmt.Errorf("starting %s: %w", argv[0], err)
	}
	return s.wait(ctx, cmd, out)
}

// tailBytes bounds what Tail remembers.
const tailBytes = 4 << 10

// Tail returns the last 4 KiB that the last Run printed, for finding out why it
// failed.
func (s *Shell) Tail() string { return string(s.tail) }

// Output runs a command without a terminal and returns what it prints to its
// standard output. The log does not show it.
func (s *Shell) Output(ctx context.Context, argv ...string) (string, error) {
	cmd, err := s.command(ctx, nil, argv)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	cmd.Stdout = &text
	cmd.WaitDelay = quiet
	cmd.SysProcAttr = attributes(false)
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("starting %s: %w", argv[0], err)
	}
	stop := s.watch(ctx, cmd.Process.Pid)
	err = cmd.Wait()
	stop()
	return text.String(), exitError(cmd, err)
}

func (s *Shell) command(ctx context.Context, extra Env, argv []string) (*exec.Cmd, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	select {
	case <-s.Kill:
		return nil, fmt.Errorf("%s was not started: the job is being ended", argv[0])
	default:
	}
	path, err := s.LookPath(argv[0])
	if err != nil {
		return nil, err
	}
	env := s.Env.With(extra)
	env["PWD"] = s.Dir
	return &exec.Cmd{Path: path, Args: argv, Dir: s.Dir, Env: env.List()}, nil
}

// LookPath finds an executable on the job's PATH, not the agent's. A name with
// a slash is taken relative to the present directory.
func (s *Shell) LookPath(name string) (string, error) {
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(s.Dir, name)
		}
		return name, nil
	}
	for _, dir := range filepath.SplitList(s.Env["PATH"]) {
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(s.Dir, dir)
		}
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", &exec.Error{Name: name, Err: exec.ErrNotFound}
}

// start starts the process and returns where its output can be read.
func (s *Shell) start(cmd *exec.Cmd) (*os.File, error) {
	if s.PTY {
		terminal, err := pty.StartWithAttrs(cmd, &pty.Winsize{Rows: rows, Cols: cols}, attributes(true))
		if err != nil {
			return nil, err
		}
		return pollable(terminal), nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = w, w, attributes(false)
	err = cmd.Start()
	if closeErr := w.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// pollable returns the terminal as a file whose reads can have deadlines: the
// pty package leaves it in blocking mode. If that fails it is returned as it is.
func pollable(terminal *os.File) *os.File {
	fd, err := unix.FcntlInt(terminal.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return terminal
	}
	unix.SetNonblock(fd, true) //nolint:errcheck // then reads block, as before
	terminal.Close()           //nolint:errcheck // the copy stays open
	return os.NewFile(uintptr(fd), terminal.Name())
}

func (s *Shell) wait(ctx context.Context, cmd *exec.Cmd, out *os.File) error {
	var ended atomic.Bool
	s.tail = s.tail[:0]
	var copying sync.WaitGroup
	copying.Go(func() { s.copy(out, &ended) })
	stop := s.watch(ctx, cmd.Process.Pid)
	err := cmd.Wait()
	stop()
	ended.Store(true)
	if deadlineErr := out.SetReadDeadline(time.Now().Add(quiet)); deadlineErr != nil {
		time.AfterFunc(quiet, func() { out.Close() }) //nolint:errcheck // read side
	}
	copying.Wait()
	out.Close()   //nolint:errcheck // read side
	s.Log.Flush() //nolint:errcheck // see Log
	return exitError(cmd, err)
}

// copy logs what the process prints. A terminal whose processes have all ended
// reads as EIO on Linux. A log that takes no more does not stop the reading, so
// that the process can end.
func (s *Shell) copy(out *os.File, ended *atomic.Bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := out.Read(buf)
		if n > 0 {
			s.tail = append(s.tail, buf[max(0, n-tailBytes):n]...)
			s.tail = append(s.tail[:0], s.tail[max(0, len(s.tail)-tailBytes):]...)
			s.Log.Write(buf[:n]) //nolint:errcheck // see Log
		}
		if err != nil {
			return
		}
		if ended.Load() {
			out.SetReadDeadline(time.Now().Add(quiet)) //nolint:errcheck // wait closes it
		}
	}
}

// watch signals the group when ctx ends, until the returned function is called.
func (s *Shell) watch(ctx context.Context, pid int) (stop func()) {
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-done:
			return
		case <-s.Kill:
			syscall.Kill(-pid, syscall.SIGKILL) //nolint:errcheck // it may have ended
			return
		case <-ctx.Done():
		}
		syscall.Kill(-pid, s.Signal) //nolint:errcheck // it may have ended
		grace := time.NewTimer(s.Grace)
		defer grace.Stop()
		select {
		case <-done:
			return
		case <-s.Kill:
		case <-grace.C:
		}
		syscall.Kill(-pid, syscall.SIGKILL) //nolint:errcheck // it may have ended
	})
	return func() { close(done); watching.Wait() }
}

func exitError(cmd *exec.Cmd, err error) error {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
			return fmt.Errorf("waiting for %s: %w", cmd.Args[0], err)
		}
		return nil
	}
	e := &ExitError{Name: cmd.Args[0], Code: exit.ExitCode()}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		e.Signal = status.Signal()
	}
	return e
}

// Quote joins a command so that a person can paste it into a shell.
func Quote(argv []string) string {
	words := make([]string, len(argv))
	for i, word := range argv {
		words[i] = word
		if word == "" || strings.ContainsAny(word, " \t\n\"'\\$`*?[]{}()<>|&;#!~") {
			words[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

// SignalName returns "SIGTERM" and the like, or the number.
func SignalName(sig syscall.Signal) string {
	for name, s := range signals {
		if s == sig {
			return name
		}
	}
	return strconv.Itoa(int(sig))
}

// ParseSignal reads a name with or without "SIG".
func ParseSignal(name string) (syscall.Signal, error) {
	long := "SIG" + strings.TrimPrefix(strings.ToUpper(name), "SIG")
	if sig, ok := signals[long]; ok {
		return sig, nil
	}
	return 0, fmt.Errorf("unknown signal %q", name)
}

var signals = map[string]syscall.Signal{
	"SIGHUP": syscall.SIGHUP, "SIGINT": syscall.SIGINT, "SIGQUIT": syscall.SIGQUIT,
	"SIGABRT": syscall.SIGABRT, "SIGKILL": syscall.SIGKILL, "SIGUSR1": syscall.SIGUSR1,
	"SIGUSR2": syscall.SIGUSR2, "SIGTERM": syscall.SIGTERM, "SIGSEGV": syscall.SIGSEGV,
	"SIGBUS": syscall.SIGBUS, "SIGPIPE": syscall.SIGPIPE, "SIGILL": syscall.SIGILL, "SIGFPE": syscall.SIGFPE,
}

// Exists reports whether the path names something.
func Exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
