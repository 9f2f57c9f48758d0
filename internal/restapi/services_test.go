package restapi_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type serviceView struct {
	ID       string
	Provider struct{ ID, Name string }
	Enabled  bool
	Scope    string
	Settings struct {
		URL, Token string
		TokenMode  string `json:"token_mode"`
		Events     []string
		Verify     bool `json:"tls_verify"`
	}
	States map[string]bool `json:"build_states"`
}

func TestNotificationServices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	at := main + "/services"
	made := decode[serviceView](t, w.ask(t, "POST", at, `{"provider": {"id": "webhook"}, "description": "d",
		"settings": {"url": "https://hook.test/SECRET", "token": "t", "token_mode": "signature", "events": ["build.finished", "job.started"]}}`, 201).text)
	want := serviceView{ID: made.ID, Enabled: true, Scope: "all", States: made.States}
	want.Provider.ID, want.Provider.Name = "webhook", "Webhook"
	want.Settings.URL, want.Settings.Token, want.Settings.TokenMode = "https://hook.test/SECRET", "t", "signature"
	want.Settings.Events, want.Settings.Verify = []string{"build.finished", "job.started"}, true
	if diff := cmp.Diff(want, made); diff != "" {
		t.Errorf("made (-want +got):\n%s", diff)
	}
	w.ask(t, "PUT", at+"/"+made.ID+"/disable", "", 200)
	slack := decode[serviceView](t, w.ask(t, "POST", at, `{"provider": "slack", "settings": {"url": "https://slack.test/x"}, "build_states": {"build_passed": false, "build_blocked": true}}`, 201).text)
	if !slack.States["build_failed"] || !slack.States["build_blocked"] || slack.States["build_passed"] {
		t.Errorf("states %v", slack.States)
	}
	w.ask(t, "PATCH", at+"/"+made.ID, `{"scope": "some_projects", "scope_uuids": ["x"], "settings": {"tls_verify": false}}`, 200)
	list := decode[struct{ Items []serviceView }](t, w.ask(t, "GET", at+"?per_page=1", "", 200).text)
	if len(list.Items) != 1 || list.Items[0].Enabled || list.Items[0].Settings.Verify || list.Items[0].Settings.Token != "t" || list.Items[0].Scope != "some_projects" {
		t.Errorf("%+v", list)
	}
	w.ask(t, "PUT", at+"/"+made.ID+"/enable", "", 200)
	w.ask(t, "DELETE", at+"/"+made.ID, "", 204)
	w.ask(t, "GET", at+"/"+made.ID, "", 404)
	for body, field := range map[string]string{
		`{"provider": "datadog_pipeline_visibility", "settings": {"url": "https://x.test"}}`:                     "provider",
		`{"provider": "webhook", "settings": {"url": "ftp://x.test"}}`:                                           "url",
		`{"provider": "webhook", "settings": {"url": "https://x.test", "events": ["build.done"]}}`:               "events",
		`{"provider": "slack", "settings": {"url": "https://x.test"}, "build_states": {"build_exploded": true}}`: "build_states",
		`{"provider": "slack", "settings": {"url": "https://x.test"}, "scope": "everybody"}`:                     "scope",
	} {
		if got := w.ask(t, "POST", at, body, 422).text; !strings.Contains(got, `"field":"`+field+`"`) {
			t.Errorf("%s: %s", body, got)
		}
	}
}
