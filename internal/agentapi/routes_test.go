package agentapi_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/agent/wire"
	"github.com/slipway-ci/slipway/internal/agentapi"
	"github.com/slipway-ci/slipway/internal/store"
)

// credential is a token and the permissions that it is good for.
type credential struct {
	token string
	good  []string
}

func TestEveryRouteRefusesTheWrongCredentials(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h, other, ended := w.running(), w.running(), w.running()
	finish(t, ended)
	gone := w.agent()
	if err := gone.Disconnect(t.Context()); err != nil {
		t.Fatal(err)
	}
	job := []string{"own job", "ended job", "any job", "session or job"}
	credentials := map[string]credential{
		"nobody":             {"", nil},
		"made up":            {"made-up", nil},
		"registration token": {registrationToken, []string{"registration"}},
		"revoked token":      {w.revoked(t), nil},
		"session token":      {h.agent.AccessToken, []string{"session", "any session", "session or job"}},
		"ended session":      {gone.AccessToken, []string{"any session"}},
		"job token":          {h.Token, job},
		"token of another":   {other.Token, []string{"any job", "session or job"}},
		"token of ended job": {ended.Token, nil},
		"API token":          {"bkua_nonsense", nil},
	}
	for _, rt := range agentapi.Routes() {
		if rt.Permission == "" {
			t.Errorf("%s %s names no permission", rt.Method, rt.Path)
		}
		if rt.Permission == "anybody" {
			continue
		}
		path := strings.NewReplacer("{id}", h.job.ID, "{build}", h.build.ID, "{step}", "one", "{uuid}", "u", "{context}", "c", "{artifact}", "a", "{registry}", "r", "{call}", "peek", "{stack}", "k").Replace(rt.Path)
		for name, c := range credentials {
			w.advance(time.Second) // refusals are counted by the second
			got := w.do(c.token, rt.Method, path, "")
			if slices.Contains(c.good, rt.Permission) {
				continue // what it may do, other tests say
			}
			want := http.StatusUnauthorized
			switch {
			case rt.Permission == "signed", name == "token of another" && strings.HasSuffix(rt.Permission, " job"),
				name == "token of ended job" && rt.Permission == "ended job":
				want = http.StatusForbidden
			}
			if got.status != want {
				t.Errorf("%s %s by %s: %d, want %d", rt.Method, rt.Path, name, got.status, want)
			}
			got.message(t)
		}
	}
}

// revoked is a registration token that was revoked.
func (w *world) revoked(t *testing.T) string {
	t.Helper()
	ctx := context.Background()
	org := must(w.Store.Organization(ctx, "main"))(t)
	cluster := must(w.Store.Clusters(ctx, org.ID))(t)[0]
	token := "revoked-token"
	err := w.Store.Update(ctx, func(tx *store.Tx) error {
		return tx.InsertAgentToken(ctx, store.AgentToken{
			ID: w.NewID(), ClusterID: cluster.ID, TokenHash: hash(token), CreatedAt: w.Now(), RevokedAt: w.Now(),
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestUnknownPathsAndMethodsAreJSON(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.running()
	for line, want := range map[string]int{
		"GET /v3/": 404, "GET /v3/nope": 404, "GET /v3/jobs": 404, "GET /artifacts/": 404, "GET /v3/jobs/../ping": 404,
		"GET /v3/jobs/%2e%2e/ping": 404, "GET /v3/./ping": 404,
		"DELETE /v3/register": 405, "POST /v3/ping": 405, "PATCH /v3/jobs/x": 405, "PUT /artifacts/x": 405, "BREW /v3/pause": 405,
		"POST /agentedge.v1.AgentEdgeService/Nope": 404, "GET /agentedge.v1.AgentEdgeService/StreamPings": 405,
		"POST /agentedge.v1.AgentEdgeService/StreamPings": 415,
	} {
		method, path, _ := strings.Cut(line, " ")
		got := w.do(h.Token, method, path, "")
		if got.status != want {
			t.Errorf("%s: %d, want %d", line, got.status, want)
		}
		if allow := got.header.Get("Allow"); (allow != "") != (want == 405) {
			t.Errorf("%s: Allow %q of a %d", line, allow, want)
		}
		got.message(t)
	}
}

func TestSlashesTooManyMeanNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.agent()
	for _, path := range []string{"/v3/ping/", "/v3//ping", "//v3/ping//", "/v3/ping", "/v%33/p%69ng"} {
		if got := w.do(a.AccessToken, "GET", path, ""); got.status != 200 {
			t.Errorf("%s: %d, want 200", path, got.status)
		}
	}
	h := w.running()
	if got := w.do(h.Token, "POST", "/v3//jobs/"+h.job.ID+"/annotations/", `{"body":"b","context":"a.b/c"}`); got.status != 200 {
		t.Errorf("annotating: %d", got.status)
	}
	if got := w.do(h.Token, "DELETE", "/v3/jobs/"+h.job.ID+"/annotations/a%2Eb%2Fc", ""); got.status != 200 {
		t.Errorf("an encoded context: %d %s, want 200", got.status, got.body)
	}
}

// Agents encode each dot and slash of a context (api/annotations.go, railsPathEscape), so none of them is the path's.
func TestAnAnnotationIsRemovedWhateverItsContextIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.running()
	annotations := "/v3/jobs/" + h.job.ID + "/annotations"
	for context, encoded := range map[string]string{
		"..": "%2E%2E", ".": "%2E", "../e": "%2E%2E%2Fe", "a/./b": "a%2F%2E%2Fb", "a//b": "a%2F%2Fb", "a/": "a%2F", "%2e": "%252e", "a b": "a%20b",
		"/": "%2F", "//": "%2F%2F", "%2F": "%252F", "/..": "%2F%2E%2E", "é/": "%C3%A9%2F",
	} {
		if got := w.do(h.Token, "POST", annotations, fmt.Sprintf(`{"body":"b","context":%q}`, context)); got.status != 200 {
			t.Fatalf("annotating %q: %d %s", context, got.status, got.body)
		}
		if got := w.do(h.Token, "DELETE", annotations+"/"+encoded+"?scope=build", ""); got.status != 200 {
			t.Errorf("removing %q: %d %s, want 200", context, got.status, got.body)
		}
	}
	left, err := w.Store.Annotations(t.Context(), h.build.ID)
	if err != nil || len(left) != 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestAStepIsFoundWhateverItsKeyIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.held(w.build("steps:\n- {command: a, key: a}\n"))
	for key, encoded := range map[string]string{
		"/": "%2F", "//": "%2F%2F", "a/b": "a%2Fb", "a/": "a%2F", "export": "export", "/cancel": "%2Fcancel",
	} {
		step := fmt.Sprintf(`{"uuid":%q,"pipeline":{"steps":[{"command":"b","key":%q}]}}`, "upload of "+key, key)
		if got := w.do(h.Token, "POST", "/v3/jobs/"+h.job.ID+"/pipelines", step); got.status != 200 {
			t.Fatalf("uploading a step with the key %q: %d %s", key, got.status, got.body)
		}
		path := "/v3/steps/" + encoded
		if v := w.decoded(h.Token, "POST", path+"/export", `{"attribute":"key"}`, 200); v["output"] != key {
			t.Errorf("%s has the key %v, want %q", path, v["output"], key)
		}
		w.decoded(h.Token, "PUT", path, `{"attribute":"label","value":"new"}`, 200)
		w.decoded(h.Token, "POST", path+"/cancel", `{}`, 200)
	}
}

func TestAStepTellsWhomItNotifiesNow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.held(w.build("steps:\n- command: true\n  key: one\n  notify: [{slack: '#a'}]\n"))
	w.decoded(h.Token, "PUT", "/v3/steps/one", `{"attribute":"notify","value":"[{\"slack\":\"#b\"}]","append":true}`, 200)
	w.decoded(h.Token, "PUT", "/v3/steps/one", `{"attribute":"notify","value":"[{\"email\":\"a@b.test\"}]"}`, 422)
	v := w.decoded(h.Token, "POST", "/v3/steps/one/export", `{"attribute":"notify"}`, 200)
	if v["output"] != `[{"slack":"#a"},{"slack":"#b"}]` {
		t.Errorf("the step notifies %v", v["output"])
	}
}

func TestWhatIsNotOfferedIsRefusedForGood(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.running()
	id := "/v3/jobs/" + h.job.ID
	for line, want := range map[string]int{
		"POST " + id + "/repository_access_token":  404,
		"POST " + id + "/header_times":             200,
		"GET " + id + "/pipelines/unknown":         404,
		"GET /v3/builds/unknown/artifacts/search":  200,
		"POST /v3/builds/unknown/data/keys":        404,
		"POST /v3/builds/unknown/cancel":           403,
		"POST " + id + "/chunks?sequence=a&offset": 422,
	} {
		method, path, _ := strings.Cut(line, " ")
		if got := w.do(h.Token, method, path, ""); got.status != want {
			t.Errorf("%s: %d %s, want %d", line, got.status, got.body, want)
		}
	}
}

func finish(t *testing.T, h held) {
	t.Helper()
	if err := h.Finish(t.Context(), h.job.ID, wire.Finish{ExitStatus: "0", FinishedAt: "2026-11-23T12:00:00Z"}); err != nil {
		t.Fatal(err)
	}
}

// TestTheServersOwnEndIsNoRefusal: an agent that is refused a heartbeat cancels its job and ends.
func TestTheServersOwnEndIsNoRefusal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.agent()
	ctx, end := context.WithCancel(t.Context())
	end()
	req := httptest.NewRequestWithContext(ctx, "POST", "/v3/heartbeat", strings.NewReader("{}"))
	req.Header.Set("Authorization", "Token "+a.AccessToken)
	rec := httptest.NewRecorder()
	w.api.ServeHTTP(rec, req)
	if rec.Code != http.StatusServiceUnavailable {
		t.Errorf("heartbeat while the server ends: %d, want 503", rec.Code)
	}
}
