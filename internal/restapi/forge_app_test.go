package restapi_test

import (
	"encoding/json"
	"encoding/pem"
	"strings"
	"sync"
	"testing"

	"github.com/slipway-ci/slipway/internal/secret"
)

// signingKey makes one key for all tests: it takes long.
var signingKey = sync.OnceValues(secret.NewSigningKey)

// privateKey is a key as GitHub gives it to an app.
func privateKey(t testing.TB) string {
	t.Helper()
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(signingKey())(t)}))
}

func TestTheAppOfAnOrganization(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const at = main + "/forge-app"
	w.ask(t, "GET", at, "", 404)
	key := string(must(json.Marshal(privateKey(t)))(t))
	for body, field := range map[string]string{
		`{"private_key": ` + key + `}`:         "app_id",
		`{"app_id": 7}`:                        "private_key",
		`{"app_id": 7, "private_key": "MII…"}`: "private_key",
		`{"app_id": 7, "private_key": ` + key + `, "api_url": "ftp://x.y"}`: "api_url",
	} {
		if got := w.ask(t, "PUT", at, body, 422).text; !strings.Contains(got, `"field":"`+field+`"`) {
			t.Errorf("%s: %s", body, got)
		}
	}
	w.ask(t, "PUT", at, `{"app_id": 7, "private_key": `+key+`, "api_url": "https://github.acme.test/api/v3/"}`, 200)
	got := w.ask(t, "GET", at, "", 200).text
	if !strings.Contains(got, `"app_id":"7","api_url":"https://github.acme.test/api/v3"`) || strings.Contains(got, "PRIVATE") {
		t.Errorf("%s", got)
	}
	w.ask(t, "DELETE", at, "", 204)
	w.ask(t, "GET", at, "", 404)
}
