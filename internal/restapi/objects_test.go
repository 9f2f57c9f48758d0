package restapi_test

import (
	"net/http"
	"testing"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// Every object has the members that its documentation lists, in the form of the golden files.
func TestObjects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pl := w.pipeline(t, "hello", "env: {A: b}\nsteps:\n- {label: Test, command: make test, key: test, artifact_paths: \"out/*\"}\n- wait\n- {block: \"Release?\", key: gate}\n- {label: Ship, command: make ship, key: ship}\n")
	b := w.build(t, pl, func(op *engine.CreateBuild) {
		op.Commit, op.Env, op.MetaData = "HEAD", map[string]string{"X": "1"}, map[string]string{"color": "blue"}
		op.PullRequest = &store.PullRequest{Number: "7", BaseBranch: "main", Repository: pl.Repository, Labels: []string{"ready"}}
	})
	a := w.agent(t, "a1")
	test := w.job(t, b, "test")
	w.start(t, test, a)
	w.golden(t, "agent", w.ask(t, "GET", main+"/agents/"+a.ID, "", 200).text)
	w.advance(1500e6)
	must(w.FinishJob(t.Context(), engine.FinishJob{JobID: test.ID}))(t)
	must(w.Annotate(t.Context(), engine.Annotate{BuildID: b.ID, Context: "tests", Style: "info", Body: "*Done* <script>x</script>"}))(t)
	for name, path := range map[string]string{
		"organizations": "/v2/organizations", "organization": main, "user": "/v2/user", "access_token": "/v2/access-token",
		"pipeline": main + "/pipelines/hello", "build": main + "/pipelines/hello/builds/1", "builds": main + "/builds?exclude_jobs=true",
		"job": main + "/jobs/" + test.ID, "jobs": main + "/pipelines/hello/builds/1/jobs?per_page=1",
		"annotations": main + "/pipelines/hello/builds/1/annotations", "clusters": main + "/clusters",
		"rate_limit": main + "/rate_limit", "env": main + "/jobs/" + test.ID + "/env",
	} {
		w.golden(t, name, w.ask(t, "GET", path, "", http.StatusOK).text)
	}
}
