package wire_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/slipway-ci/slipway/internal/agent/wire"
)

// request is what a server saw.
type request struct {
	Line string // method and target as sent
	Body string
	Auth string
}

// serve answers every request with status and body, and returns a client of
// the server and the requests it saw.
func serve(t *testing.T, status int, body string) (*wire.Client, *[]request) {
	t.Helper()
	var seen []request
	c := serveFunc(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("reading request: %v", err)
		}
		seen = append(seen, request{r.Method + " " + r.RequestURI, strings.TrimSpace(string(b)), r.Header.Get("Authorization")})
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		io.WriteString(w, body)
	})
	return c, &seen
}

func serveFunc(t *testing.T, h http.HandlerFunc) *wire.Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return &wire.Client{Endpoint: s.URL + "/v3/", Token: "tok", UserAgent: "test/1", HTTP: wire.NewHTTPClient()}
}

func TestEachCallIsTheOneTheServerKnows(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 8, 49, 21, 639684341, time.FixedZone("", 3600))
	tests := map[string]struct {
		call   func(context.Context, *wire.Client) error
		answer string
		line   string
		body   string
	}{
		"register": {
			func(ctx context.Context, c *wire.Client) error {
				_, err := c.Register(ctx, wire.RegisterRequest{Name: "a-%spawn", Hostname: "h"})
				return err
			}, `{"id":"A"}`, "POST /v3/register",
			`{"name":"a-%spawn","hostname":"h","os":"","arch":"","script_eval_enabled":false,"ignore_in_dispatches":false,"version":"","build":"","meta_data":[],"features":[]}`,
		},
		"connect":    {func(ctx context.Context, c *wire.Client) error { return c.Connect(ctx) }, ``, "POST /v3/connect", ""},
		"disconnect": {func(ctx context.Context, c *wire.Client) error { return c.Disconnect(ctx) }, ``, "POST /v3/disconnect", ""},
		"ping":       {func(ctx context.Context, c *wire.Client) error { _, err := c.Ping(ctx); return err }, `{}`, "GET /v3/ping", ""},
		"heartbeat": {
			func(ctx context.Context, c *wire.Client) error { _, err := c.Heartbeat(ctx, at); return err },
			`{}`, "POST /v3/heartbeat", `{"sent_at":"2026-11-23T08:49:21.639684341+01:00"}`,
		},
		"accept":  {func(ctx context.Context, c *wire.Client) error { _, err := c.Accept(ctx, "J"); return err }, `{}`, "PUT /v3/jobs/J/accept", ""},
		"acquire": {func(ctx context.Context, c *wire.Client) error { _, err := c.Acquire(ctx, "J", 2); return err }, `{}`, "PUT /v3/jobs/J/acquire", ""},
		"start": {
			func(ctx context.Context, c *wire.Client) error { return c.Start(ctx, "J", at) }, ``,
			"PUT /v3/jobs/J/start", `{"started_at":"2026-11-23T07:49:21.639684341Z"}`,
		},
		"state": {func(ctx context.Context, c *wire.Client) error { _, err := c.JobState(ctx, "J"); return err }, `{"state":"running"}`, "GET /v3/jobs/J", ""},
		"finish": {
			func(ctx context.Context, c *wire.Client) error {
				return c.Finish(ctx, "J", wire.Finish{ExitStatus: "0", FinishedAt: "T"})
			}, ``, "PUT /v3/jobs/J/finish", `{"exit_status":"0","finished_at":"T","chunks_failed_count":0}`,
		},
		"set": {
			func(ctx context.Context, c *wire.Client) error {
				return c.SetMetaData(ctx, "J", wire.MetaData{Key: "k", Value: "v"})
			}, ``, "POST /v3/jobs/J/data/set", `{"key":"k","value":"v"}`,
		},
		"set-batch": {
			func(ctx context.Context, c *wire.Client) error {
				return c.SetMetaDataBatch(ctx, "J", []wire.MetaData{{Key: "k", Value: "v"}})
			}, ``, "POST /v3/jobs/J/data/set-batch", `{"items":[{"key":"k","value":"v"}]}`,
		},
		"get": {
			func(ctx context.Context, c *wire.Client) error {
				_, err := c.MetaData(ctx, wire.OfBuild("B"), "k")
				return err
			}, `{}`, "POST /v3/builds/B/data/get", `{"key":"k"}`,
		},
		"exists": {
			func(ctx context.Context, c *wire.Client) error {
				_, err := c.MetaDataExists(ctx, wire.OfJob("J"), "k")
				return err
			}, `{}`, "POST /v3/jobs/J/data/exists", `{"key":"k"}`,
		},
		"keys": {
			func(ctx context.Context, c *wire.Client) error {
				_, err := c.MetaDataKeys(ctx, wire.OfJob("J"))
				return err
			},
			`[]`, "POST /v3/jobs/J/data/keys", "",
		},
		"annotate": {
			func(ctx context.Context, c *wire.Client) error {
				return c.Annotate(ctx, "J", wire.Annotation{Body: "<b>", Priority: 3, Scope: "build"})
			}, ``, "POST /v3/jobs/J/annotations", `{"body":"\u003cb\u003e","priority":3,"scope":"build"}`,
		},
		"remove annotation": {
			func(ctx context.Context, c *wire.Client) error {
				return c.RemoveAnnotation(ctx, "J", "a.b/c d", "build")
			},
			``, "DELETE /v3/jobs/J/annotations/a%2Eb%2Fc%20d?scope=build", "",
		},
		"search": {
			func(ctx context.Context, c *wire.Client) error {
				_, err := c.SearchArtifacts(ctx, "B", wire.Search{Query: "out/*.txt", State: "finished", IncludeDuplicates: true})
				return err
			}, `[]`, "GET /v3/builds/B/artifacts/search?include_duplicates=true&query=out%2F%2A.txt&state=finished", "",
		},
		"update artifacts": {
			func(ctx context.Context, c *wire.Client) error {
				return c.UpdateArtifacts(ctx, "J", []wire.ArtifactState{{ID: "a", State: wire.ArtifactFinished}})
			}, ``, "PUT /v3/jobs/J/artifacts", `{"artifacts":[{"id":"a","state":"finished"}]}`,
		},
		"export step": {
			func(ctx context.Context, c *wire.Client) error {
				_, err := c.ExportStep(ctx, "s1", wire.StepExport{Attribute: "label", BuildID: "B"})
				return err
			}, `{}`, "POST /v3/steps/s1/export", `{"attribute":"label","build_id":"B"}`,
		},
		"update step": {
			func(ctx context.Context, c *wire.Client) error {
				return c.UpdateStep(ctx, "s1", wire.StepUpdate{IdempotencyUUID: "U", Attribute: "label", Value: "x", Append: true})
			}, ``, "PUT /v3/steps/s1", `{"idempotency_uuid":"U","attribute":"label","value":"x","append":true}`,
		},
		"cancel step": {
			func(ctx context.Context, c *wire.Client) error {
				_, err := c.CancelStep(ctx, "s1", wire.StepCancel{BuildID: "B", Force: true, ForceGracePeriod: 10})
				return err
			}, `{}`, "POST /v3/steps/s1/cancel", `{"build_id":"B","force":true,"force_grace_period":10}`,
		},
		"cancel build": {
			func(ctx context.Context, c *wire.Client) error { _, err := c.CancelBuild(ctx, "B"); return err },
			`{}`, "POST /v3/builds/B/cancel", "",
		},
		"stop":       {func(ctx context.Context, c *wire.Client) error { return c.Stop(ctx, false) }, ``, "POST /v3/stop", `{}`},
		"force stop": {func(ctx context.Context, c *wire.Client) error { return c.Stop(ctx, true) }, ``, "POST /v3/stop", `{"force":true}`},
		"pause": {
			func(ctx context.Context, c *wire.Client) error { return c.Pause(ctx, "why", 5) }, ``,
			"POST /v3/pause", `{"note":"why","timeout_in_minutes":5}`,
		},
		"resume": {func(ctx context.Context, c *wire.Client) error { return c.Resume(ctx) }, ``, "POST /v3/resume", ""},
		"secret": {
			func(ctx context.Context, c *wire.Client) error { _, err := c.Secret(ctx, "J", "a b"); return err },
			`{}`, "GET /v3/jobs/J/secrets?key=a+b", "",
		},
		"oidc": {
			func(ctx context.Context, c *wire.Client) error {
				_, err := c.OIDCToken(ctx, "J", wire.OIDCTokenRequest{Audience: "aws"})
				return err
			}, `{}`, "POST /v3/jobs/J/oidc/tokens", `{"audience":"aws"}`,
		},
		"update job": {
			func(ctx context.Context, c *wire.Client) error {
				return c.UpdateJob(ctx, "J", "timeout_in_minutes", "5")
			},
			`{}`, "PUT /v3/jobs/J", `{"timeout_in_minutes":"5"}`,
		},
		"promise failure": {
			func(ctx context.Context, c *wire.Client) error { return c.PromiseFailure(ctx, "J", 4, "why") },
			``, "PUT /v3/jobs/J/promise_failure", `{"exit_status":4,"reason":"why"}`,
		},
		"repository token": {
			func(ctx context.Context, c *wire.Client) error {
				_, err := c.RepositoryAccessToken(ctx, "J", "u")
				return err
			},
			`{}`, "POST /v3/jobs/J/repository_access_token", `{"repo_url":"u"}`,
		},
		"pipeline status": {
			func(ctx context.Context, c *wire.Client) error {
				_, err := c.PipelineStatus(ctx, "J", "U", 0)
				return err
			},
			`{}`, "GET /v3/jobs/J/pipelines/U", "",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, seen := serve(t, http.StatusOK, tt.answer)
			if err := tt.call(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			want := []request{{tt.line, tt.body, "Token tok"}}
			if diff := cmp.Diff(want, *seen); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}

func TestChunkIsSentAsItWasCompressed(t *testing.T) {
	t.Parallel()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := io.WriteString(z, "hello\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	c := serveFunc(t, func(w http.ResponseWriter, r *http.Request) {
		got, err := io.ReadAll(r.Body)
		if err != nil || !bytes.Equal(got, packed.Bytes()) {
			t.Errorf("body = %x, %v, want %x", got, err, packed.Bytes())
		}
		if got, want := r.URL.RawQuery, "offset=100&sequence=2&size=7"; got != want {
			t.Errorf("query = %q, want %q", got, want)
		}
		if r.Header.Get("Content-Encoding") != "gzip" || r.Header.Get("Content-Type") != "text/plain" {
			t.Errorf("headers = %v", r.Header)
		}
		if _, timed := r.Header["Buildkite-Timeout-Milliseconds"]; timed {
			t.Error("a call without a deadline named one")
		}
		w.WriteHeader(http.StatusCreated)
	})
	err := c.UploadChunk(t.Context(), "J", wire.Chunk{Sequence: 2, Offset: 100, Size: 7, Gzip: packed.Bytes()})
	if err != nil {
		t.Error(err)
	}
}

func TestRequestsCarryDeadlineSequenceAndServerChosenHeaders(t *testing.T) {
	t.Parallel()
	var got http.Header
	c := serveFunc(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		io.WriteString(w, `{}`)
	})
	c = c.WithHeaders(wire.ServerHeaders(map[string]string{
		"Buildkite-Shard": "7", "buildkite-lower": "dropped", "Authorization": "dropped",
	}))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := c.Acquire(ctx, "J", 3); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"Buildkite-Shard": "7", "X-Buildkite-Backoff-Sequence": "3",
		"X-Buildkite-Lock-Acquire-Job": "1", "Authorization": "Token tok", "User-Agent": "test/1",
		"Buildkite-Lower": "",
	} {
		if got.Get(name) != want {
			t.Errorf("header %s = %q, want %q", name, got.Get(name), want)
		}
	}
	if ms := got.Get("Buildkite-Timeout-Milliseconds"); len(ms) != 5 {
		t.Errorf("Buildkite-Timeout-Milliseconds = %q, want just under a minute", ms)
	}
}

func TestErrorsTellWhatTheServerSaid(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		status    int
		kind      string
		body      string
		message   string
		retryable bool
	}{
		"refusal":       {422, "application/json", `{"message":"job was canceled"}`, "PUT jobs/J/accept: 422 Unprocessable Entity: job was canceled", false},
		"overload":      {503, "application/json; charset=utf-8", `{"message":"later"}`, "PUT jobs/J/accept: 503 Service Unavailable: later", true},
		"rate limit":    {429, "application/json", `{}`, "PUT jobs/J/accept: 429 Too Many Requests", true},
		"proxy":         {502, "text/html", `<h1>oops`, `PUT jobs/J/accept: 502 Bad Gateway: answer is not JSON, it starts with "<h1>oops"`, true},
		"empty success": {200, "application/json", ``, "PUT jobs/J/accept: 200 OK: undecodable answer (unexpected end of JSON input), perhaps from a proxy", true},
		"html success":  {200, "text/html", `<p>`, `PUT jobs/J/accept: 200 OK: undecodable answer (invalid character '<' looking for beginning of value), perhaps from a proxy: it starts with "<p>"`, true},
		"broken json":   {200, "application/json", `{"token":"secret`, "PUT jobs/J/accept: 200 OK: undecodable answer (unexpected end of JSON input), perhaps from a proxy", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := serveFunc(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tt.kind)
				w.WriteHeader(tt.status)
				io.WriteString(w, tt.body)
			})
			_, err := c.Accept(t.Context(), "J")
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(tt.message, err.Error()); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
			if wire.Status(err) != tt.status || wire.Retryable(err) != tt.retryable {
				t.Errorf("status %d, retryable %t, want %d, %t", wire.Status(err), wire.Retryable(err), tt.status, tt.retryable)
			}
		})
	}
}

func TestRefusedConnectionIsRetryable(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(nil)
	s.Close()
	c := &wire.Client{Endpoint: s.URL, HTTP: wire.NewHTTPClient()}
	err := c.Connect(t.Context())
	if err == nil || !wire.Retryable(err) || wire.Status(err) != 0 {
		t.Errorf("error = %v, want a retryable one without status", err)
	}
}

func TestUntrustedCertificateIsFinal(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(nil)
	s.Config.ErrorLog = log.New(t.Output(), "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	c := &wire.Client{Endpoint: s.URL, HTTP: wire.NewHTTPClient()}
	if err := c.Connect(t.Context()); err == nil || wire.Retryable(err) {
		t.Errorf("error = %v, want a final one", err)
	}
}

func TestUploadAnswers(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		status     int
		location   string
		retryAfter string
		want       wire.UploadAnswer
		fails      bool
	}{
		"applied at once":   {status: 200},
		"created":           {status: 201},
		"for later":         {202, "/v3/jobs/J/pipelines/U", "2.5", wire.UploadAnswer{Pending: true, Wait: 2500 * time.Millisecond}, false},
		"without a hint":    {202, "/v3/jobs/J/pipelines/U", "", wire.UploadAnswer{Pending: true, Wait: time.Second}, false},
		"without location":  {status: 202, fails: true},
		"of another job":    {status: 202, location: "/v3/jobs/K/pipelines/U", fails: true},
		"of another upload": {status: 202, location: "/v3/jobs/J/pipelines/V", fails: true},
		"a date is no hint": {202, "/v3/jobs/J/pipelines/U", "Mon, 23 Nov 2026 08:00:00 GMT", wire.UploadAnswer{Pending: true, Wait: time.Second}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := serveFunc(t, func(w http.ResponseWriter, _ *http.Request) {
				if tt.location != "" {
					w.Header().Set("Location", tt.location)
				}
				w.Header().Set("Retry-After", tt.retryAfter)
				w.WriteHeader(tt.status)
			})
			got, err := c.UploadPipeline(t.Context(), "J", wire.PipelineUpload{UUID: "U", Pipeline: json.RawMessage(`{}`)}, 0)
			if (err != nil) != tt.fails || got != tt.want {
				t.Errorf("UploadPipeline = %+v, %v, want %+v, fails %t", got, err, tt.want, tt.fails)
			}
		})
	}
}

func TestAnySegmentReachesTheServerWhole(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	// Not a ServeMux: it takes a segment that is one slash for a trailing slash and matches no pattern.
	c := serveFunc(t, func(_ http.ResponseWriter, r *http.Request) {
		segment, err := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), "/v3/steps/"))
		if err != nil {
			t.Errorf("path %q: %v", r.URL.EscapedPath(), err)
		}
		got <- segment
	})
	rapid.Check(t, func(t *rapid.T) {
		step := rapid.StringN(1, 20, 60).Draw(t, "step")
		if err := c.UpdateStep(context.Background(), step, wire.StepUpdate{}); err != nil {
			t.Fatalf("step %q: %v", step, err)
		}
		if g := <-got; g != step {
			t.Fatalf("server got step %q, want %q", g, step)
		}
	})
}
