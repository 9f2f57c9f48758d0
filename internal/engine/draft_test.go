package engine_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/store/storetest"
	"github.com/slipway-ci/slipway/internal/trust"
)

// padding makes a document one that is planned outside of the transaction.
var padding = strings.Repeat("# padding\n", 1000)

// Builds that are made at the same time take the numbers that each other's documents were planned with.
func TestBuildsOfALargeDocumentMadeAtOnceKnowTheirOwnNumbers(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		document := padding + "steps:\n"
		for n := range 12 {
			document += fmt.Sprintf("- {command: \"%d\", if: build.number == %d}\n", n+1, n+1)
		}
		pl := w.pipeline(t, "p", document)
		var all sync.WaitGroup
		for range 12 {
			all.Go(func() {
				if _, err := w.CreateBuild(t.Context(), engine.CreateBuild{PipelineID: pl.ID, Source: trust.SourceAPI}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		for n := int64(1); n <= 12; n++ {
			b := must(w.Store.BuildByNumber(t.Context(), pl.ID, n))(t)
			var got []string
			for _, j := range must(w.Store.Jobs(t.Context(), b.ID))(t) {
				if j.State == ci.JobScheduled {
					got = append(got, must(j.Spec())(t).Command)
				}
			}
			if want := fmt.Sprint([]int64{n}); fmt.Sprint(got) != want {
				t.Errorf("build %d runs %v", n, got)
			}
		}
	})
}

func TestALargeDocumentThatIsRefusedTakesNoBuildNumber(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		pl := w.pipeline(t, "p", padding+"steps:\n- {command: x, agents: {queue: mac}}\n")
		create := engine.CreateBuild{PipelineID: pl.ID, Source: trust.SourceAPI}
		if _, err := w.CreateBuild(t.Context(), create); err == nil || !strings.Contains(err.Error(), "queue=mac") {
			t.Errorf("got %v, want a refusal that names the queue", err)
		}
		must(w.CreateQueue(t.Context(), engine.CreateQueue{ClusterID: w.cluster.ID, Key: "mac"}))(t)
		if b := must(w.CreateBuild(t.Context(), create))(t); b.Number != 1 {
			t.Errorf("the first build that was made is number %d", b.Number)
		}
	})
}

// While a large upload is planned others write; what they write may be the key that it gives a step.
func TestALargeUploadLosesAKeyThatAnotherTookWhileItWasPlanned(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]store.Options{"sqlite": storetest.SQLite(t), "postgres": storetest.Postgres(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var meanwhile atomic.Pointer[func()]
			o.Trace = func(statement string) {
				if strings.Contains(statement, "FROM steps WHERE build_id = $1 AND key") {
					if do := meanwhile.Swap(nil); do != nil {
						(*do)()
					}
				}
			}
			w := newWorld(t, o)
			b := w.build(t, "steps:\n- {command: up, key: up}\n- {command: up, key: other}\n")
			job, other := w.job(t, b, "up"), w.job(t, b, "other")
			w.start(t, job)
			w.start(t, other)
			do := func() { w.upload(t, other, "first", `{"steps":[{"command":"x","key":"x"}]}`, false) }
			meanwhile.Store(&do)
			large := fmt.Sprintf(`{"steps":[{"command":"y","key":"x"}],"env":{"LARGE":%q}}`, padding)
			for range 2 { // the answer to the first may be lost
				up := must(w.UploadPipeline(context.Background(), engine.UploadPipeline{JobID: job.ID, UUID: "late", Pipeline: []byte(large)}))(t)
				if up.State != "rejected" || !strings.Contains(up.Message, `The key "x" has already been used`) {
					t.Errorf("the upload is %s: %s", up.State, up.Message)
				}
			}
			if n := must(w.Store.CountJobs(t.Context(), b.ID))(t); n != 3 {
				t.Errorf("the build has %d jobs, want 3", n)
			}
			w.check(t, b)
		})
	}
}

// On PostgreSQL the uploads of one build that wait share a transaction, which the first attempt of each ends for all.
func TestLargeUploadsOfOneBuildAtOnceAreAllApplied(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		const n = 8
		b := w.build(t, fmt.Sprintf("steps:\n- {command: up, parallelism: %d}\n", n))
		jobs := must(w.Store.Jobs(t.Context(), b.ID))(t)
		for _, j := range jobs {
			w.start(t, j)
		}
		var all sync.WaitGroup
		for i, j := range jobs {
			large := fmt.Sprintf(`{"steps":[{"command":"x%d"}],"env":{"LARGE":%q}}`, i, padding)
			all.Go(func() {
				up, err := w.UploadPipeline(context.Background(), engine.UploadPipeline{JobID: j.ID, UUID: "large", Pipeline: []byte(large)})
				if err != nil || up.State != "applied" || up.Jobs != 1 {
					t.Errorf("upload %d: %v, %s with %d jobs", i, err, up.State, up.Jobs)
				}
			})
		}
		all.Wait()
		if got := must(w.Store.CountJobs(t.Context(), b.ID))(t); got != 2*n {
			t.Errorf("the build has %d jobs, want %d", got, 2*n)
		}
		w.check(t, b)
	})
}
