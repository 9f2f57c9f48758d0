package engine_test

import (
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
)

func TestP149_AJobThatRunsTooLongIsTimedOut(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a, timeout_in_minutes: 1}"))
	a := w.begin(t, b, "a")
	w.advance(59 * time.Second)
	if late := must(w.Store.TimedOutJobs(t.Context(), w.Now(), 10))(t); len(late) != 0 {
		t.Error("the job is late before its time")
	}
	w.timeOut(t, a)
	must(w.FinishJob(t.Context(), engine.FinishJob{JobID: a.ID, ExitStatus: -1, Signal: "SIGTERM", SignalReason: "cancel"}))(t)
	w.wantStates(t, b, "a=timed_out")
	w.wantBuild(t, b, ci.BuildFailed)
}

func TestP150_ATimedOutJobThatEndsWellHasPassed(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a, timeout_in_minutes: 1}"))
	a := w.begin(t, b, "a")
	w.timeOut(t, a)
	w.finish(t, a, 0)
	w.wantStates(t, b, "a=finished")
	w.wantBuild(t, b, ci.BuildPassed)
}

// minutes is the time limit that a step gets under a pipeline's settings.
func (w *world) minutes(t testing.TB, attributes, settings string) int {
	t.Helper()
	b := w.ask(t, engine.CreateBuild{}, steps("{command: a, key: a"+attributes+"}"), settings)
	return w.job(t, b, "a").TimeoutMinutes
}

func TestP151_AStepsTimeLimitComesBeforeItsPipelinesAndItsOrganizations(t *testing.T) {
	w := stated(t)
	w.decide(t, `{"default_command_step_timeout": 50, "maximum_command_step_timeout": 80}`)
	for _, c := range []struct {
		attributes, settings string
		want                 int
	}{
		{", timeout_in_minutes: 10", `{"default_command_step_timeout": 30}`, 10},
		{"", `{"default_command_step_timeout": 30}`, 30},
		{"", `{}`, 50},
		{", timeout_in_minutes: 90", `{}`, 80},
		{", timeout_in_minutes: 90", `{"maximum_command_step_timeout": 60}`, 60},
		{", timeout_in_minutes: 95", `{"maximum_command_step_timeout": 90}`, 80},
	} {
		if got := w.minutes(t, c.attributes, c.settings); got != c.want {
			t.Errorf("%q with %s: %d minutes, want %d", c.attributes, c.settings, got, c.want)
		}
	}
	w.decide(t, `{"default_command_step_timeout": null}`)
	if got := w.minutes(t, "", `{}`); got != 80 {
		t.Errorf("without a default there is the maximum: %d minutes, want 80", got)
	}
}

func TestP152_AMaximumCapsTheTimeLimit(t *testing.T) {
	w := stated(t)
	for _, c := range []struct {
		attributes, settings string
		want                 int
	}{
		{", timeout_in_minutes: 90", `{"maximum_command_step_timeout": 60}`, 60},
		{"", `{"maximum_command_step_timeout": 60}`, 60},
		{", timeout_in_minutes: 30", `{"maximum_command_step_timeout": 60}`, 30},
		{"", `{"default_command_step_timeout": 90, "maximum_command_step_timeout": 60}`, 60},
		{"", `{}`, 0},
	} {
		if got := w.minutes(t, c.attributes, c.settings); got != c.want {
			t.Errorf("%q with %s: %d minutes, want %d", c.attributes, c.settings, got, c.want)
		}
	}
}

func TestP153_AJobKnowsItsTimeLimit(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a, timeout_in_minutes: 7}", "{command: b, key: b}"))
	wantEnv(t, w.env(t, w.job(t, b, "a")), map[string]string{"BUILDKITE_TIMEOUT": "7"})
	wantEnv(t, w.env(t, w.job(t, b, "b")), map[string]string{"BUILDKITE_TIMEOUT": "false"})
}

func TestP154_ATimeLimitMayChangeWithinBounds(t *testing.T) {
	w := stated(t)
	b := w.ask(t, engine.CreateBuild{}, steps("{command: a, key: a, timeout_in_minutes: 10}"), `{"maximum_command_step_timeout": 65}`)
	a := w.begin(t, b, "a")
	w.advance(5 * time.Minute)
	wantRefusal(t, w.SetJobTimeout(t.Context(), a.ID, "0"), "")
	wantRefusal(t, w.SetJobTimeout(t.Context(), a.ID, "none"), "")
	wantRefusal(t, w.SetJobTimeout(t.Context(), a.ID, "66"), "The timeout of 66 minutes is longer than the pipeline allows.")
	if err := w.SetJobTimeout(t.Context(), a.ID, "20"); err != nil {
		t.Fatal(err)
	}
	if got := w.job(t, b, "a"); !got.TimeoutAt.Equal(got.StartedAt.Add(20 * time.Minute)) {
		t.Errorf("the job started at %v and times out at %v", got.StartedAt, got.TimeoutAt)
	}
	free := w.build(t, steps("{command: a, key: a, timeout_in_minutes: 10}"))
	a = w.begin(t, free, "a")
	wantRefusal(t, w.SetJobTimeout(t.Context(), a.ID, "71"), "The timeout may be raised by at most 60 minutes.")
	if err := w.SetJobTimeout(t.Context(), a.ID, "70"); err != nil {
		t.Error(err)
	}
	w.finish(t, a, 0)
	wantRefusal(t, w.SetJobTimeout(t.Context(), a.ID, "5"), "The job has ended.")
}

func TestP155_AJobNobodyTakesExpires(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}"))
	w.advance(month - time.Minute)
	w.expire(t)
	w.wantStates(t, b, "a=scheduled")
	w.advance(2 * time.Minute)
	w.expire(t)
	w.wantStates(t, b, "a=expired")
	w.wantBuild(t, b, ci.BuildFailed)
}

func TestP156_ACanceledBuildEndsWhatWaitsAndAsksWhatRuns(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}", "{command: b, key: b}", "wait", "{command: c, key: c}"))
	a := w.begin(t, b, "a")
	must(w.CancelBuild(t.Context(), b.ID, "ana"))(t)
	w.wantStates(t, b, "a=canceling b=canceled c=canceled")
	w.wantBuild(t, b, ci.BuildCanceling)
	w.finish(t, a, 0)
	w.wantStates(t, b, "a=canceled")
	w.wantBuild(t, b, ci.BuildCanceled)
}

func TestP158_ACanceledJobFailsItsBuild(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}", "{command: b, key: b}", "wait", "{command: c, key: c}"))
	must(w.CancelJob(t.Context(), w.job(t, b, "a").ID, "ana"))(t)
	w.end(t, b, "b", 0)
	w.wantStates(t, b, "a=canceled c=waiting_failed")
	w.wantBuild(t, b, ci.BuildFailed)
}

func TestP159_SomeJobsEndWithTheFirstFailure(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}", "{command: b, key: b, cancel_on_build_failing: true}",
		"{command: c, key: c, cancel_on_build_failing: true}", "{command: d, key: d}"))
	running := w.begin(t, b, "b")
	w.end(t, b, "a", 1)
	w.wantStates(t, b, "b=canceling c=canceled d=scheduled")
	w.finish(t, running, -1)
	w.end(t, b, "d", 0)
	w.wantStates(t, b, "b=canceled")
	w.wantBuild(t, b, ci.BuildFailed)
}

func TestP160_ASoftFailureCancelsNothing(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a, soft_fail: true}", "{command: b, key: b, cancel_on_build_failing: true}"))
	w.end(t, b, "a", 1)
	w.wantStates(t, b, "b=scheduled")
	w.end(t, b, "b", 0)
	w.wantBuild(t, b, ci.BuildPassed)
}

func TestP167_AStepCanceledByForceEndsWithoutItsAgent(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a, timeout_in_minutes: 1}", "{command: b, key: b}"))
	a, other := w.begin(t, b, "a"), w.begin(t, b, "b")
	must(0, w.CancelStep(t.Context(), engine.CancelStep{BuildID: b.ID, Step: "b", By: "ana"}))(t)
	must(0, w.CancelStep(t.Context(), engine.CancelStep{BuildID: b.ID, Step: "a", By: "ana", Force: true, Grace: 10 * time.Second}))(t)
	w.advance(9 * time.Second)
	must(0, w.TimeOutJob(t.Context(), a.ID))(t)
	w.wantStates(t, b, "a=canceling b=canceling")
	w.advance(time.Second)
	if late := must(w.Store.TimedOutJobs(t.Context(), w.Now(), 10))(t); len(late) != 1 || late[0].ID != a.ID {
		t.Errorf("late are %v", late)
	}
	must(0, w.TimeOutJob(t.Context(), a.ID))(t)
	must(0, w.TimeOutJob(t.Context(), other.ID))(t)
	w.wantStates(t, b, "a=canceled b=canceling")
	if agent := must(w.Store.Agent(t.Context(), a.AgentID))(t); agent.JobID != "" {
		t.Error("the agent still holds the job")
	}
	_, err := w.FinishJob(t.Context(), engine.FinishJob{JobID: a.ID})
	wantRefusal(t, err, "The job has ended already.")
	wantRefusal(t, w.CancelStep(t.Context(), engine.CancelStep{BuildID: b.ID, Step: "b", Force: true, Grace: -1}), "The grace period must be between 0 and 3600 seconds.")
}
