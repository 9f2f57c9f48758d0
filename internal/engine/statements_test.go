package engine_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/store/storetest"
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

// counted opens a database whose statements are counted in n.
func counted(t *testing.T, n *atomic.Int64) store.Options {
	t.Helper()
	o := storetest.SQLite(t)
	o.Trace = func(string) { n.Add(1) }
	return o
}

// TestFinishingAJobCostsTheSameInABuildOfAnySize finishes jobs of a build whose first half are steps
// of one job and whose second half is one parallel step.
func TestFinishingAJobCostsTheSameInABuildOfAnySize(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	w := newWorld(t, counted(t, &n))
	const few, many = 20, 10_000
	small, large := w.build(t, halves(few)), w.build(t, halves(many))
	for name, place := range map[string][2]int{"step": {few / 2, many / 2}, "parallel": {few, many}} {
		a, b := w.finishing(t, &n, small, place[0]), w.finishing(t, &n, large, place[1])
		if a != b {
			t.Errorf("%s: finishing job %d runs %d statements, finishing job %d runs %d", name, place[0], a, place[1], b)
		}
	}
	w.check(t, small)
}

func halves(n int) string {
	steps := make([]any, n/2)
	for i := range steps {
		steps[i] = map[string]any{"command": "x"}
	}
	return document(append(steps, map[string]any{"command": "x", "parallelism": n / 2}, "wait", map[string]any{"command": "last"})...)
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

// TestAnUploadCostsTheSameInABuildOfAnySize uploads a step into a small build, a large one, and one into
// which the same job has uploaded a hundred before.
func TestAnUploadCostsTheSameInABuildOfAnySize(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	w := newWorld(t, counted(t, &n))
	b, first := w.grown(t, 20)
	_, large := w.grown(t, 10_000)
	few, many := w.uploadingTo(t, &n, first), w.uploadingTo(t, &n, large)
	for range 100 {
		w.sent(t, first, `{"steps":[{"command":"x"}]}`)
	}
	if again := w.uploadingTo(t, &n, first); few != many || few != again {
		t.Errorf("an upload runs %d statements in a small build, %d in a large one, %d behind a hundred others", few, many, again)
	}
	w.check(t, b)
}

// uploadingTo counts the statements that the upload of one step runs.
func (w *world) uploadingTo(t testing.TB, n *atomic.Int64, job store.Job) int64 {
	t.Helper()
	before := n.Load()
	w.sent(t, job, `{"steps":[{"command":"x"}]}`)
	return n.Load() - before
}

// TestCancelingABuildReadsItsStepsTogether: the transactions hold up all others.
func TestCancelingABuildReadsItsStepsTogether(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	o := storetest.SQLite(t)
	o.Trace = func(statement string) {
		if strings.Contains(statement, "FROM steps") {
			n.Add(1)
		}
	}
	w := newWorld(t, o)
	b := w.build(t, halves(200))
	n.Store(0)
	must(w.CancelBuild(t.Context(), b.ID, "ana"))(t)
	if got := n.Load(); got != 0 {
		t.Errorf("canceling a build with many jobs reads steps %d times", got)
	}
	w.cancelRest(t, b)
	if got := n.Load(); got > 6 { // those of the jobs, and the one behind them, in each of three transactions
		t.Errorf("ending its jobs of 101 steps reads steps %d times", got)
	}
	w.check(t, b)
}

// TestJobsThatWaitForOneAreLetGoTogether: everybody else waits meanwhile.
func TestJobsThatWaitForOneAreLetGoTogether(t *testing.T) {
	t.Parallel()
	const size = 400
	for name, rest := range map[string]string{
		"one step":   fmt.Sprintf("- {command: b, parallelism: %d}\n", size),
		"many steps": strings.Repeat("- {command: b}\n", size),
	} {
		var reads, jobs atomic.Int64
		o := storetest.SQLite(t)
		o.Trace = func(statement string) {
			switch {
			case strings.HasPrefix(statement, "SELECT"):
				reads.Add(1)
			case strings.HasPrefix(statement, "UPDATE jobs"):
				jobs.Add(1)
			}
		}
		w := newWorld(t, o)
		b := w.build(t, "steps:\n- {command: a, key: first}\n- wait\n"+rest)
		first := w.begin(t, b, "first")
		reads.Store(0)
		jobs.Store(0)
		w.finish(t, first, 0)
		if r, j := reads.Load(), jobs.Load(); r > 20 || j > 4 {
			t.Errorf("%s: letting %d jobs go takes %d reads, and %d statements that change jobs", name, size, r, j)
		}
		w.check(t, b)
	}
}
