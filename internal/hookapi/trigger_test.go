package hookapi_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// trigger makes a trigger address, and returns it with its URL.
func (w *world) trigger(t testing.TB, change func(*store.PipelineTrigger)) (store.PipelineTrigger, string) {
	t.Helper()
	v, token, err := w.SaveTrigger(t.Context(), engine.SaveTrigger{PipelineID: w.pipeline.ID, Change: func(v store.PipelineTrigger) store.PipelineTrigger {
		v.Label = "alerts"
		change(&v)
		return v
	}})
	if err != nil {
		t.Fatal(err)
	}
	return v, w.url + "/deliver/" + token
}

func TestP284_ATriggerAddressMakesBuilds(t *testing.T) {
	w := newWorld(t, "")
	v, at := w.trigger(t, func(v *store.PipelineTrigger) {})
	if !strings.HasPrefix(at, w.url+"/deliver/bktr_") {
		t.Fatalf("the address is %s", at)
	}
	got := w.post(t, at, `{"alert": "disk"}`)
	if got.Status != http.StatusCreated {
		t.Fatalf("%+v", got)
	}
	b := must(w.Store.Build(t.Context(), got.ID))(t)
	if b.Source != "pipeline_trigger" || b.Commit != "HEAD" || b.Branch != "main" || b.Message != "Triggered build" || b.Verdict.Decision != "allow" || b.Verdict.Rule != "trigger-address" {
		t.Errorf("%+v", b)
	}
	if payload := must(w.Store.MetaData(t.Context(), b.ID, "buildkite:webhook"))(t); payload != `{"alert": "disk"}` {
		t.Errorf("the build keeps %q", payload)
	}
	if got = w.post(t, at, ""); got.Status != http.StatusCreated || got.ID == b.ID {
		t.Errorf("without a body: %+v", got)
	}
	if got = w.post(t, at, "not json"); got.Status != http.StatusBadRequest {
		t.Errorf("no JSON: %+v", got)
	}
	if got = w.post(t, at, `"`+strings.Repeat("x", 5<<20)+`"`); got.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("too large: %+v", got)
	}
	if got = w.post(t, w.url+"/deliver/bktr_x", "{}"); got.Status != http.StatusBadRequest || got.Message != "Invalid pipeline trigger token" {
		t.Errorf("no token: %+v", got)
	}
	unknown := at[:len(at)-3] + "AAA"
	if got = w.post(t, unknown, "{}"); got.Status != http.StatusNotFound || got.Message != "Pipeline trigger not found" {
		t.Errorf("unknown: %+v", got)
	}
	off := func(v store.PipelineTrigger) store.PipelineTrigger { v.Enabled = false; return v }
	if _, _, err := w.SaveTrigger(t.Context(), engine.SaveTrigger{PipelineID: w.pipeline.ID, ID: v.ID, Change: off}); err != nil {
		t.Fatal(err)
	}
	if got = w.post(t, at, "{}"); got.Status != http.StatusForbidden || got.Message != "Pipeline trigger is disabled" {
		t.Errorf("disabled: %+v", got)
	}
	if err := w.DeleteTrigger(t.Context(), w.pipeline.ID, v.ID); err != nil {
		t.Fatal(err)
	}
	if got = w.post(t, at, "{}"); got.Status != http.StatusNotFound {
		t.Errorf("deleted: %+v", got)
	}
}

func TestATriggerBuildsWhatAMemberSet(t *testing.T) {
	w := newWorld(t, "", `"branch_configuration": "main release"`)
	_, at := w.trigger(t, func(v *store.PipelineTrigger) {
		v.Branch, v.Commit, v.Message, v.Env = "release", sha1, "Ship it", map[string]string{"A": "1"}
	})
	got := w.post(t, at, `{"branch": "other", "commit": "`+sha2+`"}`)
	b := must(w.Store.Build(t.Context(), got.ID))(t)
	if b.Branch != "release" || b.Commit != sha1 || b.Message != "Ship it" || b.Detail.Env["A"] != "1" {
		t.Errorf("%+v", b)
	}
	_, at = w.trigger(t, func(v *store.PipelineTrigger) { v.Branch = "topic" })
	if got = w.post(t, at, "{}"); got.Status != http.StatusUnprocessableEntity || !strings.Contains(got.Message, "does not pass the branch filter") {
		t.Errorf("%+v", got)
	}
	for _, branch := range []string{"refs/pull/7/head", "eve:main", "--upload-pack=x"} {
		_, _, err := w.SaveTrigger(t.Context(), engine.SaveTrigger{PipelineID: w.pipeline.ID, Change: func(v store.PipelineTrigger) store.PipelineTrigger {
			v.Label, v.Branch = "x", branch
			return v
		}})
		if err == nil {
			t.Errorf("the branch %s was taken", branch)
		}
	}
}

func TestATriggersSignatureAndRepetition(t *testing.T) {
	w := newWorld(t, "")
	key := "s3cret"
	_, token, err := w.SaveTrigger(t.Context(), engine.SaveTrigger{PipelineID: w.pipeline.ID, Secret: &key, Change: func(v store.PipelineTrigger) store.PipelineTrigger {
		v.Label = "signed"
		return v
	}})
	if err != nil {
		t.Fatal(err)
	}
	at := w.url + "/deliver/" + token
	if got := w.post(t, at, "{}", "X-Hub-Signature-256", sign("other", "{}")); got.Status != http.StatusUnauthorized {
		t.Errorf("%+v", got)
	}
	first := w.post(t, at, "{}", "X-Hub-Signature-256", sign(key, "{}"), "Idempotency-Key", "one")
	again := w.post(t, at, "{}", "Linear-Signature", strings.TrimPrefix(sign(key, "{}"), "sha256="), "Idempotency-Key", "one")
	if first.Status != http.StatusCreated || again.Status != http.StatusCreated || first.ID != again.ID {
		t.Errorf("%+v, %+v", first, again)
	}
}

func TestATriggerIsAskedSoOftenAnHour(t *testing.T) {
	w := newWorld(t, "")
	v, _ := w.trigger(t, func(v *store.PipelineTrigger) {})
	fire := func() error {
		_, err := w.FireTrigger(t.Context(), engine.Trigger{ID: v.ID})
		return err
	}
	for range 300 {
		if err := fire(); err != nil {
			t.Fatal(err)
		}
	}
	if err := fire(); err == nil || !strings.Contains(err.Error(), "300 requests in an hour") {
		t.Errorf("%v", err)
	}
	w.clock.Add(time.Hour.Microseconds() + 1)
	if err := fire(); err != nil {
		t.Errorf("an hour later: %v", err)
	}
	for i := range 10 {
		_, _, err := w.SaveTrigger(t.Context(), engine.SaveTrigger{PipelineID: w.pipeline.ID, Change: func(v store.PipelineTrigger) store.PipelineTrigger {
			v.Label = "more"
			return v
		}})
		if (err != nil) != (i == 9) {
			t.Errorf("address %d: %v", i+2, err)
		}
	}
}
