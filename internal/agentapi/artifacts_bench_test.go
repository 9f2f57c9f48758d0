package agentapi_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/agent/wire"
	"github.com/slipway-ci/slipway/internal/store"
)

// BenchmarkSearch looks for one file and for all of 10,000 of a build.
func BenchmarkSearch(b *testing.B) {
	w := newWorld(b)
	h := w.held(w.build("steps:\n- command: true\n  key: one\n"))
	row := must(w.Store.Job(b.Context(), h.job.ID))(b)
	for batch := range 10 {
		files := make([]store.Artifact, 1000)
		for i := range files {
			files[i] = store.Artifact{Path: fmt.Sprintf("out/%d/%d.txt", batch, i), SHA256: strings.Repeat("0", 64), UploadDestination: "s3://bucket"}
		}
		row.ID = h.job.ID
		must(0, w.Store.Update(b.Context(), func(tx *store.Tx) error {
			for i, f := range files {
				f.ID, f.BuildID, f.JobID, f.PipelineID, f.BatchID, f.Number = w.NewID(), row.BuildID, row.ID, row.PipelineID, fmt.Sprint(batch), i
				f.State, f.CreatedAt = "finished", w.Now()
				if err := tx.InsertArtifact(b.Context(), f); err != nil {
					return err
				}
			}
			return nil
		}))(b)
	}
	for name, want := range map[string]int{"out/5/77.txt": 1, "**/77.txt": 10, "out/5/*": 1000, "*": 10_000} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				found := must(h.SearchArtifacts(b.Context(), h.build.ID, wire.Search{Query: name, State: "finished"}))(b)
				if len(found) != want {
					b.Fatalf("found %d, want %d", len(found), want)
				}
			}
		})
	}
}

// BenchmarkThroughput uploads and downloads 64 MiB over loopback and prints how much longer that takes than to
// copy the file and make the copy durable.
func BenchmarkThroughput(b *testing.B) {
	const size = 64 << 20
	w := newWorld(b)
	dir := b.TempDir()
	name := filepath.Join(dir, "file")
	for kind, parts := range map[string]bool{"form": false, "parts of 16 MiB": true} {
		b.Run(kind, func(b *testing.B) {
			h := w.running()
			var copied, up, down time.Duration
			for b.Loop() {
				f := freshFile(b, name, size)
				copied += timed(func() { copyFile(b, name, filepath.Join(dir, "copy")) })
				up += timed(func() { h.send(b, f, name, parts) })
				found := must(h.SearchArtifacts(b.Context(), h.build.ID, wire.Search{Query: f.Path}))(b)
				down += timed(func() { must(h.WithToken("").Download(b.Context(), found[0].URL, io.Discard))(b) })
			}
			b.ReportMetric(float64(up)/float64(copied), "upload/copy")
			b.ReportMetric(float64(down)/float64(copied), "download/copy")
			b.ReportMetric(float64(copied.Milliseconds())/float64(b.N), "ms/copy")
		})
	}
}

func timed(do func()) time.Duration {
	start := time.Now()
	do()
	return time.Since(start)
}

// freshFile writes bytes that no artifact has yet.
func freshFile(b *testing.B, name string, size int64) wire.Artifact {
	b.Helper()
	out := must(os.Create(name))(b)
	sum := sha256.New()
	var seed [32]byte
	copy(seed[:], fmt.Sprint(b.Name(), time.Now().UnixNano()))
	must(io.Copy(io.MultiWriter(out, sum), io.LimitReader(rand.NewChaCha8(seed), size)))(b)
	must(0, out.Close())(b)
	return wire.Artifact{Path: fmt.Sprint(time.Now().UnixNano()), FileSize: size, SHA256: hex.EncodeToString(sum.Sum(nil)), ContentType: "text/plain"}
}

func copyFile(b *testing.B, from, to string) {
	b.Helper()
	in := must(os.Open(from))(b)
	out := must(os.Create(to))(b)
	// Hidden from each other, lest the system shares the bytes between the files.
	must(io.Copy(struct{ io.Writer }{out}, struct{ io.Reader }{in}))(b)
	must(0, errors.Join(out.Sync(), out.Close(), in.Close()))(b)
}

// send uploads a file as an agent does.
func (h held) send(b *testing.B, f wire.Artifact, name string, parts bool) {
	b.Helper()
	ctx := b.Context()
	answer := must(h.CreateArtifacts(ctx, h.job.ID, wire.Batch{ID: f.Path, Artifacts: []wire.Artifact{f}, MultipartSupported: parts}))(b)
	id := answer.ArtifactIDs[0]
	in := must(os.Open(name))(b)
	state := wire.ArtifactState{ID: id, State: wire.ArtifactFinished}
	storage := h.WithToken("")
	actions := answer.PerArtifact[id].Actions
	if len(actions) == 0 {
		must(0, storage.UploadForm(ctx, answer.PerArtifact[id], f.Path, in, f.FileSize))(b)
	}
	for i, action := range actions {
		length := f.FileSize / int64(len(actions))
		part := io.NewSectionReader(in, int64(i)*length, length)
		state.MultipartETags = append(state.MultipartETags, must(storage.UploadPart(ctx, action, f.ContentType, part, length))(b))
	}
	must(0, errors.Join(h.UpdateArtifacts(ctx, h.job.ID, []wire.ArtifactState{state}), in.Close()))(b)
}
