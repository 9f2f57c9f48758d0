package engine_test

import (
	"fmt"
	"testing"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// grown is a build of a running first job and n more: half of them in steps of one job, half in one
// parallel step.
func (w *world) grown(t testing.TB, n int) (store.Build, store.Job) {
	t.Helper()
	b := w.build(t, halves(n))
	first := must(w.Store.Jobs(t.Context(), b.ID))(t)[0]
	w.start(t, first)
	return b, first
}

// BenchmarkUpload uploads one step into builds of growing size: the time must not grow with them. It
// prints how many times longer an upload takes than into the smallest build.
func BenchmarkUpload(b *testing.B) {
	var row row
	for _, size := range []int{10, 1_000, 10_000} {
		b.Run(fmt.Sprintf("jobs=%d", size), func(b *testing.B) {
			w, n := benchWorld(b), 0
			_, job := w.grown(b, size)
			for b.Loop() {
				n++
				w.uploadOne(b, job, n)
			}
			row.compare(b, b.Elapsed().Seconds()/float64(b.N), "x-smallest")
		})
	}
}

// BenchmarkUploadAgain uploads one step behind many that the same job uploaded before it.
func BenchmarkUploadAgain(b *testing.B) {
	var row row
	for _, size := range []int{10, 1_000, 4_000} {
		b.Run(fmt.Sprintf("before=%d", size), func(b *testing.B) {
			w := benchWorld(b)
			w.decide(b, `{"max_uploads_per_build": 1000000}`)
			_, job := w.grown(b, 10)
			for n := range size {
				w.uploadOne(b, job, -n)
			}
			n := 0
			for b.Loop() {
				n++
				w.uploadOne(b, job, n)
			}
			row.compare(b, b.Elapsed().Seconds()/float64(b.N), "x-first")
		})
	}
}

func (w *world) uploadOne(b *testing.B, job store.Job, n int) {
	b.Helper()
	up := must(w.UploadPipeline(b.Context(), engine.UploadPipeline{
		JobID: job.ID, UUID: fmt.Sprint(n), Pipeline: []byte(document(map[string]any{"command": "x"})),
	}))(b)
	if up.State != "applied" {
		b.Fatalf("the upload is %s: %s", up.State, up.Message)
	}
}
