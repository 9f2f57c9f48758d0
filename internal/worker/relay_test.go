package worker_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/worker"
)

// receiver is a server that webhooks are posted to.
func receiver(t *testing.T, status func(n int) int) (url string, got func() []map[string]any) {
	t.Helper()
	events := make(chan map[string]any, 100)
	var n atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var event map[string]any
		if err := json.NewDecoder(r.Body).Decode(&event); err != nil {
			t.Errorf("body: %v", err)
		}
		events <- event
		w.WriteHeader(status(int(n.Add(1))))
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

// relay delivers webhooks. A build is rendered as its state.
func (w *world) relay(client *http.Client) *worker.Relay {
	hooks := &worker.Webhooks{
		Engine: w.Engine, Client: client,
		Build: func(_ context.Context, b store.Build) (build, pipeline any, err error) {
			return map[string]any{"state": b.State, "number": b.Number}, map[string]any{}, nil
		},
	}
	return &worker.Relay{Engine: w.Engine, Log: w.Log, Deliver: map[string]func(context.Context, store.Effect) error{
		engine.EffectNotify(pipeline.Webhook): hooks.Deliver,
	}}
}

// pass carries out what is due.
func (w *world) pass(r *worker.Relay) {
	w.t.Helper()
	_, err := r.Pass(w.ctx())
	w.must(err)
	r.Wait()
}

// due is how many effects are due.
func (w *world) due() (n int) {
	w.t.Helper()
	lanes, err := w.Store.DueLanes(w.ctx(), w.Now(), 100)
	w.must(err)
	for _, lane := range lanes {
		effects, err := w.Store.DueEffects(w.ctx(), lane, w.Now(), 100)
		w.must(err)
		n += len(effects)
	}
	return n
}

func TestWebhooksAreToldOfABuildUntilTheyAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	refuse := true
	url, got := receiver(t, func(int) int {
		if refuse {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	w.build("p", "notify:\n- webhook: "+url+"\n- {webhook: "+url+"/never, if: build.state == 'failed'}\nsteps:\n- command: x\n")
	relay := w.relay(worker.WebhookClient(true))
	a := w.agent()
	w.assign()
	w.finish(a)
	w.pass(relay)
	w.pass(relay) // it is not its time yet
	if first := got(); len(first) != 3 {
		t.Fatalf("%d events, want created, started and finished: %v", len(first), first)
	}
	refuse = false
	w.clock.Add(11 * time.Second.Microseconds())
	w.pass(relay)
	w.pass(relay)
	states := map[any]any{}
	for _, e := range got() {
		states[e["event"]] = e["build"].(map[string]any)["state"]
	}
	want := map[any]any{"build.scheduled": "scheduled", "build.running": "running", "build.finished": "passed"}
	if diff := cmp.Diff(want, states); diff != "" {
		t.Errorf("after they were refused (-want +got):\n%s", diff)
	}
}

func TestAHostThatHangsHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	release := make(chan struct{})
	hung := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(hung.Close)
	arrived := make(chan struct{}, 1)
	url, _ := receiver(t, func(int) int { arrived <- struct{}{}; return http.StatusOK })
	document := "notify:\n"
	for range 100 { // many more than are posted at a time, and all of them before the other
		document += "- webhook: " + hung.URL + "\n"
	}
	w.build("p", document+"- webhook: "+url+"\nsteps:\n- command: x\n")
	relay := w.relay(worker.WebhookClient(true))
	if _, err := relay.Pass(w.ctx()); err != nil {
		t.Fatal(err)
	}
	<-arrived
	close(release)
	relay.Wait()
	if left := w.due(); left != 0 {
		t.Errorf("%d effects are left once the host answers", left)
	}
}

func TestADeliveryThatDiedIsMadeAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	url, got := receiver(t, func(int) int { return http.StatusOK })
	w.build("p", "notify:\n- webhook: "+url+"\nsteps:\n- command: x\n")
	lanes, err := w.Store.DueLanes(w.ctx(), w.Now(), 10)
	w.must(err)
	due, err := w.Store.DueEffects(w.ctx(), lanes[0], w.Now(), 10)
	w.must(err)
	for range 2 { // by two servers at once
		_, err = w.ClaimEffect(w.ctx(), due[0], w.Now().Add(30*time.Second))
		w.must(err)
	}
	relay := w.relay(worker.WebhookClient(true))
	w.pass(relay)
	if n := len(got()); n != 0 {
		t.Fatalf("%d events while another server has the effect", n)
	}
	w.clock.Add(30 * time.Second.Microseconds())
	w.pass(relay)
	if n := len(got()); n != 1 {
		t.Errorf("%d events after the other server's death, want 1", n)
	}
}

func TestEffectIsGivenUpInTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	url, got := receiver(t, func(int) int { return http.StatusBadGateway })
	w.build("p", "notify:\n- webhook: "+url+"\nsteps:\n- command: x\n")
	relay := w.relay(worker.WebhookClient(true))
	for range 20 {
		w.pass(relay)
		w.clock.Add(time.Hour.Microseconds())
	}
	if n := len(got()); n != 12 {
		t.Errorf("%d attempts, want 12", n)
	}
	if left := w.due(); left != 0 {
		t.Errorf("%d effects are left", left)
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

func TestAServiceIsToldOfItsEventsAndKnowsWhoTells(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	heads := make(chan http.Header, 10)
	bodies := make(chan []byte, 10)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		heads <- r.Header
		bodies <- body
	}))
	t.Cleanup(srv.Close)
	finished := store.ServiceSpec{Scope: "all", Events: []string{"build.finished"}, TokenMode: "signature"}
	w.service("webhook", srv.URL, finished, "s3cret")
	elsewhere := finished
	elsewhere.Branches = "release/*"
	w.service("webhook", srv.URL, elsewhere, "")
	elsewhere.Branches, elsewhere.Scope = "", "some_projects"
	w.service("webhook", srv.URL, elsewhere, "")
	w.build("p", "steps:\n- command: x\n")
	a := w.agent()
	w.assign()
	w.finish(a)
	w.pass(w.relay(worker.WebhookClient(true)))
	if len(heads) != 1 {
		t.Fatalf("%d events, want 1", len(heads))
	}
	head, body := <-heads, <-bodies
	if ev := head.Get("X-Buildkite-Event"); ev != "build.finished" || head.Get("X-Buildkite-Token") != "" {
		t.Errorf("headers %v", head)
	}
	// As github.com/buildkite/go-buildkite v4, webhooks.go, checks it.
	stamp, signature, ok := strings.Cut(head.Get("X-Buildkite-Signature"), ",")
	stamp, signature = strings.TrimPrefix(stamp, "timestamp="), strings.TrimPrefix(signature, "signature=")
	mac := hmac.New(sha256.New, []byte("s3cret"))
	fmt.Fprintf(mac, "%s.%s", stamp, body)
	if want := hex.EncodeToString(mac.Sum(nil)); !ok || signature != want {
		t.Errorf("signature %q, want %q", head.Get("X-Buildkite-Signature"), want)
	}
}
