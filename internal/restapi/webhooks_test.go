package restapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/forge"
)

type hookedView struct {
	Provider struct {
		WebhookURL string `json:"webhook_url"`
	}
}

type webhookView struct {
	URL     string
	Enabled bool
	Signed  bool
}

func TestAPipelinesDeliveryAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pipeline(t, "hello", "steps: [{command: x}]")
	at := main + "/pipelines/hello"
	first := get[hookedView](t, w, at).Provider.WebhookURL
	if !strings.HasPrefix(first, w.url+"/deliver/bkwh_") {
		t.Fatalf("webhook_url is %q", first)
	}
	w.token(t, w.org, "reader", "read_pipelines")
	if got := w.call(t, "reader", "GET", at, ""); strings.Contains(got.text, "/deliver/") {
		t.Errorf("a token that may only read sees the address: %s", got.text)
	}
	again := decode[hookedView](t, w.ask(t, "POST", at+"/webhook", "", http.StatusCreated).text)
	if again.Provider.WebhookURL != first {
		t.Errorf("asked for again, the address is another: %q", again.Provider.WebhookURL)
	}
	again = decode[hookedView](t, w.ask(t, "POST", at+"/webhook", `{"rotate": true, "secret": "s3cret"}`, http.StatusCreated).text)
	if again.Provider.WebhookURL == first {
		t.Error("the address was not replaced")
	}
	hook := get[webhookView](t, w, at+"/github-webhooks")
	if hook.URL != again.Provider.WebhookURL || !hook.Enabled || !hook.Signed {
		t.Errorf("%+v", hook)
	}
	if hook = decode[webhookView](t, w.ask(t, "DELETE", at+"/github-webhooks", "", http.StatusOK).text); hook.Enabled {
		t.Errorf("%+v", hook)
	}
	if hook = decode[webhookView](t, w.ask(t, "PUT", at+"/github-webhooks", "", http.StatusOK).text); !hook.Enabled {
		t.Errorf("%+v", hook)
	}
}

func TestDeliveriesSayWhyThereIsNoBuild(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pl := w.pipeline(t, "hello", "steps: [{command: x}]")
	must(w.Deliver(t.Context(), engine.Deliver{PipelineID: pl.ID, Key: "1", Event: forge.Event{
		Kind: forge.Push, Name: "push", Branch: "main", Repositories: []string{pl.Repository}, Message: "[skip ci]", Commit: strings.Repeat("1", 40),
	}}))(t)
	got := get[[]struct{ Source, Event, Subject, Outcome, Reason string }](t, w, main+"/pipelines/hello/deliveries")
	if len(got) != 1 || got[0].Event != "push" || got[0].Subject != "main" || got[0].Outcome != "ignored" || !strings.Contains(got[0].Reason, "says [skip ci]") {
		t.Errorf("%+v", got)
	}
}

func TestProviderSettingsThatCannotDecideAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pipeline(t, "hello", "steps: [{command: x}]")
	for body, field := range map[string]string{
		`{"provider_settings": {"filter_enabled": true, "filter_condition": "build.branch =="}}`: "filter_condition",
		`{"provider_settings": {"trigger_mode": "push"}}`:                                        "trigger_mode",
		`{"provider_settings": {"build_tags": "yes"}}`:                                           "provider_settings",
	} {
		if got := w.ask(t, "PATCH", main+"/pipelines/hello", body, http.StatusUnprocessableEntity); !strings.Contains(got.text, field) {
			t.Errorf("%s: %s", body, got.text)
		}
	}
	w.ask(t, "PATCH", main+"/pipelines/hello", `{"provider_settings": {"filter_condition": "", "a_new_one": 5}}`, http.StatusOK)
}
