package engine_test

import (
	"encoding/json"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// parallel is a pipeline of one step with n jobs.
func parallel(n int) string {
	return document(map[string]any{"command": "x", "parallelism": n})
}

// sideBySide is a pipeline of n steps before one wait.
func sideBySide(n int) string {
	steps := make([]any, n)
	for i := range steps {
		steps[i] = map[string]any{"command": "x"}
	}
	return document(append(steps, "wait", map[string]any{"command": "last"})...)
}

func document(steps ...any) string {
	raw, err := json.Marshal(map[string]any{"steps": steps})
	if err != nil {
		panic(err) // maps of texts and numbers always encode
	}
	return string(raw)
}

func TestFinishingAJobCostsTheSameInABuildOfAnySize(t *testing.T) {
	t.Parallel()
	for name, shape := range map[string]func(int) string{"parallel": parallel, "side by side": sideBySide} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var n atomic.Int64
			w := newWorld(t, store.Options{
				Path: filepath.Join(t.TempDir(), "slipway.db"), Trace: func(string) { n.Add(1) },
			})
			small, large := w.build(t, shape(20)), w.build(t, shape(10_001))
			few, many := w.finishing(t, &n, small, 10), w.finishing(t, &n, large, 10_000)
			if few != many {
				t.Errorf("finishing job 10 runs %d statements, finishing job 10,000 runs %d", few, many)
			}
			t.Logf("%d statements", many)
			w.check(t, small)
		})
	}
}

// finishing counts the statements that finishing a build's job at a place runs.
func (w *world) finishing(t testing.TB, n *atomic.Int64, b store.Build, place int) int64 {
	t.Helper()
	job := must(w.Store.Jobs(t.Context(), b.ID))(t)[place-1]
	w.start(t, job)
	before := n.Load()
	must(w.FinishJob(t.Context(), engine.FinishJob{JobID: job.ID}))(t)
	return n.Load() - before
}
