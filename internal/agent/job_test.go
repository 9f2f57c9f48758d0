package agent

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite golden files")

// golden compares text with a file under testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs:\n%s", path, diff)
	}
}

func script(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	syscall.ForkLock.RLock() // a process that starts meanwhile would keep the file from being run
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte("#!/bin/bash\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func git(t *testing.T, dir, commands string) string {
	t.Helper()
	cmd := exec.Command("bash", "-ec", "git init -q -b main . ; "+commands)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=a@example.com",
		"GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=a@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

var hookNames = []string{
	"environment", "pre-checkout", "post-checkout", "pre-command", "post-command", "pre-artifact", "post-artifact", "pre-exit",
}

// TestHooksRunInTheDocumentedOrder uses hooks of every kind in every place.
func TestHooksRunInTheDocumentedOrder(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.config(t)
	temp := t.TempDir()
	repo, hooks, plugin := filepath.Join(temp, "repo"), filepath.Join(temp, "hooks"), filepath.Join(temp, "thing-buildkite-plugin")
	trace := func(who, name string) string { return fmt.Sprintf(`echo "%s %s" >> %s/trace`, who, name, temp) }
	for _, name := range hookNames {
		script(t, filepath.Join(hooks, name), trace("agent", name))
		script(t, filepath.Join(repo, ".buildkite/hooks", name), trace("repository", name))
		script(t, filepath.Join(repo, ".buildkite/plugins/own/hooks", name), trace("vendored", name))
		script(t, filepath.Join(plugin, "hooks", name), trace("plugin", name)+` "$BUILDKITE_PLUGIN_THING_COLOR"`)
	}
	for _, dir := range []string{repo, plugin} {
		git(t, dir, "git add . && git commit -qm one")
	}
	c.HooksPath, c.PluginsPath = hooks, filepath.Join(temp, "plugins")
	j := s.add(trace("command", "$BUILDKITE_PLUGINS_PATH")+"; false", map[string]string{
		"BUILDKITE_REPO": repo, "BUILDKITE_SKIP_CHECKOUT": "false", "BUILDKITE_ARTIFACT_PATHS": "*.txt",
		"BUILDKITE_PLUGINS": fmt.Sprintf(`[{%q:{"color":"red"}},"./.buildkite/plugins/own"]`, plugin),
	})
	s.runAll(t, c)
	got, err := os.ReadFile(filepath.Join(temp, "trace"))
	if err != nil {
		t.Fatal(err, j.text())
	}
	golden(t, "hook-order.txt", strings.ReplaceAll(string(got), temp, "$TEMP"))
	if j.finish.ExitStatus != "1" {
		t.Errorf("finished as %+v\n%s", j.finish, j.text())
	}
	if !strings.Contains(j.text(), "tool: artifact upload *.txt") {
		t.Errorf("artifacts were not uploaded:\n%s", j.text())
	}
	if !strings.HasPrefix(s.data["buildkite:git:commit"], "commit ") {
		t.Errorf("the commit was described as %q", s.data["buildkite:git:commit"])
	}
}

var volatile = regexp.MustCompile(`^(PWD|BUILDKITE_AGENT_JOB_API_SOCKET|PATH|HOME|BUILDKITE_AGENT_PID|BUILDKITE_AGENT_ENDPOINT|BUILDKITE_ENV_FILE|BUILDKITE_ENV_JSON_FILE|SHLVL|_)=`)

func TestTheEnvironmentOfAJob(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.config(t)
	c.Env = append(c.Env, "BUILDKITE_PARALLEL_JOB=7", "SLIPWAY_BOOTSTRAP_AGENT_TOKEN=x", "FROM_AGENT=1", "BUILDKITE_S3_ACL=private")
	c.HooksPath = t.TempDir()
	script(t, filepath.Join(c.HooksPath, "environment"), "export FROM_HOOK=1 BUILDKITE_AGENT_PID=0")
	j := s.add("env | sort", map[string]string{
		"FROM_JOB": "1", "BUILDKITE_SHELL": "/bin/sh", "BUILDKITE_AGENT_TOKEN": "x", "BUILDKITE_GIT_CLEAN_FLAGS": "-x",
	})
	s.runAll(t, c)
	_, printed, _ := strings.Cut(j.text(), "$ env | sort\n")
	var lines []string
	for line := range strings.Lines(printed) {
		if volatile.MatchString(line) {
			line, _, _ = strings.Cut(line, "=")
			line += "\n"
		}
		lines = append(lines, strings.NewReplacer(c.BuildPath, "$BUILD", c.HooksPath, "$HOOKS").Replace(line))
	}
	got := regexp.MustCompile(`slipway-bin-[0-9]+`).ReplaceAllString(strings.Join(lines, ""), "slipway-bin-N")
	golden(t, "environment.txt", got)
	if !strings.Contains(j.text(), "Ignored BUILDKITE_SHELL\n") || !strings.Contains(j.text(), "protected variables were ignored: BUILDKITE_AGENT_PID") {
		t.Errorf("log:\n%s", j.text())
	}
}

func TestTheCommandsOfTheAgentComeFirstOnThePath(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.config(t)
	j := s.add("buildkite-agent meta-data get x; type slipway", nil)
	s.runAll(t, c)
	if !strings.Contains(j.text(), "tool: meta-data get x\n") || !strings.Contains(j.text(), c.BuildPath+"/.slipway-bin-") {
		t.Errorf("log:\n%s", j.text())
	}
	if left, err := filepath.Glob(filepath.Join(c.BuildPath, ".slipway-bin-*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

func TestACanceledJobCleansUpAndSaysSo(t *testing.T) {
	t.Parallel()
	for state, variable := range map[string]string{"canceling": "BUILDKITE_JOB_CANCELLED", "timing_out": "BUILDKITE_JOB_TIMED_OUT"} {
		s := newServer(t)
		c := s.config(t)
		c.HooksPath = t.TempDir()
		for _, name := range []string{"post-command", "pre-exit"} {
			script(t, filepath.Join(c.HooksPath, name), fmt.Sprintf(`echo "%s: $%s $BUILDKITE_COMMAND_EXIT_STATUS"`, name, variable))
		}
		j := s.add("trap 'echo trapped; exit 7' TERM; echo ready; while :; do sleep 0.05; done", nil)
		j.waitFor, j.cancelAs = "ready\r", state
		s.runAll(t, c)
		if j.finish.ExitStatus != "-1" || j.finish.Signal != "SIGTERM" || j.finish.SignalReason != "cancel" {
			t.Errorf("finished as %+v", j.finish)
		}
		for _, want := range []string{"trapped\n", "post-command: true 7\n", "pre-exit: true 7\n"} {
			if !strings.Contains(j.text(), want) {
				t.Errorf("%s: no %q in\n%s", state, want, j.text())
			}
		}
	}
}

func TestAJobThatIgnoresCancellationIsKilled(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.config(t)
	c.CancelGrace, c.SignalGrace = time.Minute, 50*time.Millisecond
	j := s.add("trap '' TERM; echo ready; while :; do sleep 0.05; done", nil)
	j.waitFor, j.cancelAs = "ready\r", "canceling"
	s.runAll(t, c)
	if j.finish.SignalReason != "cancel" || !strings.Contains(j.text(), "interrupted by a signal: SIGKILL") {
		t.Errorf("finished as %+v\n%s", j.finish, j.text())
	}
}

// TestAnAgentAsksOnWhileItsJobCleansUp: the server takes a job that its agent says nothing of for forgotten.
func TestAnAgentAsksOnWhileItsJobCleansUp(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.config(t)
	c.CancelGrace = 5 * time.Minute
	enough := filepath.Join(t.TempDir(), "enough")
	j := s.add(`trap 'until test -e "$ENOUGH"; do sleep 0.05; done; exit 0' TERM; echo ready; while :; do sleep 0.05; done`,
		map[string]string{"ENOUGH": enough})
	told := 0
	j.waitFor, j.cancelAs = "ready\r", "canceling"
	j.asked = func(state string) {
		if state != "canceling" {
			return
		}
		if told++; told == 3 {
			if err := os.WriteFile(enough, nil, 0o600); err != nil {
				t.Error(err)
			}
		}
	}
	s.runAll(t, c)
	if told < 3 || strings.Contains(j.text(), "SIGKILL") {
		t.Errorf("the agent asked %d times after it was told\n%s", told-1, j.text())
	}
}

func TestACommandEndedByASignal(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	j := s.add("kill -9 $$", nil)
	s.runAll(t, s.config(t))
	if j.finish.ExitStatus != "-1" || j.finish.Signal != "SIGKILL" || j.finish.SignalReason != "" {
		t.Errorf("finished as %+v", j.finish)
	}
}

func TestSecretsDoNotReachTheLog(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.config(t)
	c.HooksPath = t.TempDir()
	script(t, filepath.Join(c.HooksPath, "environment"), "export LATE_SECRET=$'multi\\nline-secret'")
	j := s.add(`echo "$DB_PASSWORD"; printf corr; sleep 0.1; printf 'ect horse\n'; echo "$LATE_SECRET"; echo "$BUILDKITE_AGENT_ACCESS_TOKEN"`,
		map[string]string{"DB_PASSWORD": "correct horse"})
	s.runAll(t, c)
	_, out, _ := strings.Cut(j.text(), "ACCESS_TOKEN\"\n")
	if want := strings.Repeat("[REDACTED]\n", 4); out != want {
		t.Errorf("log %q, want %q", out, want)
	}
}

func TestSecretsOfTheStepAreInTheEnvironment(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	good := s.add(`test "$DEPLOY" = "value of KEY" && echo "got $DEPLOY"`, nil)
	good.Step = []byte(`{"secrets":[{"key":"KEY","environment_variable":"DEPLOY"}]}`)
	bad := s.add("true", nil)
	bad.Step = []byte(`{"secrets":[{"key":"KEY","environment_variable":"BUILDKITE_AGENT_ACCESS_TOKEN"}]}`)
	missing := s.add("true", nil)
	missing.Step = good.Step
	s.status["GET /v3/jobs/"+missing.ID+"/secrets"] = 404
	s.runAll(t, s.config(t))
	if good.finish.ExitStatus != "0" || !strings.HasSuffix(good.text(), "\ngot [REDACTED]\n") {
		t.Errorf("%+v\n%s", good.finish, good.text())
	}
	for _, j := range []*fakeJob{bad, missing} {
		if j.finish.ExitStatus != "-1" || j.finish.SignalReason != "process_run_error" {
			t.Errorf("%s: %+v\n%s", j.ID, j.finish, j.text())
		}
	}
}

func TestJobsThatTheOperatorDoesNotAllowAreRefused(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.config(t)
	c.AllowedRepositories, c.AllowedPlugins = []string{`^https://git\.example\.com/`}, []string{`#v1$`}
	repo := map[string]string{"BUILDKITE_REPO": "https://evil.example.com/x"}
	plugin := map[string]string{"BUILDKITE_REPO": "https://git.example.com/x", "BUILDKITE_PLUGINS": `["github.com/o/p#v2"]`}
	for _, env := range []map[string]string{repo, plugin} {
		s.add("echo ran", env)
	}
	fine := s.add("echo ran", map[string]string{"BUILDKITE_REPO": "https://git.example.com/x"})
	s.runAll(t, c)
	for _, j := range s.jobs[:2] {
		if j.finish.SignalReason != "agent_refused" || strings.Contains(j.text(), "ran\n") {
			t.Errorf("%+v\n%s", j.finish, j.text())
		}
	}
	if fine.finish.ExitStatus != "0" {
		t.Errorf("%+v\n%s", fine.finish, fine.text())
	}
}

func TestScriptsOfTheRepositoryRun(t *testing.T) {
	t.Parallel()
	repo := t.TempDir()
	if err := os.MkdirAll(filepath.Join(repo, "ci"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(repo, "ci", "test.sh"), []byte("#!/bin/sh\necho from script\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	git(t, repo, "git add . && git commit -qm one")
	env := map[string]string{"BUILDKITE_REPO": repo, "BUILDKITE_SKIP_CHECKOUT": "false"}
	s := newServer(t)
	good := s.add("ci/test.sh", env)
	c := s.config(t)
	s.runAll(t, c)
	if !strings.Contains(good.text(), "~~~ Running script\n$ ./ci/test.sh\nfrom script\n") {
		t.Errorf("log:\n%s", good.text())
	}
	s = newServer(t)
	c = s.config(t)
	c.NoCommandEval = true
	outside := s.add("echo no", env)
	s.runAll(t, c)
	if outside.finish.ExitStatus != "1" || !strings.Contains(outside.text(), "--no-command-eval") {
		t.Errorf("%+v\n%s", outside.finish, outside.text())
	}
}

// TestOutputDoesNotGrowMemory prints 100 MB. It is not parallel, because the heap
// it measures is shared with the other tests.
func TestOutputDoesNotGrowMemory(t *testing.T) {
	s := newServer(t)
	s.keepLog = false
	j := s.add("yes 'a line of output of an ordinary length, some sixty bytes...' | head -c 100000000", nil)
	var peak atomic.Uint64
	stop := make(chan struct{})
	measured := make(chan struct{})
	go func() {
		defer close(measured)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				peak.Store(max(peak.Load(), m.HeapInuse))
			}
		}
	}()
	begin := time.Now()
	s.runAll(t, s.config(t))
	close(stop)
	<-measured
	t.Logf("%d bytes in %s, heap at most %d MB", j.bytes, time.Since(begin), peak.Load()>>20)
	if j.bytes < 100_000_000 || j.finish.ExitStatus != "0" || j.finish.ChunksFailedCount != 0 {
		t.Errorf("%d bytes, %+v", j.bytes, j.finish)
	}
	if peak.Load() > 64<<20 {
		t.Errorf("the heap grew to %d MB", peak.Load()>>20)
	}
}

func TestLogIsExactlyWhatWasPrinted(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	j := s.add("seq 1 20000", nil)
	j.ChunksMaxSizeBytes = 1000
	s.runAll(t, s.config(t))
	var want strings.Builder
	for n := range 20000 {
		fmt.Fprintln(&want, n+1)
	}
	_, got, _ := strings.Cut(j.text(), "$ seq 1 20000\n")
	if got != want.String() {
		t.Errorf("%d bytes, want %d", len(got), want.Len())
	}
}

func TestSeveralWorkersShareAProcess(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for range 12 {
		s.add("echo $BUILDKITE_JOB_ID", nil)
	}
	c := s.config(t)
	c.Spawn = 3
	s.runAll(t, c)
	for _, j := range s.jobs {
		if j.finish.ExitStatus != "0" || !strings.Contains(j.text(), "\n"+j.ID+"\n") {
			t.Errorf("%s: %+v\n%s", j.ID, j.finish, j.text())
		}
	}
	for _, want := range []string{"POST /v3/disconnect session-a-1", "POST /v3/disconnect session-a-3"} {
		if !slices.Contains(s.calls, want) {
			t.Errorf("no call %q", want)
		}
	}
}

func TestStoppingFinishesTheJobFirst(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.config(t)
	fifo := filepath.Join(t.TempDir(), "go")
	j := s.add("mkfifo "+fifo+"; echo ready; cat "+fifo, nil)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx, c) }()
	s.await(t, func() bool { return bytes.Contains(j.log, []byte("ready\r")) })
	cancel()
	s.await(t, func() bool { return slices.Contains(s.calls, "POST /v3/stop session-a-1") })
	if err := os.WriteFile(fifo, []byte("on you go\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if j.finish.ExitStatus != "0" || !strings.Contains(j.text(), "on you go\n") {
		t.Errorf("finished as %+v\n%s", j.finish, j.text())
	}
}

func TestKillingEndsTheJob(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.config(t)
	kill := make(chan struct{})
	c.Kill = kill
	j := s.add("echo ready; sleep 60", nil)
	ended := make(chan error, 1)
	go func() { ended <- s.run(t.Context(), c) }()
	s.await(t, func() bool { return bytes.Contains(j.log, []byte("ready\r")) })
	close(kill)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if j.finish.ExitStatus != "-1" || j.finish.SignalReason != "agent_stop" {
		t.Errorf("finished as %+v", j.finish)
	}
}

func TestLimitsOfAnAgent(t *testing.T) {
	t.Parallel()
	t.Run("one job", func(t *testing.T) {
		t.Parallel()
		s := newServer(t)
		j, second := s.add("exit 5", nil), s.add("true", nil)
		c := s.config(t)
		c.DisconnectAfterJob, c.ReflectExitStatus = true, true
		err := s.run(t.Context(), c)
		if exit, ok := errors.AsType[*ExitError](err); !ok || exit.Code != 5 {
			t.Errorf("ended with %v", err)
		}
		if !j.finish.IgnoreAgentInDispatches || !second.accepted.IsZero() {
			t.Errorf("%+v, second accepted %s", j.finish, second.accepted)
		}
	})
	t.Run("idle", func(t *testing.T) {
		t.Parallel()
		s := newServer(t)
		c := s.config(t)
		c.DisconnectAfterIdle = 50 * time.Millisecond
		if err := s.run(t.Context(), c); err != nil {
			t.Error(err)
		}
	})
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		s := newServer(t)
		s.status["GET /v3/ping"] = 401
		if err := s.run(t.Context(), s.config(t)); err == nil {
			t.Error("a refused ping did not end the worker")
		}
	})
	t.Run("not acquired", func(t *testing.T) {
		t.Parallel()
		s := newServer(t)
		s.status["PUT /v3/jobs/j/acquire"] = 422
		c := s.config(t)
		c.AcquireJob = "j"
		err := s.run(t.Context(), c)
		if exit, ok := errors.AsType[*ExitError](err); !ok || exit.Code != ExitNotAcquired {
			t.Errorf("ended with %v", err)
		}
	})
	t.Run("acquired", func(t *testing.T) {
		t.Parallel()
		s := newServer(t)
		j := s.add("echo got it", nil)
		c := s.config(t)
		c.AcquireJob = j.ID
		if err := s.run(t.Context(), c); err != nil || j.finish.ExitStatus != "0" {
			t.Errorf("%v, %+v", err, j.finish)
		}
	})
}

func TestAWrongTokenIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.status["POST /v3/register"] = 401
	err := s.run(t.Context(), s.config(t))
	if err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("ended with %v", err)
	}
}

// BenchmarkTrivialJob measures a job without a checkout from accept to finish.
func BenchmarkTrivialJob(b *testing.B) {
	s := newServer(b)
	s.streams = true
	for range b.N {
		s.add("true", nil)
	}
	c := s.config(b)
	c.PingMode = "auto"
	b.ResetTimer()
	s.runAll(b, c)
	var total time.Duration
	for _, j := range s.jobs {
		total += j.finished.Sub(j.accepted)
	}
	b.ReportMetric(float64(total.Microseconds())/float64(b.N)/1000, "ms/accept-finish")
}
