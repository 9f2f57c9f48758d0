package agentapi_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/forge/github/githubtest"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

// appOn sets an app up and starts a job of a pipeline with a repository.
func (w *world) appOn(g *githubtest.Server, repository string) held {
	w.t.Helper()
	org := must(w.Store.Organization(w.t.Context(), "main"))(w.t)
	must(w.SetForgeApp(w.t.Context(), engine.SetForgeApp{OrganizationID: org.ID, APIURL: g.URL, AppID: githubtest.AppID, PrivateKey: g.PrivateKey}))(w.t)
	pl := must(w.CreatePipeline(w.t.Context(), engine.CreatePipeline{
		OrganizationID: org.ID, Name: "p-" + w.NewID(), Repository: repository, Configuration: "steps: [{command: x}]",
	}))(w.t)
	return w.held(must(w.CreateBuild(w.t.Context(), engine.CreateBuild{PipelineID: pl.ID, Source: trust.SourceAPI}))(w.t))
}

// askFor is what a job's agent is answered that asks for a token for a repository.
func (h held) askFor(w *world, repository string) answer {
	return w.do(h.Token, "POST", "/v3/jobs/"+h.job.ID+"/repository_access_token", `{"repo_url": "`+repository+`"}`)
}

func TestAJobGetsATokenForItsOwnRepositoryAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := githubtest.New(t, w.Now)
	own := strings.Replace(g.URL, "http:", "https:", 1) + "/Acme/app.git"
	h := w.appOn(g, own)
	for _, address := range []string{own, g.URL + "/acme/app"} {
		if got := h.askFor(w, address); got.status != http.StatusOK || got.body != `{"token":"ghs_1"}`+"\n" || got.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %s", address, got.status, got.body)
		}
	}
	for _, address := range []string{g.URL + "/acme/other.git", "https://127.0.0.1/acme/app.git", "https://elsewhere.test/acme/app.git", ""} {
		if got := h.askFor(w, address); got.status != http.StatusForbidden || !strings.Contains(got.message(t), own) {
			t.Errorf("%s: %d %s", address, got.status, got.body)
		}
	}
	if got := h.job.Env["BUILDKITE_USE_REPOSITORY_PROVIDER_GIT_CREDENTIALS"]; got != "true" {
		t.Errorf("the agent is not told to ask: %q", got)
	}
	if got := w.running().askFor(w, "https://example.test/p.git"); got.status != http.StatusNotFound || !strings.Contains(got.message(t), g.URL) {
		t.Errorf("of another forge: %d %s", got.status, got.body)
	}
}

func TestWithoutAnAppThereIsNoToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.running()
	if got := h.askFor(w, "https://example.test/p.git"); got.status != http.StatusNotFound || !strings.Contains(got.message(t), "forge-app") {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got, ok := h.job.Env["BUILDKITE_USE_REPOSITORY_PROVIDER_GIT_CREDENTIALS"]; ok {
		t.Errorf("the agent is told to ask: %q", got)
	}
}

func TestApprovedCodeOfAStrangerGetsNoToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := githubtest.New(t, w.Now)
	own := g.URL + "/acme/app.git"
	h := w.appOn(g, own)
	w.stranger(h.build)
	if got := h.askFor(w, own); got.status != http.StatusForbidden || !strings.Contains(got.message(t), "approved") {
		t.Errorf("%d %s", got.status, got.body)
	}
	if len(g.Asked) != 0 {
		t.Errorf("GitHub was asked: %v", g.Asked)
	}
}

// Agents cannot repeat the request, so they must not try.
func TestNoTokenIsAFinalAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := githubtest.New(t, w.Now)
	own := g.URL + "/acme/app.git"
	h := w.appOn(g, own)
	g.Do(func() { g.Fail = 2 })
	if got := h.askFor(w, own); got.status != http.StatusUnprocessableEntity || !strings.Contains(got.message(t), "502") {
		t.Errorf("while GitHub fails: %d %s", got.status, got.body)
	}
	g.Do(func() { g.Installed = nil })
	if got := h.askFor(w, own); got.status != http.StatusUnprocessableEntity || !strings.Contains(got.message(t), "not installed") {
		t.Errorf("where the app is not installed: %d %s", got.status, got.body)
	}
}

// stranger makes a build one whose code was only approved.
func (w *world) stranger(b store.Build) {
	w.t.Helper()
	must(0, w.Store.Update(context.Background(), func(tx *store.Tx) error {
		b, err := tx.LockBuild(context.Background(), b.ID)
		b.Verdict.Profile = string(trust.ProfileApproved)
		return errors.Join(err, tx.UpdateBuild(context.Background(), b))
	}))(w.t)
}
