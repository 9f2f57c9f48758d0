package agentapi_test

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/agent/wire"
	"github.com/slipway-ci/slipway/internal/agentapi"
	"github.com/slipway-ci/slipway/internal/artifact"
	"github.com/slipway-ci/slipway/internal/auth"
	"github.com/slipway-ci/slipway/internal/blob/fs"
	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/forge/github"
	"github.com/slipway-ci/slipway/internal/joblog"
	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/secret"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/store/storetest"
	"github.com/slipway-ci/slipway/internal/trust"
)

const registrationToken = "registration-token"

// partSize is how many bytes a part of an artifact has, in tests few.
func partSize(t testing.TB) int64 {
	if _, measured := t.(*testing.B); measured {
		return 16 << 20
	}
	return 10
}

// world is the API on a real database behind a real server, with a clock that moves by hand.
type world struct {
	*engine.Engine
	t     testing.TB
	api   *agentapi.Server
	url   string
	clock atomic.Int64
	hub   *live.Hub
	logs  *joblog.Store
	blobs string // the directory of files
	drop  func() // breaks all connections
}

// newWorld starts a server on SQLite; change may alter what it works with.
func newWorld(t testing.TB, change ...func(*agentapi.Deps)) *world {
	t.Helper()
	return newWorldOn(t, storetest.SQLite(t), change...)
}

// worlds runs a test on each database.
func worlds(t *testing.T, test func(t *testing.T, w *world)) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, newWorld(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, newWorldOn(t, storetest.Postgres(t)))
	})
}

func newWorldOn(t testing.TB, o store.Options, change ...func(*agentapi.Deps)) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{t: t, hub: &live.Hub{}, blobs: filepath.Join(dir, "blobs")}
	w.clock.Store(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).UnixMicro())
	now := func() time.Time { return time.UnixMicro(w.clock.Load()).UTC() }
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	s := must(store.Open(context.Background(), o))(t)
	closeAfter(t, s)
	w.logs = must(joblog.Open(filepath.Join(dir, "logs"), joblog.Options{}, log))(t)
	closeAfter(t, w.logs)
	blobs := must(fs.Open(w.blobs))(t)
	closeAfter(t, blobs)
	sealer := must(secret.NewSealer(make([]byte, secret.KeyLength)))(t)
	w.Engine = engine.New(engine.Config{Store: s, Hub: w.hub, Log: log, Now: now, Sealer: sealer})
	must(w.Bootstrap(context.Background(), engine.Bootstrap{Organization: "main", AgentToken: registrationToken}))(t)
	files := artifact.Open(artifact.Config{
		Engine: w.Engine, DB: s, Blobs: blobs, Log: log, Now: now, SigningKey: bytes.Repeat([]byte("k"), 32), PartSize: partSize(t),
	})
	closeAfter(t, files)
	deps := agentapi.Deps{
		Engine: w.Engine, Store: s, Auth: &auth.Auth{Store: s, Now: now}, Hub: w.hub, Logs: w.logs, Artifacts: files,
		Apps: &github.Tokens{Client: http.DefaultClient, Now: now},
		Log:  log, Now: now, BaseURL: "http://ci.example.test",
		Reread: time.Hour, // hints alone must do, unless a test says otherwise
	}
	server := httptest.NewUnstartedServer(nil)
	deps.Hosts = []string{server.Listener.Addr().String()}
	for _, f := range change {
		f(&deps)
	}
	w.api = agentapi.New(deps)
	server.Config.Handler = declared(t, w.api)
	server.Config.Protocols = &http.Protocols{}
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	conns := &droppable{Listener: server.Listener}
	server.Listener = conns
	server.Start()
	t.Cleanup(server.Close)
	t.Cleanup(w.api.EndStreams)
	w.url, w.drop = server.URL, conns.drop
	return w
}

// droppable can break all connections that it has accepted, also those that the server has handed on.
type droppable struct {
	net.Listener
	mu       sync.Mutex
	accepted []net.Conn
}

func (d *droppable) Accept() (net.Conn, error) {
	c, err := d.Listener.Accept()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		d.accepted = append(d.accepted, c)
	}
	return c, err
}

func (d *droppable) drop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.accepted {
		_ = c.Close() // most have ended before
	}
	d.accepted = nil
}

// provoked is what routes answered in this run of the tests, for TestMain: which test provokes an answer does not
// matter, only that one does.
var provoked sync.Map

type answered struct {
	pattern string
	status  int
}

// declared reports answers with a status that their route does not declare.
func declared(t testing.TB, api http.Handler) http.Handler {
	statuses := map[string][]int{}
	for _, rt := range agentapi.Routes() {
		statuses[rt.Pattern] = slices.Concat(rt.Statuses, agentapi.EveryRoute())
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		noted := &notedStatus{ResponseWriter: w}
		api.ServeHTTP(noted, r)
		provoked.Store(answered{r.Pattern, cmp.Or(noted.status, http.StatusOK)}, true)
		if known := statuses[r.Pattern]; known != nil && noted.status != 0 && !slices.Contains(known, noted.status) {
			t.Errorf("%s answered %s with %d, which its line in the route table does not have", r.Pattern, r.URL, noted.status)
		}
	})
}

type notedStatus struct {
	http.ResponseWriter
	status int
}

func (n *notedStatus) WriteHeader(status int) {
	n.status = status
	n.ResponseWriter.WriteHeader(status)
}

func (n *notedStatus) Flush() { _ = http.NewResponseController(n.ResponseWriter).Flush() }

func (n *notedStatus) Unwrap() http.ResponseWriter { return n.ResponseWriter }

func closeAfter(t testing.TB, c io.Closer) {
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("closing %T: %v", c, err)
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

// client is a client of the API that bears a token.
func (w *world) client(token string) *wire.Client {
	return &wire.Client{Endpoint: w.url + "/v3", Token: token, UserAgent: "test/1", HTTP: wire.NewHTTPClient()}
}

// build makes a build of a new pipeline.
func (w *world) build(configuration string) store.Build {
	w.t.Helper()
	return w.buildOf(must(w.Store.Organization(context.Background(), "main"))(w.t).ID, configuration)
}

func (w *world) buildOf(organizationID, configuration string) store.Build {
	w.t.Helper()
	ctx := context.Background()
	pl := must(w.CreatePipeline(ctx, engine.CreatePipeline{
		OrganizationID: organizationID, Name: "p-" + w.NewID(), Repository: "https://example.test/p.git", Configuration: configuration,
	}))(w.t)
	return must(w.CreateBuild(ctx, engine.CreateBuild{PipelineID: pl.ID, Source: trust.SourceAPI}))(w.t)
}

// job is the latest attempt of a build's only script job.
func (w *world) job(b store.Build) store.Job {
	w.t.Helper()
	for _, j := range must(w.Store.Jobs(context.Background(), b.ID))(w.t) {
		if j.Kind == ci.JobScript && j.RetriedIn == "" {
			return j
		}
	}
	w.t.Fatal("the build has no job")
	return store.Job{}
}

// agent is a registered and connected agent.
type agent struct {
	wire.RegisterResponse
	*wire.Client
}

func (w *world) agent() agent {
	w.t.Helper()
	ctx := context.Background()
	r := must(w.client(registrationToken).Register(ctx, wire.RegisterRequest{Name: "agent-%random", Hostname: "host"}))(w.t)
	a := agent{r, w.client(r.AccessToken)}
	if err := a.Connect(ctx); err != nil {
		w.t.Fatal(err)
	}
	return a
}

func (w *world) assign(j store.Job, a agent) {
	w.t.Helper()
	if !must(w.AssignJob(context.Background(), j.ID, a.ID))(w.t) {
		w.t.Fatalf("job %s was not assigned", j.ID)
	}
}

// held is a job that an agent runs, and a client with the job's token.
type held struct {
	*wire.Client
	job   wire.Job
	agent agent
	build store.Build
}

// held starts the only job of a build.
func (w *world) held(b store.Build) held {
	w.t.Helper()
	a := w.agent()
	j := w.job(b)
	w.assign(j, a)
	accepted := must(a.Accept(context.Background(), j.ID))(w.t)
	h := held{job: accepted, Client: w.client(accepted.Token), agent: a, build: b}
	if err := h.Start(context.Background(), j.ID, w.Now()); err != nil {
		w.t.Fatal(err)
	}
	return h
}

// running starts a job that prints nothing.
func (w *world) running() held { return w.held(w.build("steps:\n- command: true\n  key: one\n")) }

func zipped(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	must(io.WriteString(z, text))(t)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// answer is what the server answered to a raw request.
type answer struct {
	status int
	header http.Header
	body   string
}

// do makes a request with a token; body is sent as it is.
func (w *world) do(token, method, path, body string) answer {
	w.t.Helper()
	req := must(http.NewRequestWithContext(context.Background(), method, w.url+path, strings.NewReader(body)))(w.t)
	if token != "" {
		req.Header.Set("Authorization", "Token "+token)
	}
	return w.send(req)
}

func (w *world) send(req *http.Request) answer {
	w.t.Helper()
	resp := must(http.DefaultClient.Do(req))(w.t)
	defer resp.Body.Close()
	return answer{resp.StatusCode, resp.Header, string(must(io.ReadAll(resp.Body))(w.t))}
}

// message is the text of an error, which must be JSON.
func (a answer) message(t testing.TB) string {
	t.Helper()
	var v struct {
		Message string `json:"message"`
	}
	if err := json.Unmarshal([]byte(a.body), &v); err != nil || v.Message == "" {
		t.Errorf("body %q of a %d is not {\"message\"}: %v", a.body, a.status, err)
	}
	return v.Message
}

// hash is how a token is stored.
func hash(token string) string { return secret.HashToken(token) }
