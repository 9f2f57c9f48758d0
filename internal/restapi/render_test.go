package restapi_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/restapi"
)

// Whoever is posted to learns what a token without any scope would: above all not by which address
// anybody can make builds.
func TestWebhooksCarryNoSecretOfThePipeline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pl := w.pipeline(t, "hello", "steps: [{command: a}]")
	w.ask(t, "POST", main+"/pipelines/hello/webhook", `{"secret": "s3cret"}`, 201)
	if got := w.ask(t, "GET", main+"/pipelines/hello", "", 200).text; !strings.Contains(got, "/deliver/") {
		t.Fatalf("the pipeline has no address: %s", got)
	}
	render := restapi.RenderBuild(restapi.Deps{Engine: w.Engine, Store: w.Store, BaseURL: w.url})
	build, pipeline, err := render(t.Context(), w.build(t, pl))
	if err != nil {
		t.Fatal(err)
	}
	raw := string(must(json.Marshal([]any{build, pipeline}))(t))
	if strings.Contains(raw, "/deliver/") || strings.Contains(raw, "s3cret") {
		t.Errorf("a webhook would carry %s", raw)
	}
	for _, want := range []string{`"slug":"hello"`, `"number":1`, w.url + "/v2/organizations/main/pipelines/hello/builds/1"} {
		if !strings.Contains(raw, want) {
			t.Errorf("a webhook would not carry %s: %s", want, raw)
		}
	}
}
