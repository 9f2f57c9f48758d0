package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/worker"
)

// receiver is a server that webhooks are posted to.
func receiver(t *testing.T, status func(n int) int) (url string, got func() []map[string]any) {
	t.Helper()
	events := make(chan map[string]any, 100)
	n := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var event map[string]any
		if err := json.NewDecoder(r.Body).Decode(&event); err != nil {
			t.Errorf("body: %v", err)
		}
		events <- event
		n++
		w.WriteHeader(status(n))
	}))
	t.Cleanup(srv.Close)
	return srv.URL, func() (all []map[string]any) {
		for {
			select {
			case e := <-events:
				all = append(all, e)
			default:
				return all
			}
		}
	}
}

func (w *world) relay(client *http.Client) *worker.Relay {
	hooks := &worker.Webhooks{Engine: w.Engine, Client: client, BaseURL: "http://ci.test"}
	return &worker.Relay{Engine: w.Engine, Log: w.Log, Deliver: map[string]func(context.Context, store.Effect) error{
		engine.EffectBuildChanged: hooks.Deliver,
	}}
}

func TestWebhooksAreToldOfABuildUntilTheyAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	url, got := receiver(t, func(n int) int {
		if n == 1 {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	w.build("p", "notify:\n- webhook: "+url+"\n- {webhook: "+url+"/never, if: build.state == 'failed'}\nsteps:\n- command: x\n")
	relay := w.relay(worker.WebhookClient(true))
	pass := func() {
		t.Helper()
		_, err := relay.Pass(w.ctx())
		w.must(err)
	}
	a := w.agent()
	w.assign()
	w.finish(a)
	pass()
	pass() // it is not its time yet
	if first := got(); len(first) != 1 {
		t.Fatalf("%d events, want 1: %v", len(first), first)
	}
	w.clock.Add(11 * time.Second.Microseconds())
	pass()
	pass()
	events := got()
	if len(events) != 1 {
		t.Fatalf("%d events after the first was refused, want 1", len(events))
	}
	build := events[0]["build"].(map[string]any)
	if events[0]["event"] != "build.finished" || build["state"] != "passed" || build["web_url"] != "http://ci.test/main/p/builds/1" {
		t.Errorf("event %v", events[0])
	}
}

func TestEffectIsGivenUpInTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	url, got := receiver(t, func(int) int { return http.StatusBadGateway })
	w.build("p", "notify:\n- webhook: "+url+"\nsteps:\n- command: x\n")
	relay := w.relay(worker.WebhookClient(true))
	for range 20 {
		_, err := relay.Pass(w.ctx())
		w.must(err)
		w.clock.Add(time.Hour.Microseconds())
	}
	if n := len(got()); n != 12 {
		t.Errorf("%d attempts, want 12", n)
	}
	left, err := w.Store.DueEffects(w.ctx(), w.Now(), 10)
	w.must(err)
	if len(left) != 0 {
		t.Errorf("%d effects are left", len(left))
	}
}

func TestWebhooksDoNotReachIntoTheServersOwnMachine(t *testing.T) {
	t.Parallel()
	url, got := receiver(t, func(int) int { return http.StatusOK })
	for _, address := range []string{url, strings.Replace(url, "127.0.0.1", "localhost", 1), "http://169.254.169.254/latest"} {
		res, err := worker.WebhookClient(false).Get(address)
		if err == nil {
			res.Body.Close()
		}
		if !errors.Is(err, worker.ErrForbiddenAddress) {
			t.Errorf("%s: %v, want ErrForbiddenAddress", address, err)
		}
	}
	if len(got()) != 0 {
		t.Error("a request arrived")
	}
}
