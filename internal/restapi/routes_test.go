package restapi_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/restapi"
	"github.com/slipway-ci/slipway/internal/store"
)

// settled puts things that exist into a route's path. Calls that change something may be refused for
// the state that things are in, but not for who asks.
func settled(t *testing.T, w *world) func(pattern string) (method, path string) {
	t.Helper()
	pl := w.pipeline(t, "hello", "steps:\n- {command: a, key: a}\n")
	b := w.build(t, pl)
	a := w.agent(t, "a1")
	j := w.job(t, b, "a")
	w.start(t, j, a)
	w.print(t, j, 1, 0, "text\n")
	files := must(w.CreateArtifacts(t.Context(), j, "batch", []store.Artifact{{Path: "a.txt", SHA256: strings.Repeat("0", 64)}}))(t)
	w.keep(t, j, files[0])
	note := must(w.Annotate(t.Context(), engine.Annotate{BuildID: b.ID, JobID: j.ID, Body: "x"}))(t)
	cluster := must(w.Store.Clusters(t.Context(), w.org.ID))(t)[0]
	service := must(w.SaveService(t.Context(), engine.SaveService{
		Service: store.Service{OrganizationID: w.org.ID, Provider: "webhook", Spec: store.ServiceSpec{Scope: "all"}},
		Secret:  engine.ServiceSecret{URL: "https://hook.test"},
	}))(t)
	kept := must(w.CreateSecret(t.Context(), engine.CreateSecret{ClusterID: cluster.ID, Key: "KEY", Value: "v"}))(t)
	must(w.SetForgeToken(t.Context(), engine.SetForgeToken{OrganizationID: w.org.ID, Token: "t"}))(t)
	must(w.SetForgeApp(t.Context(), engine.SetForgeApp{OrganizationID: w.org.ID, AppID: "7", PrivateKey: privateKey(t)}))(t)
	schedule := must(w.SaveSchedule(t.Context(), pl.ID, "", func(s store.Schedule) store.Schedule {
		s.Label, s.Cronline = "nightly", "@daily"
		return s
	}))(t)
	trigger, _, err := w.SaveTrigger(t.Context(), engine.SaveTrigger{PipelineID: pl.ID, Change: func(v store.PipelineTrigger) store.PipelineTrigger {
		v.Label = "alerts"
		return v
	}})
	must(0, err)(t)
	team := must(w.SaveTeam(t.Context(), store.Team{OrganizationID: w.org.ID, Name: "Team", Settings: json.RawMessage("{}")}))(t)
	owner := must(w.Store.FirstUser(t.Context()))(t)
	must(0, w.SaveTeamMember(t.Context(), team, store.TeamMember{UserID: owner.ID, Role: "member"}))(t)
	must(0, w.SaveTeamPipeline(t.Context(), team, store.TeamPipeline{PipelineID: pl.ID, Access: engine.AccessBuild}))(t)
	fill := strings.NewReplacer("{token}", w.agents.ID, "{team}", team.ID, "{user}", owner.ID, "{secret}", kept.ID, "{schedule}", schedule.ID, "{trigger}", trigger.ID, "{service}", service.ID, "{org}", "main", "{pipeline}", "hello", "{uuid}", pl.ID, "{build}", "1", "{job}", j.ID, "{artifact}", files[0].ID,
		"{annotation}", note.ID, "{agent}", a.ID, "{cluster}", cluster.ID, "{queue}", cluster.DefaultQueueID)
	return func(pattern string) (string, string) {
		method, path, _ := strings.Cut(pattern, " ")
		return method, fill.Replace(path)
	}
}

// Every route asks for a token and for its scope, and shows nothing of another organization.
func TestEveryRouteAsksForItsScope(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	at := settled(t, w)
	other := store.Organization{ID: w.NewID(), Slug: "other", Name: "Other", Settings: json.RawMessage("{}"), CreatedAt: w.Now()}
	must(0, w.Store.Update(t.Context(), func(tx *store.Tx) error { return tx.InsertOrganization(t.Context(), other) }))(t)
	w.token(t, other, "stranger", engine.Scopes...)
	w.token(t, w.org, "powerless")
	for _, rt := range restapi.Routes() {
		if rt.Scope == restapi.Public {
			continue
		}
		method, path := at(rt.Pattern)
		expect := func(token string, want int) {
			t.Helper()
			got := w.call(t, token, method, path, "{}")
			if got.StatusCode != want || decode[errorBody](t, got.text).Message == "" {
				t.Errorf("%s as %q: status %d, want %d: %s", rt.Pattern, token, got.StatusCode, want, got.text)
			}
		}
		expect("", http.StatusUnauthorized)
		expect("unknown", http.StatusUnauthorized)
		if rt.Scope != restapi.AnyScope {
			expect("powerless", http.StatusForbidden)
		}
		if strings.Contains(rt.Pattern, "{") {
			expect("stranger", http.StatusNotFound)
		}
	}
}

func TestEveryRouteAnswersWhoHasItsScope(t *testing.T) {
	t.Parallel()
	shared := newWorld(t)
	reading := settled(t, shared)
	for _, rt := range restapi.Routes() {
		t.Run(rt.Pattern, func(t *testing.T) {
			t.Parallel()
			if rt.Scope != restapi.Public && rt.Scope != restapi.AnyScope && !slices.Contains(engine.Scopes, rt.Scope) {
				t.Fatalf("no token can have the scope %s", rt.Scope)
			}
			w, at := shared, reading
			if !strings.HasPrefix(rt.Pattern, "GET ") {
				w = newWorld(t)
				at = settled(t, w)
			}
			method, path := at(rt.Pattern)
			w.token(t, w.org, rt.Pattern, rt.Scope)
			got := w.call(t, rt.Pattern, method, path, "{}")
			if slices.Contains([]int{401, 403, 404, 405}, got.StatusCode) || got.StatusCode >= 500 {
				t.Errorf("status %d: %s", got.StatusCode, got.text)
			}
			if got.Header.Get("RateLimit-Remaining") == "" || got.Header.Get("RateLimit-User-Reset") == "" || got.Header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("headers %v lack some of every answer's", got.Header)
			}
		})
	}
}

// errorBody is the body of every answer that is not a success.
type errorBody struct {
	Message string
	Errors  []struct{ Field, Code string }
}

func TestErrorsAreJSON(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pipeline(t, "hello", "steps: [{command: a}]")
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string // the message, and fields with their codes
	}{
		{"GET", "/v2/nonsense", "", 404, "Not Found"},
		{"TRACE", main, "", 404, "Not Found"},
		{"GET", "/v2/organizations/none", "", 404, "No organization found"},
		{"GET", main + "/pipelines/none", "", 404, "No pipeline found"},
		{"GET", main + "/pipelines/hello/builds/9", "", 404, "No build found"},
		{"GET", main + "/pipelines/hello/builds/x", "", 404, "No build found"},
		{"GET", main + "/jobs/none", "", 404, "No job found"},
		{"GET", main + "/agents/none", "", 404, "No agent found"},
		{"GET", main + "/clusters/none", "", 404, "No cluster found"},
		{"GET", main + "/builds?page=1000", "", 400, "Listing builds this deep is not supported. Please narrow your query using filters such as branch or created_from."},
		{"GET", main + "/builds?created_from=yesterday", "", 422, "Validation Failed created_from: is not a time such as 2026-11-23T12:00:00Z"},
		{"POST", main + "/pipelines", "[]", 400, "The request is not the JSON expected here: it is of another kind: array."},
		{"POST", main + "/pipelines", `{}`, 422, "Validation Failed name: can't be blank repository: can't be blank slug: must be lower-case letters, digits, dashes and dots, and not the name of a page"},
		{"POST", main + "/pipelines", `{"name":"Hello","repository":"r"}`, 422, "Validation Failed slug: has already been taken"},
		{"POST", main + "/pipelines", `{"name":"x","repository":"r","configuration":"steps: ["}`, 422, "configuration:1:8: sequence end token ']' not found configuration: is invalid"},
		{"POST", main + "/pipelines", `{"name":"x","repository":"r","steps":[{"type":"odd"}]}`, 422, `Validation Failed steps: has a step of type "odd"; there are script, waiter, manual and trigger`},
		{"POST", main + "/pipelines", `{"name":"x","repository":"r","skip_queued_branch_builds":"yes"}`, 422, "Validation Failed skip_queued_branch_builds: is invalid"},
		{"POST", main + "/pipelines", `{"name":"x","repository":"r","cluster_id":"none"}`, 422, "Validation Failed cluster_id: does not name a cluster of this organization"},
		{"PATCH", main + "/pipelines/hello", `{"steps":[{"type":"waiter"}]}`, 422, "Validation Failed steps: can't be set on a pipeline that has a YAML configuration"},
		{"POST", main + "/pipelines/hello/builds", `{"branch":"main"}`, 422, "Validation Failed commit: can't be blank"},
		{"POST", main + "/pipelines/hello/builds", `{"branch":"main","commit":"--all"}`, 422, "Validation Failed commit: is not a commit, branch or tag name"},
	} {
		got := w.ask(t, c.method, c.path, c.body, c.status)
		body := decode[errorBody](t, got.text)
		text := body.Message
		for _, e := range body.Errors {
			text += " " + e.Field + ": " + e.Code
		}
		if text != c.want {
			t.Errorf("%s %s %s: %q, want %q", c.method, c.path, c.body, text, c.want)
		}
	}
}

func TestRevokedAndExpiredTokensAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.token(t, w.org, "mine")
	if got := w.call(t, "mine", "DELETE", "/v2/access-token", ""); got.StatusCode != http.StatusNoContent {
		t.Fatalf("status %d", got.StatusCode)
	}
	if got := w.call(t, "mine", "GET", "/v2/access-token", ""); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("status %d with a revoked token", got.StatusCode)
	}
}

func TestPreflight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	got := w.call(t, "", "OPTIONS", main+"/pipelines", "")
	if got.StatusCode != http.StatusNoContent || !strings.Contains(got.Header.Get("Access-Control-Allow-Headers"), "Authorization") {
		t.Errorf("status %d, headers %v", got.StatusCode, got.Header)
	}
}
