package engine_test

import (
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

func TestP123_ASoftFailureDoesNotFailTheBuild(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a, soft_fail: true}"))
	w.end(t, b, "a", 7)
	if j := w.job(t, b, "a"); !j.SoftFailed || *j.ExitStatus != 7 {
		t.Errorf("got %+v", j.Job)
	}
	w.wantOutcome(t, b, "a", ci.OutcomeSoftFailed)
	w.wantBuild(t, b, ci.BuildPassed)
}

func TestP124_OnlyTheNamedStatusesAreSoft(t *testing.T) {
	w := stated(t)
	for exit, want := range map[int]ci.BuildState{1: ci.BuildPassed, 2: ci.BuildFailed} {
		b := w.build(t, steps("{command: a, key: a, soft_fail: [{exit_status: 1}]}"))
		w.end(t, b, "a", exit)
		w.wantBuild(t, b, want)
	}
}

func TestP125_AStarIsEveryStatus(t *testing.T) {
	w := stated(t)
	for _, exit := range []int{1, 255, -1} {
		b := w.build(t, steps(`{command: a, key: a, soft_fail: [{exit_status: "*"}]}`))
		w.end(t, b, "a", exit)
		w.wantOutcome(t, b, "a", ci.OutcomeSoftFailed)
		w.wantBuild(t, b, ci.BuildPassed)
	}
}

func TestP126_ACanceledJobThatMayFailDoesNotFailTheBuild(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a, soft_fail: true}", "{command: b, key: b, soft_fail: true}", "{command: c, key: c}"))
	a := w.begin(t, b, "a")
	must(w.CancelJob(t.Context(), a.ID, "ana"))(t)
	w.finish(t, a, -1)
	must(w.CancelJob(t.Context(), w.job(t, b, "b").ID, "ana"))(t)
	w.end(t, b, "c", 0)
	w.wantStates(t, b, "a=canceled b=canceled c=finished")
	w.wantBuild(t, b, ci.BuildPassed)
}

// attempts runs a step until nothing retries it, each time with the next of the statuses and after
// that with the last, and returns how often it ran.
func (w *world) attempts(t testing.TB, b store.Build, exits ...int) int {
	t.Helper()
	for n := 1; ; n++ {
		w.end(t, b, "a", exits[min(n, len(exits))-1])
		if j := w.job(t, b, "a"); j.State != ci.JobScheduled || n == 50 {
			return n
		}
	}
}

// wantAttempts asserts how often a step with rules of automatic retry runs.
func (w *world) wantAttempts(t testing.TB, automatic string, want int, exits ...int) {
	t.Helper()
	b := w.build(t, steps("{command: a, key: a, retry: {automatic: "+automatic+"}}"))
	if got := w.attempts(t, b, exits...); got != want {
		t.Errorf("with %s and exits %v it ran %d times, want %d", automatic, exits, got, want)
	}
	w.check(t, b)
}

func TestP127_AutomaticRetryIsTwice(t *testing.T) {
	w := stated(t)
	w.wantAttempts(t, "true", 3, 1)
	w.wantAttempts(t, "true", 2, 77, 0)
	w.wantAttempts(t, "true", 1, 0)
	w.wantAttempts(t, "false", 1, 1)
	b := w.build(t, steps("{command: a, key: a}"))
	if got := w.attempts(t, b, 1); got != 1 {
		t.Errorf("without a rule it ran %d times", got)
	}
}

func TestP128_ARuleIsForItsStatus(t *testing.T) {
	w := stated(t)
	w.wantAttempts(t, "{exit_status: 5, limit: 1}", 2, 5)
	w.wantAttempts(t, "{exit_status: 5, limit: 1}", 1, 6)
	w.wantAttempts(t, "{exit_status: [5, 7], limit: 1}", 2, 7)
}

func TestP129_TheFirstRuleThatMatchesDecides(t *testing.T) {
	w := stated(t)
	w.wantAttempts(t, `[{exit_status: 5, limit: 1}, {exit_status: "*", limit: 5}]`, 2, 5)
	w.wantAttempts(t, `[{exit_status: 6, limit: 1}, {exit_status: "*", limit: 5}]`, 6, 5)
}

func TestP130_EveryRuleCountsForItself(t *testing.T) {
	w := stated(t)
	w.wantAttempts(t, "[{exit_status: 5, limit: 2}, {exit_status: 6, limit: 2}]", 5, 5, 6, 5, 6, 5)
	w.wantAttempts(t, "[{exit_status: 5, limit: 1}, {exit_status: 6, limit: 1}]", 3, 6, 5, 6)
}

func TestP131_ALimitOfNoneForbids(t *testing.T) {
	w := stated(t)
	w.wantAttempts(t, `[{exit_status: 5, limit: 0}, {exit_status: "*", limit: 3}]`, 1, 5)
	w.wantAttempts(t, `[{exit_status: 5, limit: 0}, {exit_status: "*", limit: 3}]`, 4, 1)
}

func TestP133_ALostAgentIsAStatus(t *testing.T) {
	w := stated(t)
	for automatic, want := range map[string]ci.JobState{
		"{exit_status: -1, limit: 1}": ci.JobScheduled, `{exit_status: "*", limit: 1}`: ci.JobScheduled,
		"true": ci.JobScheduled, "{exit_status: 1, limit: 1}": ci.JobFinished,
	} {
		b := w.build(t, steps("{command: a, key: a, retry: {automatic: "+automatic+"}}"))
		if err := w.LoseAgent(t.Context(), w.start(t, w.job(t, b, "a")).ID, "gone"); err != nil {
			t.Fatal(err)
		}
		if got := w.job(t, b, "a").State; got != want {
			t.Errorf("with %s the job is %s, want %s", automatic, got, want)
		}
	}
}

// retried says whether a step with a rule is retried after an end.
func (w *world) retried(t testing.TB, rule string, op engine.FinishJob) bool {
	t.Helper()
	b := w.build(t, steps("{command: a, key: a, retry: {automatic: "+rule+"}}"))
	op.JobID = w.begin(t, b, "a").ID
	must(w.FinishJob(t.Context(), op))(t)
	return w.job(t, b, "a").Retries == 1
}

func TestP134_SignalsAreMatchedByName(t *testing.T) {
	w := stated(t)
	killed, plain := engine.FinishJob{ExitStatus: 137, Signal: "SIGKILL"}, engine.FinishJob{ExitStatus: 1}
	for _, c := range []struct {
		rule string
		end  engine.FinishJob
		want bool
	}{
		{"{signal: SIGKILL}", killed, true},
		{"{signal: sigkill}", killed, true},
		{"{signal: kill}", killed, true},
		{"{signal: [TERM, Kill]}", killed, true},
		{"{signal: TERM}", killed, false},
		{"{signal: none}", killed, false},
		{"{signal: none}", plain, true},
		{"{signal: KILL}", plain, false},
		{`{signal: "*"}`, killed, true},
		{"{signal: KILL}", engine.FinishJob{ExitStatus: 1, Signal: "kill"}, true},
	} {
		if got := w.retried(t, c.rule, c.end); got != c.want {
			t.Errorf("%s after %+v: retried is %v", c.rule, c.end, got)
		}
	}
}

func TestP135_AllConditionsOfARuleHold(t *testing.T) {
	w := stated(t)
	const rule = "{exit_status: 137, signal: KILL, signal_reason: agent_stop}"
	all := engine.FinishJob{ExitStatus: 137, Signal: "SIGKILL", SignalReason: "agent_stop"}
	if !w.retried(t, rule, all) {
		t.Error("all conditions hold and it is not retried")
	}
	for _, change := range []func(*engine.FinishJob){
		func(f *engine.FinishJob) { f.ExitStatus = 1 },
		func(f *engine.FinishJob) { f.Signal = "SIGTERM" },
		func(f *engine.FinishJob) { f.SignalReason = "" },
	} {
		op := all
		change(&op)
		if w.retried(t, rule, op) {
			t.Errorf("%+v is retried", op)
		}
	}
}

func TestP136_WhatWasCanceledIsNotRetried(t *testing.T) {
	w := stated(t)
	document := steps("{command: a, key: a, retry: {automatic: true}}", "{command: b, key: b}")
	b := w.build(t, document)
	a := w.begin(t, b, "a")
	must(w.CancelJob(t.Context(), a.ID, "ana"))(t)
	w.finish(t, a, 1)
	if j := w.job(t, b, "a"); j.ID != a.ID || j.State != ci.JobCanceled {
		t.Errorf("the canceled job is %s", j.State)
	}
	b = w.build(t, document)
	a = w.begin(t, b, "a")
	must(w.CancelBuild(t.Context(), b.ID, "ana"))(t)
	w.finish(t, a, 1)
	if j := w.job(t, b, "a"); j.ID != a.ID {
		t.Error("a job of a canceled build was retried")
	}
	w.wantBuild(t, b, ci.BuildCanceled)
}

func TestP137_WhatRanOutOfTimeIsRetriedAsCanceled(t *testing.T) {
	w := stated(t)
	for rule, want := range map[string]bool{"{signal_reason: cancel}": true, "{signal_reason: agent_stop}": false} {
		b := w.build(t, steps("{command: a, key: a, timeout_in_minutes: 1, retry: {automatic: "+rule+"}}"))
		a := w.begin(t, b, "a")
		w.timeOut(t, a)
		must(w.FinishJob(t.Context(), engine.FinishJob{JobID: a.ID, ExitStatus: -1, Signal: "SIGTERM", SignalReason: "cancel"}))(t)
		if got := w.job(t, b, "a").Retries == 1; got != want {
			t.Errorf("with %s: retried is %v", rule, got)
		}
		if got := must(w.Store.Job(t.Context(), a.ID))(t).State; got != ci.JobTimedOut {
			t.Errorf("the job is %s", got)
		}
	}
}

func TestP138_ARetryIsANewJob(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}"))
	w.end(t, b, "a", 1)
	old := w.job(t, b, "a")
	next := must(w.RetryJob(t.Context(), old.ID, "ana"))(t)
	if old = must(w.Store.Job(t.Context(), old.ID))(t); next.ID == old.ID || old.RetriedIn != next.ID || next.RetryOf != old.ID ||
		old.RetriedBy != "ana" || next.RetryType != "manual" || old.State != ci.JobFinished {
		t.Errorf("the old job is %+v, the new one %+v", old, next)
	}
}

func TestP139_AttemptsAreCountedFromZero(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a, retry: {automatic: {limit: 1}}}"))
	for n, want := range []string{"0", "1", "2"} {
		j := w.job(t, b, "a")
		wantEnv(t, w.env(t, j), map[string]string{"BUILDKITE_RETRY_COUNT": want, "BUILDKITE_JOB_ID": j.ID})
		if err := w.StartJob(t.Context(), j.ID, w.Now()); err != nil {
			t.Fatal(err)
		}
		w.finish(t, j, 1)
		if n == 1 { // the rule is used up: a person goes on
			must(w.RetryJob(t.Context(), j.ID, "ana"))(t)
		}
	}
}

func TestP140_AFailureToBeRetriedIsNone(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a, retry: {automatic: {limit: 1}}}", "{command: b, key: b}",
		"{command: c, key: c, cancel_on_build_failing: true}", "{command: d, key: d, depends_on: a}"))
	w.end(t, b, "a", 1)
	w.wantStates(t, b, "a=scheduled c=scheduled d=waiting")
	w.wantBuild(t, b, ci.BuildRunning)
	if !w.now(t, b).FailingAt.IsZero() {
		t.Error("the build was failing")
	}
	w.end(t, b, "a", 1)
	w.wantBuild(t, b, ci.BuildFailing)
	w.wantStates(t, b, "c=canceled d=waiting_failed")
}

// mayRetry says whether a person may retry a step that ended with a status, and what they are told.
func (w *world) mayRetry(t testing.TB, manual string, exit int) (bool, string) {
	t.Helper()
	b := w.build(t, steps("{command: a, key: a, retry: {manual: "+manual+"}}"))
	w.end(t, b, "a", exit)
	if _, err := w.RetryJob(t.Context(), w.job(t, b, "a").ID, "ana"); err != nil {
		return false, err.Error()
	}
	return true, ""
}

func TestP141_AStepMayForbidRetries(t *testing.T) {
	w := stated(t)
	for manual, want := range map[string]bool{"true": true, "false": false, "{allowed: true}": true, "{permit_on_passed: true}": true} {
		if got, why := w.mayRetry(t, manual, 1); got != want {
			t.Errorf("manual: %s: %v %s", manual, got, why)
		}
	}
	if got, why := w.mayRetry(t, "{allowed: false, reason: Deploys happen once}", 1); got || why != "Deploys happen once" {
		t.Errorf("got %v, %q", got, why)
	}
}

func TestP142_WhatPassedIsRetriedOnlyWhereThatIsPermitted(t *testing.T) {
	w := stated(t)
	if got, why := w.mayRetry(t, "true", 0); got || why != "Only failed, timed out or canceled jobs can be retried" {
		t.Errorf("got %v, %q", got, why)
	}
	if got, why := w.mayRetry(t, "{permit_on_passed: true}", 0); !got {
		t.Errorf("refused: %s", why)
	}
}

func TestP143_AJobIsRetriedOnce(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}"))
	w.end(t, b, "a", 1)
	first := w.job(t, b, "a")
	must(w.RetryJob(t.Context(), first.ID, "ana"))(t)
	_, err := w.RetryJob(t.Context(), first.ID, "ana")
	wantRefusal(t, err, "")
	w.wantStates(t, b, "a=scheduled")
}

func TestP144_ACanceledBuildIsNotRetried(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}", "{command: b, key: b}"))
	w.end(t, b, "a", 1)
	must(w.CancelBuild(t.Context(), b.ID, "ana"))(t)
	for _, key := range []string{"a", "b"} {
		_, err := w.RetryJob(t.Context(), w.job(t, b, key).ID, "ana")
		wantRefusal(t, err, "Jobs from canceled builds cannot be retried")
	}
}

// promise lets a running job promise a status.
func (w *world) promise(t testing.TB, j store.Job, status int) {
	t.Helper()
	if err := w.PromiseFailure(t.Context(), j.ID, status, ""); err != nil {
		t.Fatal(err)
	}
}

func TestP146_APromisedFailureFailsTheBuildAtOnce(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}", "{command: c, key: c, cancel_on_build_failing: true}"))
	a := w.begin(t, b, "a")
	w.promise(t, a, 1)
	w.wantStates(t, b, "a=running c=canceled")
	w.wantBuild(t, b, ci.BuildFailing)
	w.finish(t, a, 0)
	if j := w.job(t, b, "a"); *j.ExitStatus != 1 || j.Passed() {
		t.Errorf("the job ended with %d", *j.ExitStatus)
	}
	w.wantBuild(t, b, ci.BuildFailed)
}

func TestP147_APromiseOfASoftFailureOrARetryChangesNothing(t *testing.T) {
	w := stated(t)
	for _, attributes := range []string{"soft_fail: true", "soft_fail: [{exit_status: 3}]", "retry: {automatic: {exit_status: 3, limit: 1}}"} {
		b := w.build(t, steps("{command: a, key: a, "+attributes+"}", "{command: b, key: b}"))
		w.promise(t, w.begin(t, b, "a"), 3)
		w.wantBuild(t, b, ci.BuildRunning)
	}
}

func TestP148_APromiseIsKept(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}"))
	a := w.begin(t, b, "a")
	w.promise(t, a, 3)
	w.promise(t, a, 3)
	err := w.PromiseFailure(t.Context(), a.ID, 4, "")
	wantRefusal(t, err, "The job has promised exit status 3 already.")
	wantRefusal(t, w.PromiseFailure(t.Context(), a.ID, 0, ""), "")
}

func TestP288_AJobWithoutAGoodSignatureFails(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}"))
	must(w.FinishJob(t.Context(), engine.FinishJob{JobID: w.begin(t, b, "a").ID, ExitStatus: -1, SignalReason: "signature_rejected"}))(t)
	if j := w.job(t, b, "a"); *j.ExitStatus != -1 || j.SignalReason != "signature_rejected" || j.Passed() || !strings.Contains(j.Reason, "the signature of its step is missing") {
		t.Errorf("got %+v", j.Job)
	}
	w.wantBuild(t, b, ci.BuildFailed)
	if !w.retried(t, "{signal_reason: signature_rejected}", engine.FinishJob{ExitStatus: -1, SignalReason: "signature_rejected"}) {
		t.Error("a rule for the reason does not match")
	}
}
