package restapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/store"
)

func TestSecretsAreKeptAndNeverGivenOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cluster := must(w.Store.Clusters(t.Context(), w.org.ID))(t)[0]
	secrets := main + "/clusters/" + cluster.ID + "/secrets"
	const value = "hunter2-hunter2"
	made := w.ask(t, "POST", secrets, `{"key":"API_KEY","value":"`+value+`","description":"For the API","policy":"- build_branch: main"}`, http.StatusCreated)
	w.golden(t, "secret", made.text)
	id := decode[struct{ ID string }](t, made.text).ID
	w.ask(t, "PUT", secrets+"/"+id, `{"description":"For another API"}`, http.StatusOK)
	w.ask(t, "PUT", secrets+"/"+id+"/value", `{"value":"`+value+`2"}`, http.StatusNoContent)
	if got := must(w.Unseal(t.Context(), store.SecretPlace(id)))(t); string(got) != value+"2" {
		t.Errorf("the value is %q", got)
	}
	for path, part := range map[string]string{secrets: "For another API", secrets + "/" + id: `"policy":"- build_branch: main"`} {
		if got := w.ask(t, "GET", path, "", http.StatusOK).text; !strings.Contains(got, part) || strings.Contains(got, "hunter2") {
			t.Errorf("GET %s: %s", path, got)
		}
	}
	for body, field := range map[string]string{
		`{"key":"OTHER"}`: "key", `{"value":"x"}`: "value", `{"policy":"x: y"}`: "policy",
	} {
		got := decode[errorBody](t, w.ask(t, "PUT", secrets+"/"+id, body, http.StatusUnprocessableEntity).text)
		if len(got.Errors) != 1 || got.Errors[0].Field != field {
			t.Errorf("%s: %+v", body, got)
		}
	}
	w.ask(t, "POST", secrets, `{"key":"api_key","value":"x"}`, http.StatusUnprocessableEntity)
	w.ask(t, "DELETE", secrets+"/"+id, "", http.StatusNoContent)
	w.ask(t, "GET", secrets+"/"+id, "", http.StatusNotFound)
	if got := w.ask(t, "GET", secrets, "", http.StatusOK).text; strings.TrimSpace(got) != "[]" {
		t.Errorf("after the end: %s", got)
	}
}
