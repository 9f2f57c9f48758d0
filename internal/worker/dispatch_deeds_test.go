package worker_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"pgregory.net/rapid"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/worker"
)

// deed is something that somebody does, chosen beforehand: it happens alone, in the midst of a pass or at the same time as others.
type deed func() error

const (
	// modelReservation is the longest that stacks reserve jobs for.
	modelReservation = time.Hour
	// modelSkew is how far clocks of servers may be apart.
	modelSkew = 10 * time.Second
)

func nothing() error { return nil }

// deeds are all that agents, stacks, people and servers do besides assigning.
func (m *model) deeds() map[string]func(*rapid.T) deed {
	return map[string]func(*rapid.T) deed{
		"accept": m.accept, "accept 2": m.accept, "acquire": m.acquire, "start": m.startJob, "finish": m.finish, "finish 2": m.finish,
		"pause": m.pause, "stop": m.stop, "leave": m.leave, "lose": m.lose, "give up": m.giveUp, "revoke": m.revoke,
		"cancel": m.cancel, "cancel job": m.cancelJob, "retry": m.retry, "rank": m.rank,
		"reserve": m.reserve, "decline": m.decline, "pause queue": m.pauseQueue, "resume queue": m.resumeQueue,
		"expire": m.expire, "admit": m.admit, "time out": m.timeOut, "other pass": m.otherPass,
	}
}

func (m *model) deed(rt *rapid.T) deed {
	all := m.deeds()
	name := rapid.SampledFrom(sorted(all)).Draw(rt, "deed")
	return all[name](rt)
}

// with is a deed on a job in one of some states, if there is any.
func (m *model) with(rt *rapid.T, do func(s *server, j store.Job) error, states ...ci.JobState) deed {
	j, ok := m.job(rt, states...)
	if !ok {
		return nothing
	}
	s := m.on(rt)
	return func() error { return do(s, j) }
}

func (m *model) accept(rt *rapid.T) deed {
	j, ok := m.job(rt, ci.JobAssigned, ci.JobAccepted)
	if !ok {
		return nothing
	}
	by := rapid.SampledFrom([]string{j.AgentID, j.AgentID, m.agent(rt)}).Draw(rt, "by")
	once := m.accepting(m.on(rt), j.ID, by)
	if rapid.Bool().Draw(rt, "again") { // an answer may be lost
		return func() error { return errors.Join(once(), once()) }
	}
	return once
}

func (m *model) accepting(s *server, job, by string) deed {
	return func() error {
		_, err := s.AcceptJob(m.ctx, job, by)
		return m.accepted(job, by, err)
	}
}

func (m *model) acquire(rt *rapid.T) deed {
	by := m.agent(rt)
	return m.with(rt, func(s *server, j store.Job) error {
		_, err := s.AcquireJob(m.ctx, j.ID, by)
		return m.accepted(j.ID, by, err)
	}, ci.JobScheduled, ci.JobReserved, ci.JobAssigned, ci.JobAccepted, ci.JobLimited)
}

// accepted takes note of an acceptance: an attempt has one, whatever becomes of it.
func (m *model) accepted(job, by string, err error) error {
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if was := m.acceptor[job]; was != "" && was != by {
		return fmt.Errorf("job %s was accepted by %s and by %s", job, was, by)
	}
	m.acceptor[job] = by
	return nil
}

func (m *model) startJob(rt *rapid.T) deed {
	return m.with(rt, func(s *server, j store.Job) error { return s.StartJob(m.ctx, j.ID, s.Now()) }, ci.JobAccepted, ci.JobRunning, ci.JobCanceling)
}

func (m *model) finish(rt *rapid.T) deed {
	status := rapid.IntRange(0, 1).Draw(rt, "status")
	return m.with(rt, func(s *server, j store.Job) error { return m.reported(s, j, status) },
		ci.JobAssigned, ci.JobAccepted, ci.JobRunning, ci.JobCanceling, ci.JobTimingOut)
}

// reported reports the end of a job, which is taken once.
func (m *model) reported(s *server, j store.Job, status int) error {
	if _, err := s.FinishJob(m.ctx, engine.FinishJob{JobID: j.ID, ExitStatus: status}); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.finished[j.ID]++; m.finished[j.ID] > 1 {
		return fmt.Errorf("two reports of the end of job %s were taken", j.ID)
	}
	return nil
}

// finishTwice repeats the report of an end: the first must be taken.
func (m *model) finishTwice(rt *rapid.T) {
	j, ok := m.job(rt, ci.JobAccepted, ci.JobRunning, ci.JobCanceling, ci.JobTimingOut)
	if !ok {
		return
	}
	s, status := m.on(rt), rapid.IntRange(0, 1).Draw(rt, "status")
	if err := m.reported(s, j, status); err != nil {
		rt.Fatalf("the end of a job that was %s: %v", j.State, err)
	}
	m.refused(rt, m.reported(s, j, 1-status), j, "be finished again")
}

// late is what comes after an attempt's end, or before it was accepted: nobody listens.
func (m *model) late(rt *rapid.T) {
	s := m.on(rt)
	j, ok := m.job(rt, ci.JobFinished, ci.JobCanceled, ci.JobTimedOut, ci.JobScheduled, ci.JobReserved, ci.JobAssigned)
	if !ok {
		return
	}
	m.refused(rt, m.reported(s, j, 0), j, "be finished")
	m.refused(rt, s.StartJob(m.ctx, j.ID, s.Now()), j, "be started")
	m.refused(rt, s.PromiseFailure(m.ctx, j.ID, 1, ""), j, "promise a failure")
	if j.State != ci.JobAssigned {
		by := m.agent(rt)
		_, err := s.AcceptJob(m.ctx, j.ID, by)
		m.refused(rt, err, j, "be accepted")
		m.fine(rt, s.LoseJob(m.ctx, j.ID, by, "late"))
	}
}

func (m *model) refused(rt *rapid.T, err error, j store.Job, what string) {
	if err == nil {
		rt.Fatalf("a %s job could %s", j.State, what)
	}
	m.fine(rt, err)
}

// pause pauses an agent, or ends its pause.
func (m *model) pause(rt *rapid.T) deed {
	s, id, term := m.on(rt), m.agent(rt), rapid.IntRange(0, 1).Draw(rt, "minutes")
	return func() error {
		var until time.Time
		if term > 0 {
			until = s.Now().Add(time.Duration(term) * time.Minute)
		}
		if err := s.PauseAgent(m.ctx, id, "", until); err == nil {
			return nil
		}
		return s.ResumeAgent(m.ctx, id)
	}
}

func (m *model) stop(rt *rapid.T) deed {
	s, id, force := m.on(rt), m.agent(rt), rapid.Bool().Draw(rt, "force")
	return func() error { return s.StopAgent(m.ctx, id, force, "test") }
}

func (m *model) leave(rt *rapid.T) deed {
	s, id := m.on(rt), m.agent(rt)
	return func() error { return s.DisconnectAgent(m.ctx, id) }
}

func (m *model) lose(rt *rapid.T) deed {
	s, id := m.on(rt), m.agent(rt)
	return func() error { return s.LoseAgent(m.ctx, id, "silent") }
}

// giveUp ends a job that its agent forgot.
func (m *model) giveUp(rt *rapid.T) deed {
	by := m.agent(rt)
	return m.with(rt, func(s *server, j store.Job) error {
		return errors.Join(s.LoseJob(m.ctx, j.ID, by, "forgotten"), s.LoseJob(m.ctx, j.ID, j.AgentID, "forgotten"))
	}, ci.JobAssigned, ci.JobAccepted, ci.JobRunning, ci.JobCanceling, ci.JobTimingOut)
}

// revoke revokes a token with which agents registered. There is another for those that come.
func (m *model) revoke(rt *rapid.T) deed {
	if rapid.IntRange(0, 3).Draw(rt, "revoke") > 0 { // it ends half of the fleet
		return nothing
	}
	s, t := m.on(rt), m.tokens[0]
	m.tokens = m.tokens[1:]
	m.newToken(rt)
	return func() error {
		err := s.RevokeAgentToken(m.ctx, t.ID)
		if err == nil {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.revoked[t.ID] = true
		}
		return err
	}
}

func (m *model) cancel(rt *rapid.T) deed {
	s, b := m.on(rt), rapid.SampledFrom(m.builds).Draw(rt, "build")
	return func() error { _, err := s.CancelBuild(m.ctx, b, "test"); return err }
}

func (m *model) cancelJob(rt *rapid.T) deed {
	return m.with(rt, func(s *server, j store.Job) error { _, err := s.CancelJob(m.ctx, j.ID, "test"); return err }, ci.JobStates...)
}

func (m *model) retry(rt *rapid.T) deed {
	return m.with(rt, func(s *server, j store.Job) error { _, err := s.RetryJob(m.ctx, j.ID, "user"); return err },
		ci.JobFinished, ci.JobCanceled, ci.JobTimedOut)
}

func (m *model) rank(rt *rapid.T) deed {
	n := rapid.IntRange(0, 2).Draw(rt, "priority")
	return m.with(rt, func(s *server, j store.Job) error { _, err := s.SetJobPriority(m.ctx, j.ID, n); return err }, ci.JobScheduled, ci.JobLimited)
}

// reserve lets a stack ask for jobs in any state.
func (m *model) reserve(rt *rapid.T) deed {
	s, k := m.on(rt), rapid.SampledFrom(m.stacks).Draw(rt, "stack")
	term := rapid.SampledFrom([]time.Duration{time.Second, modelReservation}).Draw(rt, "term")
	var ids []string
	for range rapid.IntRange(1, 3).Draw(rt, "jobs") {
		if j, ok := m.job(rt, ci.JobScheduled, ci.JobReserved, ci.JobAssigned, ci.JobRunning, ci.JobFinished); ok {
			ids = append(ids, j.ID)
		}
	}
	return func() error { _, err := s.ReserveJobs(m.ctx, k, ids, term); return err }
}

func (m *model) decline(rt *rapid.T) deed {
	k := rapid.SampledFrom(m.stacks).Draw(rt, "stack")
	return m.with(rt, func(s *server, j store.Job) error { return s.DeclineJob(m.ctx, k, j.ID, -1, "no machine") },
		ci.JobScheduled, ci.JobReserved, ci.JobAssigned, ci.JobFinished)
}

func (m *model) pauseQueue(rt *rapid.T) deed {
	s := m.on(rt)
	return func() error { _, err := s.PauseQueue(m.ctx, m.queueID, "", "test"); return err }
}

func (m *model) resumeQueue(rt *rapid.T) deed {
	s := m.on(rt)
	return func() error { _, err := s.ResumeQueue(m.ctx, m.queueID); return err }
}

func (m *model) expire(rt *rapid.T) deed { return m.passing(m.on(rt), worker.ExpireOffers) }

func (m *model) admit(rt *rapid.T) deed { return m.passing(m.on(rt), worker.Admit) }

func (m *model) timeOut(rt *rapid.T) deed {
	s := m.on(rt)
	return func() error {
		return errors.Join(m.passing(s, worker.TimeOut)(), m.passing(s, worker.ResumeAgents)())
	}
}

func (m *model) passing(s *server, of func(*engine.Engine) func(context.Context) (bool, error)) deed {
	return func() error { _, err := of(s.Engine)(m.ctx); return err }
}

// otherPass assigns, unless the server does already.
func (m *model) otherPass(rt *rapid.T) deed {
	s := m.on(rt)
	return func() error {
		if !s.passing.TryLock() {
			return nil
		}
		defer s.passing.Unlock()
		_, err := s.assign.Pass(m.ctx)
		return err
	}
}

// storm lets several deeds happen at the same time.
func (m *model) storm(rt *rapid.T) {
	deeds := make([]deed, rapid.IntRange(2, 4).Draw(rt, "deeds"))
	errs := make([]error, len(deeds))
	for i := range deeds {
		deeds[i] = m.deed(rt)
	}
	var all sync.WaitGroup
	for i, d := range deeds {
		all.Go(func() { errs[i] = d() })
	}
	all.Wait()
	for _, err := range errs {
		m.fine(rt, err)
	}
}

// disturbedPass lets something happen while a pass looks around. What the pass left is found by the next.
func (m *model) disturbedPass(rt *rapid.T) {
	s, d := m.on(rt), m.deed(rt)
	var err error
	m.midst = func() { err = d() }
	m.hoped++
	m.until.Store(int64(rapid.IntRange(1, 12).Draw(rt, "reads")))
	_, failed := m.assignOn(s, m.ctx)
	m.until.Store(0)
	m.fine(rt, failed)
	m.fine(rt, err)
	m.holds(rt)
	m.passOn(rt, s)
}

// killedPass ends a pass in its midst: what it did stays, and nothing else does.
func (m *model) killedPass(rt *rapid.T) {
	ctx, cancel := context.WithCancel(m.ctx)
	defer cancel()
	m.kill = cancel
	m.breaks.Store(int64(rapid.IntRange(1, 40).Draw(rt, "statements")))
	_, err := m.assignOn(m.on(rt), ctx)
	m.breaks.Store(0)
	if err != nil && ctx.Err() == nil {
		rt.Fatalf("a fault: %v", err)
	}
}

func (m *model) assignOn(s *server, ctx context.Context) (bool, error) {
	s.passing.Lock()
	defer s.passing.Unlock()
	return s.assign.Pass(ctx)
}
