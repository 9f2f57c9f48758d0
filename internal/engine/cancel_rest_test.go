package engine_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

func TestACanceledBuildWithManyJobsGoesOnWhereItWasKilled(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		w.CancelTogether = 3
		b := w.build(t, "steps:\n- {command: a, key: a, parallelism: 6}\n- {command: s, key: s}\n- wait\n- {command: c, key: c, parallelism: 5}\n"+
			"- {command: d, key: d, depends_on: s, soft_fail: true}\n- {block: e, key: e}\n")
		held := w.job(t, b, "s")
		w.start(t, held)
		offered := w.job(t, b, "a")
		agent := w.agent(t)
		if !must(w.AssignJob(t.Context(), offered.ID, agent.ID))(t) {
			t.Fatal("not assigned")
		}
		must(w.CancelBuild(t.Context(), b.ID, "ana"))(t)
		w.wantBuild(t, b, ci.BuildCanceling)
		w.wantGivenToNobody(t, offered, agent)

		ctx, kill := context.WithCancel(t.Context())
		now, calls := w.Engine.Now, 0
		w.Engine.Now = func() time.Time {
			if calls++; calls == 2 {
				kill()
			}
			return now()
		}
		if err := w.CancelRest(ctx, b.ID); err == nil {
			t.Fatal("the pass was not killed")
		}
		w.Engine.Now = now
		w.wantJob(t, b, "s", ci.JobCanceling) // agents are told first
		must(w.FinishJob(t.Context(), engine.FinishJob{JobID: held.ID, ExitStatus: 1}))(t)
		w.wantBuild(t, b, ci.BuildCanceling)

		w.cancelRest(t, b)
		w.wantBuild(t, b, ci.BuildCanceled)
		w.wantCanceled(t, must(w.Store.Jobs(t.Context(), b.ID))(t), "ana")
		w.check(t, b)
		if left := must(w.Store.BuildsToEnd(t.Context(), 10))(t); slices.Contains(left, b.ID) {
			t.Error("the build is still looked at")
		}
	})
}

func (w *world) wantCanceled(t *testing.T, jobs []store.Job, by ci.Canceler) {
	t.Helper()
	if len(jobs) == 0 {
		t.Error("there are no jobs")
	}
	for _, j := range jobs {
		if j.State != ci.JobCanceled || j.CanceledBy != by {
			t.Errorf("job %s/%d is %s by %q, want canceled by %s", j.StepID, j.Number, j.State, j.CanceledBy, by)
		}
	}
}

// wantGivenToNobody holds that no agent gets a job of a build that is being canceled.
func (w *world) wantGivenToNobody(t *testing.T, offered store.Job, agent store.Agent) {
	t.Helper()
	ctx := t.Context()
	_, err := w.AcceptJob(ctx, offered.ID, agent.ID)
	wantRefusal(t, err, "The build is being canceled.")
	jobs := must(w.Store.JobsOfStep(ctx, offered.StepID))(t)
	free := jobs[slices.IndexFunc(jobs, func(j store.Job) bool { return j.State == ci.JobScheduled })]
	other := w.agent(t)
	if must(w.AssignJob(ctx, free.ID, other.ID))(t) {
		t.Error("a job was offered")
	}
	_, err = w.AcquireJob(ctx, free.ID, other.ID)
	wantRefusal(t, err, "The build is being canceled.")
}

func TestManyJobsOfAFailingBuildEndSomeAtATime(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		w.CancelTogether = 3
		b := w.build(t, "steps:\n- {command: a, key: a}\n- {command: c, key: c, parallelism: 5, cancel_on_build_failing: true}\n"+
			"- {command: d, key: d, parallelism: 2}\n")
		w.end(t, b, "a", 1)
		w.wantBuild(t, b, ci.BuildFailing)
		w.wantJob(t, b, "c", ci.JobScheduled)
		w.cancelRest(t, b)
		w.wantCanceled(t, must(w.Store.JobsOfStep(t.Context(), w.job(t, b, "c").StepID))(t), "cancel_on_build_failing")
		w.wantJob(t, b, "d", ci.JobScheduled)
		w.wantBuild(t, b, ci.BuildFailing)
		if left := must(w.Store.BuildsToEnd(t.Context(), 10))(t); slices.Contains(left, b.ID) {
			t.Error("the build is still looked at")
		}
		w.check(t, b)
	})
}

// A pass that listed what a build's failure made useless does not end the search that its cancellation began meanwhile.
func TestABuildThatIsCanceledWhileItFailsEndsWhole(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		w.CancelTogether = 3
		b := w.build(t, "steps:\n- {command: a, key: a}\n- {command: c, key: c, cancel_on_build_failing: true}\n"+
			"- {command: d, key: d, parallelism: 9}\n")
		w.end(t, b, "a", 1)
		must(w.CancelBuild(t.Context(), b.ID, "ana"))(t)
		late := w.Store.Update(t.Context(), func(tx *store.Tx) error { return tx.ClearCancels(t.Context(), b.ID, ci.BuildFailing) })
		if late != nil {
			t.Fatal(late)
		}
		w.cancelRest(t, b)
		w.wantBuild(t, b, ci.BuildCanceled)
		w.check(t, b)
	})
}

func TestAStepWithManyJobsEndsWhole(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		w.CancelTogether = 2
		b := w.build(t, "steps:\n- group: g\n  key: g\n  steps:\n  - {command: a, key: a, parallelism: 5}\n  - {command: c, key: c}\n- {command: d, key: d}\n")
		running := w.job(t, b, "c")
		w.start(t, running)
		if err := w.CancelStep(t.Context(), engine.CancelStep{BuildID: b.ID, Step: "g", By: "ana"}); err != nil {
			t.Fatal(err)
		}
		w.wantCanceled(t, must(w.Store.JobsOfStep(t.Context(), w.job(t, b, "a").StepID))(t), "ana")
		w.wantJob(t, b, "c", ci.JobCanceling)
		w.wantJob(t, b, "d", ci.JobScheduled)
		w.check(t, b)
	})
}

// TestACanceledGroupIsCanceledAsAWhole, also where it takes several transactions: those of its steps that wait for others of it have not
// failed for these.
func TestACanceledGroupIsCanceledAsAWhole(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		w.CancelTogether = 1
		b := w.build(t, "steps:\n- group: g\n  key: g\n  steps:\n  - {command: a, key: a}\n  - {command: b, key: b, depends_on: a}\n")
		must(0, w.CancelStep(t.Context(), engine.CancelStep{BuildID: b.ID, Step: "g", By: "ana"}))(t)
		w.wantJob(t, b, "a", ci.JobCanceled)
		w.wantJob(t, b, "b", ci.JobCanceled)
		w.check(t, b)
	})
}
