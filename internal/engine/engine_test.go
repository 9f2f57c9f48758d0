package engine_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/store/storetest"
	"github.com/slipway-ci/slipway/internal/trust"
)

// world is an engine on a real database, with a clock that moves by hand.
type world struct {
	*engine.Engine
	t       testing.TB
	clock   atomic.Int64
	org     store.Organization
	cluster store.Cluster
	agents  store.AgentToken
}

// worlds runs a test on each database.
func worlds(t *testing.T, test func(t *testing.T, w *world)) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, newWorld(t, storetest.SQLite(t)))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, newWorld(t, storetest.Postgres(t)))
	})
}

func newWorld(t testing.TB, o store.Options) *world {
	t.Helper()
	s, err := store.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing the store: %v", err)
		}
	})
	w := &world{t: t}
	w.clock.Store(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).UnixMicro())
	w.Engine = engine.New(engine.Config{
		Store: s, Hub: &live.Hub{}, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), OpenQueues: true, Mail: true, Sealer: sealer(t, 'a'),
		Now: func() time.Time { return time.UnixMicro(w.clock.Load()).UTC() },
	})
	must(w.Bootstrap(context.Background(), engine.Bootstrap{Organization: "main"}))(t)
	w.load()
	return w
}

func (w *world) load() {
	w.t.Helper()
	ctx := context.Background()
	w.org = must(w.Store.Organization(ctx, "main"))(w.t)
	w.cluster = must(w.Store.Clusters(ctx, w.org.ID))(w.t)[0]
	token := "agent-token"
	w.agents = store.AgentToken{ID: w.NewID(), ClusterID: w.cluster.ID, TokenHash: token, CreatedAt: w.Now()}
	err := w.Store.Update(ctx, func(tx *store.Tx) error { return tx.InsertAgentToken(ctx, w.agents) })
	if err != nil {
		w.t.Fatal(err)
	}
}

// must returns a function that ends the test if there was an error.
func must[T any](v T, err error) func(rapid.TB) T {
	return func(t rapid.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (w *world) advance(d time.Duration) { w.clock.Add(d.Microseconds()) }

// pipeline makes a pipeline with a configuration.
func (w *world) pipeline(t rapid.TB, slug, configuration string) store.Pipeline {
	t.Helper()
	return must(w.CreatePipeline(context.Background(), engine.CreatePipeline{
		OrganizationID: w.org.ID, Name: slug, Repository: "https://example.test/" + slug + ".git", Configuration: configuration,
	}))(t)
}

// build makes a build of a new pipeline.
func (w *world) build(t rapid.TB, configuration string) store.Build {
	t.Helper()
	pl := w.pipeline(t, "p-"+w.NewID(), configuration)
	return must(w.CreateBuild(context.Background(), engine.CreateBuild{PipelineID: pl.ID, Source: trust.SourceAPI}))(t)
}

// agent registers and connects an agent.
func (w *world) agent(t rapid.TB, tags ...string) store.Agent {
	t.Helper()
	ctx := context.Background()
	a, _, err := w.RegisterAgent(ctx, engine.RegisterAgent{Token: w.agents, Name: "agent-%random", Tags: tags})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.ConnectAgent(ctx, a.ID); err != nil {
		t.Fatal(err)
	}
	return a
}

// start takes a scheduled job to running on an agent of its own.
func (w *world) start(t rapid.TB, job store.Job) store.Agent {
	t.Helper()
	ctx := context.Background()
	a := w.agent(t)
	if ok := must(w.AssignJob(ctx, job.ID, a.ID))(t); !ok {
		t.Fatalf("job %s was not assigned", job.ID)
	}
	must(w.AcceptJob(ctx, job.ID, a.ID))(t)
	if err := w.StartJob(ctx, job.ID, w.Now()); err != nil {
		t.Fatal(err)
	}
	return a
}

// run takes a scheduled job to its end with an exit status.
func (w *world) run(t rapid.TB, job store.Job, exit int) {
	t.Helper()
	w.start(t, job)
	must(w.FinishJob(context.Background(), engine.FinishJob{JobID: job.ID, ExitStatus: exit}))(t)
}

// job returns the latest attempt of the first job of the step with a key.
func (w *world) job(t rapid.TB, b store.Build, key string) store.Job {
	t.Helper()
	s := must(w.Store.StepByKey(context.Background(), b.ID, key))(t)
	return must(w.Store.JobsOfStep(context.Background(), s.ID))(t)[0]
}

func (w *world) wantJob(t rapid.TB, b store.Build, key string, want ci.JobState) {
	t.Helper()
	if got := w.job(t, b, key).State; got != want {
		t.Errorf("job %q is %s, want %s", key, got, want)
	}
}

func (w *world) wantBuild(t rapid.TB, b store.Build, want ci.BuildState) {
	t.Helper()
	if got := must(w.Store.Build(context.Background(), b.ID))(t).State; got != want {
		t.Errorf("the build is %s, want %s", got, want)
	}
}

func TestWaitHoldsBackWhatFollowsIt(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, "steps:\n- {command: a, key: a}\n- {command: b, key: b}\n- wait\n- {command: c, key: c}\n")
		w.wantBuild(t, b, ci.BuildScheduled)
		w.wantJob(t, b, "c", ci.JobWaiting)
		w.run(t, w.job(t, b, "a"), 0)
		w.wantBuild(t, b, ci.BuildRunning)
		w.wantJob(t, b, "c", ci.JobWaiting)
		w.run(t, w.job(t, b, "b"), 0)
		w.wantJob(t, b, "c", ci.JobScheduled)
		w.run(t, w.job(t, b, "c"), 0)
		w.wantBuild(t, b, ci.BuildPassed)
		w.check(t, b)
	})
}

func TestFailureStopsTheBuildAndRetryReopensIt(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, "steps:\n- {command: a, key: a}\n- wait\n- {command: c, key: c}\n")
		first := w.job(t, b, "a")
		w.run(t, first, 3)
		w.wantBuild(t, b, ci.BuildFailed)
		w.wantJob(t, b, "c", ci.JobWaitingFailed)
		w.check(t, b)
		must(w.RetryJob(t.Context(), first.ID, "ana"))(t)
		w.wantBuild(t, b, ci.BuildRunning)
		w.wantJob(t, b, "c", ci.JobWaiting)
		w.check(t, b)
		w.run(t, w.job(t, b, "a"), 0)
		w.run(t, w.job(t, b, "c"), 0)
		w.wantBuild(t, b, ci.BuildPassed)
		if _, err := w.RetryJob(t.Context(), first.ID, "ana"); err == nil {
			t.Error("a job was retried twice")
		}
		w.check(t, b)
	})
}

func TestContinueOnFailurePassesOverAFailureUntilTheNextWait(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, `steps:
- {command: a, key: a}
- wait: ~
  continue_on_failure: true
- {command: b, key: b}
- wait
- {command: c, key: c}
`)
		w.run(t, w.job(t, b, "a"), 1)
		w.wantJob(t, b, "b", ci.JobScheduled)
		w.wantBuild(t, b, ci.BuildFailing)
		w.run(t, w.job(t, b, "b"), 0)
		w.wantJob(t, b, "c", ci.JobWaitingFailed)
		w.wantBuild(t, b, ci.BuildFailed)
		w.check(t, b)
	})
}

func TestAutomaticRetryUsesTheFirstRuleThatMatches(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, `steps:
- command: a
  key: a
  retry:
    automatic:
    - {exit_status: 5, limit: 2}
    - {exit_status: "*", limit: 0}
`)
		for range 3 {
			w.run(t, w.job(t, b, "a"), 5)
		}
		if got := w.job(t, b, "a").Retries; got != 2 {
			t.Errorf("retries = %d, want 2", got)
		}
		w.wantBuild(t, b, ci.BuildFailed)
		w.check(t, b)
	})
}

func TestBlockWaitsForAPersonAndKeepsTheAnswers(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, `steps:
- {command: a, key: a}
- block: Release?
  key: gate
  fields:
  - {text: Name, key: name}
- {command: c, key: c}
`)
		w.run(t, w.job(t, b, "a"), 0)
		w.wantBuild(t, b, ci.BuildBlocked)
		gate := w.job(t, b, "gate")
		_, err := w.UnblockJob(t.Context(), engine.UnblockJob{JobID: gate.ID})
		if _, ok := errors.AsType[*engine.Refused](err); !ok {
			t.Errorf("unblocking without a required answer: %v, want a refusal", err)
		}
		must(w.UnblockJob(t.Context(), engine.UnblockJob{JobID: gate.ID, Fields: map[string][]string{"name": {"x"}}}))(t)
		w.wantJob(t, b, "c", ci.JobScheduled)
		if got := must(w.Store.MetaData(t.Context(), b.ID, "name"))(t); got != "x" {
			t.Errorf("meta-data name = %q, want x", got)
		}
		w.run(t, w.job(t, b, "c"), 0)
		w.wantBuild(t, b, ci.BuildPassed)
		w.check(t, b)
	})
}

func TestUploadedStepsComeBeforeWhatWaitsForTheUploader(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, "steps:\n- {command: up, key: up}\n- wait\n- {command: last, key: last}\n")
		job := w.job(t, b, "up")
		w.start(t, job)
		op := engine.UploadPipeline{JobID: job.ID, UUID: "u1", Pipeline: []byte(`{"steps":[{"command":"x","key":"x"},"wait",{"command":"y","key":"y"}]}`)}
		for range 2 {
			if up := must(w.UploadPipeline(t.Context(), op))(t); up.State != "applied" {
				t.Fatalf("upload %s: %s", up.State, up.Message)
			}
		}
		w.check(t, b)
		must(w.FinishJob(t.Context(), engine.FinishJob{JobID: job.ID}))(t)
		w.wantJob(t, b, "x", ci.JobScheduled)
		w.wantJob(t, b, "y", ci.JobWaiting)
		w.wantJob(t, b, "last", ci.JobWaiting)
		w.run(t, w.job(t, b, "x"), 0)
		w.run(t, w.job(t, b, "y"), 0)
		w.run(t, w.job(t, b, "last"), 0)
		w.wantBuild(t, b, ci.BuildPassed)
		w.check(t, b)
	})
}

func TestUnknownQueueNamesTheKnownOnes(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		pl := w.pipeline(t, "q", "steps:\n- command: a\n  agents: {queue: mca}\n")
		_, err := w.CreateBuild(t.Context(), engine.CreateBuild{PipelineID: pl.ID, Source: trust.SourceAPI})
		if err == nil || err.Error() != `line 2, column 3: step "a" wants queue=mca, which does not exist; the queues are: default` {
			t.Errorf("got %v", err)
		}
	})
}

func TestLostAgentEndsItsJobAndLateResultsChangeNothing(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, "steps:\n- {command: a, key: a}\n")
		job := w.job(t, b, "a")
		a := w.start(t, job)
		if err := w.LoseAgent(t.Context(), a.ID, "no heartbeat for 3 minutes"); err != nil {
			t.Fatal(err)
		}
		w.wantBuild(t, b, ci.BuildFailed)
		if got := w.job(t, b, "a"); *got.ExitStatus != -1 || !got.Lost {
			t.Errorf("exit %d, lost %v", *got.ExitStatus, got.Lost)
		}
		if _, err := w.FinishJob(t.Context(), engine.FinishJob{JobID: job.ID}); err == nil {
			t.Error("a late result was taken")
		}
		w.wantBuild(t, b, ci.BuildFailed)
		w.check(t, b)
	})
}

func TestCancelEndsWhatWaitsAndAsksWhatRuns(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, "steps:\n- {command: a, key: a}\n- {command: b, key: b}\n- wait\n- {command: c, key: c}\n")
		job := w.job(t, b, "a")
		w.start(t, job)
		must(w.CancelBuild(t.Context(), b.ID, "ana"))(t)
		w.wantBuild(t, b, ci.BuildCanceling)
		w.wantJob(t, b, "a", ci.JobCanceling)
		w.wantJob(t, b, "b", ci.JobCanceled)
		w.wantJob(t, b, "c", ci.JobCanceled)
		must(w.FinishJob(t.Context(), engine.FinishJob{JobID: job.ID, ExitStatus: -1}))(t)
		w.wantBuild(t, b, ci.BuildCanceled)
		w.check(t, b)
	})
}

// check holds the stored tallies and states against the oracle.
func (w *world) check(t rapid.TB, b store.Build) {
	t.Helper()
	ctx := context.Background()
	b = must(w.Store.Build(ctx, b.ID))(t)
	steps, g := w.graph(t, b)
	want, tally := ci.Recompute(g)
	for i, s := range steps {
		if s.Step != want[i] {
			t.Errorf("I5: step %q (%s) is stored as %+v, recomputed as %+v", s.Key, s.Kind, s.Step, want[i])
		}
	}
	if b.Jobs != tally {
		t.Errorf("I5: the build's tally is stored as %v, recomputed as %v", b.Jobs, tally)
	}
	if more := must(w.Store.CancelingBuilds(ctx, 1_000))(t); !slices.Contains(more, b.ID) {
		w.checkNothingForgotten(t, want, g.Jobs)
	}
	if open := b.Jobs.Open(); b.State.Finished() != (open == 0) {
		t.Errorf("I3: the build is %s with %d open jobs", b.State, open)
	}
}

// graph is the whole build, replaced steps included, and its steps as they are stored.
func (w *world) graph(t rapid.TB, b store.Build) ([]store.Step, ci.Graph) {
	t.Helper()
	ctx := context.Background()
	g, known := ci.Graph{}, map[string]bool{}
	var steps []store.Step
	var add func(id string)
	add = func(id string) {
		if id == "" || known[id] {
			return
		}
		known[id] = true
		s := must(w.Store.Step(ctx, id))(t)
		steps, g.Steps = append(steps, s), append(g.Steps, s.Step)
		add(s.GroupID)
	}
	for _, j := range must(w.Store.Jobs(ctx, b.ID))(t) {
		add(j.StepID)
		if j.RetriedIn == "" {
			g.Jobs = append(g.Jobs, ci.JobOfStep{Job: j.Job, StepID: j.StepID})
		}
	}
	for _, e := range must(w.Store.Edges(ctx, b.ID))(t) {
		g.Edges = append(g.Edges, e.Edge)
	}
	return steps, g
}

// cancelRest does what the pass does for a build that is being canceled or began to fail.
func (w *world) cancelRest(t rapid.TB, b store.Build) {
	t.Helper()
	for _, id := range must(w.Store.BuildsToEnd(context.Background(), 100))(t) {
		if err := w.CancelRest(context.Background(), id); id == b.ID && err != nil {
			t.Fatal(err)
		}
	}
}

func (w *world) checkNothingForgotten(t rapid.TB, steps []ci.Step, jobs []ci.JobOfStep) {
	t.Helper()
	byID := map[string]ci.Step{}
	for _, s := range steps {
		byID[s.ID] = s
	}
	for _, j := range jobs {
		r := byID[j.StepID].Deps.Readiness()
		waits := j.State == ci.JobWaiting || j.State == ci.JobPending
		if waits && r != ci.DepsOpen || j.State.NotRun() && r != ci.DepsFailed {
			t.Errorf("I4: job %s of step %s is %s while its dependencies are %s", j.ID, j.StepID, j.State, r)
		}
	}
}

func TestConfigurationWarnsOfVariablesThatOnlyAJobKnows(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, "env: {OWN: a}\nsteps:\n- command: echo $OWN $BUILDKITE_BRANCH $HOME $$PATH\n  key: a\n")
		if got := b.Detail.Warnings; len(got) != 1 || !strings.Contains(got[0], "$HOME is not known before a job runs") {
			t.Errorf("warnings %q, want one about $HOME", got)
		}
		spec := must(w.job(t, b, "a").Spec())(t)
		if want := "echo a main  $PATH"; spec.Command != want {
			t.Errorf("command %q, want %q", spec.Command, want)
		}
	})
}

func TestCancelingAGroupCancelsItsMembers(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, "steps:\n- {command: a, key: a}\n- group: G\n  key: g\n  steps:\n  - {command: x, key: x}\n  - {command: y, key: y}\n")
		w.run(t, w.job(t, b, "x"), 0)
		if err := w.CancelStep(t.Context(), engine.CancelStep{BuildID: b.ID, Step: "g", By: "ana"}); err != nil {
			t.Fatal(err)
		}
		w.wantJob(t, b, "x", ci.JobFinished)
		w.wantJob(t, b, "y", ci.JobCanceled)
		w.wantJob(t, b, "a", ci.JobScheduled)
		w.check(t, b)
	})
}
