package worker_test

import (
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/gitrepo"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
	"github.com/slipway-ci/slipway/internal/worker"
)

// A pull request that nothing is known of is a member's if a branch has its commit, and otherwise waits with
// what it changes.
func TestAHeldBuildsRepositoryIsAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := repo{w, t.TempDir()}
	r.git("init", "--quiet", "--initial-branch=main")
	r.commit("a.txt", "1")
	r.git("update-ref", "refs/pull/8/head", "HEAD")
	r.git("switch", "--quiet", "--detach")
	r.commit("ci/run.sh", "curl evil")
	r.git("update-ref", "refs/pull/7/head", "HEAD")
	stranger := r.git("rev-parse", "HEAD")
	r.git("switch", "--quiet", "main")
	pl, err := w.CreatePipeline(w.ctx(), engine.CreatePipeline{OrganizationID: w.org.ID, Name: "p", Repository: r.dir})
	w.must(err)
	create := func(ref string) store.Build {
		b, err := w.CreateBuild(w.ctx(), engine.CreateBuild{PipelineID: pl.ID, Source: trust.SourceAPI, Commit: ref})
		w.must(err)
		return b
	}
	merged, held := create("refs/pull/8/head"), create("refs/pull/7/head")
	_, err = (&worker.Origins{Engine: w.Engine, Repos: gitrepo.New(t.TempDir(), true)}).Pass(w.ctx())
	w.must(err)
	merged, err = w.Store.Build(w.ctx(), merged.ID)
	w.must(err)
	if merged.Verdict.Decision != "allow" || merged.Detail.Origin.Branch != "main" || merged.Commit != r.git("rev-parse", "main") {
		t.Errorf("merged: %s, %+v, %+v", merged.Commit, merged.Verdict, merged.Detail.Origin)
	}
	held, err = w.Store.Build(w.ctx(), held.ID)
	w.must(err)
	o := held.Detail.Origin
	if held.Verdict.Decision != "hold" || held.Commit != stranger || !o.Looked || o.Changes == nil || strings.Join(o.Changes.Files, " ") != "ci/run.sh" {
		t.Errorf("not merged: %s, %+v, %+v", held.Commit, held.Verdict, o)
	}
}
