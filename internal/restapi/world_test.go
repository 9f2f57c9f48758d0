package restapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/auth"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/joblog"
	"github.com/slipway-ci/slipway/internal/joblog/joblogtest"
	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/restapi"
	"github.com/slipway-ci/slipway/internal/secret"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/store/storetest"
	"github.com/slipway-ci/slipway/internal/trust"
)

var update = flag.Bool("update", false, "rewrite testdata")

const apiToken = "api-token"

// world is the API on a real database behind a real server, with a clock that moves by hand.
type world struct {
	*engine.Engine
	t      testing.TB
	url    string
	clock  atomic.Int64
	asked  atomic.Int64 // statements
	logs   *joblog.Store
	org    store.Organization
	agents store.AgentToken
}

func newWorld(t testing.TB) *world {
	t.Helper()
	ctx, dir := context.Background(), t.TempDir()
	w := &world{t: t}
	w.clock.Store(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).UnixMicro())
	now := func() time.Time { return time.UnixMicro(w.clock.Load()).UTC() }
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	o := storetest.SQLite(t)
	o.Trace = func(string) { w.asked.Add(1) }
	s := must(store.Open(ctx, o))(t)
	closeAfter(t, s)
	w.logs = must(joblog.Open(filepath.Join(dir, "logs"), joblog.Options{}, log))(t)
	closeAfter(t, w.logs)
	w.Engine = engine.New(engine.Config{Sealer: must(secret.NewSealer(make([]byte, secret.KeyLength)))(t), Store: s, Hub: &live.Hub{}, Log: log, Now: now})
	must(w.Bootstrap(ctx, engine.Bootstrap{Organization: "main", APIToken: apiToken}))(t)
	w.org = must(s.Organization(ctx, "main"))(t)
	server := httptest.NewUnstartedServer(nil)
	w.url = "http://" + server.Listener.Addr().String()
	server.Config.Handler = restapi.New(restapi.Deps{
		Engine: w.Engine, Store: s, Auth: &auth.Auth{Store: s, Now: now}, Logs: w.logs, Log: log, Now: now, BaseURL: w.url,
		SignDownload: func(base string, a store.Artifact) string { return base + "/artifacts/" + a.ID + "?signature=s" },
	})
	server.Start()
	t.Cleanup(server.Close)
	return w
}

func closeAfter(t testing.TB, c io.Closer) {
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
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

func (w *world) advance(d time.Duration) { w.clock.Add(d.Microseconds()) }

// reply is an answer of the API.
type reply struct {
	*http.Response
	text string
}

// call sends a request without following redirects; token "" sends none.
func (w *world) call(t testing.TB, token, method, path, body string, header ...string) reply {
	t.Helper()
	req := must(http.NewRequestWithContext(context.Background(), method, w.url+path, strings.NewReader(body)))(t)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp := must((&http.Transport{DisableKeepAlives: true}).RoundTrip(req))(t)
	defer resp.Body.Close()
	return reply{resp, string(must(io.ReadAll(resp.Body))(t))}
}

// ask sends a request with the owner's token and wants a status.
func (w *world) ask(t testing.TB, method, path, body string, want int) reply {
	t.Helper()
	got := w.call(t, apiToken, method, path, body)
	if got.StatusCode != want {
		t.Fatalf("%s %s: status %d, want %d: %s", method, path, got.StatusCode, want, got.text)
	}
	return got
}

// get decodes what a GET answers.
func get[T any](t testing.TB, w *world, path string) T {
	t.Helper()
	return decode[T](t, w.ask(t, "GET", path, "", http.StatusOK).text)
}

func decode[T any](t testing.TB, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

const main = "/v2/organizations/main"

// pipeline makes a pipeline.
func (w *world) pipeline(t testing.TB, name, configuration string) store.Pipeline {
	t.Helper()
	return must(w.CreatePipeline(context.Background(), engine.CreatePipeline{
		OrganizationID: w.org.ID, Name: name, Repository: "https://example.test/" + name + ".git", Configuration: configuration,
	}))(t)
}

// build makes a build of a pipeline.
func (w *world) build(t testing.TB, pl store.Pipeline, change ...func(*engine.CreateBuild)) store.Build {
	t.Helper()
	op := engine.CreateBuild{PipelineID: pl.ID, Source: trust.SourceAPI, Message: "a message"}
	for _, f := range change {
		f(&op)
	}
	return must(w.CreateBuild(context.Background(), op))(t)
}

// job returns the latest attempt of the first job of the step with a key.
func (w *world) job(t testing.TB, b store.Build, key string) store.Job {
	t.Helper()
	s := must(w.Store.StepByKey(context.Background(), b.ID, key))(t)
	return must(w.Store.JobsOfStep(context.Background(), s.ID))(t)[0]
}

// agent registers and connects an agent.
func (w *world) agent(t testing.TB, name string) store.Agent {
	t.Helper()
	ctx := context.Background()
	if w.agents.ID == "" {
		cluster := must(w.Store.Clusters(ctx, w.org.ID))(t)[0]
		w.agents = store.AgentToken{ID: w.NewID(), ClusterID: cluster.ID, TokenHash: "agents", CreatedAt: w.Now()}
		must(0, w.Store.Update(ctx, func(tx *store.Tx) error { return tx.InsertAgentToken(ctx, w.agents) }))(t)
	}
	a, _, err := w.RegisterAgent(ctx, engine.RegisterAgent{
		Token: w.agents, Name: name, Hostname: "host-1", OS: "linux", Arch: "amd64", Version: "1.2.3", IP: "192.0.2.1", UserAgent: "agent/1.2.3",
	})
	must(0, err)(t)
	must(0, w.ConnectAgent(ctx, a.ID))(t)
	return a
}

// start takes a scheduled job to running on an agent.
func (w *world) start(t testing.TB, j store.Job, a store.Agent) {
	t.Helper()
	ctx := context.Background()
	if ok := must(w.AssignJob(ctx, j.ID, a.ID))(t); !ok {
		t.Fatalf("job %s was not assigned", j.ID)
	}
	must(w.AcceptJob(ctx, j.ID, a.ID))(t)
	must(0, w.StartJob(ctx, j.ID, w.Now()))(t)
}

// run takes a scheduled job to its end on an agent.
func (w *world) run(t testing.TB, j store.Job, a store.Agent, exit int) {
	t.Helper()
	w.start(t, j, a)
	w.advance(1500 * time.Millisecond)
	must(w.FinishJob(context.Background(), engine.FinishJob{JobID: j.ID, ExitStatus: exit}))(t)
}

// print adds text to a job's log.
func (w *world) print(t testing.TB, j store.Job, sequence, offset int64, text string) {
	t.Helper()
	must(0, w.append(j, sequence, offset, text))(t)
}

func (w *world) append(j store.Job, sequence, offset int64, text string) error {
	_, err := w.logs.Append(context.Background(), j.ID, joblog.Chunk{
		Sequence: sequence, Offset: offset, Size: int64(len(text)), Gzip: joblogtest.Compress(text),
	})
	return err
}

// token makes an API token of an organization.
func (w *world) token(t testing.TB, org store.Organization, token string, scopes ...string) {
	t.Helper()
	ctx := context.Background()
	owner := must(w.Store.FirstUser(ctx))(t)
	must(0, w.Store.Update(ctx, func(tx *store.Tx) error {
		return tx.InsertAPIToken(ctx, store.APIToken{
			ID: w.NewID(), OrganizationID: org.ID, UserID: owner.ID, TokenHash: secret.HashToken(token), Scopes: scopes, CreatedAt: w.Now(),
		})
	}))(t)
}

var ids = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`)

var graphIDs = regexp.MustCompile(`"graphql_id": "[A-Za-z0-9+/=]+"`)

var addressTokens = regexp.MustCompile(`bkwh_[A-Za-z0-9_-]+`)

// golden compares JSON with testdata, with ids and the server's address made the same in every run.
func (w *world) golden(t testing.TB, name, text string) {
	t.Helper()
	var buf bytes.Buffer
	if err := json.Indent(&buf, []byte(text), "", "  "); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	seen := map[string]string{}
	got := ids.ReplaceAllStringFunc(strings.ReplaceAll(buf.String(), w.url, "https://ci.example.test"), func(id string) string {
		if seen[id] == "" {
			seen[id] = "ID-" + string(rune('A'+len(seen)))
		}
		return seen[id]
	})
	got = graphIDs.ReplaceAllString(got, `"graphql_id": "…"`)
	got = addressTokens.ReplaceAllString(got, "bkwh_TOKEN")
	file := filepath.Join("testdata", name+".json")
	if *update {
		must(0, os.WriteFile(file, []byte(got), 0o644))(t)
	}
	if diff := cmp.Diff(string(must(os.ReadFile(file))(t)), got); diff != "" {
		t.Errorf("%s differs (run with -update to accept it):\n%s", file, diff)
	}
}
