package worker_test

import (
	"context"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/mailtest"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/worker"
)

// notifiers delivers mail and Slack messages.
func (w *world) notifiers(smtp string) *worker.Relay {
	w.t.Helper()
	server, err := worker.ParseMailServer("smtp://ci@"+smtp, "Slipway <ci@slipway.test>", "pass")
	w.must(err)
	post := &worker.Mail{Engine: w.Engine, Server: server, BaseURL: "http://ci.test"}
	slack := &worker.Slack{Engine: w.Engine, Client: worker.WebhookClient(true), BaseURL: "http://ci.test"}
	return &worker.Relay{Engine: w.Engine, Log: w.Log, Deliver: map[string]func(context.Context, store.Effect) error{
		engine.EffectNotify(pipeline.Email): post.Deliver, engine.EffectNotify(pipeline.Slack): slack.Deliver,
	}}
}

func TestAMailTellsOfTheBuildAndKeepsItsThread(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	address, mails := mailtest.Serve(t)
	relay := w.notifiers(address)
	b := w.build("p", "notify:\n- email: ana@b.test\n- email: nobody@b.test\nsteps:\n- {command: x, label: 'a <b>'}\n")
	a := w.agent()
	w.assign()
	w.finish(a)
	w.pass(relay)
	if left := w.due(); left != 0 || len(mails) != 1 {
		t.Fatalf("%d mails were sent and %d effects are left: an address that is refused is not tried again", len(mails), left)
	}
	m, err := mail.ReadMessage(strings.NewReader(<-mails))
	w.must(err)
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	w.must(err)
	if subject != "[p] Build #1 passed ("+b.Branch+")" {
		t.Errorf("subject %q", subject)
	}
	got := map[string]string{}
	for _, name := range []string{"From", "To", "In-Reply-To", "References", "List-Id", "Auto-Submitted"} {
		got[name] = m.Header.Get(name)
	}
	want := map[string]string{
		"From": `"Slipway" <ci@slipway.test>`, "To": "<ana@b.test>", "In-Reply-To": "<build." + b.ID + "@ci.test>",
		"References": "<build." + b.ID + "@ci.test>", "List-Id": "main/p <p.main.ci.test>", "Auto-Submitted": "auto-generated",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if id := m.Header.Get("Message-ID"); !strings.HasSuffix(id, "@ci.test>") {
		t.Errorf("Message-ID %q", id)
	}
	parts := partsOf(t, m)
	if len(parts) != 2 || !strings.Contains(parts["text/plain"], "\nhttp://ci.test/main/p/builds/1\n") ||
		!strings.Contains(parts["text/html"], `<a href="http://ci.test/main/p/builds/1"`) {
		t.Errorf("parts %q", parts)
	}
}

func partsOf(t *testing.T, m *mail.Message) map[string]string {
	t.Helper()
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("content type %s: %v", kind, err)
	}
	parts := map[string]string{}
	for r := multipart.NewReader(m.Body, params["boundary"]); ; {
		p, err := r.NextRawPart()
		if err == io.EOF {
			return parts
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(quotedprintable.NewReader(p))
		if err != nil {
			t.Fatal(err)
		}
		kind, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type"))
		parts[kind] = strings.ReplaceAll(string(text), "\r\n", "\n")
	}
}

// A mail server that never answers ends the attempt, not the relay.
func TestAMailServerThatSaysNothingIsGivenUpOnInTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	w.must(err)
	t.Cleanup(func() { l.Close() })
	server, err := worker.ParseMailServer("smtp://"+l.Addr().String(), "ci@slipway.test", "")
	w.must(err)
	b := w.build("p", "steps:\n- command: x\n")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	payload, err := json.Marshal(engine.Notice{BuildID: b.ID, State: "failed", Notification: pipeline.Notification{To: "a@b.test"}})
	w.must(err)
	d := &worker.Mail{Engine: w.Engine, Server: server, BaseURL: "http://ci.test"}
	if err := d.Deliver(ctx, store.Effect{ID: "e", Payload: payload}); err == nil {
		t.Error("a mail was sent to nobody")
	}
}

func TestMailServersAreReadOrRefused(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"smtp://mail.test": "mail.test:587", "smtps://u@mail.test": "mail.test:465", "smtp://[::1]:25": "[::1]:25",
		"mail.test:25": "", "http://mail.test": "", "smtp://u:secret@mail.test": "", "smtp://": "",
	} {
		got, err := worker.ParseMailServer(address, "ci@b.test", "")
		if got.Address != want || (err == nil) != (want != "") || err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %q, %v", address, got.Address, err)
		}
	}
	if _, err := worker.ParseMailServer("smtp://mail.test", "ci", ""); err == nil {
		t.Error("a sender without a host is accepted")
	}
}

// slackServer takes incoming webhooks at a secret path.
func slackServer(t *testing.T) (url string, got chan map[string]any, status *atomic.Int64) {
	t.Helper()
	got, status = make(chan map[string]any, 10), &atomic.Int64{}
	status.Store(http.StatusOK)
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var m map[string]any
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			t.Errorf("body: %v", err)
		}
		got <- m
		rw.WriteHeader(int(status.Load()))
	}))
	t.Cleanup(srv.Close)
	return srv.URL + "/services/T0/SECRET", got, status
}

func (w *world) service(provider, url string, spec store.ServiceSpec, token string) store.Service {
	w.t.Helper()
	s, err := w.SaveService(w.ctx(), engine.SaveService{
		Service: store.Service{OrganizationID: w.org.ID, Provider: provider, Description: "acme", Enabled: true, Spec: spec},
		Secret:  engine.ServiceSecret{URL: url, Token: token},
	})
	w.must(err)
	return s
}

func TestSlackIsToldInTheChannelThatThePipelineNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	url, got, status := slackServer(t)
	w.service("slack", url, store.ServiceSpec{Scope: "all"}, "")
	relay := w.notifiers("127.0.0.1:1")
	w.build("p", "notify:\n- slack: {channels: ['acme#ci', '@ana'], message: '<!here> & look'}\n- slack: 'other#ci'\nsteps:\n- {command: x}\n")
	a := w.agent()
	w.assign()
	w.finish(a)
	status.Store(http.StatusForbidden)
	w.pass(relay)
	<-got
	<-got
	for _, e := range w.waiting() {
		if strings.Contains(e.LastError, "SECRET") || !strings.Contains(e.LastError, "403") {
			t.Errorf("the error kept is %q", e.LastError)
		}
	}
	status.Store(http.StatusOK)
	w.clock.Add(11 * time.Second.Microseconds())
	w.pass(relay)
	channels := map[any]bool{}
	for range 2 {
		m := <-got
		channels[m["channel"]] = true
		raw, _ := json.Marshal(m)
		for _, want := range []string{"http://ci.test/main/p/builds/1|Build #1 passed", "#16794c", "look"} {
			if !strings.Contains(strings.ReplaceAll(string(raw), `\u003c`, "<"), want) {
				t.Errorf("%s does not say %q", raw, want)
			}
		}
	}
	if diff := cmp.Diff(map[any]bool{"#ci": true, "@ana": true}, channels); diff != "" {
		t.Errorf("channels (-want +got):\n%s", diff)
	}
	if len(got) != 0 || len(w.waiting()) != 0 {
		t.Errorf("%d more messages, and %d effects wait: no service is called other", len(got), len(w.waiting()))
	}
}

// waiting are the effects in the outbox, due or not.
func (w *world) waiting() (all []store.Effect) {
	w.t.Helper()
	later := w.Now().Add(1000 * time.Hour)
	lanes, err := w.Store.DueLanes(w.ctx(), later, 100)
	w.must(err)
	for _, lane := range lanes {
		effects, err := w.Store.DueEffects(w.ctx(), lane, later, 100)
		w.must(err)
		all = append(all, effects...)
	}
	return all
}
