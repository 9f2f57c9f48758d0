package worker_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/gitrepo"
	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/secret"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/store/storetest"
	"github.com/slipway-ci/slipway/internal/trust"
	"github.com/slipway-ci/slipway/internal/worker"
)

// world is an engine on a real database with a clock that moves by hand and nobody woken.
type world struct {
	*engine.Engine
	t     *testing.T
	clock atomic.Int64
	org   store.Organization
	token store.AgentToken
	fleet atomic.Int64 // statements that read idle agents whatever they are
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOn(t, storetest.SQLite(t))
}

func newWorldOn(t *testing.T, o store.Options) *world {
	t.Helper()
	w := &world{t: t}
	o.Trace = w.trace
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	w.clock.Store(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).UnixMicro())
	hub := &live.Hub{}
	hub.Deaf.Store(true)
	sealer, err := secret.NewSealer(make([]byte, secret.KeyLength))
	w.must(err)
	w.Engine = engine.New(engine.Config{
		Sealer: sealer, Mail: true,
		Store: s, Hub: hub, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), OpenQueues: true,
		Now: func() time.Time { return time.UnixMicro(w.clock.Load()).UTC() },
	})
	boot, err := w.Bootstrap(t.Context(), engine.Bootstrap{Organization: "main"})
	w.must(err)
	w.org, err = s.Organization(t.Context(), "main")
	w.must(err)
	w.token, err = s.AgentToken(t.Context(), secret.HashToken(boot.AgentToken))
	w.must(err)
	return w
}

func (w *world) trace(statement string) {
	if strings.Contains(statement, "FROM agents") && strings.Contains(statement, "ORDER BY COALESCE(priority") {
		w.fleet.Add(1)
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) ctx() context.Context { return w.t.Context() }

func (w *world) build(slug, configuration string) store.Build {
	w.t.Helper()
	pl, err := w.CreatePipeline(w.ctx(), engine.CreatePipeline{
		OrganizationID: w.org.ID, Name: slug, Repository: "/r.git", Configuration: configuration,
	})
	w.must(err)
	b, err := w.CreateBuild(w.ctx(), engine.CreateBuild{PipelineID: pl.ID, Source: trust.SourceAPI})
	w.must(err)
	return b
}

func (w *world) agent(tags ...string) store.Agent {
	w.t.Helper()
	a, _, err := w.RegisterAgent(w.ctx(), engine.RegisterAgent{Token: w.token, Name: "a-%random", Tags: tags})
	w.must(err)
	w.must(w.ConnectAgent(w.ctx(), a.ID))
	return a
}

func (w *world) assign() {
	w.t.Helper()
	pass := &worker.Assign{Engine: w.Engine, Log: w.Log}
	_, err := pass.Pass(w.ctx())
	w.must(err)
}

// held is the job that an agent was given, or the zero value.
func (w *world) held(a store.Agent) store.Job {
	j, err := w.Store.JobOfAgent(w.ctx(), a.ID)
	if err != nil {
		return store.Job{}
	}
	return j
}

func (w *world) finish(a store.Agent) {
	w.t.Helper()
	j := w.held(a)
	_, err := w.AcceptJob(w.ctx(), j.ID, a.ID)
	w.must(err)
	w.must(w.StartJob(w.ctx(), j.ID, w.Now()))
	_, err = w.FinishJob(w.ctx(), engine.FinishJob{JobID: j.ID})
	w.must(err)
}

func TestAssignGivesEveryIdleAgentAJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.build("p", "steps:\n- {command: x, parallelism: 5}\n")
	agents := []store.Agent{w.agent(), w.agent(), w.agent()}
	w.assign()
	for _, a := range agents {
		if w.held(a).BuildID != b.ID {
			t.Errorf("agent %s was given nothing", a.Name)
		}
	}
}

func TestAssignFindsTheJobBehindManyThatNobodyCanRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.build("blocked", "steps:\n- {command: x, parallelism: 450, agents: {os: plan9}}\n")
	b := w.build("free", "steps:\n- {command: x}\n")
	a := w.agent("os=linux")
	w.assign()
	if got := w.held(a); got.BuildID != b.ID {
		t.Errorf("the agent holds %+v, want the job that it can run", got.ID)
	}
}

func TestAssignFindsTheOneAgentWithTheTagsAmongMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	right := w.agent("gpu=true")
	for range 40 {
		w.agent()
	}
	b := w.build("p", "steps:\n- {command: x, agents: {gpu: \"true\"}}\n")
	w.assign()
	if got := w.held(right); got.BuildID != b.ID {
		t.Error("the agent with the tags was not found")
	}
}

func TestAnAgentThatConnectsAfterTheClockWasSetBackIsGivenAJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pass := &worker.Assign{Engine: w.Engine, Log: w.Log}
	w.agent() // which cannot run it
	b := w.build("p", "steps:\n- {command: x, agents: {os: plan9}}\n")
	_, err := pass.Pass(w.ctx())
	w.must(err)
	w.clock.Add(-time.Hour.Microseconds())
	can := w.agent("os=plan9")
	if _, err := pass.Pass(w.ctx()); err != nil || w.held(can).BuildID != b.ID {
		t.Errorf("the agent that can run the job was not given it (%v)", err)
	}
}

func TestAnOfferRunsOutAlsoAfterTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.build("p", "steps:\n- {command: x}\n")
	deaf := w.agent()
	w.assign()
	w.clock.Add(-time.Hour.Microseconds())
	_, err := worker.ExpireOffers(w.Engine)(w.ctx())
	w.must(err)
	if j := w.held(deaf); j.ID != "" {
		t.Errorf("the job is %s until %s, and it is %s", j.State, j.Lease.Deadline, w.Now())
	}
}

func TestNoPipelineStarvesAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.build("big", "steps:\n- {command: x, parallelism: 100}\n")
	small := w.build("small", "steps:\n- {command: x}\n")
	a, b := w.agent(), w.agent()
	w.assign()
	if w.held(a).BuildID != small.ID && w.held(b).BuildID != small.ID {
		t.Error("two agents, two pipelines: the small one got none")
	}
}

func TestUnacceptedJobReturnsToTheQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.build("p", "steps:\n- {command: x}\n")
	a := w.agent()
	w.assign()
	pass := worker.ExpireOffers(w.Engine)
	w.clock.Add(29 * time.Second.Microseconds())
	_, err := pass(w.ctx())
	w.must(err)
	if w.held(a).ID == "" {
		t.Fatal("the offer was taken back before its time")
	}
	w.clock.Add(2 * time.Second.Microseconds())
	_, err = pass(w.ctx())
	w.must(err)
	if w.held(a).ID != "" {
		t.Fatal("the offer was not taken back")
	}
	w.assign()
	w.finish(a)
}

func TestSilentAgentIsLostAfterItsTermButNotRightAfterAStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.build("p", "steps:\n- {command: x}\n")
	a := w.agent()
	w.assign()
	_, err := w.AcceptJob(w.ctx(), w.held(a).ID, a.ID)
	w.must(err)
	pass := worker.LoseAgents(w.Engine, w.Now().Add(2*time.Minute))
	for _, want := range []ci.AgentState{ci.AgentConnected, ci.AgentLost} {
		w.passes(pass, 4*time.Minute)
		if got := w.agentState(a); got != want {
			t.Fatalf("%s after silence until %s, want %s", got, w.Now(), want)
		}
	}
	got, err := w.Store.Build(w.ctx(), b.ID)
	w.must(err)
	if got.State != ci.BuildFailed {
		t.Errorf("the build is %s, want failed", got.State)
	}
}

// passes lets time go by with a pass every ten seconds.
func (w *world) passes(pass func(context.Context) (bool, error), d time.Duration) {
	w.t.Helper()
	for end := w.Now().Add(d); w.Now().Before(end); {
		w.clock.Add((10 * time.Second).Microseconds())
		_, err := pass(w.ctx())
		w.must(err)
	}
}

func (w *world) agentState(a store.Agent) ci.AgentState {
	w.t.Helper()
	got, err := w.Store.Agent(w.ctx(), a.ID)
	w.must(err)
	return got.State
}

// Where the server did not run, or could not read its database, it was not the agents that were silent.
func TestNoAgentIsLostBecauseTheServerWasAway(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]func(w *world, pass func(context.Context) (bool, error)){
		"its machine slept": func(w *world, _ func(context.Context) (bool, error)) { w.clock.Add(time.Hour.Microseconds()) },
		"its database did not answer": func(w *world, pass func(context.Context) (bool, error)) {
			gone, cancel := context.WithCancel(w.ctx())
			cancel()
			for range 24 {
				w.clock.Add((10 * time.Second).Microseconds())
				if _, err := pass(gone); err == nil {
					w.t.Fatal("the database answers")
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			a := w.agent()
			pass := worker.LoseAgents(w.Engine, w.Now().Add(-time.Hour))
			w.passes(pass, time.Minute)
			away(w, pass)
			w.passes(pass, 2*time.Minute)
			if got := w.agentState(a); got != ci.AgentConnected {
				t.Fatalf("%s before it could have been heard of again", got)
			}
			w.passes(pass, 2*time.Minute)
			if got := w.agentState(a); got != ci.AgentLost {
				t.Fatalf("%s although it was silent for a term since", got)
			}
		})
	}
}

func TestASilentAgentIsLostAlsoAfterTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pass := worker.LoseAgents(w.Engine, w.Now())
	w.passes(pass, time.Minute)
	w.clock.Add(-time.Hour.Microseconds())
	a := w.agent()
	w.passes(pass, 4*time.Minute)
	if got := w.agentState(a); got != ci.AgentLost {
		t.Fatalf("%s although it was silent for a term", got)
	}
}

// Where no agent's end can be written down, neither could its heartbeats: when that has passed they get a term.
func TestNoAgentIsLostBecauseNothingCouldBeWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.build("p", "steps:\n- {command: x}\n")
	a := w.agent()
	w.assign()
	j := w.held(a)
	_, err := w.AcceptJob(w.ctx(), j.ID, a.ID) // or the job would return to the queue, for which its plan is not read
	w.must(err)
	spec := func(text []byte) {
		w.must(w.Store.Update(w.ctx(), func(tx *store.Tx) error { return tx.SetJobSpec(w.ctx(), j.ID, text) }))
	}
	pass := worker.LoseAgents(w.Engine, w.Now().Add(-time.Hour))
	w.passes(pass, 150*time.Second)
	spec([]byte("cannot be read"))
	w.clock.Add((31 * time.Second).Microseconds())
	if _, err := pass(w.ctx()); err == nil {
		t.Fatal("the agent's end could be written down")
	}
	spec(j.SpecJSON)
	w.passes(pass, 2*time.Minute)
	if got := w.agentState(a); got != ci.AgentConnected {
		t.Fatalf("%s before it could have been heard of again", got)
	}
	w.passes(pass, 2*time.Minute)
	if got := w.agentState(a); got != ci.AgentLost {
		t.Fatalf("%s although it was silent for a term since", got)
	}
}

func TestTriggerStepWaitsForItsBuild(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	child, err := w.CreatePipeline(w.ctx(), engine.CreatePipeline{
		OrganizationID: w.org.ID, Name: "child", Repository: "r", Configuration: "steps:\n- command: x\n",
	})
	w.must(err)
	parent := w.build("parent", "steps:\n- {trigger: child}\n- {trigger: nowhere, soft_fail: true}\n")
	pass := worker.Triggers(w.Engine)
	_, err = pass(w.ctx())
	w.must(err)
	builds, err := w.Store.Builds(w.ctx(), child.ID, store.CreatedBefore{}, 10)
	w.must(err)
	if len(builds) != 1 || builds[0].Source != "trigger_job" || builds[0].Verdict.Decision != "allow" {
		t.Fatalf("triggered builds: %+v", builds)
	}
	a := w.agent()
	w.assign()
	w.finish(a)
	_, err = pass(w.ctx())
	w.must(err)
	got, err := w.Store.Build(w.ctx(), parent.ID)
	w.must(err)
	if got.State != ci.BuildPassed {
		t.Errorf("the parent is %s, want passed", got.State)
	}
}

func TestConcurrencyGroupAdmitsInItsOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const step = "steps:\n- {command: x, key: k, concurrency: 1, concurrency_group: deploy}\n"
	var builds []store.Build
	for n := range 3 {
		builds = append(builds, w.build(fmt.Sprintf("p%d", n), step))
		w.clock.Add(time.Second.Microseconds())
	}
	a, pass := w.agent(), worker.Admit(w.Engine)
	for n := range builds {
		_, err := pass(w.ctx())
		w.must(err)
		var states []string
		for _, b := range builds {
			s, err := w.Store.StepByKey(w.ctx(), b.ID, "k")
			w.must(err)
			jobs, err := w.Store.JobsOfStep(w.ctx(), s.ID)
			w.must(err)
			states = append(states, string(jobs[0].State))
		}
		want := []string{"finished", "finished", "finished"}
		want[n] = "scheduled"
		for i := n + 1; i < 3; i++ {
			want[i] = "limited"
		}
		if got := strings.Join(states, " "); got != strings.Join(want, " ") {
			t.Fatalf("round %d: %s, want %s", n, got, strings.Join(want, " "))
		}
		w.assign()
		w.finish(a)
	}
}

func TestAFullConcurrencyGroupKeepsNoOtherWaiting(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.build("full", "steps:\n- {command: x, parallelism: 201, concurrency: 1, concurrency_group: a}\n")
	var others []store.Build
	for _, group := range []string{"b", "c"} {
		others = append(others, w.build(group, "steps:\n- {command: x, concurrency: 1, concurrency_group: "+group+"}\n"))
	}
	_, err := worker.Admit(w.Engine)(w.ctx())
	w.must(err)
	for _, b := range others {
		jobs, err := w.Store.Jobs(w.ctx(), b.ID)
		w.must(err)
		if jobs[0].State != ci.JobScheduled {
			t.Errorf("the job of group %s is %s, want scheduled", jobs[0].ConcurrencyGroup, jobs[0].State)
		}
	}
}

func TestABuildThatCannotBePlannedKeepsNoOtherWaiting(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	broken := w.build("p0", "")
	broken.Verdict.Commit = "another"
	w.must(w.Store.Update(w.ctx(), func(tx *store.Tx) error { return tx.UpdateBuild(w.ctx(), broken) }))
	for n := range 20 {
		w.clock.Add(1)
		w.build(fmt.Sprintf("p%d", n+1), "")
	}
	pass := &worker.Plan{Engine: w.Engine, Repos: gitrepo.New(t.TempDir(), false)}
	if _, err := pass.Pass(w.ctx()); err == nil {
		t.Error("a verdict about another commit was taken")
	}
	left, err := w.Store.CreatingBuilds(w.ctx(), 100)
	w.must(err)
	if len(left) != 1 || left[0].ID != broken.ID {
		t.Errorf("%d builds were not planned, want the broken one alone", len(left))
	}
}

// TestHundredsOfOlderJobsStarveNoOtherPipeline: with one agent, a pipeline with few jobs gets its turn although
// hundreds of another are older.
func TestHundredsOfOlderJobsStarveNoOtherPipeline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	crowd := w.build("crowd", "steps:\n- {command: x, parallelism: 450}\n")
	few := w.build("few", "steps:\n- {command: x, parallelism: 2}\n")
	busy, a := w.agent(), w.agent()
	w.assign()
	got := map[string]int{}
	for range 3 {
		got[w.held(a).BuildID]++
		got[w.held(busy).BuildID]++
		w.finish(a)
		w.finish(busy)
		w.assign()
	}
	if got[few.ID] != 2 || got[crowd.ID] != 4 {
		t.Errorf("of six jobs %d were of the few and %d of the crowd, want 2 and 4", got[few.ID], got[crowd.ID])
	}
}

func TestTheChoiceOfAnAgentIsRecordedWithItsReason(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	warm, other := w.agent(), w.agent()
	reason := func(b store.Build) string {
		jobs, err := w.Store.Jobs(w.ctx(), b.ID)
		w.must(err)
		return jobs[0].AgentReason
	}
	w.must(w.PauseAgent(w.ctx(), other.ID, "", time.Time{}))
	b := w.build("one", "steps:\n- {command: x}\n")
	w.assign()
	if got := reason(b); got != "was the only free agent that matches" {
		t.Errorf("reason = %q", got)
	}
	w.finish(warm)
	w.must(w.ResumeAgent(w.ctx(), other.ID))
	again, err := w.CreateBuild(w.ctx(), engine.CreateBuild{PipelineID: b.PipelineID, Source: trust.SourceAPI})
	w.must(err)
	w.assign()
	if got := reason(again); w.held(warm).BuildID != again.ID || got != "last ran this pipeline" {
		t.Errorf("the warm agent holds %q, reason %q", w.held(warm).ID, got)
	}
	w.finish(warm)
	sibling := w.build("two", "steps:\n- {command: x}\n") // of the same repository
	w.assign()
	if got := reason(sibling); w.held(warm).BuildID != sibling.ID || got != "last ran this repository" {
		t.Errorf("the warm agent holds %q, reason %q", w.held(warm).ID, got)
	}
}

// TestTheWarmAgentIsFoundAmongMany: more idle agents than a pass looks at for one job.
func TestTheWarmAgentIsFoundAmongMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	warm := w.agent()
	b := w.build("one", "steps:\n- {command: x}\n")
	w.assign()
	w.finish(warm)
	for i := range 30 {
		w.clock.Add(time.Second.Microseconds())
		a := w.agent()
		w.build(fmt.Sprint("other ", i), "steps:\n- {command: x}\n")
		w.must(w.PauseAgent(w.ctx(), warm.ID, "", time.Time{}))
		w.assign()
		if w.held(a).ID == "" {
			t.Fatal("the new agent was given nothing")
		}
		w.finish(a)
		w.must(w.PauseAgent(w.ctx(), a.ID, "", time.Time{}))
		w.must(w.ResumeAgent(w.ctx(), warm.ID))
	}
	agents, err := w.Store.LiveAgents(w.ctx(), w.token.ClusterID, "", "", 100)
	w.must(err)
	for _, a := range agents {
		if a.Paused {
			w.must(w.ResumeAgent(w.ctx(), a.ID))
		}
	}
	again, err := w.CreateBuild(w.ctx(), engine.CreateBuild{PipelineID: b.PipelineID, Source: trust.SourceAPI})
	w.must(err)
	w.assign()
	if w.held(warm).BuildID != again.ID {
		t.Error("another agent than the warm one was given the job")
	}
}

// failOn lets an agent fail the job that it was given, and returns the next attempt.
func (w *world) failOn(a store.Agent) store.Job {
	w.t.Helper()
	j := w.held(a)
	_, err := w.AcceptJob(w.ctx(), j.ID, a.ID)
	w.must(err)
	w.must(w.StartJob(w.ctx(), j.ID, w.Now()))
	_, err = w.FinishJob(w.ctx(), engine.FinishJob{JobID: j.ID, ExitStatus: 1})
	w.must(err)
	next, err := w.RetryJob(w.ctx(), j.ID, "ana")
	w.must(err)
	return next
}

func (w *world) retryOn(affinity ci.RetryAffinity) {
	w.t.Helper()
	c, err := w.Store.Cluster(w.ctx(), w.token.ClusterID)
	w.must(err)
	_, err = w.UpdateQueue(w.ctx(), c.DefaultQueueID, engine.QueueSettings{RetryAffinity: &affinity})
	w.must(err)
}

// TestARetriedJobGoesToAnAgentThatDidNotRunIt, where its queue prefers that, and where there is one.
func TestARetriedJobGoesToAnAgentThatDidNotRunIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.retryOn(ci.PreferDifferent)
	first := w.agent("os=linux")
	w.build("p", "steps:\n- {command: x, agents: {os: linux}}\n")
	w.assign()
	w.agent("os=mac") // idle, and no use
	second := w.agent("os=linux")
	next := w.failOn(first)
	w.assign()
	if got := w.held(second); got.ID != next.ID || got.AgentReason != "ran no earlier attempt of this job" {
		t.Fatalf("the second agent holds %q because it %s, want %s", got.ID, got.AgentReason, next.ID)
	}
	next = w.failOn(second)
	third := w.agent("os=linux")
	w.assign()
	if w.held(third).ID != next.ID {
		t.Fatal("the third attempt went to an agent that ran one of the two before")
	}
	next = w.failOn(third)
	w.must(w.PauseAgent(w.ctx(), first.ID, "", time.Time{}))
	w.must(w.PauseAgent(w.ctx(), third.ID, "", time.Time{}))
	w.assign()
	if got := w.held(second); got.ID != next.ID || got.AgentReason != "ran an earlier attempt, but no other agent that matches was free" {
		t.Errorf("the only idle agent holds %q because it %s, want %s", got.ID, got.AgentReason, next.ID)
	}
}

func TestARetriedJobGoesToTheWarmestAgentByDefault(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.agent()
	w.build("p", "steps:\n- {command: x}\n")
	w.assign()
	w.agent()
	next := w.failOn(first)
	w.assign()
	if got := w.held(first); got.ID != next.ID || got.AgentReason != "last ran this pipeline" {
		t.Errorf("the warm agent holds %q because it %s, want %s", got.ID, got.AgentReason, next.ID)
	}
}

// TestAnotherAgentIsFoundAmongMany: more idle agents that do not match than a pass looks at for one job.
func TestAnotherAgentIsFoundAmongMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.retryOn(ci.PreferDifferent)
	ranked := func(tags ...string) store.Agent {
		a, _, err := w.RegisterAgent(w.ctx(), engine.RegisterAgent{Token: w.token, Name: "a-%random", Tags: tags, Priority: "1"})
		w.must(err)
		w.must(w.ConnectAgent(w.ctx(), a.ID))
		return a
	}
	first := ranked("os=linux")
	w.build("p", "steps:\n- {command: x, agents: {os: linux}}\n")
	w.assign()
	for range 30 {
		ranked("os=mac")
	}
	other := w.agent("os=linux") // the last of them, without a priority
	next := w.failOn(first)
	w.assign()
	if got := w.held(other); got.ID != next.ID {
		t.Errorf("the other agent holds %q, want %s", got.ID, next.ID)
	}
}

// TestTheOnlyAgentOfASampleIsNotCalledTheOnlyOne: of many idle agents a pass looks at some.
func TestTheOnlyAgentOfASampleIsNotCalledTheOnlyOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 40 {
		w.agent("os=mac")
	}
	w.agent("os=linux")
	first, _, err := w.RegisterAgent(w.ctx(), engine.RegisterAgent{Token: w.token, Name: "a-%random", Tags: []string{"os=linux"}, Priority: "1"})
	w.must(err)
	w.must(w.ConnectAgent(w.ctx(), first.ID))
	w.build("p", "steps:\n- {command: x, agents: {os: linux}}\n")
	w.assign()
	if got := w.held(first).AgentReason; got != "was the first free agent found that matches" {
		t.Errorf("the agent %q, and there is another that matches", got)
	}
}
