package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/store/storetest"
)

// TestRandomBuildsKeepTheirInvariants lets random things happen to random builds, in and out of
// season, and holds every invariant of package ci after each of them. Then it runs, answers and
// admits whatever can be: the build must end.
func TestRandomBuildsKeepTheirInvariants(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite(t))
	w.CancelTogether = 2
	w.pipeline(t, "child", `{"steps": [{"command": "c", "key": "c"}]}`)
	w.pipeline(t, "misled", `{"steps": [{"command": "c", "agents": {"queue": "nowhere"}}]}`)
	rapid.Check(t, func(rt *rapid.T) {
		p := newPlay(rt, w)
		rt.Repeat(map[string]func(*rapid.T){
			"":         p.holds,
			"assign":   p.assign,
			"accept":   p.accept,
			"start":    p.start,
			"finish":   p.finish,
			"run":      p.runOne,
			"run 2":    p.runOne, // more often than the rest, so that builds get somewhere
			"promise":  p.promise,
			"lose":     p.lose,
			"expire":   p.expire,
			"time out": p.timeOut,
			"cancel":   p.cancel,
			"retry":    p.retry,
			"unblock":  p.unblock,
			"upload":   p.upload,
			"trigger":  p.trigger,
			"admit":    p.admit,
			"end":      p.cancelBuild,
			"end rest": p.endRest,
		})
		p.drive()
	})
}

// play is one random build.
type play struct {
	*world
	rt      *rapid.T
	id      string
	group   string
	keys    []string // of the steps it began with
	agents  []string
	uploads int
	ended   map[string]store.Job // as they were when they ended
}

func newPlay(rt *rapid.T, w *world) *play {
	p := &play{world: w, rt: rt, ended: map[string]store.Job{}}
	p.group = "group-" + w.NewID()
	d := &planner{rt: rt, prefix: "k", group: p.group}
	document := d.document(rapid.IntRange(1, 7).Draw(rt, "steps"))
	p.keys = d.keys
	rt.Log(document)
	p.id = w.build(rt, document).ID
	for range 2 {
		p.agents = append(p.agents, w.agent(rt).ID)
	}
	return p
}

// pick draws one of the latest attempts that a condition holds for.
func (p *play) pick(rt *rapid.T, want func(store.Job) bool) (store.Job, bool) {
	jobs := must(p.Store.Jobs(context.Background(), p.id))(rt)
	jobs = slices.DeleteFunc(jobs, func(j store.Job) bool { return !want(j) })
	if len(jobs) == 0 {
		return store.Job{}, false
	}
	j := jobs[rapid.IntRange(0, len(jobs)-1).Draw(rt, "job")]
	s := must(p.Store.Step(context.Background(), j.StepID))(rt)
	rt.Logf("%s/%d attempt %d, %s", s.Key, j.Number, j.Retries, j.State)
	return j, true
}

// any draws a job that an event most often makes sense for, and now and then any other.
func (p *play) any(rt *rapid.T, states ...ci.JobState) (store.Job, bool) {
	if rapid.IntRange(0, 19).Draw(rt, "out of season") == 19 {
		return p.pick(rt, func(store.Job) bool { return true })
	}
	return p.pick(rt, func(j store.Job) bool { return slices.Contains(states, j.State) })
}

// said fails on an error that is not an answer of no.
func said(rt *rapid.T, err error) {
	rt.Helper()
	if _, ok := errors.AsType[*engine.Refused](err); err != nil && !ok && !errors.Is(err, engine.ErrNotYet) {
		rt.Fatalf("a fault: %v", err)
	}
}

func (p *play) assign(rt *rapid.T) {
	if j, ok := p.any(rt, ci.JobScheduled); ok && j.Kind == ci.JobScript {
		_, err := p.AssignJob(context.Background(), j.ID, rapid.SampledFrom(p.agents).Draw(rt, "agent"))
		said(rt, err)
	}
}

func (p *play) accept(rt *rapid.T) {
	j, ok := p.any(rt, ci.JobAssigned, ci.JobAccepted)
	if !ok {
		return
	}
	agents := append([]string{j.AgentID, j.AgentID}, p.agents...)
	agent := agents[rapid.IntRange(0, len(agents)-1).Draw(rt, "agent")]
	if agent == "" {
		return
	}
	_, err := p.AcceptJob(context.Background(), j.ID, agent)
	if said(rt, err); err == nil && (agent != j.AgentID || !j.State.Held()) {
		rt.Errorf("I2: agent %s accepted job %s, which is %s with %s", agent, j.ID, j.State, j.AgentID)
	}
}

// clockOf draws an agent's clock, which need not agree with ours.
func (p *play) clockOf(rt *rapid.T) time.Time {
	return p.Now().Add(time.Duration(rapid.IntRange(-90, 90).Draw(rt, "clock")) * time.Second)
}

func (p *play) start(rt *rapid.T) {
	if j, ok := p.any(rt, ci.JobAccepted, ci.JobRunning); ok {
		said(rt, p.StartJob(context.Background(), j.ID, p.clockOf(rt)))
	}
}

func (p *play) finish(rt *rapid.T) {
	j, ok := p.any(rt, ci.JobAccepted, ci.JobRunning, ci.JobCanceling, ci.JobTimingOut)
	if !ok {
		return
	}
	status := rapid.SampledFrom([]int{0, 0, 0, 1, 2, -1}).Draw(rt, "exit status")
	_, err := p.FinishJob(context.Background(), engine.FinishJob{JobID: j.ID, ExitStatus: status, FinishedAt: p.clockOf(rt)})
	said(rt, err)
}

// runOne takes a scheduled job to running and most often to its end.
func (p *play) runOne(rt *rapid.T) {
	j, ok := p.pick(rt, func(j store.Job) bool { return j.State == ci.JobScheduled && j.Kind == ci.JobScript })
	if !ok || must(p.Store.Build(context.Background(), p.id))(rt).State == ci.BuildCanceling {
		return
	}
	p.world.start(rt, j)
	if status := rapid.SampledFrom([]int{0, 0, 0, 1, 2, -1, 99}).Draw(rt, "exit status"); status < 99 {
		must(p.FinishJob(context.Background(), engine.FinishJob{JobID: j.ID, ExitStatus: status}))(rt)
	}
}

func (p *play) promise(rt *rapid.T) {
	if j, ok := p.any(rt, ci.JobRunning); ok {
		said(rt, p.PromiseFailure(context.Background(), j.ID, rapid.IntRange(1, 2).Draw(rt, "promised"), ""))
	}
}

func (p *play) lose(rt *rapid.T) {
	i := rapid.IntRange(0, len(p.agents)-1).Draw(rt, "agent")
	said(rt, p.LoseAgent(context.Background(), p.agents[i], "silent"))
	p.agents[i] = p.agent(rt).ID
}

func (p *play) expire(rt *rapid.T) {
	p.advance(time.Duration(rapid.IntRange(0, 40).Draw(rt, "seconds")) * time.Second)
	if j, ok := p.any(rt, ci.JobAssigned); ok {
		said(rt, p.ExpireOffer(context.Background(), j.ID))
	}
}

func (p *play) timeOut(rt *rapid.T) {
	j, ok := p.any(rt, ci.JobRunning)
	if !ok {
		return
	}
	said(rt, p.SetJobTimeout(context.Background(), j.ID, "1"))
	p.advance(time.Minute)
	said(rt, p.TimeOutJob(context.Background(), j.ID))
}

func (p *play) cancel(rt *rapid.T) {
	if j, ok := p.pick(rt, func(store.Job) bool { return true }); ok && rapid.IntRange(0, 3).Draw(rt, "cancel") == 3 {
		_, err := p.CancelJob(context.Background(), j.ID, "ana")
		said(rt, err)
	}
}

func (p *play) retry(rt *rapid.T) {
	j, ok := p.any(rt, ci.JobFinished, ci.JobCanceled, ci.JobTimedOut, ci.JobExpired)
	if !ok {
		return
	}
	_, err := p.RetryJob(context.Background(), j.ID, "ana")
	if said(rt, err); err == nil && j.RetriedIn != "" {
		rt.Errorf("job %s was retried twice", j.ID)
	}
}

func (p *play) unblock(rt *rapid.T) {
	if j, ok := p.any(rt, ci.JobBlocked); ok {
		_, err := p.UnblockJob(context.Background(), engine.UnblockJob{JobID: j.ID})
		said(rt, err)
	}
}

func (p *play) upload(rt *rapid.T) {
	j, ok := p.pick(rt, func(j store.Job) bool { return j.State == ci.JobRunning && j.Kind == ci.JobScript })
	if !ok {
		return
	}
	p.uploads++
	d := &planner{rt: rt, group: p.group, prefix: fmt.Sprintf("u%d-", p.uploads)}
	replace := rapid.Bool().Draw(rt, "replace")
	if replace {
		d.prefix = "k" // keys that are free again, or not
	} else {
		d.keys = slices.Clone(p.keys)
	}
	op := engine.UploadPipeline{
		JobID: j.ID, UUID: fmt.Sprint(p.uploads), Replace: replace,
		Pipeline: []byte(d.document(rapid.IntRange(1, 4).Draw(rt, "steps"))),
	}
	first := must(p.UploadPipeline(context.Background(), op))(rt)
	before := must(p.Store.Jobs(context.Background(), j.BuildID))(rt)
	if again := must(p.UploadPipeline(context.Background(), op))(rt); again != first {
		rt.Errorf("the same upload was answered with %+v, then with %+v", first, again)
	}
	if diff := cmp.Diff(before, must(p.Store.Jobs(context.Background(), j.BuildID))(rt)); diff != "" {
		rt.Errorf("the same upload again changed jobs (-before +after):\n%s", diff)
	}
}

func (p *play) trigger(rt *rapid.T) {
	j, ok := p.pick(rt, func(j store.Job) bool { return j.Kind == ci.JobTrigger })
	if !ok {
		return
	}
	if j.State == ci.JobRunning {
		p.runChild(rt, j, rapid.SampledFrom([]int{0, 1}).Draw(rt, "exit status"))
		return
	}
	said(rt, p.TriggerBuild(context.Background(), j.ID))
	if n := len(must(p.Store.CreatingBuilds(context.Background(), 1))(rt)); n > 0 {
		rt.Errorf("a trigger job left a build behind that is not planned")
	}
}

// runChild ends the build of a trigger job and tells the job.
func (p *play) runChild(rt *rapid.T, j store.Job, status int) {
	child := must(p.Store.Build(context.Background(), j.TriggeredBuild))(rt)
	if !child.State.Finished() {
		p.run(rt, p.job(rt, child, "c"), status)
	}
	said(rt, p.SettleTrigger(context.Background(), j.ID))
}

func (p *play) admit(rt *rapid.T) {
	if j, ok := p.any(rt, ci.JobLimited); ok {
		_, err := p.AdmitJob(context.Background(), j.ID)
		said(rt, err)
	}
}

func (p *play) cancelBuild(rt *rapid.T) {
	if rapid.IntRange(0, 19).Draw(rt, "really") == 19 {
		_, err := p.CancelBuild(context.Background(), p.id, "ana")
		said(rt, err)
	}
}

// endRest is the pass over canceled builds, which may be killed anywhere.
func (p *play) endRest(rt *rapid.T) {
	ctx, kill := context.WithCancel(context.Background())
	defer kill()
	left, now := rapid.IntRange(0, 9).Draw(rt, "transactions"), p.Engine.Now
	defer func() { p.Engine.Now = now }()
	p.Engine.Now = func() time.Time {
		if left--; left < 0 {
			kill()
		}
		return now()
	}
	if err := p.CancelRest(ctx, p.id); ctx.Err() == nil {
		said(rt, err)
	}
}

// holds checks every invariant.
func (p *play) holds(rt *rapid.T) {
	b := must(p.Store.Build(context.Background(), p.id))(rt)
	p.check(rt, b)
	attempts := map[string]string{}
	for _, j := range must(p.Store.Jobs(context.Background(), p.id))(rt) {
		p.holdsJob(rt, j)
		place := fmt.Sprintf("%s/%d", j.StepID, j.Number)
		if j.RetriedIn == "" && attempts[place] != "" {
			rt.Errorf("jobs %s and %s are both the latest attempt", j.ID, attempts[place])
		} else if j.RetriedIn == "" {
			attempts[place] = j.ID
		}
	}
	if b.State.Finished() == b.FinishedAt.IsZero() {
		rt.Errorf("I3: the build is %s and ended at %v", b.State, b.FinishedAt)
	}
}

func (p *play) holdsJob(rt *rapid.T, j store.Job) {
	if !j.StartedAt.IsZero() && j.StartedAt.Before(j.RunnableAt) || !j.FinishedAt.IsZero() && j.FinishedAt.Before(j.StartedAt) {
		rt.Errorf("job %s was runnable at %v, started at %v and ended at %v", j.ID, j.RunnableAt, j.StartedAt, j.FinishedAt)
	}
	if j.State.Held() != (j.Lease.State != ci.LeaseNone) && j.Kind == ci.JobScript {
		rt.Errorf("I2: job %s is %s with the lease %q", j.ID, j.State, j.Lease.State)
	}
	if was, ok := p.ended[j.ID]; ok && (was.State != j.State || was.Class() != j.Class() || !was.FinishedAt.Equal(j.FinishedAt)) {
		rt.Errorf("I1: job %s ended as %s, now it is %s", j.ID, was.State, j.State)
	}
	if j.State.Terminal() && !j.State.NotRun() {
		p.ended[j.ID] = j
	}
}

// drive does everything that agents, people and passes can do until nothing is left.
func (p *play) drive() {
	p.cancelRest(p.rt, store.Build{ID: p.id})
	for range 400 {
		j, ok := p.next()
		if !ok {
			break
		}
		p.move(j)
	}
	p.holds(p.rt)
	b := must(p.Store.Build(context.Background(), p.id))(p.rt)
	if !b.State.Finished() {
		p.rt.Errorf("I4: the build is %s and nobody can do anything about it; tally %v", b.State, b.Jobs)
		for _, j := range must(p.Store.OpenJobs(context.Background(), p.id))(p.rt) {
			s := must(p.Store.Step(context.Background(), j.StepID))(p.rt)
			p.rt.Logf("%s: %s, waits for %+v", s.Key, j.State, s.Deps)
		}
	}
}

// next is an open job that something can be done about.
func (p *play) next() (store.Job, bool) {
	jobs := must(p.Store.OpenJobs(context.Background(), p.id))(p.rt)
	jobs = slices.DeleteFunc(jobs, func(j store.Job) bool { return j.Class() == ci.ClassWaiting })
	if len(jobs) == 0 {
		return store.Job{}, false
	}
	return slices.MinFunc(jobs, func(a, b store.Job) int { return order(a) - order(b) }), true
}

// order puts jobs that hold a slot of the group before those that wait for one.
func order(j store.Job) int {
	switch {
	case j.State.Held():
		return 0
	case j.State == ci.JobLimited:
		return 2
	}
	return 1
}

func (p *play) move(j store.Job) {
	ctx, err := context.Background(), error(nil)
	switch {
	case j.State == ci.JobBlocked:
		_, err = p.UnblockJob(ctx, engine.UnblockJob{JobID: j.ID})
	case j.State == ci.JobLimited:
		_, err = p.AdmitJob(ctx, j.ID)
	case j.Kind == ci.JobTrigger && j.State == ci.JobScheduled:
		err = p.TriggerBuild(ctx, j.ID)
	case j.Kind == ci.JobTrigger:
		p.runChild(p.rt, j, 0)
	case j.State == ci.JobScheduled:
		p.world.start(p.rt, j)
	case j.State == ci.JobAssigned:
		_, err = p.AcceptJob(ctx, j.ID, j.AgentID)
	default:
		_, err = p.FinishJob(ctx, engine.FinishJob{JobID: j.ID})
	}
	if err != nil {
		p.rt.Fatalf("job %s (%s): %v", j.ID, j.State, err)
	}
}
