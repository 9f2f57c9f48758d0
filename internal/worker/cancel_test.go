package worker_test

import (
	"testing"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/worker"
)

func TestTheJobsOfACanceledBuildKeepNoAgentFromOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.CancelTogether = 2
	doomed := w.build("doomed", "steps:\n- {command: a, parallelism: 9, priority: 5}\n")
	w.build("other", "steps:\n- {command: b}\n")
	if _, err := w.CancelBuild(w.ctx(), doomed.ID, "ana"); err != nil {
		t.Fatal(err)
	}
	a := w.agent()
	w.assign()
	if got := w.held(a); got.BuildID == doomed.ID {
		t.Errorf("the agent was given a job of the canceled build")
	}
	rest := worker.CancelRest(w.Engine)
	if more, err := rest(w.ctx()); more || err != nil {
		t.Fatalf("the pass has more to do: %t, %v", more, err)
	}
	b, err := w.Store.Build(w.ctx(), doomed.ID)
	w.must(err)
	if b.State != ci.BuildCanceled {
		t.Errorf("the build is %s, want canceled", b.State)
	}
}
