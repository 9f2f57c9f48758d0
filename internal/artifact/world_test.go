package artifact_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/artifact"
	"github.com/slipway-ci/slipway/internal/blob/fs"
	"github.com/slipway-ci/slipway/internal/blob/s3"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/store/storetest"
	"github.com/slipway-ci/slipway/internal/trust"
)

const partSize = 10 // bytes

// world is a store of artifacts on a real database and directory, with a clock that moves by hand.
type world struct {
	*artifact.Store
	db    *store.Store
	blobs *fs.Store
	dir   string // of blobs
	clock atomic.Int64
	org   store.Organization
	pl    store.Pipeline
	job   store.Job
}

// newWorld opens a store; change may alter what it works with.
func newWorld(t testing.TB, change ...func(*artifact.Config)) *world {
	t.Helper()
	ctx := t.Context()
	w := &world{dir: filepath.Join(t.TempDir(), "blobs")}
	w.clock.Store(time.Now().UnixMicro())
	now := func() time.Time { return time.UnixMicro(w.clock.Load()).UTC() }
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	w.db = must(store.Open(ctx, storetest.SQLite(t)))(t)
	closeAfter(t, w.db)
	w.blobs = must(fs.Open(w.dir))(t)
	closeAfter(t, w.blobs)
	e := engine.New(engine.Config{Store: w.db, Hub: &live.Hub{}, Log: log, Now: now})
	must(e.Bootstrap(ctx, engine.Bootstrap{Organization: "main"}))(t)
	w.org = must(w.db.Organization(ctx, "main"))(t)
	w.pl = must(e.CreatePipeline(ctx, engine.CreatePipeline{
		OrganizationID: w.org.ID, Name: "p", Repository: "https://example.test/p.git", Configuration: "steps: [{command: a}]",
	}))(t)
	b := must(e.CreateBuild(ctx, engine.CreateBuild{PipelineID: w.pl.ID, Source: trust.SourceAPI}))(t)
	w.job = must(w.db.Jobs(ctx, b.ID))(t)[0]
	c := artifact.Config{
		Engine: e, DB: w.db, Blobs: w.blobs, Log: log, Now: now, SigningKey: bytes.Repeat([]byte("k"), 32), PartSize: partSize,
	}
	for _, f := range change {
		f(&c)
	}
	w.Store = artifact.Open(c)
	closeAfter(t, w.Store)
	return w
}

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

func sumOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// announce makes an artifact that is to have some content.
func (w *world) announce(t testing.TB, name, text string) store.Artifact {
	t.Helper()
	f := store.Artifact{Path: name, Size: int64(len(text)), SHA256: sumOf(text), ContentType: "text/plain"}
	return must(w.Engine.CreateArtifacts(context.Background(), w.job, w.Engine.NewID(), []store.Artifact{f}))(t)[0]
}

// upload makes an artifact that has arrived.
func (w *world) upload(t testing.TB, name, text string) store.Artifact {
	t.Helper()
	f := w.announce(t, name, text)
	must(0, w.Receive(t.Context(), f, strings.NewReader(text)))(t)
	w.finish(t, f)
	return w.now(t, f)
}

func (w *world) finish(t testing.TB, f store.Artifact) {
	t.Helper()
	must(0, w.Engine.SetArtifactStates(t.Context(), w.job, map[string]string{f.ID: "finished"}))(t)
}

// now is an artifact as it is.
func (w *world) now(t testing.TB, f store.Artifact) store.Artifact {
	t.Helper()
	return must(w.db.Artifact(context.Background(), f.ID))(t)
}

// content is what a reader of an artifact gets, and the status.
func (w *world) content(t testing.TB, f store.Artifact) (int, string) {
	t.Helper()
	rec := httptest.NewRecorder()
	if err := w.Send(rec, httptest.NewRequest(http.MethodGet, "/", http.NoBody), w.now(t, f)); err != nil {
		return 0, err.Error()
	}
	return rec.Code, rec.Body.String()
}

func (w *world) wantContent(t testing.TB, f store.Artifact, want string) {
	t.Helper()
	if status, got := w.content(t, f); status != http.StatusOK || got != want {
		t.Errorf("%s: %d %q, want %q", f.Path, status, got, want)
	}
}

// keys lists what lies below a prefix.
func (w *world) keys(t testing.TB, prefix string) (out []string) {
	t.Helper()
	for info, err := range w.Blobs.List(context.Background(), prefix) {
		must(0, err)(t)
		out = append(out, info.Key)
	}
	return out
}

// age makes all bytes so old.
func (w *world) age(t testing.TB, d time.Duration) {
	t.Helper()
	then := time.Now().Add(-d)
	must(0, filepath.WalkDir(w.dir, func(name string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(name, then, then)
	}))(t)
}

// decide changes settings of the organization.
func (w *world) decide(t testing.TB, change string) {
	t.Helper()
	var values map[string]json.RawMessage
	must(0, json.Unmarshal([]byte(change), &values))(t)
	must(w.Engine.ChangeSettings(t.Context(), w.org.ID, values))(t)
}

// run runs a pass until it has nothing more to do.
func run(t testing.TB, pass func(context.Context) (bool, error)) {
	t.Helper()
	for must(pass(context.Background()))(t) {
	}
}

// parts sends a file in parts and returns what an agent says of them.
func (w *world) parts(t testing.TB, f store.Artifact, text string) []s3.Part {
	t.Helper()
	urls := must(w.PartURLs(t.Context(), "", f))(t)
	size, longer, at := len(text)/len(urls), len(text)%len(urls), 0
	var out []s3.Part
	for i := range urls {
		end := at + size
		if i < longer {
			end++
		}
		etag := must(w.ReceivePart(t.Context(), f, i+1, strings.NewReader(text[at:end])))(t)
		out, at = append(out, s3.Part{Number: i + 1, ETag: etag}), end
	}
	return out
}
