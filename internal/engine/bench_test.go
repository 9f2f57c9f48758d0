package engine_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/store/storetest"
)

func benchWorld(b *testing.B) *world {
	b.Helper()
	return newWorld(b, storetest.SQLite(b))
}

// row is a benchmark of several sizes, of which the first is what the others are held against.
type row struct{ first float64 }

// compare reports how many times longer this size takes than the first.
func (r *row) compare(b *testing.B, seconds float64, unit string) {
	b.Helper()
	if r.first == 0 {
		r.first = seconds
	}
	b.ReportMetric(seconds/r.first, unit)
}

// BenchmarkFinishJob ends jobs of builds of growing size: the time must not grow with them.
func BenchmarkFinishJob(b *testing.B) {
	for _, size := range []int{100, 1_000, 10_000} {
		b.Run(fmt.Sprintf("jobs=%d", size), func(b *testing.B) {
			w := benchWorld(b)
			a := w.agent(b)
			var jobs []store.Job
			for b.Loop() {
				b.StopTimer()
				if len(jobs) == 0 {
					jobs = must(w.Store.Jobs(b.Context(), w.build(b, sideBySide(size)).ID))(b)[:size]
				}
				w.startOn(b, jobs[0], a)
				b.StartTimer()
				must(w.FinishJob(b.Context(), engine.FinishJob{JobID: jobs[0].ID}))(b)
				jobs = jobs[1:]
			}
		})
	}
}

// BenchmarkJob takes jobs from scheduled to their end, one after the other: what the server can do
// where nothing shares a commit.
func BenchmarkJob(b *testing.B) {
	w := benchWorld(b)
	a := w.agent(b)
	var jobs []store.Job
	for b.Loop() {
		if len(jobs) == 0 {
			b.StopTimer()
			jobs = must(w.Store.Jobs(b.Context(), w.build(b, parallel(1_000)).ID))(b)
			b.StartTimer()
		}
		w.startOn(b, jobs[0], a)
		must(w.FinishJob(b.Context(), engine.FinishJob{JobID: jobs[0].ID}))(b)
		jobs = jobs[1:]
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
}

// BenchmarkPlan makes builds of growing size: the time for each job must not grow with them.
func BenchmarkPlan(b *testing.B) {
	for _, size := range []int{1_000, 10_000} {
		b.Run(fmt.Sprintf("jobs=%d", size), func(b *testing.B) {
			w, document := benchWorld(b), sideBySide(size)
			for b.Loop() {
				w.build(b, document)
			}
			b.ReportMetric(b.Elapsed().Seconds()*1e6/float64(b.N)/float64(size), "µs/job")
		})
	}
}

// BenchmarkPlanParallel makes builds of one step with 2,000 jobs, as other builds' jobs wait for one to be written.
func BenchmarkPlanParallel(b *testing.B) {
	w, document := benchWorld(b), parallel(2_000)
	for b.Loop() {
		w.build(b, document)
	}
}

// BenchmarkBuild plans, runs and ends whole builds of growing size, a wait and a last step behind
// jobs side by side: the time for each job must not grow with them. It prints jobs/s, and how many
// times longer a job takes than in the smallest build.
func BenchmarkBuild(b *testing.B) {
	var row row
	for _, size := range []int{100, 1_000, 10_000} {
		b.Run(fmt.Sprintf("jobs=%d", size), func(b *testing.B) {
			w := benchWorld(b)
			a, document := w.agent(b), sideBySide(size-1)
			for b.Loop() {
				w.runAll(b, w.build(b, document), a)
			}
			perJob := b.Elapsed().Seconds() / float64(b.N) / float64(size)
			b.ReportMetric(1/perJob, "jobs/s")
			row.compare(b, perJob, "x-smallest")
		})
	}
}

// runAll runs every job of a build as it becomes ready.
func (w *world) runAll(b *testing.B, build store.Build, a store.Agent) {
	b.Helper()
	for {
		ran := 0
		for _, j := range must(w.Store.Jobs(b.Context(), build.ID))(b) {
			if j.State != ci.JobScheduled || j.Kind != ci.JobScript {
				continue
			}
			w.startOn(b, j, a)
			must(w.FinishJob(b.Context(), engine.FinishJob{JobID: j.ID}))(b)
			ran++
		}
		if ran == 0 {
			break
		}
	}
	if got := must(w.Store.Build(b.Context(), build.ID))(b); got.State != ci.BuildPassed {
		b.Fatalf("the build is %s", got.State)
	}
}

func (w *world) startOn(b *testing.B, job store.Job, a store.Agent) {
	b.Helper()
	must(w.AssignJob(b.Context(), job.ID, a.ID))(b)
	must(w.AcceptJob(b.Context(), job.ID, a.ID))(b)
	if err := w.StartJob(b.Context(), job.ID, w.Now()); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkCancelBuild cancels builds of growing size while somebody else writes something small again and again: no size may keep
// them waiting longer.
func BenchmarkCancelBuild(b *testing.B) {
	for _, size := range []int{100, 1_000, 10_000} {
		b.Run(fmt.Sprintf("jobs=%d", size), func(b *testing.B) {
			w, document := benchWorld(b), sideBySide(size)
			var longest time.Duration
			for b.Loop() {
				b.StopTimer()
				build := w.build(b, document)
				done := make(chan struct{})
				b.StartTimer()
				go func() {
					defer close(done)
					must(w.CancelBuild(b.Context(), build.ID, "somebody"))(b)
					if err := w.CancelRest(b.Context(), build.ID); err != nil {
						b.Error(err)
					}
				}()
				longest = max(longest, w.longestWait(b, done))
			}
			b.ReportMetric(float64(longest.Microseconds())/1e3, "ms-longest-wait")
		})
	}
}

// longestWait writes until done and returns how long one write took at most.
func (w *world) longestWait(b *testing.B, done <-chan struct{}) (longest time.Duration) {
	b.Helper()
	for {
		select {
		case <-done:
			return longest
		default:
		}
		began := time.Now()
		if err := w.Store.Update(b.Context(), func(tx *store.Tx) error { return tx.ClearSupersedes(b.Context(), store.Superseder{}) }); err != nil {
			b.Fatal(err)
		}
		longest = max(longest, time.Since(began))
	}
}
