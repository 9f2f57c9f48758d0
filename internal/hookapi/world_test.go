package hookapi_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/hookapi"
	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/secret"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/store/storetest"
)

const (
	sha1  = "1111111111111111111111111111111111111111"
	sha2  = "2222222222222222222222222222222222222222"
	sha3  = "3333333333333333333333333333333333333333"
	clone = "https://github.com/acme/app.git"
)

// world is the door on a real database behind a real server, with one pipeline.
type world struct {
	*engine.Engine
	url      string
	pipeline store.Pipeline
	clock    atomic.Int64
	sent     atomic.Int64 // deliveries, for their ids
}

// newWorld makes a pipeline of acme/app with provider_settings, "" for the defaults, and other settings.
func newWorld(t *testing.T, provider string, settings ...string) *world {
	t.Helper()
	t.Parallel()
	return another(t, provider, settings...)
}

// another is a further world of one test.
func another(t *testing.T, provider string, settings ...string) *world {
	t.Helper()
	ctx := context.Background()
	w := &world{}
	w.clock.Store(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).UnixMicro())
	s := must(store.Open(ctx, storetest.SQLite(t)))(t)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	w.Engine = engine.New(engine.Config{
		Store: s, Hub: &live.Hub{}, Log: log, Sealer: must(secret.NewSealer(make([]byte, secret.KeyLength)))(t),
		Now: func() time.Time { return time.UnixMicro(w.clock.Load()).UTC() },
	})
	must(w.Bootstrap(ctx, engine.Bootstrap{Organization: "main"}))(t)
	org := must(s.Organization(ctx, "main"))(t)
	if provider == "" {
		provider = "{}"
	}
	settings = append(settings, `"provider_settings": `+provider)
	w.pipeline = must(w.CreatePipeline(ctx, engine.CreatePipeline{
		OrganizationID: org.ID, Name: "app", Repository: "git@github.com:acme/app.git", Settings: json.RawMessage("{" + strings.Join(settings, ", ") + "}"),
		Configuration: "steps:\n- {command: x, key: m, branches: main}\n- {command: x, key: t, branches: '!main'}\n",
	}))(t)
	server := httptest.NewServer(hookapi.New(hookapi.Deps{Engine: w.Engine, Store: s, Log: log}))
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

// must returns a function that ends the test if there was an error.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// address is the pipeline's delivery address.
func (w *world) address(t testing.TB) string {
	t.Helper()
	tokens := must(w.WebhookTokens(t.Context(), []string{w.pipeline.ID}))(t)
	return w.url + "/deliver/" + tokens[w.pipeline.ID]
}

// answer is what the door says.
type answer struct {
	Status  int
	ID      string
	Outcome string
	Message string
	Builds  []int64
}

// post sends a body with headers.
func (w *world) post(t testing.TB, to, body string, header ...string) answer {
	t.Helper()
	req := must(http.NewRequestWithContext(t.Context(), http.MethodPost, to, strings.NewReader(body)))(t)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp := must((&http.Transport{DisableKeepAlives: true}).RoundTrip(req))(t)
	defer resp.Body.Close()
	text := must(io.ReadAll(resp.Body))(t)
	out := answer{Status: resp.StatusCode}
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return out
}

// deliver sends an event as GitHub does, under a new id.
func (w *world) deliver(t testing.TB, event, body string) answer {
	t.Helper()
	got := w.post(t, w.address(t), body, "X-GitHub-Event", event, "X-GitHub-Delivery", fmt.Sprintf("d-%d", w.sent.Add(1)))
	if got.Status != http.StatusOK {
		t.Fatalf("%s: status %d: %s", event, got.Status, got.Message)
	}
	return got
}

// builds makes sure that an event made a build, and returns it.
func (w *world) builds(t testing.TB, event, body string) store.Build {
	t.Helper()
	got := w.deliver(t, event, body)
	if got.Outcome != "built" || len(got.Builds) != 1 {
		t.Fatalf("%s: %s: %s", event, got.Outcome, got.Message)
	}
	return must(w.Store.BuildByNumber(t.Context(), w.pipeline.ID, got.Builds[0]))(t)
}

// ignores makes sure that an event made no build, for a reason with a part in it.
func (w *world) ignores(t testing.TB, event, body, reason string) {
	t.Helper()
	before := must(w.Store.CountBuilds(t.Context(), w.pipeline.ID))(t)
	got := w.deliver(t, event, body)
	if got.Outcome != "ignored" || !strings.Contains(got.Message, reason) {
		t.Errorf("%s: %s: %s; want it ignored with %q", event, got.Outcome, got.Message, reason)
	}
	if after := must(w.Store.CountBuilds(t.Context(), w.pipeline.ID))(t); after != before {
		t.Errorf("%s: there were %d builds and are %d", event, before, after)
	}
	if log := must(w.Store.Deliveries(t.Context(), w.pipeline.ID, 1))(t); len(log) != 1 || log[0].Reason != got.Message {
		t.Errorf("the log says %+v", log)
	}
}

// object is a part of a payload.
type object = map[string]any

func encode(parts ...object) string {
	all := object{
		"repository": object{"id": 1, "clone_url": clone, "ssh_url": "git@github.com:acme/app.git", "owner": user(9, "acme", "Organization")},
		"sender":     user(5, "ann", "User"),
	}
	for _, p := range parts {
		maps.Copy(all, p)
	}
	b, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func user(id int, login, kind string) object { return object{"id": id, "login": login, "type": kind} }

// push is a push of a commit with a message.
func push(ref, sha, message string) string {
	return encode(object{
		"ref": ref, "before": sha3, "after": sha, "deleted": false,
		"head_commit": object{"id": sha, "message": message, "author": object{"name": "Ann", "email": "ann@example.test"}},
	})
}

// pull is an event about pull request 7, from the own repository's branch topic at sha1.
func pull(action string, change ...func(pr, head object)) string {
	head := object{"ref": "topic", "sha": sha1, "repo": object{"id": 1, "clone_url": clone, "owner": user(9, "acme", "Organization")}}
	pr := object{
		"number": 7, "state": "open", "title": "Make it better", "draft": false, "updated_at": "2026-11-23T12:00:00Z",
		"author_association": "MEMBER", "user": user(5, "ann", "User"), "labels": []object{{"name": "big"}}, "head": head,
		"base": object{"ref": "main", "sha": sha3, "repo": object{"id": 1, "clone_url": clone}},
	}
	for _, f := range change {
		f(pr, head)
	}
	return encode(object{"action": action, "pull_request": pr})
}

// fromFork makes a pull request one of eve's fork.
func fromFork(pr, head object) {
	eve := user(66, "eve", "User")
	head["repo"] = object{"id": 2, "clone_url": "https://github.com/eve/app.git", "owner": eve}
	pr["user"], pr["author_association"] = eve, "FIRST_TIME_CONTRIBUTOR"
}

// sign is the header X-Hub-Signature-256.
func sign(key, body string) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// archived archives a pipeline.
func archived(w *world) func(store.Pipeline) store.Pipeline {
	return func(pl store.Pipeline) store.Pipeline {
		pl.ArchivedAt = w.Now()
		return pl
	}
}
