package agentapi_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jwt"

	"github.com/slipway-ci/slipway/internal/agent/wire"
)

// A reader of a token knows its issuer alone, and finds the keys from there.
func TestATokenHoldsAgainstWhatItsIssuerPublishes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.running()
	token := must(h.OIDCToken(t.Context(), h.job.ID, wire.OIDCTokenRequest{Audience: "reader", Claims: []string{"build_id"}}))(t)
	config := w.do("", "GET", "/.well-known/openid-configuration", "")
	var found struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := json.Unmarshal([]byte(config.body), &found); err != nil || found.Keys != found.Issuer+"/.well-known/jwks" {
		t.Fatalf("%s: %v", config.body, err)
	}
	keys := must(jwk.ParseString(w.do("", "GET", "/.well-known/jwks", "").body))(t)
	got, err := jwt.ParseString(token, jwt.WithKeySet(keys), jwt.WithClock(jwt.ClockFunc(w.Now)), jwt.WithIssuer(found.Issuer), jwt.WithAudience("reader"))
	if err != nil {
		t.Fatal(err)
	}
	var build string
	if err := got.Get("build_id", &build); err != nil || build != h.build.ID {
		t.Errorf("build_id %q, %v", build, err)
	}
	for body, want := range map[string]int{
		`{"lifetime": 7201}`: http.StatusUnprocessableEntity, `{"claims": ["x"]}`: http.StatusUnprocessableEntity, `{"lifetime": "x"}`: http.StatusBadRequest,
	} {
		got := w.do(h.Token, "POST", "/v3/jobs/"+h.job.ID+"/oidc/tokens", body)
		if got.message(t); got.status != want {
			t.Errorf("%s: %d %s, want %d", body, got.status, got.body, want)
		}
	}
}
