package agentapi_test

import (
	"net/http"
	"testing"

	"github.com/slipway-ci/slipway/internal/agent/wire"
	"github.com/slipway-ci/slipway/internal/engine"
)

func TestAJobReadsTheSecretsThatItsPolicyAllows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	org := must(w.Store.Organization(t.Context(), "main"))(t)
	cluster := must(w.Store.Clusters(t.Context(), org.ID))(t)[0]
	for key, policy := range map[string]string{"API_KEY": "", "DEPLOY_KEY": "- pipeline_slug: deploy"} {
		must(w.CreateSecret(t.Context(), engine.CreateSecret{ClusterID: cluster.ID, Key: key, Value: "value of " + key, Policy: policy}))(t)
	}
	h := w.running()
	if got := must(h.Secret(t.Context(), h.job.ID, "api_key"))(t); got != "value of API_KEY" {
		t.Errorf("got %q", got)
	}
	got := w.do(h.Token, "GET", "/v3/jobs/"+h.job.ID+"/secrets?key=API_KEY", "")
	if got.status != http.StatusOK || got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d, %v", got.status, got.header)
	}
	for key, want := range map[string]int{"DEPLOY_KEY": http.StatusForbidden, "NONE": http.StatusNotFound, "": http.StatusNotFound} {
		_, err := h.Secret(t.Context(), h.job.ID, key)
		if wire.Status(err) != want {
			t.Errorf("%q: %v, want %d", key, err, want)
		}
	}
}
