package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/agent/wire"
	"github.com/slipway-ci/slipway/internal/dbtest"
)

// uploads is a job whose agent is this test, so that it can stop in the middle of a request.
type uploads struct {
	*world
	t     *testing.T
	job   *wire.Client // with the job's token
	id    string
	build string
}

// TestUploadsOutliveAKillOfTheServer kills the server in the middle of a form and of a part of a file. What it had
// acknowledged is there after its next start, nothing that it had not is seen, and the agent's next try ends well.
func TestUploadsOutliveAKillOfTheServer(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		startUploads(t, "").run()
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		startUploads(t, dbtest.Postgres(t)).run()
	})
}

func startUploads(t *testing.T, database string) *uploads {
	t.Helper()
	dir := t.TempDir()
	w := &world{
		t: t, dir: dir, database: database, listen: anywhere, agents: map[string]*process{},
		vars: append(os.Environ(), "HOME="+dir, "PATH="+bin+":"+os.Getenv("PATH")),
	}
	t.Cleanup(w.close)
	u := &uploads{world: w, t: t}
	u.must(w.startServer())
	u.must(w.rest("POST", "pipelines", map[string]string{"name": "p", "repository": "/nowhere", "configuration": "steps: [{command: x}]"}, nil))
	var b struct{ ID string }
	u.must(w.rest("POST", "pipelines/p/builds", map[string]string{"commit": "HEAD", "branch": "main"}, &b))
	u.build = b.ID
	u.begin()
	return u
}

func (u *uploads) must(err error) {
	u.t.Helper()
	if err != nil {
		u.t.Fatal(err)
	}
}

func (u *uploads) wire(token string) *wire.Client {
	return &wire.Client{Endpoint: u.tokens.URL + "/v3", Token: token, UserAgent: "test/1", HTTP: wire.NewHTTPClient()}
}

// begin takes the job.
func (u *uploads) begin() {
	u.t.Helper()
	ctx := u.t.Context()
	r, err := u.wire(u.tokens.AgentToken).Register(ctx, wire.RegisterRequest{Name: "a", Hostname: "h"})
	u.must(err)
	agent := u.wire(r.AccessToken)
	u.must(agent.Connect(ctx))
	u.must(u.eventually("the job is offered", func() (bool, error) {
		p, err := agent.Ping(ctx)
		if err == nil && p.Job != nil {
			u.id = p.Job.ID
		}
		return u.id != "", err
	}))
	j, err := agent.Accept(ctx, u.id)
	u.must(err)
	u.job = u.wire(j.Token)
	u.must(u.job.Start(ctx, u.id, time.Now()))
}

func fileOf(path, text string) wire.Artifact {
	sum := sha256.Sum256([]byte(text))
	return wire.Artifact{Path: path, FileSize: int64(len(text)), SHA1: "1", SHA256: hex.EncodeToString(sum[:]), ContentType: "text/plain"}
}

func (u *uploads) run() {
	t, ctx, storage := u.t, u.t.Context(), u.job.WithToken("")
	form, big := strings.Repeat("form ", 100_000), strings.Repeat("0123456789abcdef", 17<<16) // 17 MiB
	answer, err := u.job.CreateArtifacts(ctx, u.id, wire.Batch{
		ID: "B", Artifacts: []wire.Artifact{fileOf("form", form), fileOf("big", big)}, MultipartSupported: true,
	})
	u.must(err)
	formID, bigID := answer.ArtifactIDs[0], answer.ArtifactIDs[1]
	parts := answer.PerArtifact[bigID].Actions
	if len(parts) != 2 {
		t.Fatalf("%d parts, want 2", len(parts))
	}
	half := len(big) / 2
	first, err := storage.UploadPart(ctx, parts[0], "text/plain", strings.NewReader(big[:half]), int64(half))
	u.must(err)

	u.breakOff(form, func(ctx context.Context, body io.Reader) error {
		return storage.UploadForm(ctx, answer.PerArtifact[formID], "form", body, int64(len(form)))
	})
	u.breakOff(big[half:], func(ctx context.Context, body io.Reader) error {
		_, err := storage.UploadPart(ctx, parts[1], "text/plain", body, int64(len(big)-half))
		return err
	})
	states := []wire.ArtifactState{
		{ID: formID, State: wire.ArtifactFinished},
		{ID: bigID, State: wire.ArtifactFinished, Multipart: true, MultipartETags: []wire.PartETag{first, {PartNumber: 2, ETag: first.ETag}}},
	}
	if err := u.job.UpdateArtifacts(ctx, u.id, states); err == nil {
		t.Error("files of which halves arrived are taken for whole")
	}
	u.unseen()

	u.must(storage.UploadForm(ctx, answer.PerArtifact[formID], "form", strings.NewReader(form), int64(len(form))))
	second, err := storage.UploadPart(ctx, parts[1], "text/plain", strings.NewReader(big[half:]), int64(len(big)-half))
	u.must(err)
	states[1].MultipartETags[1] = second
	u.must(u.server.kill9()) // what was acknowledged outlives this one, too
	u.must(u.startServer())
	u.must(u.job.UpdateArtifacts(ctx, u.id, states))
	u.whole(map[string]string{"form": form, "big": big})
}

// breakOff kills the server when it has the first half of a body, and starts it again.
func (u *uploads) breakOff(text string, send func(context.Context, io.Reader) error) {
	u.t.Helper()
	ctx, cancel := context.WithCancel(u.t.Context())
	defer cancel()
	body, feed := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- send(ctx, body) }()
	_, err := io.WriteString(feed, text[:len(text)/2])
	u.must(err)
	u.must(u.server.kill9())
	feed.CloseWithError(io.ErrUnexpectedEOF)
	if err := <-done; err == nil {
		u.t.Error("an upload that broke off was acknowledged")
	}
	u.must(u.startServer())
}

// unseen holds that files that are not whole are neither found as finished nor given out.
func (u *uploads) unseen() {
	u.t.Helper()
	all, err := u.job.SearchArtifacts(u.t.Context(), u.build, wire.Search{Query: "*"})
	u.must(err)
	for _, f := range all {
		var got bytes.Buffer
		if _, err := u.job.WithToken("").Download(u.t.Context(), f.URL, &got); err == nil || wire.Status(err) >= 500 {
			u.t.Errorf("half of %s came back, %d bytes: %v", f.Path, got.Len(), err)
		}
	}
	finished, err := u.job.SearchArtifacts(u.t.Context(), u.build, wire.Search{Query: "*", State: "finished"})
	if err != nil || len(finished) != 0 {
		u.t.Errorf("finished are %v, %v; want none", finished, err)
	}
}

func (u *uploads) whole(want map[string]string) {
	u.t.Helper()
	found, err := u.job.SearchArtifacts(u.t.Context(), u.build, wire.Search{Query: "*", State: "finished"})
	if err != nil || len(found) != len(want) {
		u.t.Fatalf("finished are %v, %v; want %d files", found, err, len(want))
	}
	for _, f := range found {
		var got bytes.Buffer
		if _, err := u.job.WithToken("").Download(u.t.Context(), f.URL, &got); err != nil || got.String() != want[f.Path] {
			u.t.Errorf("%s came back with %d bytes, %v; want %d", f.Path, got.Len(), err, len(want[f.Path]))
		}
	}
}
