package worker_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/dbtest"
	"github.com/slipway-ci/slipway/internal/dispatch"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/secret"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
	"github.com/slipway-ci/slipway/internal/worker"
)

var plays = flag.Int("plays", 15, "random plays of dispatch on each database; more need as many -rapid.checks")

// TestDispatchKeepsItsPromises lets agents, builds, faults and restarts happen in any order and holds
// after each of them what dispatch promises, on both databases. -plays and -rapid.checks play more.
func TestDispatchKeepsItsPromises(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		play(t, store.Options{Path: filepath.Join(t.TempDir(), "slipway.db")})
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		play(t, store.Options{Postgres: dbtest.Postgres(t)})
	})
}

// stage is the database that all plays of a test share; each has a queue and pipelines of its own.
type stage struct {
	config engine.Config
	clock  atomic.Int64
	org    store.Organization
	token  store.AgentToken
	breaks atomic.Int64 // statements until the pass under way is killed; 0: never
	kill   context.CancelFunc
}

func play(t *testing.T, o store.Options) {
	s := &stage{}
	s.clock.Store(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).UnixMicro())
	o.Trace = func(string) {
		if s.breaks.Load() > 0 && s.breaks.Add(-1) == 0 {
			s.kill()
		}
	}
	db, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	hub := &live.Hub{}
	hub.Deaf.Store(true)
	sealer, err := secret.NewSealer(make([]byte, secret.KeyLength))
	if err != nil {
		t.Fatal(err)
	}
	s.config = engine.Config{
		Sealer: sealer, Store: db, Hub: hub, Log: slog.New(slog.DiscardHandler), OpenQueues: true,
		Now: func() time.Time { return time.UnixMicro(s.clock.Load()).UTC() },
	}
	e := engine.New(s.config)
	boot, err := e.Bootstrap(t.Context(), engine.Bootstrap{Organization: "main"})
	if err != nil {
		t.Fatal(err)
	}
	if s.org, err = db.Organization(t.Context(), "main"); err != nil {
		t.Fatal(err)
	}
	if s.token, err = db.AgentToken(t.Context(), secret.HashToken(boot.AgentToken)); err != nil {
		t.Fatal(err)
	}
	played, failed := 0, false
	rapid.Check(t, func(rt *rapid.T) {
		if played++; played > *plays && !failed {
			return
		}
		defer func() { failed = failed || rt.Failed() }() // a failure is played again, smaller
		m := newModel(rt, s)
		defer m.tidy()
		rt.Repeat(map[string]func(*rapid.T){
			"": m.holds, "build": m.build, "connect": m.connect, "connect 2": m.connect, "pass": m.pass, "pass 2": m.pass,
			"killed pass": m.killedPass, "accept": m.accept, "accept 2": m.accept, "start": m.start, "finish": m.finish,
			"finish late": m.finishLate, "expire": m.expire, "pause": m.pause, "stop": m.stop, "leave": m.leave, "lose": m.lose,
			"cancel": m.cancel, "restart": m.restart, "acquire": m.acquire,
		})
		m.settle(rt)
	})
}

// model is one play and what its observer remembers.
type model struct {
	*stage
	*engine.Engine
	ctx       context.Context
	assign    *worker.Assign
	queue     string
	queueID   string
	pipelines []store.Pipeline
	builds    []string
	agents    []string
	acceptor  map[string]string // of attempts
	ended     map[string]store.Job
}

func newModel(rt *rapid.T, s *stage) *model {
	m := &model{stage: s, Engine: engine.New(s.config), ctx: context.Background(), acceptor: map[string]string{}, ended: map[string]store.Job{}}
	m.queue = "q" + strings.ReplaceAll(m.NewID(), "-", "")
	for i := range 3 {
		pl, err := m.CreatePipeline(m.ctx, engine.CreatePipeline{
			OrganizationID: s.org.ID, Name: fmt.Sprintf("%s %d", m.queue, i), Repository: fmt.Sprintf("/r%d.git", i/2),
			Configuration: `{"steps": [{"command": "c"}]}`,
		})
		m.fine(rt, err)
		m.pipelines = append(m.pipelines, pl)
	}
	m.connect(rt)
	m.build(rt)
	return m
}

// fine fails on what is no answer of no.
func (m *model) fine(rt *rapid.T, err error) {
	rt.Helper()
	if _, refused := errors.AsType[*engine.Refused](err); err != nil && !refused && !errors.Is(err, engine.ErrNotYet) {
		rt.Fatalf("a fault: %v", err)
	}
}

func get[T any](v T, err error) func(*rapid.T) T {
	return func(rt *rapid.T) T {
		rt.Helper()
		if err != nil {
			rt.Fatal(err)
		}
		return v
	}
}

var modelRules = []string{"", `"os=linux"`, `"os=linux", "gpu=*"`}

func (m *model) build(rt *rapid.T) {
	pl := rapid.SampledFrom(m.pipelines).Draw(rt, "pipeline")
	var steps []string
	for range rapid.IntRange(1, 3).Draw(rt, "steps") {
		rules := rapid.SampledFrom(modelRules).Draw(rt, "rules")
		agents := strings.TrimSuffix(fmt.Sprintf(`"queue=%s", %s`, m.queue, rules), ", ")
		steps = append(steps, fmt.Sprintf(`{"command": "c", "agents": [%s], "priority": %d, "parallelism": %d}`,
			agents, rapid.IntRange(0, 1).Draw(rt, "priority"), rapid.IntRange(1, 3).Draw(rt, "jobs")))
	}
	document := fmt.Sprintf(`{"steps": [%s]}`, strings.Join(steps, ","))
	b := get(m.CreateBuild(m.ctx, engine.CreateBuild{PipelineID: pl.ID, Source: trust.SourceAPI}))(rt)
	first := m.jobsOf(rt, b.ID)[0]
	uploader := m.taken(rt, first)
	// The pipeline's own step uploads the rest, so that its document need not change with every build.
	up := get(m.UploadPipeline(m.ctx, engine.UploadPipeline{JobID: first.ID, UUID: m.NewID(), Pipeline: []byte(document)}))(rt)
	if up.State != "applied" {
		rt.Fatalf("%s: %s", document, up.Message)
	}
	get(m.FinishJob(m.ctx, engine.FinishJob{JobID: first.ID}))(rt)
	m.fine(rt, m.DisconnectAgent(m.ctx, uploader))
	m.builds = append(m.builds, b.ID)
}

// taken lets an agent of another queue run a job, which may upload then, and returns the agent.
func (m *model) taken(rt *rapid.T, j store.Job) string {
	a, _, err := m.RegisterAgent(m.ctx, engine.RegisterAgent{Token: m.token, Name: "uploader-%random", IgnoreInDispatches: true})
	m.fine(rt, err)
	m.fine(rt, m.ConnectAgent(m.ctx, a.ID))
	get(m.AcquireJob(m.ctx, j.ID, a.ID))(rt)
	m.fine(rt, m.StartJob(m.ctx, j.ID, m.Now()))
	return a.ID
}

func (m *model) connect(rt *rapid.T) {
	tags := rapid.SampledFrom([][]string{{}, {"os=linux"}, {"os=linux", "gpu=a100"}}).Draw(rt, "tags")
	a, _, err := m.RegisterAgent(m.ctx, engine.RegisterAgent{
		Token: m.token, Name: "a-%random", Tags: append([]string{"queue=" + m.queue}, tags...),
		Priority: rapid.SampledFrom([]string{"", "1"}).Draw(rt, "priority"),
	})
	m.fine(rt, err)
	m.fine(rt, m.ConnectAgent(m.ctx, a.ID))
	m.agents, m.queueID = append(m.agents, a.ID), a.QueueID
}

func (m *model) agent(rt *rapid.T) string { return rapid.SampledFrom(m.agents).Draw(rt, "agent") }

func (m *model) jobsOf(rt *rapid.T, build string) []store.Job {
	return get(m.Store.Jobs(m.ctx, build))(rt)
}

// jobs are all jobs of the play's queue.
func (m *model) jobs(rt *rapid.T) (out []store.Job) {
	for _, b := range m.builds {
		for _, j := range m.jobsOf(rt, b) {
			if j.QueueID == m.queueID { // not the one that uploads the rest
				out = append(out, j)
			}
		}
	}
	return out
}

func (m *model) job(rt *rapid.T, states ...ci.JobState) (store.Job, bool) {
	jobs := slices.DeleteFunc(m.jobs(rt), func(j store.Job) bool { return !slices.Contains(states, j.State) })
	if len(jobs) == 0 {
		return store.Job{}, false
	}
	return jobs[rapid.IntRange(0, len(jobs)-1).Draw(rt, "job")], true
}

func (m *model) accept(rt *rapid.T) {
	j, ok := m.job(rt, ci.JobAssigned, ci.JobAccepted)
	if !ok {
		return
	}
	by := rapid.SampledFrom([]string{j.AgentID, j.AgentID, m.agent(rt)}).Draw(rt, "by")
	for range rapid.IntRange(1, 2).Draw(rt, "times") { // an answer may be lost
		_, err := m.AcceptJob(m.ctx, j.ID, by)
		m.fine(rt, err)
		m.accepted(rt, j, by, err)
	}
}

func (m *model) acquire(rt *rapid.T) {
	if j, ok := m.job(rt, ci.JobScheduled, ci.JobAssigned, ci.JobAccepted); ok {
		by := m.agent(rt)
		_, err := m.AcquireJob(m.ctx, j.ID, by)
		if errors.Is(err, store.ErrConflict) {
			rt.Fatalf("acquiring: %v", err)
		}
		m.fine(rt, err)
		m.accepted(rt, j, by, err)
	}
}

func (m *model) accepted(rt *rapid.T, j store.Job, by string, err error) {
	if err != nil {
		return
	}
	if was := m.acceptor[j.ID]; was != "" && was != by {
		rt.Fatalf("job %s was accepted by %s and by %s", j.ID, was, by)
	}
	m.acceptor[j.ID] = by
}

func (m *model) start(rt *rapid.T) {
	if j, ok := m.job(rt, ci.JobAccepted, ci.JobRunning, ci.JobCanceling); ok {
		m.fine(rt, m.StartJob(m.ctx, j.ID, m.Now()))
	}
}

func (m *model) finish(rt *rapid.T) {
	j, ok := m.job(rt, ci.JobAccepted, ci.JobRunning, ci.JobCanceling)
	if !ok {
		return
	}
	status := rapid.IntRange(0, 1).Draw(rt, "status")
	for i := range rapid.IntRange(1, 2).Draw(rt, "times") {
		_, err := m.FinishJob(m.ctx, engine.FinishJob{JobID: j.ID, ExitStatus: status + i})
		m.fine(rt, err)
		if (err == nil) != (i == 0) {
			rt.Fatalf("report %d of the end of a job that was %s: %v", i, j.State, err)
		}
	}
}

func (m *model) finishLate(rt *rapid.T) {
	if j, ok := m.job(rt, ci.JobFinished, ci.JobCanceled, ci.JobScheduled, ci.JobAssigned); ok {
		if _, err := m.FinishJob(m.ctx, engine.FinishJob{JobID: j.ID}); err == nil {
			rt.Fatalf("a %s job could be finished", j.State)
		}
	}
}

func (m *model) pause(rt *rapid.T) {
	id := m.agent(rt)
	if err := m.PauseAgent(m.ctx, id, "", time.Time{}); err != nil {
		m.fine(rt, err)
		m.fine(rt, m.ResumeAgent(m.ctx, id))
	}
}

func (m *model) stop(rt *rapid.T) {
	m.fine(rt, m.StopAgent(m.ctx, m.agent(rt), rapid.Bool().Draw(rt, "force"), "test"))
}

func (m *model) leave(rt *rapid.T) { m.fine(rt, m.DisconnectAgent(m.ctx, m.agent(rt))) }

func (m *model) lose(rt *rapid.T) { m.fine(rt, m.LoseAgent(m.ctx, m.agent(rt), "silent")) }

func (m *model) cancel(rt *rapid.T) {
	_, err := m.CancelBuild(m.ctx, rapid.SampledFrom(m.builds).Draw(rt, "build"), "test")
	m.fine(rt, err)
}

func (m *model) restart(*rapid.T) { m.Engine, m.assign = engine.New(m.config), nil }

func (m *model) expire(rt *rapid.T) {
	m.clock.Add((31 * time.Second).Microseconds())
	get(worker.ExpireOffers(m.Engine)(m.ctx))(rt)
}

// assigner is the same from a start to the next: what it remembers of a pass, the next goes by.
func (m *model) assigner() *worker.Assign {
	if m.assign == nil {
		m.assign = &worker.Assign{Engine: m.Engine, Log: m.config.Log}
	}
	return m.assign
}

// killedPass ends a pass in its midst: what it did stays, and nothing else does.
func (m *model) killedPass(rt *rapid.T) {
	ctx, cancel := context.WithCancel(m.ctx)
	defer cancel()
	m.kill = cancel
	m.breaks.Store(int64(rapid.IntRange(1, 40).Draw(rt, "statements")))
	_, err := m.assigner().Pass(ctx)
	m.breaks.Store(0)
	if err != nil && ctx.Err() == nil {
		rt.Fatalf("a fault: %v", err)
	}
}

// pass assigns, and holds the order of what it did against what it left.
func (m *model) pass(rt *rapid.T) {
	before := map[string]ci.JobState{}
	for _, j := range m.jobs(rt) {
		before[j.ID] = j.State
	}
	get(m.assigner().Pass(m.ctx))(rt)
	held, more := map[string]int{}, map[string]int{} // more: of those, what this pass gave
	alike := map[string]int{}                        // what it gave a pipeline of one kind
	var left, given []store.Job
	for _, j := range m.jobs(rt) {
		if j.State.Held() {
			held[j.PipelineID]++
		}
		switch {
		case j.State == ci.JobScheduled:
			left = append(left, j)
		case j.State == ci.JobAssigned && before[j.ID] == ci.JobScheduled:
			given = append(given, j)
			more[j.PipelineID]++
			alike[kind(j)]++
			if j.AgentReason == "" {
				rt.Fatalf("job %s was assigned without a reason", j.ID)
			}
		}
	}
	for _, g := range given {
		for _, l := range left {
			m.ordered(rt, g, l)
			had := held[g.PipelineID] - more[g.PipelineID] + alike[kind(g)] // when it was given the last of the kind, at least
			if same := g.PipelineID + kind(l)[len(l.PipelineID):]; same == kind(g) && g.PipelineID != l.PipelineID && had > held[l.PipelineID]+1 {
				rt.Fatalf("pipeline %s held %d and was given one; %s holds %d and waits", g.PipelineID, had-1, l.PipelineID, held[l.PipelineID])
			}
		}
	}
	m.nothingWaits(rt, left)
}

// kind is equal for jobs of a pipeline between which dispatch chooses by their age alone.
func kind(j store.Job) string { return fmt.Sprint(j.PipelineID, j.Priority, j.Rules) }

// ordered holds what was given out against what was left for want of an agent.
func (m *model) ordered(rt *rapid.T, given, left store.Job) {
	a := get(m.Store.Agent(m.ctx, given.AgentID))(rt)
	if left.Priority > given.Priority && dispatch.Matches(left.Rules, a.Tags) {
		rt.Fatalf("a job of priority %d waits and one of %d was given an agent for both", left.Priority, given.Priority)
	}
}

// nothingWaits holds after a pass: no job waits that an idle agent could run.
func (m *model) nothingWaits(rt *rapid.T, left []store.Job) {
	for _, id := range m.agents {
		a := get(m.Store.Agent(m.ctx, id))(rt)
		if !a.TakesJobs() || a.JobID != "" {
			continue
		}
		for _, j := range left {
			if dispatch.Matches(j.Rules, a.Tags) {
				rt.Fatalf("job %s (%v) waits while agent %s (%v) idles", j.ID, j.Rules, a.ID, a.Tags)
			}
		}
	}
}

// holds is what is true at any moment.
func (m *model) holds(rt *rapid.T) {
	holder := map[string]string{} // of jobs, by agent
	for _, j := range m.jobs(rt) {
		if was, known := m.ended[j.ID]; known && (was.State != j.State || *was.ExitStatus != *j.ExitStatus || !was.FinishedAt.Equal(j.FinishedAt)) {
			rt.Fatalf("job %s ended as %s with %d and is %s with %d now", j.ID, was.State, *was.ExitStatus, j.State, *j.ExitStatus)
		}
		if j.State == ci.JobFinished {
			m.ended[j.ID] = j
		}
		if !j.State.Held() {
			continue
		}
		if other := holder[j.AgentID]; other != "" {
			rt.Fatalf("agent %s holds %s and %s", j.AgentID, other, j.ID)
		}
		holder[j.AgentID] = j.ID
	}
	for _, id := range m.agents {
		a := get(m.Store.Agent(m.ctx, id))(rt)
		if a.JobID != holder[id] || a.JobID != "" && !a.Live() {
			rt.Fatalf("agent %s (%s) says that it holds %q, the jobs say %q", id, a.State, a.JobID, holder[id])
		}
	}
}

// settle lets honest agents finish everything: each build must end.
func (m *model) settle(rt *rapid.T) {
	a, _, err := m.RegisterAgent(m.ctx, engine.RegisterAgent{Token: m.token, Name: "z-%random", Tags: []string{"queue=" + m.queue, "os=linux", "gpu=1"}})
	m.fine(rt, err)
	m.fine(rt, m.ConnectAgent(m.ctx, a.ID))
	for _, id := range m.agents {
		m.fine(rt, m.DisconnectAgent(m.ctx, id))
	}
	m.agents = append(m.agents, a.ID)
	for range 200 {
		m.pass(rt)
		m.holds(rt)
		j, ok := m.job(rt, ci.JobAssigned)
		if !ok {
			break
		}
		_, err := m.AcceptJob(m.ctx, j.ID, j.AgentID)
		m.accepted(rt, j, j.AgentID, err)
		m.fine(rt, err)
		get(m.FinishJob(m.ctx, engine.FinishJob{JobID: j.ID}))(rt)
	}
	for _, j := range m.jobs(rt) {
		if !j.State.Terminal() {
			rt.Fatalf("job %s is %s at the end", j.ID, j.State)
		}
	}
}

// tidy leaves nothing behind that the next play's passes would look at.
func (m *model) tidy() {
	for _, id := range m.agents {
		_ = m.DisconnectAgent(m.ctx, id) // it may have left
	}
	for _, b := range m.builds {
		_, _ = m.CancelBuild(m.ctx, b, "tidy") // it may have ended
	}
}
