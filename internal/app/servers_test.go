package app_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/slipway-ci/slipway/internal/agent/wire"
	"github.com/slipway-ci/slipway/internal/app"
	"github.com/slipway-ci/slipway/internal/dbtest"
	"github.com/slipway-ci/slipway/internal/edge"
	"github.com/slipway-ci/slipway/internal/live"
)

// startBoth starts two servers on one database. Blobs are in a directory that both have.
func startBoth(t *testing.T) (a, b *app.App) {
	t.Helper()
	c := config(t, t.TempDir())
	c.Database, c.APIToken, c.AgentToken = dbtest.Postgres(t), "api", "agent"
	for _, to := range []**app.App{&a, &b} {
		server, err := app.Start(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := server.Close(); err != nil {
				t.Error(err)
			}
		})
		*to = server
	}
	return a, b
}

// ask sends a request to a server's REST API.
func ask(t *testing.T, a *app.App, method, path, body string, out any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, a.URL+"/v2/organizations/main"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer api")
	req.Header.Set("Content-Type", "application/json")
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= 300 {
		t.Fatalf("%s %s: %d %s %v", method, path, res.StatusCode, got, err)
	}
	if err := json.Unmarshal(got, out); err != nil {
		t.Fatal(err)
	}
}

// take registers an agent at a server and pings until it has a job, which it starts.
func take(t *testing.T, a *app.App) (*wire.Client, string) {
	t.Helper()
	ctx := t.Context()
	c := &wire.Client{Endpoint: a.URL + "/v3", Token: "agent", HTTP: wire.NewHTTPClient()}
	r, err := c.Register(ctx, wire.RegisterRequest{Name: "a", Hostname: "h"})
	if err != nil {
		t.Fatal(err)
	}
	c = c.WithToken(r.AccessToken)
	if err := c.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	sub := a.Hub.Subscribe(live.Agent(r.ID))
	defer sub.Close()
	for {
		p, err := c.Ping(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if p.Job == nil {
			<-sub.C
			continue
		}
		j, err := c.Accept(ctx, p.Job.ID)
		if err != nil {
			t.Fatal(err)
		}
		c = c.WithToken(j.Token)
		if err := c.Start(ctx, j.ID, time.Now()); err != nil {
			t.Fatal(err)
		}
		return c, j.ID
	}
}

func compress(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestALogIsReadWhereItWasNotTaken has an agent at one server and its reader at another, who is told of each piece, and agents that send
// pieces to both.
func TestALogIsReadWhereItWasNotTaken(t *testing.T) {
	t.Parallel()
	a, b := startBoth(t)
	var build struct {
		Jobs []struct{ ID string }
	}
	ask(t, b, "POST", "/pipelines", `{"name": "p", "repository": "r", "configuration": "steps: [{command: x}]"}`, &struct{}{})
	ask(t, b, "POST", "/pipelines/p/builds", `{"commit": "HEAD", "branch": "main"}`, &build)
	agent, id := take(t, a)
	if id != build.Jobs[0].ID {
		t.Fatalf("job %s, want %s", id, build.Jobs[0].ID)
	}
	wake, cancel := b.Logs.Watch(id)
	defer cancel()
	text := ""
	for n := range 6 {
		piece := strings.Repeat("a line of output\r\n", 50+n)
		to := agent
		if n%2 == 1 {
			to = agent.WithEndpoint(b.URL + "/v3")
		}
		err := to.UploadChunk(t.Context(), id, wire.Chunk{Sequence: n + 1, Offset: int64(len(text)), Size: len(piece), Gzip: compress(t, piece)})
		if err != nil {
			t.Fatal(err)
		}
		text += piece
		<-wake
		if got := logText(t, b, id); got != text {
			t.Fatalf("after piece %d: %d bytes, want %d", n, len(got), len(text))
		}
	}
	if err := agent.Finish(t.Context(), id, wire.Finish{ExitStatus: "0", FinishedAt: time.Now().UTC().Format(time.RFC3339Nano)}); err != nil {
		t.Fatal(err)
	}
	for _, server := range []*app.App{a, b, a} {
		size, err := server.Logs.Size(t.Context(), id)
		if got := logText(t, server, id); got != text || !size.Finished || err != nil {
			t.Errorf("at its end: %d bytes, want %d; %+v, %v", len(got), len(text), size, err)
		}
		if _, err := server.Logs.Compact(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

func logText(t *testing.T, a *app.App, jobID string) string {
	t.Helper()
	var log struct{ Content string }
	ask(t, a, "GET", "/jobs/"+jobID+"/log", "", &log)
	return log.Content
}

// TestAJobOfOneServerReachesAStreamAtTheOther: the agent's stream is at the first server, the build is
// made at the second.
func TestAJobOfOneServerReachesAStreamAtTheOther(t *testing.T) {
	t.Parallel()
	a, b := startBoth(t)
	ctx := t.Context()
	c := &wire.Client{Endpoint: a.URL + "/v3", Token: "agent", HTTP: wire.NewHTTPClient()}
	r, err := c.Register(ctx, wire.RegisterRequest{Name: "a", Hostname: "h"})
	if err != nil {
		t.Fatal(err)
	}
	c = c.WithToken(r.AccessToken)
	if err := c.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	req := connect.NewRequest(&edge.StreamPingsRequest{AgentId: r.ID})
	req.Header().Set("Authorization", "Token "+r.AccessToken)
	in, err := edge.NewAgentEdgeServiceClient(c.HTTP, a.URL, connect.WithGRPC()).StreamPings(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var made struct{ ID string }
	ask(t, b, "POST", "/pipelines", `{"name":"p","repository":"https://example.test/p.git","configuration":"steps:\n- command: x\n"}`, &made)
	ask(t, b, "POST", "/pipelines/p/builds", `{"commit":"HEAD","branch":"main"}`, &made)
	for in.Receive() {
		if j := in.Msg().GetJobAssigned(); j != nil {
			if _, err := c.Accept(ctx, j.GetJob().GetId()); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("the stream ended without a job: %v", in.Err())
}
