package engine_test

import (
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

const commit = "0123456789abcdef0123456789abcdef01234567"

// planned makes a build whose document is in its repository, and plans it.
func (w *world) planned(t testing.TB, op engine.PlanBuild) store.Build {
	t.Helper()
	pl := w.pipeline(t, "p-"+w.NewID(), "")
	b := must(w.CreateBuild(t.Context(), engine.CreateBuild{PipelineID: pl.ID, Source: trust.SourceUI}))(t)
	w.wantBuild(t, b, ci.BuildCreating)
	op.BuildID = b.ID
	if err := w.PlanBuild(t.Context(), op); err != nil {
		t.Fatal(err)
	}
	return must(w.Store.Build(t.Context(), b.ID))(t)
}

func TestABuildIsPlannedFromItsRepository(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		op := engine.PlanBuild{
			Source: []byte("steps:\n- {command: a, key: a}\n"), File: ".buildkite/pipeline.yml", Commit: commit,
			Message: "Fix it", Author: store.Person{Name: "Ana"},
		}
		b := w.planned(t, op)
		if b.State != ci.BuildScheduled || b.Commit != commit || b.Verdict.Commit != commit || b.Message != "Fix it" || b.Detail.Author.Name != "Ana" {
			t.Errorf("got %+v", b)
		}
		if d := b.Detail; d.PlannedBy != "repository" || d.PlannedFrom != ".buildkite/pipeline.yml" {
			t.Errorf("planned by %q from %q", d.PlannedBy, d.PlannedFrom)
		}
		op.BuildID, op.Source = b.ID, []byte("steps:\n- command: other\n")
		if err := w.PlanBuild(t.Context(), op); err != nil {
			t.Errorf("planned again: %v", err)
		}
		if n := must(w.Store.CountJobs(t.Context(), b.ID))(t); n != 1 {
			t.Errorf("%d jobs after planning twice, want 1", n)
		}
		w.run(t, w.job(t, b, "a"), 0)
		w.wantBuild(t, b, ci.BuildPassed)
		w.check(t, b)
	})
}

func TestADocumentThatNeedsAJobsVariablesIsUploadedByAJob(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.planned(t, engine.PlanBuild{Source: []byte("steps:\n- command: make $FROM_A_HOOK\n"), File: "pipeline.yml", Commit: commit})
		jobs := must(w.Store.Jobs(t.Context(), b.ID))(t)
		if len(jobs) != 1 || b.State != ci.BuildScheduled || b.Detail.PlannedBy != "upload" {
			t.Fatalf("%d jobs, the build is %s, planned by %s", len(jobs), b.State, b.Detail.PlannedBy)
		}
		if spec := must(jobs[0].Spec())(t); spec.Command != "buildkite-agent pipeline upload" {
			t.Errorf("the job's command is %q", spec.Command)
		}
		if !strings.Contains(b.Detail.PlannedFrom, "FROM_A_HOOK") {
			t.Errorf("the reason is %q", b.Detail.PlannedFrom)
		}
		w.check(t, b)
	})
}

func TestABuildThatCannotBePlannedFailsWithTheReason(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		for name, test := range map[string]struct {
			op   engine.PlanBuild
			want string
		}{
			"queue": {
				engine.PlanBuild{Source: []byte("steps:\n- command: ok\n- command: a\n  agents: {queue: mca}\n"), Commit: commit},
				`line 3, column 3: step "a" wants queue=mca, which does not exist; the queues are: default`,
			},
			"no document": {engine.PlanBuild{Err: "There is no pipeline file.", Commit: commit}, "There is no pipeline file."},
			"malformed": {
				engine.PlanBuild{Source: []byte("steps: 1\n"), File: "pipeline.yml", Commit: commit},
				"pipeline.yml:1:8: `steps` must be a list of steps, each a mapping or a word such as wait",
			},
		} {
			b := w.planned(t, test.op)
			if b.State != ci.BuildFailed || b.PlanError != test.want || b.FinishedAt.IsZero() {
				t.Errorf("%s: the build is %s: %s", name, b.State, b.PlanError)
			}
			if n := must(w.Store.CountJobs(t.Context(), b.ID))(t); n != 0 {
				t.Errorf("%s: %d jobs", name, n)
			}
			w.check(t, b)
		}
	})
}

func TestABuildThatWasCanceledIsNotPlanned(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		pl := w.pipeline(t, "late", "")
		b := must(w.CreateBuild(t.Context(), engine.CreateBuild{PipelineID: pl.ID, Source: trust.SourceUI}))(t)
		must(w.CancelBuild(t.Context(), b.ID, "ana"))(t)
		if err := w.PlanBuild(t.Context(), engine.PlanBuild{BuildID: b.ID, Source: []byte("steps:\n- command: a\n")}); err != nil {
			t.Fatal(err)
		}
		w.wantBuild(t, b, ci.BuildCanceled)
		if n := must(w.Store.CountJobs(t.Context(), b.ID))(t); n != 0 {
			t.Errorf("a canceled build has %d jobs", n)
		}
	})
}

func TestTextThatIsNotUTF8IsPlannedOnBothDatabases(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.planned(t, engine.PlanBuild{
			Source: []byte("steps:\n- {command: a, key: a, label: \"nul \\0.\"}\n"), File: "pipeline.yml", Commit: commit,
			Message: "caf\xe9", Author: store.Person{Name: "Ren\xe9"},
		})
		if b.State != ci.BuildScheduled {
			t.Fatalf("the build is %s: %s", b.State, b.PlanError)
		}
		if b.Message != "caf\uFFFD" {
			t.Errorf("its message is %q", b.Message)
		}
		w.run(t, w.job(t, b, "a"), 0)
		w.wantBuild(t, b, ci.BuildPassed)
	})
}

func TestMetaDataThatIsNotUTF8IsKeptOnBothDatabases(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, "steps:\n- {command: a, key: a}\n")
		if err := w.SetMetaData(t.Context(), b.ID, map[string]string{"k": "a\x00b\xff"}); err != nil {
			t.Fatal(err)
		}
		if got := must(w.Store.MetaData(t.Context(), b.ID, "k"))(t); got != "a\uFFFDb\uFFFD" {
			t.Errorf("got %q", got)
		}
	})
}
