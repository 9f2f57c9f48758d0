package engine_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jwt"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

const issuer = "https://ci.example.test"

// published is the set of public keys, as a reader of tokens gets it.
func (w *world) published(t testing.TB) jwk.Set {
	t.Helper()
	set := jwk.NewSet()
	for _, k := range must(w.OIDCKeys(t.Context()))(t) {
		must(0, set.AddKey(must(jwk.ParseKey(k.Public))(t)))(t)
	}
	return set
}

// verified are the claims of a token, which must hold against a set of keys.
func (w *world) verified(t testing.TB, token string, keys jwk.Set) map[string]any {
	t.Helper()
	parsed, err := jwt.ParseString(token, jwt.WithKeySet(keys), jwt.WithClock(jwt.ClockFunc(w.Now)))
	if err != nil {
		t.Fatalf("the token does not hold: %v", err)
	}
	var claims map[string]any
	must(0, json.Unmarshal(must(json.Marshal(parsed))(t), &claims))(t)
	return claims
}

// token is a token of a job that runs, as its claims.
func (w *world) token(t testing.TB, j store.Job, change ...func(*engine.OIDCToken)) map[string]any {
	t.Helper()
	op := engine.OIDCToken{JobID: j.ID, Issuer: issuer}
	for _, f := range change {
		f(&op)
	}
	return w.verified(t, must(w.OIDCToken(t.Context(), op))(t), w.published(t))
}

const oidcCommit = "0123456789abcdef0123456789abcdef01234567"

func TestP293_AJobProvesItsIdentityWithAToken(t *testing.T) {
	w := stated(t)
	b := w.ask(t, engine.CreateBuild{Branch: "topic", Commit: oidcCommit}, steps("{command: a, key: a}", "{command: b}"), "")
	job := w.begin(t, b, "a")
	slug := must(w.Store.PipelineByID(t.Context(), b.PipelineID))(t).Slug
	now := float64(w.Now().Unix())
	want := map[string]any{
		"iss": issuer, "aud": []any{issuer + "/main"}, "iat": now, "nbf": now, "exp": now + 300,
		"sub":               "organization:main:pipeline:" + slug + ":ref:refs/heads/topic:commit:" + oidcCommit + ":step:a",
		"organization_slug": "main", "pipeline_slug": slug, "build_number": 1.0, "build_branch": "topic", "build_commit": oidcCommit,
		"step_key": "a", "job_id": job.ID, "agent_id": job.AgentID, "build_source": "api", "runner_environment": "self-hosted",
	}
	if diff := cmp.Diff(want, w.token(t, job)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var keyless store.Job
	for _, j := range must(w.Store.Jobs(t.Context(), b.ID))(t) {
		if j.State == ci.JobScheduled {
			keyless = j
		}
	}
	w.start(t, keyless)
	if got := w.token(t, keyless); got["step_key"] != nil || !strings.HasSuffix(got["sub"].(string), ":step:") {
		t.Errorf("without a key: %v", got)
	}
	tagged := w.ask(t, engine.CreateBuild{Branch: "v1", Tag: "v1", Commit: oidcCommit}, steps("{command: a, key: a}"), "")
	if got := w.token(t, w.begin(t, tagged, "a")); got["build_tag"] != "v1" || !strings.Contains(got["sub"].(string), ":ref:refs/tags/v1:") {
		t.Errorf("of a tag: %v", got)
	}
}

func TestP294_ATokenNamesOtherThings(t *testing.T) {
	w := stated(t)
	b := w.ask(t, engine.CreateBuild{Branch: "main", Commit: oidcCommit}, steps("{command: a}"), "")
	job := must(w.Store.Jobs(t.Context(), b.ID))(t)[0]
	a := w.agent(t, "os=linux")
	must(w.AssignJob(t.Context(), job.ID, a.ID))(t)
	must(w.AcceptJob(t.Context(), job.ID, a.ID))(t)
	got := w.token(t, job, func(op *engine.OIDCToken) {
		op.Audience, op.Subject, op.Lifetime = "sts.example.test", "pipeline_id", 60
		op.Claims = []string{"organization_id", "pipeline_id", "build_id", "cluster_id", "cluster_name", "queue_id", "queue_key", "agent_tag:os", "agent_tag:queue"}
		op.AWSTags = []string{"organization_slug", "build_number", "step_key", "agent_tag:os", "agent_tag:none"}
	})
	want := map[string]any{
		"aud": []any{"sts.example.test"}, "sub": b.PipelineID, "exp": float64(w.Now().Unix() + 60), "organization_id": w.org.ID,
		"pipeline_id": b.PipelineID, "build_id": b.ID, "cluster_id": w.cluster.ID, "cluster_name": w.cluster.Name,
		"queue_id": a.QueueID, "queue_key": "default", "agent_tag:os": "linux", "agent_tag:queue": "default",
		"https://aws.amazon.com/tags": map[string]any{"principal_tags": map[string]any{
			"organization_slug": []any{"main"}, "build_number": []any{"1"}, "step_key": []any{""}, "agent_tag:os": []any{"linux"}, "agent_tag:none": []any{""},
		}},
	}
	for name, v := range want {
		if diff := cmp.Diff(v, got[name]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for _, op := range []engine.OIDCToken{
		{Subject: "build_branch"},
		{Claims: []string{"nonsense"}},
		{AWSTags: []string{"nonsense"}},
		{Claims: []string{"agent_tag:none"}},
		{Audience: strings.Repeat("a", 1001)},
	} {
		op.JobID, op.Issuer = job.ID, issuer
		_, err := w.OIDCToken(t.Context(), op)
		if r := refused(t, err); r.Why != engine.Invalid {
			t.Errorf("%+v: %v", op, err)
		}
	}
}

func TestP295_ATokenLivesTwoHoursAtMost(t *testing.T) {
	w := stated(t)
	job := w.begin(t, w.build(t, steps("{command: a, key: a}")), "a")
	ask := func(seconds int) error {
		_, err := w.OIDCToken(t.Context(), engine.OIDCToken{JobID: job.ID, Issuer: issuer, Lifetime: seconds})
		return err
	}
	for _, seconds := range []int{1, 7200} {
		if err := ask(seconds); err != nil {
			t.Errorf("%d s: %v", seconds, err)
		}
	}
	for _, seconds := range []int{7201, -1, 1 << 62} {
		wantRefusal(t, ask(seconds), "")
	}
}

func TestTokensHoldWhileTheirKeysChange(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		job := w.begin(t, w.build(t, steps("{command: a, key: a}")), "a")
		issue := func() string {
			return must(w.OIDCToken(t.Context(), engine.OIDCToken{JobID: job.ID, Issuer: issuer, Lifetime: 7200}))(t)
		}
		first := issue()
		cached := w.published(t) // a reader keeps the set for a day
		w.advance(90 * 24 * time.Hour)
		old := issue()
		w.verified(t, old, cached)
		if n := w.published(t).Len(); n != 2 {
			t.Fatalf("%d keys are published, want the next one beside the first", n)
		}
		cached = w.published(t)
		w.advance(24 * time.Hour)
		w.verified(t, issue(), cached)
		if _, err := jwt.ParseString(first, jwt.WithKeySet(w.published(t)), jwt.WithClock(jwt.ClockFunc(w.Now))); err == nil {
			t.Error("a token outlives its lifetime")
		}
		w.advance(90 * 24 * time.Hour)
		w.verified(t, issue(), cached)
		keys := must(w.OIDCKeys(t.Context()))(t)
		if len(keys) != 2 {
			t.Errorf("%d keys are published, want the one that signs and the next", len(keys))
		}
	})
}

func TestNoTokenIsForCodeOfWhichOnlyTheCommitWasApproved(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}"))
	job := w.begin(t, b, "a")
	must(0, w.Store.Update(t.Context(), func(tx *store.Tx) error {
		now := must(tx.LockBuild(t.Context(), b.ID))(t)
		now.Verdict.Profile = "approved"
		return tx.UpdateBuild(t.Context(), now)
	}))(t)
	_, err := w.OIDCToken(t.Context(), engine.OIDCToken{JobID: job.ID, Issuer: issuer})
	if r := refused(t, err); r.Why != engine.Forbidden {
		t.Errorf("got %v", err)
	}
	_, err = w.OIDCToken(t.Context(), engine.OIDCToken{JobID: "none", Issuer: issuer})
	if r, ok := errors.AsType[*engine.Refused](err); !ok || r.Why != engine.Missing {
		t.Errorf("no job: %v", err)
	}
}
