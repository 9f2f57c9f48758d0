package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/forge/github"
	"github.com/slipway-ci/slipway/internal/forge/github/githubtest"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
	"github.com/slipway-ci/slipway/internal/worker"
)

const sha = "0123456789abcdef0123456789abcdef01234567"

// gitHub is a server that takes statuses as GitHub does.
type gitHub struct {
	url    string
	mu     sync.Mutex
	status int // of the answers; 0: 201
	got    []string
}

func newGitHub(t *testing.T) *gitHub {
	t.Helper()
	g := &gitHub{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		defer g.mu.Unlock()
		var s struct {
			State, Context, Description string
			TargetURL                   string `json:"target_url"`
		}
		err := json.NewDecoder(r.Body).Decode(&s)
		if err != nil || r.Method != "POST" || r.Header.Get("Authorization") != "Bearer t0ken" || !strings.HasPrefix(s.TargetURL, "https://ci.test/main/p/builds/") {
			t.Errorf("%s %s %s: %+v, %v", r.Method, r.URL, r.Header, s, err)
		}
		if g.status != 0 {
			w.Header().Set("Retry-After", "60")
			w.WriteHeader(g.status)
			return
		}
		g.got = append(g.got, fmt.Sprintf("%s %s=%s", strings.TrimPrefix(r.URL.Path, "/repos/acme/app/statuses/"), s.Context, s.State))
		w.WriteHeader(http.StatusCreated)
	}))
	t.Cleanup(server.Close)
	g.url = server.URL
	return g
}

// answers sets the status of the answers to come.
func (g *gitHub) answers(status int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.status = status
}

// want holds the statuses since the last call against "context=state", all of the commit sha, in any order.
func (g *gitHub) want(t *testing.T, want ...string) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	got := g.got
	g.got = nil
	for i := range want {
		want[i] = sha + " " + want[i]
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(append([]string{}, want...), append([]string{}, got...)); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
}

// tell delivers what is due.
func (w *world) tell() {
	w.t.Helper()
	s := &worker.Statuses{Engine: w.Engine, Client: worker.WebhookClient(true), Apps: &github.Tokens{Client: worker.WebhookClient(true), Now: w.Now}, BaseURL: "https://ci.test"}
	w.pass(&worker.Relay{Engine: w.Engine, Log: w.Log, Deliver: map[string]func(context.Context, store.Effect) error{engine.EffectStatus: s.Deliver}})
}

// onGitHub makes a build of a pipeline that is on a GitHub.
func (w *world) onGitHub(g *gitHub, commit, provider, configuration string) store.Build {
	w.t.Helper()
	_, err := w.SetForgeToken(w.ctx(), engine.SetForgeToken{OrganizationID: w.org.ID, APIURL: g.url, Token: "t0ken"})
	w.must(err)
	pl, err := w.CreatePipeline(w.ctx(), engine.CreatePipeline{
		OrganizationID: w.org.ID, Name: "p", Repository: g.url + "/acme/app.git", Configuration: configuration,
		Settings: json.RawMessage(`{"provider_settings": ` + provider + `}`),
	})
	w.must(err)
	b, err := w.CreateBuild(w.ctx(), engine.CreateBuild{PipelineID: pl.ID, Source: trust.SourceAPI, Commit: commit})
	w.must(err)
	return b
}

// run lets an agent run the next job to an exit status.
func (w *world) run(a store.Agent, exit int) {
	w.t.Helper()
	w.assign()
	j := w.held(a)
	_, err := w.AcceptJob(w.ctx(), j.ID, a.ID)
	w.must(err)
	w.must(w.StartJob(w.ctx(), j.ID, w.Now()))
	w.tell()
	_, err = w.FinishJob(w.ctx(), engine.FinishJob{JobID: j.ID, ExitStatus: exit})
	w.must(err)
	w.tell()
}

func TestP255_ACommitStatusHasAContextAndSaysWhatABlockedBuildIs(t *testing.T) {
	t.Parallel()
	const blocks = "steps:\n- {command: x}\n- {block: Go}\n- {command: y}\n"
	for _, c := range []struct {
		name, provider, configuration string
		exits                         []int
		want                          []string
	}{
		{"passed", `{}`, "steps: [{command: x}]", []int{0}, []string{"buildkite/p=pending", "buildkite/p=success"}},
		{"failed", `{}`, "steps: [{command: x}]", []int{1}, []string{"buildkite/p=pending", "buildkite/p=failure"}},
		{"blocked", `{}`, blocks, []int{0}, []string{"buildkite/p=pending", "buildkite/p=success"}},
		{"blocked as pending", `{"publish_blocked_as_pending": true}`, blocks, []int{0}, []string{"buildkite/p=pending", "buildkite/p=pending"}},
		{"blocked as failed", `{}`, strings.Replace(blocks, "Go", "Go, blocked_state: failed", 1), []int{0}, []string{"buildkite/p=pending", "buildkite/p=failure"}},
		{"blocked as running", `{}`, strings.Replace(blocks, "Go", "Go, blocked_state: running", 1), []int{0}, []string{"buildkite/p=pending", "buildkite/p=pending"}},
		{"off", `{"publish_commit_status": false}`, "steps: [{command: x}]", []int{0}, nil},
		{"of each step", `{"publish_commit_status_per_step": true}`, "steps: [{command: x, label: ':go: Unit tests'}]", []int{0}, []string{"buildkite/p/unit-tests=pending", "buildkite/p=pending", "buildkite/p/unit-tests=success", "buildkite/p=success"}},
		{"of each step by key", `{"publish_commit_status_per_step": true, "use_step_key_as_commit_status": true}`, "steps: [{command: x, label: L, key: unit}]", []int{1}, []string{"buildkite/p/unit=pending", "buildkite/p=pending", "buildkite/p/unit=failure", "buildkite/p=failure"}},
		{"its own", `{"publish_commit_status": false}`, "notify: [{github_commit_status: {context: mine}}]\nsteps: [{command: x}]", []int{0}, []string{"mine=success"}},
		{"its own, bare", `{"publish_commit_status": false}`, "notify: [github_commit_status]\nsteps: [{command: x}]", []int{0}, []string{"buildkite/p=success"}},
		{"its own, not so", `{"publish_commit_status": false}`, "notify: [{github_commit_status: {context: mine}, if: build.branch == 'x'}]\nsteps: [{command: x}]", []int{0}, nil},
		{"a step's own", `{"publish_commit_status": false}`, "steps: [{command: x, notify: [{github_commit_status: {context: unit}}]}]", []int{1}, []string{"unit=failure"}},
		{"a step's own, bare", `{"publish_commit_status": false}`, "steps: [{command: x, label: Lint, notify: [github_commit_status]}]", []int{0}, []string{"buildkite/p/lint=success"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w, g := newWorld(t), newGitHub(t)
			w.onGitHub(g, sha, c.provider, c.configuration)
			a := w.agent()
			for _, exit := range c.exits {
				w.run(a, exit)
			}
			g.want(t, c.want...)
		})
	}
}

func TestP256_NoStatusBeforeTheCommitIsKnownInFull(t *testing.T) {
	t.Parallel()
	w, g := newWorld(t), newGitHub(t)
	b := w.onGitHub(g, "HEAD", `{}`, "steps: [{command: x}]")
	a := w.agent()
	w.assign()
	j := w.held(a)
	_, err := w.AcceptJob(w.ctx(), j.ID, a.ID)
	w.must(err)
	w.must(w.StartJob(w.ctx(), j.ID, w.Now()))
	w.tell()
	g.want(t)
	w.must(w.Store.Update(w.ctx(), func(tx *store.Tx) error {
		return tx.SetMetaData(w.ctx(), b.ID, "buildkite:git:commit", "commit "+sha+"\nabbrev-commit 0123456789\n")
	}))
	w.clock.Add(time.Minute.Microseconds())
	w.tell()
	g.want(t, "buildkite/p=pending")
	_, err = w.FinishJob(w.ctx(), engine.FinishJob{JobID: j.ID})
	w.must(err)
	w.tell()
	g.want(t, "buildkite/p=success")

	// One that nobody resolves is let go of.
	w, g = newWorld(t), newGitHub(t)
	w.onGitHub(g, "HEAD", `{}`, "steps: [{command: x}]")
	w.run(w.agent(), 0)
	g.want(t)
	if n := w.due(); n != 0 {
		t.Errorf("%d effects are left", n)
	}
}

// A forge that is away is told the last state, once; one that refuses is not asked again.
func TestAStatusIsToldOnceWhenTheForgeIsBack(t *testing.T) {
	t.Parallel()
	w, g := newWorld(t), newGitHub(t)
	g.answers(http.StatusForbidden) // with Retry-After: asked too often
	w.onGitHub(g, sha, `{}`, "steps: [{command: x}]")
	w.run(w.agent(), 0)
	g.answers(0)
	w.clock.Add(time.Hour.Microseconds())
	w.tell()
	g.want(t, "buildkite/p=success")

	w, g = newWorld(t), newGitHub(t)
	g.answers(http.StatusNotFound)
	w.onGitHub(g, sha, `{}`, "steps: [{command: x}]")
	w.run(w.agent(), 0)
	if n := w.due(); n != 0 {
		t.Errorf("%d effects are left of a status that was refused", n)
	}
}

func TestATokenGoesToItsOwnForgeAlone(t *testing.T) {
	t.Parallel()
	w, g := newWorld(t), newGitHub(t)
	_, err := w.SetForgeToken(w.ctx(), engine.SetForgeToken{OrganizationID: w.org.ID, APIURL: g.url, Token: "t0ken"})
	w.must(err)
	pl, err := w.CreatePipeline(w.ctx(), engine.CreatePipeline{
		OrganizationID: w.org.ID, Name: "p", Repository: "https://gitlab.test/acme/app.git", Configuration: "notify: [github_commit_status]\nsteps: [{command: x}]",
	})
	w.must(err)
	_, err = w.CreateBuild(w.ctx(), engine.CreateBuild{PipelineID: pl.ID, Source: trust.SourceAPI, Commit: sha})
	w.must(err)
	w.run(w.agent(), 0)
	g.want(t)
	for _, bad := range []engine.SetForgeToken{{Token: ""}, {Token: "a b"}, {Token: "t", APIURL: "ftp://x"}, {Token: "t", APIURL: "https://u:p@x"}} {
		bad.OrganizationID = w.org.ID
		if _, err := w.SetForgeToken(w.ctx(), bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

// An organization's app writes statuses where no token was given.
func TestAnAppWritesStatusesWhereThereIsNoToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := githubtest.New(t, w.Now)
	_, err := w.SetForgeApp(w.ctx(), engine.SetForgeApp{OrganizationID: w.org.ID, APIURL: g.URL, AppID: githubtest.AppID, PrivateKey: g.PrivateKey})
	w.must(err)
	pl, err := w.CreatePipeline(w.ctx(), engine.CreatePipeline{
		OrganizationID: w.org.ID, Name: "p", Repository: g.URL + "/acme/app.git", Configuration: "steps: [{command: x}]",
	})
	w.must(err)
	build := func() {
		_, err := w.CreateBuild(w.ctx(), engine.CreateBuild{PipelineID: pl.ID, Source: trust.SourceAPI, Commit: sha})
		w.must(err)
	}
	a := w.agent()
	build()
	w.run(a, 0)
	if diff := cmp.Diff([]string{"acme/app buildkite/p=pending", "acme/app buildkite/p=success"}, g.Statuses); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}

	// One that is not installed is not asked for ever.
	g.Do(func() { g.Installed = nil })
	build()
	w.run(a, 0)
	if n := w.due(); n != 0 {
		t.Errorf("%d effects are left", n)
	}
}
