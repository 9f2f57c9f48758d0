package engine_test

import (
	"testing"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// triggered makes a build with one trigger step and lets the step make its build.
func (w *world) triggered(t testing.TB, attributes string) (store.Build, store.Job) {
	t.Helper()
	b := w.build(t, `{"steps": [{"key": "t", `+attributes+`}]}`)
	job := w.job(t, b, "t")
	if err := w.TriggerBuild(t.Context(), job.ID); err != nil {
		t.Fatal(err)
	}
	return b, w.job(t, b, "t")
}

func TestATriggerThatIsRefusedFailsItsJobAndLeavesNoBuildBehind(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		target := w.pipeline(t, "misled", `{"steps": [{"command": "c", "agents": {"queue": "nowhere"}}]}`)
		b, job := w.triggered(t, `"trigger": "misled"`)
		w.wantBuild(t, b, ci.BuildFailed)
		if want := `line 1, column 12: step "c" wants queue=nowhere, which does not exist; the queues are: default`; job.Reason != want {
			t.Errorf("reason %q, want %q", job.Reason, want)
		}
		if n := must(w.Store.CountBuilds(t.Context(), target.ID))(t); n != 0 {
			t.Errorf("%d builds were left behind", n)
		}
		w.check(t, b)
	})
}

func TestATriggerWaitsForItsBuildUnlessItIsAsynchronous(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		w.pipeline(t, "child", `{"steps": [{"command": "c", "key": "c"}]}`)
		async, _ := w.triggered(t, `"trigger": "child", "async": true`)
		w.wantBuild(t, async, ci.BuildPassed)

		b, job := w.triggered(t, `"trigger": "child"`)
		w.wantBuild(t, b, ci.BuildRunning)
		child := must(w.Store.Build(t.Context(), job.TriggeredBuild))(t)
		if from := child.Detail.TriggeredFrom; from == nil || from.ID != b.ID || from.JobID != job.ID {
			t.Errorf("the child was triggered from %+v", from)
		}
		if b.Verdict.Profile != "member" || child.Verdict.Profile != "member" {
			t.Errorf("a member's build has profile %q, what it triggered %q", b.Verdict.Profile, child.Verdict.Profile)
		}
		if err := w.SettleTrigger(t.Context(), job.ID); err != nil {
			t.Fatal(err)
		}
		w.wantBuild(t, b, ci.BuildRunning)
		w.run(t, w.job(t, child, "c"), 1)
		for range 2 { // a pass may look again
			if err := w.SettleTrigger(t.Context(), job.ID); err != nil {
				t.Fatal(err)
			}
		}
		w.wantBuild(t, b, ci.BuildFailed)
		w.check(t, b)
	})
}

func TestACanceledBuildEndsWithTheBuildsThatItWaitsFor(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		w.pipeline(t, "child", `{"steps": [{"command": "c", "key": "c"}]}`)
		b, job := w.triggered(t, `"trigger": "child"`)
		child := must(w.Store.Build(t.Context(), job.TriggeredBuild))(t)
		running := w.job(t, child, "c")
		w.start(t, running)
		must(w.CancelBuild(t.Context(), b.ID, "Ada"))(t)
		w.wantBuild(t, b, ci.BuildCanceling)
		for range 2 { // a pass may look again
			for _, j := range must(w.Store.CanceledTriggers(t.Context(), 10))(t) {
				if err := w.CancelTriggered(t.Context(), j); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.SettleTrigger(t.Context(), job.ID); err != nil {
				t.Fatal(err)
			}
			w.wantBuild(t, child, ci.BuildCanceling)
			w.wantBuild(t, b, ci.BuildCanceling)
		}
		must(w.FinishJob(t.Context(), engine.FinishJob{JobID: running.ID, ExitStatus: -1, SignalReason: "cancel"}))(t)
		if got := must(w.Store.Build(t.Context(), child.ID))(t); got.State != ci.BuildCanceled || got.CanceledBy != "Ada" {
			t.Errorf("the triggered build is %s, canceled by %q", got.State, got.CanceledBy)
		}
		for _, j := range must(w.Store.EndedTriggers(t.Context(), 10))(t) {
			if err := w.SettleTrigger(t.Context(), j.ID); err != nil {
				t.Fatal(err)
			}
		}
		w.wantBuild(t, b, ci.BuildCanceled)
		w.check(t, b)
	})
}

func TestATriggerJobDoesNotRunOnAnAgent(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		w.pipeline(t, "child", `{"steps": [{"command": "c", "key": "c"}]}`)
		b := w.build(t, `{"steps": [{"key": "t", "trigger": "child"}]}`)
		job := w.job(t, b, "t")
		const no = "The job does not run on an agent."
		wantRefusal(t, w.StartJob(t.Context(), job.ID, w.Now()), no)
		wantRefusal(t, w.SetJobTimeout(t.Context(), job.ID, "1"), no)
		wantRefusal(t, w.PromiseFailure(t.Context(), job.ID, 1, ""), no)
		_, err := w.FinishJob(t.Context(), engine.FinishJob{JobID: job.ID})
		wantRefusal(t, err, no)
		_, err = w.AcquireJob(t.Context(), job.ID, w.agent(t).ID)
		wantRefusal(t, err, no)
		if ok := must(w.AssignJob(t.Context(), job.ID, w.agent(t).ID))(t); ok {
			t.Error("the trigger job was assigned")
		}
		w.wantJob(t, b, "t", ci.JobScheduled)
	})
}
