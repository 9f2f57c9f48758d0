package app_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-ci/slipway/internal/agent/wire"
	"github.com/slipway-ci/slipway/internal/app"
	"github.com/slipway-ci/slipway/internal/dbtest"
	"github.com/slipway-ci/slipway/internal/edge"
	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/secret"
)

// startBoth starts two servers on one database at the same time. Each has a directory of its own, but that of artifacts.
func startBoth(t *testing.T) (a, b *app.App) {
	t.Helper()
	return startTwo(t, [2]string{"", ""})
}

// startTwo starts two servers whose first tokens end in something of their own.
func startTwo(t *testing.T, of [2]string) (a, b *app.App) {
	t.Helper()
	database, key, files := dbtest.Postgres(t), secret.NewKey(), t.TempDir()
	var g errgroup.Group
	for i, to := range []**app.App{&a, &b} {
		c := config(t, t.TempDir())
		c.Database, c.SealingKeys, c.APIToken, c.AgentToken = database, key, "api"+of[i], "agent"+of[i]
		if err := os.Symlink(files, filepath.Join(c.Data, "artifacts")); err != nil {
			t.Fatal(err)
		}
		g.Go(func() (err error) {
			*to, err = app.Start(t.Context(), c)
			return err
		})
	}
	err := g.Wait()
	for _, server := range []*app.App{a, b} {
		if server != nil {
			t.Cleanup(func() {
				if err := server.Close(); err != nil {
					t.Error(err)
				}
			})
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

// TestTheFirstTokensAreThoseOfOneServer starts two servers that were told of different tokens.
func TestTheFirstTokensAreThoseOfOneServer(t *testing.T) {
	t.Parallel()
	with := 0
	a, b := startTwo(t, [2]string{"-of-a", "-of-b"})
	for _, server := range []*app.App{a, b} {
		if api, agent := wantGoodTokens(t, server); api && agent {
			with++
		}
	}
	if with != 1 {
		t.Errorf("%d servers have the tokens in their files, want the one that was first", with)
	}
}

// aBuild makes a build of one job at a server.
func aBuild(t *testing.T, at *app.App) {
	t.Helper()
	ask(t, at, "POST", "/pipelines", `{"name": "p", "repository": "r", "configuration": "steps: [{command: x}]"}`, &struct{}{})
	ask(t, at, "POST", "/pipelines/p/builds", `{"commit": "HEAD", "branch": "main"}`, &struct{}{})
}

// TestAnAddressOfOneServerIsGoodAtTheOther uploads and downloads a file at the server that did not sign for it.
func TestAnAddressOfOneServerIsGoodAtTheOther(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	a, b := startBoth(t)
	aBuild(t, a)
	agent, job := take(t, a)
	sum := sha256.Sum256([]byte("hello"))
	batch, err := agent.CreateArtifacts(ctx, job, wire.Batch{ID: "1", Artifacts: []wire.Artifact{
		{Path: "f", FileSize: 5, SHA256: hex.EncodeToString(sum[:])},
	}})
	if err != nil {
		t.Fatal(err)
	}
	id := batch.ArtifactIDs[0]
	to := batch.PerArtifact[id]
	to.Action.URL = strings.Replace(to.Action.URL, a.URL, b.URL, 1)
	if err := agent.WithToken("").UploadForm(ctx, to, "f", strings.NewReader("hello"), 5); err != nil {
		t.Fatal(err)
	}
	if err := agent.UpdateArtifacts(ctx, job, []wire.ArtifactState{{ID: id, State: wire.ArtifactFinished}}); err != nil {
		t.Fatal(err)
	}
	var files []struct {
		ID string
	}
	ask(t, b, "GET", "/pipelines/p/builds/1/artifacts", "", &files)
	var build struct{ ID string }
	ask(t, b, "GET", "/pipelines/p/builds/1", "", &build)
	found, err := agent.SearchArtifacts(ctx, build.ID, wire.Search{Query: "f"})
	if err != nil || len(found) != 1 || len(files) != 1 {
		t.Fatalf("found %v, %v, %v", found, files, err)
	}
	var got bytes.Buffer
	if _, err := agent.WithToken("").Download(ctx, strings.Replace(found[0].URL, a.URL, b.URL, 1), &got); err != nil || got.String() != "hello" {
		t.Errorf("downloaded %q, %v", got.String(), err)
	}
}

// TestAServerWithOtherStorageIsRefused has a second server with a directory of its own, then with the first one's, then with one
// that somebody said is to be taken for it.
func TestAServerWithOtherStorageIsRefused(t *testing.T) {
	t.Parallel()
	first := config(t, t.TempDir())
	first.Database, first.SealingKeys = dbtest.Postgres(t), secret.NewKey()
	start := func(c app.Config) error {
		a, err := app.Start(t.Context(), c)
		if err == nil {
			err = a.Close()
		}
		return err
	}
	if err := errors.Join(start(first), start(first)); err != nil {
		t.Fatal(err)
	}
	second := first
	second.Data = t.TempDir()
	err := start(second)
	if err == nil {
		t.Fatal("the server started with storage of its own")
	}
	place, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "the files of this database are in other storage: "), " is not there. Give every server")
	if !strings.HasPrefix(place, filepath.Join(second.Data, "artifacts", "storage")) {
		t.Fatalf("the error names no place and no remedy: %v", err)
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(place), 0o700), os.WriteFile(place, nil, 0o600), start(second)); err != nil {
		t.Errorf("where the object was made by hand: %v", err)
	}
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
