package jobcli

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func lockJob(t *testing.T) *job {
	j := newJob(t, nil)
	j.env["BUILDKITE_SOCKETS_PATH"] = t.TempDir()
	return j
}

func TestLockIsHeldByOne(t *testing.T) {
	t.Parallel()
	j := lockJob(t)
	first := j.run(t.Context(), "lock", "acquire", "k")
	token := strings.TrimSpace(first.out)
	if first.status != 0 || token == "" {
		t.Fatalf("acquire: %+v", first)
	}
	if got := j.run(t.Context(), "lock", "get", "k"); got.out != token+"\n" {
		t.Errorf("get = %+v, want %s", got, token)
	}
	if got := j.run(t.Context(), "lock", "acquire", "k", "--lock-wait-timeout", "1ms"); got.status != 1 || !strings.Contains(got.err, "the lock was not free within 1ms") {
		t.Errorf("second acquire = %+v", got)
	}
	if got := j.run(t.Context(), "lock", "release", "k", "other"); got.status != 1 || !strings.Contains(got.err, "held with another token") {
		t.Errorf("foreign release = %+v", got)
	}
	if got := j.run(t.Context(), "lock", "release", "k", token); got.status != 0 {
		t.Errorf("release = %+v", got)
	}
	if got := j.run(t.Context(), "lock", "release", "k", token); got.status != 1 || !strings.Contains(got.err, "already free") {
		t.Errorf("second release = %+v", got)
	}
	if got := j.run(t.Context(), "lock", "acquire", "k"); got.status != 0 {
		t.Errorf("acquire after release = %+v", got)
	}
}

func TestLocksExcludeEachOther(t *testing.T) {
	t.Parallel()
	j := lockJob(t)
	var inside, most atomic.Int32
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			got := j.run(t.Context(), "lock", "acquire", "k")
			if got.status != 0 {
				t.Errorf("acquire = %+v", got)
				return
			}
			most.Store(max(most.Load(), inside.Add(1)))
			inside.Add(-1)
			if got := j.run(t.Context(), "lock", "release", "k", strings.TrimSpace(got.out)); got.status != 0 {
				t.Errorf("release = %+v", got)
			}
		})
	}
	running.Wait()
	if most.Load() != 1 {
		t.Errorf("%d held the lock at once", most.Load())
	}
}

func TestDoneOnce(t *testing.T) {
	t.Parallel()
	j := lockJob(t)
	if got := j.run(t.Context(), "lock", "done", "k"); got.status != 1 || !strings.Contains(got.err, "lock do was not called before") {
		t.Errorf("done = %+v", got)
	}
	if got := j.run(t.Context(), "lock", "do", "k"); got.out != "do\n" {
		t.Errorf("first do = %+v", got)
	}
	var waiting sync.WaitGroup
	var second run
	waiting.Go(func() { second = j.run(t.Context(), "lock", "do", "k") })
	if got := j.run(t.Context(), "lock", "done", "k"); got.status != 0 {
		t.Errorf("done = %+v", got)
	}
	waiting.Wait()
	if second.out != "done\n" {
		t.Errorf("second do = %+v", second)
	}
}

func TestLockEndsWithItsAgent(t *testing.T) {
	t.Parallel()
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	j := lockJob(t)
	j.env["BUILDKITE_AGENT_PID"] = strconv.Itoa(gone.Process.Pid)
	if got := j.run(t.Context(), "lock", "acquire", "k"); got.status != 0 {
		t.Fatalf("acquire = %+v", got)
	}
	j.env["BUILDKITE_AGENT_PID"] = strconv.Itoa(os.Getpid())
	if got := j.run(t.Context(), "lock", "acquire", "k", "--lock-wait-timeout", "1ms"); got.status != 0 {
		t.Errorf("acquire after the agent ended = %+v", got)
	}
	if got := j.run(t.Context(), "lock", "acquire", "k", "--lock-wait-timeout", "1ms"); got.status != 1 {
		t.Errorf("acquire while the agent lives = %+v", got)
	}
}

func FuzzLockState(f *testing.F) {
	for _, seed := range []string{"", "1\nx", "-1\nx", "999999999\nx", "\n", "\ndone", "x\ny\nz"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if got := lockState(text); !strings.HasSuffix(text, got) {
			t.Errorf("lockState(%q) = %q", text, got)
		}
	})
}
