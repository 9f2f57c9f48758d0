package engine_test

import (
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

const mainOnly = `{"branch_configuration": "main release/*"}`

// filtered makes a pipeline that builds two branches, with a step for one and a step for another.
func (w *world) filtered(t testing.TB) store.Pipeline {
	t.Helper()
	return must(w.CreatePipeline(t.Context(), engine.CreatePipeline{
		OrganizationID: w.org.ID, Name: "p", Repository: "https://example.test/p.git", Settings: []byte(mainOnly),
		Configuration: steps("{command: x, key: m, branches: main}", "{command: x, key: t, branches: topic}"),
	}))(t)
}

func TestP237_PullRequestsHeedTheFiltersOfStepsAlone(t *testing.T) {
	w := stated(t)
	pl := w.filtered(t)
	op := engine.CreateBuild{PipelineID: pl.ID, Source: trust.SourceAPI, Branch: "topic"}
	_, err := w.CreateBuild(t.Context(), op)
	wantRefusal(t, err, `The branch "topic" does not pass the branch filter of the pipeline, "main release/*".`)
	op.PullRequest = &store.PullRequest{Number: "7", BaseBranch: "main", Repository: pl.Repository}
	b := must(w.CreateBuild(t.Context(), op))(t)
	w.wantStates(t, b, "m=broken t=scheduled")
	op.PullRequest, op.MergeQueue = nil, &store.MergeQueue{BaseBranch: "main", BaseCommit: commit}
	w.wantStates(t, must(w.CreateBuild(t.Context(), op))(t), "m=broken t=scheduled")
	op.MergeQueue, op.Branch = nil, "release/1/2"
	if b := must(w.CreateBuild(t.Context(), op))(t); b.State != ci.BuildNotRun {
		t.Errorf("the build of a branch that passes the pipeline's filter and no step's is %s", b.State)
	}
}

func TestP277_AskedToABuildIgnoresThePipelinesFilterAlone(t *testing.T) {
	w := stated(t)
	pl := w.filtered(t)
	b := must(w.CreateBuild(t.Context(), engine.CreateBuild{
		PipelineID: pl.ID, Source: trust.SourceAPI, Branch: "topic", IgnoreBranchFilter: true,
	}))(t)
	w.wantStates(t, b, "m=broken t=scheduled")
	again := must(w.Rebuild(t.Context(), b.ID, trust.SourceAPI, store.Person{}))(t)
	if again.Branch != "topic" {
		t.Errorf("rebuilt %+v", again)
	}
}

func TestAFilterRefusesATriggersChild(t *testing.T) {
	w := stated(t)
	child := w.filtered(t)
	parent := w.build(t, "steps: [{trigger: "+child.Slug+", key: a, build: {branch: topic}}]")
	w.settle(t)
	w.wantStates(t, parent, "a=finished")
	if j := w.job(t, parent, "a"); !strings.Contains(j.Reason, "does not pass the branch filter") || w.now(t, parent).State != ci.BuildFailed {
		t.Errorf("the trigger's job says %q", j.Reason)
	}
}
