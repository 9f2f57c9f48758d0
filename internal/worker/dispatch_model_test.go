package worker_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/secret"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/store/storetest"
	"github.com/slipway-ci/slipway/internal/trust"
	"github.com/slipway-ci/slipway/internal/worker"
)

var plays = flag.Int("plays", 15, "random plays of dispatch on each database; more need as many -rapid.checks")

// TestDispatchKeepsItsPromises lets agents, builds, stacks, people, clocks, faults and restarts do anything in any
// order, on two servers of one database whose wake-ups are all lost, and holds after each step what dispatch
// promises, on both databases. -plays and -rapid.checks play more.
func TestDispatchKeepsItsPromises(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		play(t, storetest.SQLite(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		play(t, storetest.Postgres(t))
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
	until  atomic.Int64 // reads of a pass until something happens in its midst; 0: never
	midst  func()
	midsts int // how often it did, of
	hoped  int
}

// trace is called before each statement.
func (s *stage) trace(string) {
	if s.breaks.Load() > 0 && s.breaks.Add(-1) == 0 {
		s.kill()
	}
	if s.until.Load() > 0 && passReads() && s.until.Add(-1) == 0 {
		s.midsts++
		s.midst()
	}
}

// passReads says whether the caller is a pass that reads outside any transaction: whatever happens then can wait for nothing.
func passReads() bool {
	callers := make([]uintptr, 64)
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers)])
	for f, more := frames.Next(); more; f, more = frames.Next() {
		if strings.HasSuffix(f.Function, "worker.(*Assign).Pass") {
			return true
		}
	}
	return false
}

func play(t *testing.T, o store.Options) {
	s := &stage{}
	s.clock.Store(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).UnixMicro())
	o.Trace = s.trace
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
		rt.Repeat(m.actions())
		m.settle(rt)
	})
	if s.midsts == 0 && s.hoped > 20 {
		t.Errorf("nothing happened in the midst of any of %d passes", s.hoped)
	}
}

// server is one of those on the database, with what its passes remember.
type server struct {
	*engine.Engine
	passing sync.Mutex // a server's passes do not overlap
	assign  *worker.Assign
	silent  func(context.Context) (bool, error)
}

// model is one play and what its observer remembers.
type model struct {
	*stage
	servers   [2]*server
	ctx       context.Context
	queue     string
	queueID   string
	affinity  ci.RetryAffinity
	stacks    []store.Stack
	tokens    []store.AgentToken
	revoked   map[string]bool
	pipelines []store.Pipeline
	builds    []string
	agents    []string
	ended     map[string]string // how attempts did

	mu       sync.Mutex
	acceptor map[string]string // of attempts
	finished map[string]int    // reports of the end of attempts that were taken
}

func newModel(rt *rapid.T, s *stage) *model {
	m := &model{
		stage: s, ctx: context.Background(), revoked: map[string]bool{}, ended: map[string]string{},
		acceptor: map[string]string{}, finished: map[string]int{},
	}
	m.start(0)
	m.start(1)
	e := m.servers[0]
	m.queue = "q" + strings.ReplaceAll(e.NewID(), "-", "")
	m.affinity = rapid.SampledFrom(ci.RetryAffinities).Draw(rt, "affinity")
	q := get(e.CreateQueue(m.ctx, engine.CreateQueue{
		ClusterID: s.token.ClusterID, Key: m.queue, QueueSettings: engine.QueueSettings{RetryAffinity: &m.affinity},
	}))(rt)
	m.queueID = q.ID
	for i := range 3 {
		pl, err := e.CreatePipeline(m.ctx, engine.CreatePipeline{
			OrganizationID: s.org.ID, Name: fmt.Sprintf("%s %d", m.queue, i), Repository: fmt.Sprintf("/r%d.git", i/2),
			Configuration: `{"steps": [{"command": "c"}]}`,
		})
		m.fine(rt, err)
		m.pipelines = append(m.pipelines, pl)
	}
	for i := range 2 {
		m.newToken(rt)
		k, _, err := e.RegisterStack(m.ctx, s.org.ID, store.Stack{ClusterID: s.token.ClusterID, Key: fmt.Sprint(m.queue, "-", i), Type: "custom", QueueID: m.queueID})
		m.fine(rt, err)
		m.stacks = append(m.stacks, k)
	}
	m.connect(rt)
	m.build(rt)
	return m
}

// start starts a server anew: it remembers nothing.
func (m *model) start(i int) {
	e := engine.New(m.config)
	m.servers[i] = &server{Engine: e, assign: &worker.Assign{Engine: e, Log: m.config.Log}, silent: worker.LoseAgents(e, e.Now())}
}

func (m *model) on(rt *rapid.T) *server { return m.servers[rapid.IntRange(0, 1).Draw(rt, "server")] }

func (m *model) actions() map[string]func(*rapid.T) {
	alone := func(choose func(*rapid.T) deed) func(*rapid.T) {
		return func(rt *rapid.T) { m.fine(rt, choose(rt)()) }
	}
	all := map[string]func(*rapid.T){
		"": m.holds, "build": m.build, "connect": m.connect, "connect 2": m.connect, "connect 3": m.connect, "pass": m.pass, "pass 2": m.pass,
		"killed pass": m.killedPass, "disturbed pass": m.disturbedPass, "storm": m.storm, "finish twice": m.finishTwice, "late": m.late,
		"tick": m.tick, "tick 2": m.tick, "jump": m.jump, "hear": m.hear,
		"restart": func(rt *rapid.T) { m.start(rapid.IntRange(0, 1).Draw(rt, "server")) },
	}
	for name, choose := range m.deeds() {
		all[name] = alone(choose)
	}
	return all
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

func (m *model) tick(rt *rapid.T) {
	m.clock.Add((time.Duration(rapid.IntRange(1, 40).Draw(rt, "seconds")) * time.Second).Microseconds())
}

// jump sets the clock of the machines forward or back. No later than a second after it the servers' timers find out.
func (m *model) jump(rt *rapid.T) {
	minutes := rapid.SampledFrom([]int{-600, -60, -10, -1, 1, 10, 60, 600}).Draw(rt, "minutes")
	m.clock.Add((time.Duration(minutes) * time.Minute).Microseconds())
	for _, s := range m.servers {
		m.passOn(rt, s)
	}
}

// hear lets some agents say that they are there, and a server lose the others: never one that did.
func (m *model) hear(rt *rapid.T) {
	s, seen := m.on(rt), map[string]store.Seen{}
	for _, id := range rapid.SliceOfDistinct(rapid.SampledFrom(m.agents), rapid.ID[string]).Draw(rt, "heard") {
		if get(m.config.Store.Agent(m.ctx, id))(rt).Live() {
			seen[id] = store.Seen{At: s.Now()}
		}
	}
	get(s.AgentsSeen(m.ctx, seen))(rt)
	get(s.silent(m.ctx))(rt)
	for id := range seen {
		if !get(m.config.Store.Agent(m.ctx, id))(rt).Live() {
			rt.Fatalf("agent %s was lost, and was heard of just now", id)
		}
	}
}

var modelRules = []string{"", `"os=linux"`, `"os=linux", "gpu=*"`}

func (m *model) build(rt *rapid.T) {
	s, pl := m.on(rt), rapid.SampledFrom(m.pipelines).Draw(rt, "pipeline")
	document := m.document(rt)
	b := get(s.CreateBuild(m.ctx, engine.CreateBuild{PipelineID: pl.ID, Source: trust.SourceAPI}))(rt)
	first := m.jobsOf(rt, b.ID)[0]
	uploader := m.taken(rt, first)
	// The pipeline's own step uploads the rest, so that its document need not change with every build.
	up := get(s.UploadPipeline(m.ctx, engine.UploadPipeline{JobID: first.ID, UUID: s.NewID(), Pipeline: []byte(document)}))(rt)
	if up.State != "applied" {
		rt.Fatalf("%s: %s", document, up.Message)
	}
	get(s.FinishJob(m.ctx, engine.FinishJob{JobID: first.ID}))(rt)
	m.fine(rt, s.DisconnectAgent(m.ctx, uploader))
	m.builds = append(m.builds, b.ID)
}

// document has steps with all that bears on dispatch.
func (m *model) document(rt *rapid.T) string {
	var steps []string
	for range rapid.IntRange(1, 3).Draw(rt, "steps") {
		rules := rapid.SampledFrom(modelRules).Draw(rt, "rules")
		agents := strings.TrimSuffix(fmt.Sprintf(`"queue=%s", %s`, m.queue, rules), ", ")
		more := rapid.SampledFrom([]string{
			"", `, "retry": {"automatic": [{"exit_status": "*", "limit": 2}], "manual": {"permit_on_passed": true}}`,
			`, "timeout_in_minutes": 1`, fmt.Sprintf(`, "concurrency": 1, "concurrency_group": %q`, m.queue),
		}).Draw(rt, "more")
		steps = append(steps, fmt.Sprintf(`{"command": "c", "agents": [%s], "priority": %d, "parallelism": %d%s}`,
			agents, rapid.IntRange(0, 1).Draw(rt, "priority"), rapid.IntRange(1, 3).Draw(rt, "jobs"), more))
		if rapid.IntRange(0, 4).Draw(rt, "wait") == 0 {
			steps = append(steps, `"wait"`)
		}
	}
	return fmt.Sprintf(`{"steps": [%s]}`, strings.Join(steps, ","))
}

// taken lets an agent of another queue run a job, which may upload then, and returns the agent.
func (m *model) taken(rt *rapid.T, j store.Job) string {
	s := m.servers[0]
	a, _, err := s.RegisterAgent(m.ctx, engine.RegisterAgent{Token: m.token, Name: "uploader-%random", IgnoreInDispatches: true})
	m.fine(rt, err)
	m.fine(rt, s.ConnectAgent(m.ctx, a.ID))
	get(s.AcquireJob(m.ctx, j.ID, a.ID))(rt)
	m.fine(rt, s.StartJob(m.ctx, j.ID, s.Now()))
	return a.ID
}

func (m *model) newToken(rt *rapid.T) {
	t, _, err := m.servers[0].CreateAgentToken(m.ctx, engine.CreateAgentToken{ClusterID: m.token.ClusterID, Description: m.queue})
	m.fine(rt, err)
	m.tokens = append(m.tokens, t)
}

func (m *model) connect(rt *rapid.T) {
	s, tags := m.on(rt), rapid.SampledFrom([][]string{{}, {"os=linux"}, {"os=linux", "gpu=a100"}}).Draw(rt, "tags")
	a, _, err := s.RegisterAgent(m.ctx, engine.RegisterAgent{
		Token: m.tokens[rapid.IntRange(0, 1).Draw(rt, "token")], Name: "a-%random", Tags: append([]string{"queue=" + m.queue}, tags...),
		Priority: rapid.SampledFrom([]string{"", "1"}).Draw(rt, "priority"),
	})
	m.fine(rt, err)
	m.fine(rt, s.ConnectAgent(m.ctx, a.ID))
	m.agents = append(m.agents, a.ID)
}

func (m *model) agent(rt *rapid.T) string { return rapid.SampledFrom(m.agents).Draw(rt, "agent") }

func (m *model) jobsOf(rt *rapid.T, build string) []store.Job {
	return get(m.config.Store.Jobs(m.ctx, build))(rt)
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

// settle lets honest agents finish everything: each build must end.
func (m *model) settle(rt *rapid.T) {
	m.offersEnd(rt)
	s := m.on(rt)
	get(s.ResumeQueue(m.ctx, m.queueID))(rt)
	a, _, err := s.RegisterAgent(m.ctx, engine.RegisterAgent{Token: m.token, Name: "z-%random", Tags: []string{"queue=" + m.queue, "os=linux", "gpu=1"}})
	m.fine(rt, err)
	m.fine(rt, s.ConnectAgent(m.ctx, a.ID))
	for _, id := range m.agents {
		m.fine(rt, s.DisconnectAgent(m.ctx, id))
	}
	m.agents = append(m.agents, a.ID)
	for range 500 {
		get(worker.Admit(s.Engine)(m.ctx))(rt)
		m.pass(rt)
		m.holds(rt)
		j, ok := m.job(rt, ci.JobAssigned)
		if !ok {
			break
		}
		m.fine(rt, m.accepting(s, j.ID, j.AgentID)())
		get(s.FinishJob(m.ctx, engine.FinishJob{JobID: j.ID}))(rt)
	}
	for _, j := range m.jobs(rt) {
		if !j.State.Terminal() {
			rt.Fatalf("job %s is %s at the end", j.ID, j.State)
		}
	}
	for _, id := range m.builds {
		if b := get(m.config.Store.Build(m.ctx, id))(rt); !b.State.Finished() {
			rt.Fatalf("build %s is %s at the end", id, b.State)
		}
	}
}

// offersEnd waits for as long as offers last, and then for as long as reservations do: none stands any more, whatever clocks did.
func (m *model) offersEnd(rt *rapid.T) {
	s := m.on(rt)
	for _, term := range []time.Duration{0, s.OfferTerm + modelSkew, modelReservation} {
		m.clock.Add(term.Microseconds())
		get(worker.ExpireOffers(s.Engine)(m.ctx))(rt)
		for _, j := range m.jobs(rt) {
			if j.State == ci.JobAssigned && term > 0 || j.State == ci.JobReserved && term == modelReservation {
				rt.Fatalf("job %s is %s until %s, and it is %s", j.ID, j.State, j.Lease.Deadline, m.config.Now())
			}
		}
	}
}

// tidy leaves nothing behind that the next play's passes would look at.
func (m *model) tidy() {
	s := m.servers[0]
	for _, id := range m.agents {
		_ = s.DisconnectAgent(m.ctx, id) // it may have left
	}
	for _, b := range m.builds {
		_, _ = s.CancelBuild(m.ctx, b, "tidy") // it may have ended
	}
	for _, k := range m.stacks {
		_ = s.DeregisterStack(m.ctx, k) // the database may have failed; then the next play shows it
	}
}
