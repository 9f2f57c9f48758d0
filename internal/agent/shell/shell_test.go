package shell

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// output is a log that tests can wait on.
type output struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	ready chan struct{}
	text  string
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.Write(p)
	if o.text != "" && strings.Contains(o.buf.String(), o.text) {
		o.text = ""
		close(o.ready)
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func newShell(t *testing.T, waitFor string) (*Shell, *output) {
	t.Helper()
	out := &output{ready: make(chan struct{}), text: waitFor}
	return &Shell{
		Env: Env{"PATH": os.Getenv("PATH")}, Dir: t.TempDir(), Log: NewLog(out),
		PTY: true, Signal: syscall.SIGTERM, Grace: time.Minute,
	}, out
}

func TestOutputAndStatusOfAProcess(t *testing.T) {
	t.Parallel()
	for _, terminal := range []bool{true, false} {
		s, out := newShell(t, "")
		s.PTY = terminal
		err := s.Run(t.Context(), Env{"X": "y"}, "bash", "-c", `echo "$X"; test -t 1 && echo tty; exit 7`)
		if ExitCode(err) != 7 {
			t.Errorf("ended with %v", err)
		}
		want := map[bool]string{true: "y\r\ntty\r\n", false: "y\n"}[terminal]
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestTheAgentsEnvironmentIsNotInherited(t *testing.T) {
	t.Parallel()
	s, _ := newShell(t, "")
	text, err := s.Output(t.Context(), "env")
	if err != nil {
		t.Fatal(err)
	}
	want := "PATH=" + os.Getenv("PATH") + "\nPWD=" + s.Dir + "\n"
	if diff := cmp.Diff(want, text); diff != "" {
		t.Error(diff)
	}
}

func TestCancelSignalsTheGroupAndWaits(t *testing.T) {
	t.Parallel()
	s, out := newShell(t, "ready")
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-out.ready; cancel() }()
	err := s.Run(ctx, nil, "bash", "-c", `trap 'echo cleaned up; exit 3' TERM; echo ready; while :; do sleep 0.05; done`)
	if ExitCode(err) != 3 || !strings.Contains(out.String(), "cleaned up") {
		t.Errorf("ended with %v after %q", err, out)
	}
}

func TestAProcessThatIgnoresTheSignalIsKilled(t *testing.T) {
	t.Parallel()
	s, out := newShell(t, "ready")
	kill := make(chan struct{})
	s.Kill = kill
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-out.ready; cancel(); close(kill) }()
	err := s.Run(ctx, nil, "bash", "-c", `trap '' TERM; echo ready; while :; do sleep 0.05; done`)
	if exit, ok := errors.AsType[*ExitError](err); !ok || exit.Signal != syscall.SIGKILL {
		t.Errorf("ended with %v", err)
	}
}

func TestBackgroundProcessesDoNotHoldTheJob(t *testing.T) {
	t.Parallel()
	s, out := newShell(t, "")
	begin := time.Now()
	err := s.Run(t.Context(), nil, "bash", "-c", `trap '' HUP; sleep 60 & echo done`)
	if err != nil || out.String() != "done\r\n" {
		t.Errorf("%v after %q", err, out)
	}
	if d := time.Since(begin); d > 50*time.Second {
		t.Errorf("took %s", d)
	}
}

func TestAMissingProgramIsNamed(t *testing.T) {
	t.Parallel()
	s, _ := newShell(t, "")
	if err := s.Run(t.Context(), nil, "no-such-program"); err == nil || !strings.Contains(err.Error(), "no-such-program") {
		t.Errorf("got %v", err)
	}
}

func TestDiffAndApply(t *testing.T) {
	t.Parallel()
	before := Env{"A": "1", "B": "2", "C": "3"}
	after := Env{"A": "1", "B": "two", "D": "4"}
	d := before.Diff(after)
	if diff := cmp.Diff(Diff{Set: Env{"B": "two", "D": "4"}, Unset: []string{"C"}}, d); diff != "" {
		t.Error(diff)
	}
	got := before.Clone()
	got.Apply(d)
	if diff := cmp.Diff(after, got); diff != "" {
		t.Error(diff)
	}
	if dropped := d.Drop(func(n string) bool { return n == "D" || n == "C" }); len(dropped) != 2 || len(d.Set) != 1 {
		t.Errorf("dropped %q, left %v", dropped, d)
	}
}
