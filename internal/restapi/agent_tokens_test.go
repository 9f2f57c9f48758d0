package restapi_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/secret"
)

func TestAnAgentTokenIsShownOnceAndTakenBackInFlight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cluster := must(w.Store.Clusters(t.Context(), w.org.ID))(t)[0]
	tokens := main + "/clusters/" + cluster.ID + "/tokens"
	made := decode[struct{ ID, Token string }](t, w.ask(t, "POST", tokens, `{"description":"Builders","allowed_ip_addresses":"192.0.2.0/24 2001:db8::1"}`, http.StatusCreated).text)
	stored := must(w.Store.AgentToken(t.Context(), secret.HashToken(made.Token)))(t)
	for _, path := range []string{tokens, tokens + "/" + made.ID} {
		if got := w.ask(t, "GET", path, "", http.StatusOK).text; !strings.Contains(got, "Builders") || strings.Contains(got, made.Token) || strings.Contains(got, `"token"`) {
			t.Errorf("GET %s: %s", path, got)
		}
	}
	w.ask(t, "PUT", tokens+"/"+made.ID, `{"description":"Two"}`, http.StatusOK)
	for body, field := range map[string]string{
		`{}`: "description", `{"description":"d","allowed_ip_addresses":"x"}`: "allowed_ip_addresses",
		`{"description":"d","expires_at":"2020-01-01T00:00:00Z"}`: "expires_at",
	} {
		got := decode[errorBody](t, w.ask(t, "POST", tokens, body, http.StatusUnprocessableEntity).text)
		if len(got.Errors) != 1 || got.Errors[0].Field != field {
			t.Errorf("%s: %+v", body, got)
		}
	}
	register := func(ip string) error {
		_, _, err := w.RegisterAgent(t.Context(), engine.RegisterAgent{Token: stored, Name: "a", IP: ip})
		return err
	}
	if err := register("198.51.100.1"); err == nil {
		t.Error("an agent of another network registers")
	}
	for _, ip := range []string{"192.0.2.7", "::ffff:192.0.2.7", "2001:db8::1"} {
		must(0, register(ip))(t)
	}
	w.agents = stored
	b := w.build(t, w.pipeline(t, "p", "steps:\n- {command: a, key: a}\n"))
	a := w.agent(t, "holder")
	w.start(t, w.job(t, b, "a"), a)
	w.advance(time.Second)
	for range 2 {
		w.ask(t, "DELETE", tokens+"/"+made.ID, "", http.StatusNoContent)
	}
	w.ask(t, "GET", tokens+"/"+made.ID, "", http.StatusNotFound)
	if got := must(w.Store.Agent(t.Context(), a.ID))(t); got.State != ci.AgentLost {
		t.Errorf("its agent is %s", got.State)
	}
	if j := w.job(t, b, "a"); !j.Lost || j.State.Held() {
		t.Errorf("its job is %s", j.State)
	}
	if live := must(w.Store.AgentsOfToken(t.Context(), made.ID, 10))(t); len(live) > 0 {
		t.Errorf("%d agents go on", len(live))
	}
	if err := register("192.0.2.7"); err == nil {
		t.Error("an agent registers with a token that was revoked meanwhile")
	}
}
