package restapi_test

import (
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/slipway-ci/slipway/client"
	"github.com/slipway-ci/slipway/internal/store"
)

func (w *world) client() *client.Client {
	return &client.Client{URL: w.url, Token: apiToken, Organization: "main"}
}

// read reads all that a call of the client gives.
func read(t *testing.T, r io.ReadCloser, err error) string {
	t.Helper()
	must(0, err)(t)
	defer r.Close()
	return string(must(io.ReadAll(r))(t))
}

// A script drives a build from its pipeline to its artifacts.
func TestClientDrivesABuild(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, ctx := w.client(), t.Context()
	token := must(c.AccessToken(ctx))(t)
	if orgs := must(c.Organizations(ctx))(t); len(orgs) != 1 || orgs[0].Slug != "main" || token.User.Name != "Owner" {
		t.Errorf("%+v %+v", orgs, token)
	}
	pl := must(c.CreatePipeline(ctx, client.CreatePipeline{
		Name: "Hello", Repository: "r", Configuration: "steps:\n- {command: a, key: a}\n- {block: Go, key: gate, fields: [{text: Who, key: who}]}\n",
	}))(t)
	pl = must(c.UpdatePipeline(ctx, pl.Slug, map[string]any{"description": "Says hello"}))(t)
	if got := must(c.Pipeline(ctx, "hello"))(t); got.Description != "Says hello" || got.ID != pl.ID {
		t.Errorf("%+v", got)
	}
	b := must(c.CreateBuild(ctx, pl.Slug, client.CreateBuild{Commit: "HEAD", Branch: "main", Message: "m", Env: map[string]string{"A": "b"}}))(t)
	a, job := w.agent(t, "a1"), b.Jobs[0]
	stored := must(w.Store.Job(ctx, job.ID))(t)
	w.run(t, stored, a, 3)
	again := must(c.RetryJob(ctx, job.ID))(t)
	w.run(t, must(w.Store.Job(ctx, again.ID))(t), a, 0)
	b = must(c.Build(ctx, pl.Slug, b.Number))(t)
	if len(b.Jobs) != 3 || *b.Jobs[0].ExitStatus != 3 || !b.Jobs[0].Retried || b.Jobs[1].Agent.Name != "a1" || !b.Blocked || b.Finished() {
		t.Errorf("%+v", b)
	}
	must(c.UnblockJob(ctx, b.Jobs[2].ID, map[string]string{"who": "me"}))(t)
	if b = must(c.Build(ctx, pl.Slug, b.Number))(t); b.State != "passed" || !b.Finished() || b.MetaData["who"] != "me" {
		t.Errorf("%+v", b)
	}
	second := must(c.Rebuild(ctx, pl.Slug, b.Number))(t)
	if got := must(c.CancelBuild(ctx, pl.Slug, second.Number))(t); got.State != "canceled" {
		t.Errorf("%+v", got)
	}
	if got := must(c.Job(ctx, again.ID))(t); got.State != "passed" {
		t.Errorf("%+v", got)
	}
}

func TestClientListsPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, pl := w.client(), w.pipeline(t, "hello", "steps: [{command: a}]")
	for range 3 {
		w.build(t, pl)
	}
	o := client.BuildsOptions{ListOptions: client.ListOptions{PerPage: 2}, Pipeline: "hello", States: []string{"scheduled", "running"}, Branches: []string{"ma*"}}
	first := must(c.Builds(t.Context(), o))(t)
	o.Page = first.Next
	second := must(c.Builds(t.Context(), o))(t)
	if len(first.Items) != 2 || len(second.Items) != 1 || second.Next != 0 {
		t.Errorf("%d builds, then %d, then page %d", len(first.Items), len(second.Items), second.Next)
	}
	if got := must(c.Pipelines(t.Context(), client.ListOptions{}))(t); len(got.Items) != 1 {
		t.Errorf("%+v", got)
	}
	a := w.agent(t, "a1")
	if got := must(c.Agents(t.Context(), client.ListOptions{}))(t); len(got.Items) != 1 || got.Items[0].Queue != "default" {
		t.Errorf("%+v", got)
	}
	must(0, c.StopAgent(t.Context(), a.ID, false))(t)
}

// A follower reads each byte of a growing log once.
func TestClientFollowsALog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, b := w.client(), w.build(t, w.pipeline(t, "hello", "steps: [{command: a, key: a}]"))
	j := w.job(t, b, "a")
	_, err := c.JobLog(t.Context(), j.ID)
	if e, ok := errors.AsType[*client.Error](err); !ok || e.Status != http.StatusNotFound || e.Message != "No log found" {
		t.Errorf("a job that waits has a log: %v", err)
	}
	w.start(t, j, w.agent(t, "a1"))
	got, next := "", int64(0)
	for i, piece := range []string{"", "one\n", "", "two\n"} {
		if piece != "" {
			w.print(t, j, int64(i), next, piece)
		}
		var text io.ReadCloser
		text, next, err = c.JobLogFrom(t.Context(), j.ID, next)
		got += read(t, text, err)
	}
	if got != "one\ntwo\n" || next != 8 {
		t.Errorf("%q up to %d", got, next)
	}
}

func TestClientListsArtifacts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, b := w.client(), w.build(t, w.pipeline(t, "hello", "steps: [{command: a, key: a}]"))
	j := w.job(t, b, "a")
	must(w.CreateArtifacts(t.Context(), j, "batch", []store.Artifact{{Path: "a.txt", SHA256: "x"}, {Path: "b"}}))(t)
	all := must(c.Artifacts(t.Context(), "hello", b.Number, "*.txt", client.ListOptions{}))(t)
	if len(all.Items) != 1 || all.Items[0].Path != "a.txt" || all.Items[0].State != "new" {
		t.Errorf("%+v", all)
	}
	_, err := c.DownloadArtifact(t.Context(), all.Items[0])
	if e, ok := errors.AsType[*client.Error](err); !ok || e.Status != http.StatusNotFound {
		t.Errorf("downloading what never arrived: %v", err)
	}
}

func TestClientErrorsNameFields(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.client().CreatePipeline(t.Context(), client.CreatePipeline{Name: "x"})
	e, ok := errors.AsType[*client.Error](err)
	if !ok || e.Status != 422 || e.Fields["repository"] == "" || e.Error() != "Validation Failed (repository can't be blank)" {
		t.Errorf("%#v", err)
	}
}

func TestClientChangesAQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, c := t.Context(), w.client()
	cluster := get[[]struct{ ID string }](t, w, main+"/clusters")[0].ID
	q := must(c.CreateQueue(ctx, cluster, client.CreateQueue{Key: "gpu", RetryAgentAffinity: "prefer-different"}))(t)
	q = must(c.UpdateQueue(ctx, cluster, q.ID, map[string]any{"description": "With GPUs"}))(t)
	all := must(c.Queues(ctx, cluster, client.ListOptions{}))(t)
	if len(all.Items) != 2 || all.Items[1].ID != q.ID || q.Description != "With GPUs" || q.RetryAgentAffinity != "prefer-different" {
		t.Errorf("%+v of %+v", q, all.Items)
	}
}
