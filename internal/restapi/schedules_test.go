package restapi_test

import (
	"net/http"
	"strings"
	"testing"
)

type scheduleView struct {
	ID, Label, Cronline, Branch, Commit string
	GraphQLID                           string `json:"graphql_id"`
	NextBuildAt                         string `json:"next_build_at"`
	Env                                 map[string]string
	Enabled                             bool
	CreatedBy                           struct{ Name string } `json:"created_by"`
	Pipeline                            struct{ Slug string }
}

func TestSchedulesOverREST(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pipeline(t, "hello", "steps: [{command: x}]")
	at := main + "/pipelines/hello/schedules"
	s := decode[scheduleView](t, w.ask(t, "POST", at, `{"label": "Nightly", "cronline": "@daily", "env": {"N": 1}}`, http.StatusCreated).text)
	if s.Branch != "main" || s.Commit != "HEAD" || s.Env["N"] != "1" || !s.Enabled || s.NextBuildAt != "2026-11-24T00:00:00.000Z" || s.GraphQLID == "" || s.Pipeline.Slug != "hello" || s.CreatedBy.Name == "" {
		t.Errorf("%+v", s)
	}
	got := w.ask(t, "POST", at, `{"label": "", "cronline": "* * * * *", "branch": "refs/pull/1/head"}`, http.StatusUnprocessableEntity)
	for _, want := range []string{`"field":"label"`, `"field":"cronline"`, `"field":"branch"`, "every 1 minutes"} {
		if !strings.Contains(got.text, want) {
			t.Errorf("%s lacks %s", got.text, want)
		}
	}
	s = decode[scheduleView](t, w.ask(t, "PUT", at+"/"+s.ID, `{"enabled": false, "branch": "topic"}`, http.StatusOK).text)
	if s.Enabled || s.Branch != "topic" || s.Label != "Nightly" || s.NextBuildAt != "" {
		t.Errorf("%+v", s)
	}
	if all := get[[]scheduleView](t, w, at); len(all) != 1 || all[0].ID != s.ID {
		t.Errorf("%+v", all)
	}
	w.pipeline(t, "other", "steps: [{command: x}]")
	w.ask(t, "GET", main+"/pipelines/other/schedules/"+s.ID, "", http.StatusNotFound)
	w.ask(t, "DELETE", main+"/pipelines/other/schedules/"+s.ID, "", http.StatusNotFound)
	w.ask(t, "DELETE", at+"/"+s.ID, "", http.StatusNoContent)
	w.ask(t, "GET", at+"/"+s.ID, "", http.StatusNotFound)
}

func TestTriggerAddressesOverREST(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pipeline(t, "hello", "steps: [{command: x}]")
	at := main + "/pipelines/hello/triggers"
	type view struct {
		ID, Label, Branch string
		WebhookURL        string `json:"webhook_url"`
		Enabled, Signed   bool
	}
	v := decode[view](t, w.ask(t, "POST", at, `{"label": "Alerts", "secret": "s"}`, http.StatusCreated).text)
	if !strings.HasPrefix(v.WebhookURL, w.url+"/deliver/bktr_") || v.Branch != "main" || !v.Enabled || !v.Signed {
		t.Errorf("%+v", v)
	}
	if all := get[[]view](t, w, at); len(all) != 1 || all[0].WebhookURL != "" {
		t.Errorf("the list shows %+v", all)
	}
	next := decode[view](t, w.ask(t, "PATCH", at+"/"+v.ID, `{"rotate": true, "secret": "", "enabled": false}`, http.StatusOK).text)
	if next.WebhookURL == v.WebhookURL || next.WebhookURL == "" || next.Signed || next.Enabled || next.Label != "Alerts" {
		t.Errorf("%+v", next)
	}
	w.ask(t, "POST", at, `{"label": " "}`, http.StatusUnprocessableEntity)
	w.ask(t, "DELETE", at+"/"+v.ID, "", http.StatusNoContent)
	w.ask(t, "PATCH", at+"/"+v.ID, "{}", http.StatusNotFound)
}
