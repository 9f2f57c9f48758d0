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
		for _, j := range must(w.Store.Jobs(t.Context(), b.ID))(t) {
			if j.State != ci.JobCanceled || j.CanceledBy != "ana" {
				t.Errorf("job %s/%d is %s by %q, want canceled by ana", j.StepID, j.Number, j.State, j.CanceledBy)
			}
		}
		w.check(t, b)
		if left := must(w.Store.CancelingBuilds(t.Context(), 10))(t); slices.Contains(left, b.ID) {
			t.Error("the build is still looked at")
		}
	})
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
