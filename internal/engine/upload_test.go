package engine_test

import (
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// upload applies an upload of a running job, or fails the test.
func (w *world) upload(t testing.TB, job store.Job, uuid, document string, replace bool) {
	t.Helper()
	op := engine.UploadPipeline{JobID: job.ID, UUID: uuid, Pipeline: []byte(document), Replace: replace}
	if up := must(w.UploadPipeline(t.Context(), op))(t); up.State != "applied" {
		t.Fatalf("upload %s: %s", up.State, up.Message)
	}
}

func TestAReplacingUploadMayUseTheKeysThatItFrees(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, `steps:
- {command: up, key: up}
- group: g
  key: g
  steps:
  - {command: x, key: x}
- wait
- {command: y, key: y}
`)
		old := w.job(t, b, "y")
		job := w.job(t, b, "up")
		w.start(t, job)
		w.upload(t, job, "u", `{"steps":[{"command":"x2","key":"x"},{"group":"g","key":"g","steps":[{"command":"y2","key":"y","depends_on":"x"}]}]}`, true)
		w.check(t, b)
		if got := must(w.Store.Job(t.Context(), old.ID))(t).State; got != ci.JobSkipped {
			t.Errorf("the replaced job is %s", got)
		}
		must(w.FinishJob(t.Context(), engine.FinishJob{JobID: job.ID}))(t)
		w.run(t, w.job(t, b, "x"), 0)
		w.run(t, w.job(t, b, "y"), 0)
		w.wantBuild(t, b, ci.BuildPassed)
		w.check(t, b)
	})
}

func TestAReplacedStepCannotBeDependedOn(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, "steps:\n- {command: up, key: up}\n- wait\n- {command: y, key: y}\n")
		job := w.job(t, b, "up")
		w.start(t, job)
		op := engine.UploadPipeline{JobID: job.ID, UUID: "u", Replace: true, Pipeline: []byte(`{"steps":[{"command":"z","depends_on":"y"}]}`)}
		up := must(w.UploadPipeline(t.Context(), op))(t)
		if up.State != "rejected" || !strings.Contains(up.Message, "step dependencies not found") {
			t.Errorf("got %+v", up)
		}
		w.wantJob(t, b, "y", ci.JobWaiting)
		w.check(t, b)
	})
}

func TestAReplacingUploadKeepsWhatHasBegun(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, `steps:
- {command: up, key: up}
- group: g
  key: g
  steps:
  - {command: offered, key: offered}
  - {command: free, key: free}
- {command: again, key: again, retry: {automatic: [{exit_status: 1, limit: 1}]}}
`)
		job := w.job(t, b, "up")
		w.start(t, job)
		must(w.AssignJob(t.Context(), w.job(t, b, "offered").ID, w.agent(t).ID))(t)
		w.run(t, w.job(t, b, "again"), 1)
		w.upload(t, job, "u", `{"steps":[{"command":"z"}]}`, true)
		w.wantJob(t, b, "offered", ci.JobAssigned)
		w.wantJob(t, b, "again", ci.JobScheduled)
		for _, key := range []string{"g", "offered", "again"} {
			must(w.Store.StepByKey(t.Context(), b.ID, key))(t)
		}
		if _, err := w.Store.StepByKey(t.Context(), b.ID, "free"); err == nil {
			t.Error("a step of which nothing has begun is still there")
		}
		w.check(t, b)
	})
}

func TestADependantThatAnUploadedStepWaitsForDoesNotWaitForIt(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, "steps:\n- {command: up, key: up}\n- wait\n- {command: last, key: last}\n")
		job := w.job(t, b, "up")
		w.start(t, job)
		w.upload(t, job, "u", `{"steps":[{"command":"before","key":"before"},{"command":"after","key":"after","depends_on":"last"}]}`, false)
		must(w.FinishJob(t.Context(), engine.FinishJob{JobID: job.ID}))(t)
		w.wantJob(t, b, "last", ci.JobWaiting)
		w.run(t, w.job(t, b, "before"), 0)
		w.wantJob(t, b, "after", ci.JobWaiting)
		w.run(t, w.job(t, b, "last"), 0)
		w.run(t, w.job(t, b, "after"), 0)
		w.wantBuild(t, b, ci.BuildPassed)
		w.check(t, b)
	})
}

func TestAnUploadedStepThatWouldWaitForItselfIsRefused(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, `steps:
- group: g
  key: g
  steps:
  - {command: up, key: up}
- {command: last, key: last, depends_on: g}
`)
		job := w.job(t, b, "up")
		w.start(t, job)
		op := engine.UploadPipeline{JobID: job.ID, UUID: "u", Pipeline: []byte(`{"steps":[{"command":"after","key":"after","depends_on":"last"}]}`)}
		up := must(w.UploadPipeline(t.Context(), op))(t)
		if up.State != "rejected" || up.Message != `the step "after" depends on "last", which waits for it` {
			t.Errorf("got %+v", up)
		}
		w.check(t, b)
	})
}

func TestAnUploadedStepSeesWhatTheUploadItselfEnds(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, `steps:
- {command: bad, key: bad}
- {command: up, key: up}
- {command: mid, key: mid, depends_on: up}
`)
		w.run(t, w.job(t, b, "bad"), 1)
		job := w.job(t, b, "up")
		w.start(t, job)
		w.upload(t, job, "u", `{"steps":[{"command":"x","key":"x","depends_on":"bad"},{"command":"y","key":"y","depends_on":"mid"}]}`, false)
		for _, key := range []string{"x", "mid", "y"} { // x is given up, so mid is, so y is
			w.wantJob(t, b, key, ci.JobWaitingFailed)
		}
		w.check(t, b)
	})
}

func TestAnUploadedStepSeesWhatItsOwnUploadReplaced(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, `steps:
- {command: up, key: up}
- group: g
  key: g
  steps:
  - {command: done, key: done}
  - {command: free, key: free}
`)
		w.run(t, w.job(t, b, "done"), 0)
		job := w.job(t, b, "up")
		w.start(t, job)
		w.upload(t, job, "u", `{"steps":[{"command":"x","key":"x","depends_on":"g"}]}`, true)
		w.wantJob(t, b, "x", ci.JobScheduled)
		w.check(t, b)
	})
}

func TestAnUploadOfAnAttemptThatWasLostChangesNothing(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, "steps:\n- {command: up, key: up, retry: {automatic: true}}\n")
		job := w.job(t, b, "up")
		a := w.start(t, job)
		w.upload(t, job, "in time", `{"steps":[{"command":"x","key":"x"}]}`, false)
		if err := w.LoseAgent(t.Context(), a.ID, "gone"); err != nil {
			t.Fatal(err)
		}
		op := engine.UploadPipeline{JobID: job.ID, UUID: "late", Pipeline: []byte(`{"steps":[{"command":"y","key":"y"}]}`)}
		if up := must(w.UploadPipeline(t.Context(), op))(t); up.State != "rejected" {
			t.Errorf("a late upload is %s", up.State)
		}
		op.UUID = "in time"
		if up := must(w.UploadPipeline(t.Context(), op))(t); up.State != "applied" {
			t.Errorf("an upload that was applied is %s when it is repeated late", up.State)
		}
		w.check(t, b)
	})
}
