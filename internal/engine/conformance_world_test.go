package engine_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/store/storetest"
	"github.com/slipway-ci/slipway/internal/trust"
)

// The tests of the files named conformance are named after the acceptance statements that they
// cover; docs/pipeline-conformance.md lists all of them. They use SQLite alone: that both databases
// behave alike is what the other tests of this package and those of the store are for.

// stated gives a test a world of its own and lets it run in parallel.
func stated(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	return newWorld(t, storetest.SQLite(t))
}

// states are the states of the latest attempts of steps' jobs, as in "a=finished b=waiting"; those
// of a step with several jobs are joined with a plus sign.
func (w *world) states(t testing.TB, b store.Build, keys ...string) string {
	t.Helper()
	var all []string
	for _, key := range keys {
		s := must(w.Store.StepByKey(t.Context(), b.ID, key))(t)
		var states []string
		for _, j := range must(w.Store.JobsOfStep(t.Context(), s.ID))(t) {
			states = append(states, string(j.State))
		}
		all = append(all, key+"="+strings.Join(states, "+"))
	}
	return strings.Join(all, " ")
}

// wantStates holds the states of steps' jobs against "a=finished b=waiting", and the build against
// the oracle.
func (w *world) wantStates(t testing.TB, b store.Build, want string) {
	t.Helper()
	var keys []string
	for _, pair := range strings.Fields(want) {
		key, _, _ := strings.Cut(pair, "=")
		keys = append(keys, key)
	}
	if got := w.states(t, b, keys...); got != want {
		t.Errorf("the jobs are %s, want %s", got, want)
	}
	w.check(t, b)
}

// end runs the first job of a step to its end.
func (w *world) end(t testing.TB, b store.Build, key string, exit int) {
	t.Helper()
	w.run(t, w.job(t, b, key), exit)
}

// begin starts the first job of a step.
func (w *world) begin(t testing.TB, b store.Build, key string) store.Job {
	t.Helper()
	w.start(t, w.job(t, b, key))
	return w.job(t, b, key)
}

// finish ends a job that runs.
func (w *world) finish(t testing.TB, j store.Job, exit int) {
	t.Helper()
	must(w.FinishJob(t.Context(), engine.FinishJob{JobID: j.ID, ExitStatus: exit}))(t)
}

// send uploads a document from a job.
func (w *world) send(t testing.TB, j store.Job, document string, replace bool) store.Upload {
	t.Helper()
	return must(w.UploadPipeline(t.Context(), engine.UploadPipeline{
		JobID: j.ID, UUID: w.NewID(), Pipeline: []byte(document), Replace: replace,
	}))(t)
}

// sent uploads a document that must be applied.
func (w *world) sent(t testing.TB, j store.Job, document string) {
	t.Helper()
	if up := w.send(t, j, document, false); up.State != "applied" {
		t.Fatalf("the upload is %s: %s", up.State, up.Message)
	}
}

// wantRejected uploads a document that must be refused in words that have a part, and leave the
// build as it was.
func (w *world) wantRejected(t testing.TB, j store.Job, document, part string) {
	t.Helper()
	before := w.order(t, j.BuildID)
	up := w.send(t, j, document, false)
	if up.State != "rejected" || !strings.Contains(up.Message, part) {
		t.Errorf("the upload is %s: %s; want it rejected with %q", up.State, up.Message, part)
	}
	if after := w.order(t, j.BuildID); after != before {
		t.Errorf("the build's steps were %s and are %s", before, after)
	}
}

// order lists the steps of a build as they are shown, by key or kind.
func (w *world) order(t testing.TB, buildID string) string {
	t.Helper()
	var all []string
	for _, s := range must(w.Store.Steps(t.Context(), buildID))(t) {
		name := s.Key
		if name == "" {
			name = string(s.Kind)
		}
		all = append(all, name)
	}
	return strings.Join(all, " ")
}

// step returns a step as it is stored.
func (w *world) step(t testing.TB, b store.Build, key string) store.Step {
	t.Helper()
	return must(w.Store.StepByKey(t.Context(), b.ID, key))(t)
}

// now returns a build as it is stored.
func (w *world) now(t testing.TB, b store.Build) store.Build {
	t.Helper()
	return must(w.Store.Build(t.Context(), b.ID))(t)
}

// ask makes a build as asked for, of a new pipeline with a configuration and settings.
func (w *world) ask(t testing.TB, op engine.CreateBuild, configuration, settings string) store.Build {
	t.Helper()
	create := engine.CreatePipeline{
		OrganizationID: w.org.ID, Name: "p-" + w.NewID(), Repository: "https://example.test/p.git", Configuration: configuration,
	}
	if settings != "" {
		create.Settings = []byte(settings)
	}
	op.PipelineID = must(w.CreatePipeline(t.Context(), create))(t).ID
	if op.Source == "" {
		op.Source = trust.SourceAPI
	}
	return must(w.CreateBuild(t.Context(), op))(t)
}

// accept gives a scheduled job to an agent with tags and returns what the agent is told.
func (w *world) accept(t testing.TB, j store.Job, tags ...string) engine.Accepted {
	t.Helper()
	a := w.agent(t, tags...)
	if !must(w.AssignJob(t.Context(), j.ID, a.ID))(t) {
		t.Fatalf("job %s was not assigned", j.ID)
	}
	return must(w.AcceptJob(t.Context(), j.ID, a.ID))(t)
}

// env is the environment that a scheduled job gets.
func (w *world) env(t testing.TB, j store.Job, tags ...string) map[string]string {
	t.Helper()
	return must(engine.JobEnv(w.accept(t, j, tags...), "https://ci.example.test/main/p/builds/1"))(t)
}

// wantEnv holds variables of an environment against want; "-" stands for a variable that is not set.
func wantEnv(t testing.TB, env map[string]string, want map[string]string) {
	t.Helper()
	for name, w := range want {
		got, ok := env[name]
		if !ok {
			got = "-"
		}
		if got != w {
			t.Errorf("%s is %q, want %q", name, got, w)
		}
	}
}

// settle lets every trigger job make its build, and end with it.
func (w *world) settle(t testing.TB) {
	t.Helper()
	ctx := context.Background()
	for _, j := range must(w.Store.ReadyTriggers(ctx, 100))(t) {
		if err := w.TriggerBuild(ctx, j.ID); err != nil {
			t.Fatal(err)
		}
	}
	for _, j := range must(w.Store.EndedTriggers(ctx, 100))(t) {
		if err := w.SettleTrigger(ctx, j.ID); err != nil {
			t.Fatal(err)
		}
	}
}

// decide sets settings of the organization, given as a JSON object.
func (w *world) decide(t testing.TB, settings string) {
	t.Helper()
	var change map[string]json.RawMessage
	if err := json.Unmarshal([]byte(settings), &change); err != nil {
		t.Fatal(err)
	}
	must(w.ChangeSettings(t.Context(), w.org.ID, change))(t)
}

// admit lets the jobs of the groups go in which something changed and that have room for them.
func (w *world) admit(t rapid.TB) {
	t.Helper()
	ctx := context.Background()
	for _, g := range must(w.Store.DueGroups(ctx, 1000))(t) {
		if err := w.AdmitGroup(ctx, g); err != nil {
			t.Fatal(err)
		}
	}
}

// wantOutcome holds a step's outcome against want.
func (w *world) wantOutcome(t testing.TB, b store.Build, key string, want ci.Outcome) {
	t.Helper()
	if got := w.step(t, b, key).Outcome(); got != want {
		t.Errorf("the outcome of step %q is %s, want %s", key, got, want)
	}
}
