package engine

import (
	"context"
	"errors"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/store"
)

// ConnectAgent says that a registered agent is ready for work. Connecting twice changes nothing.
func (e *Engine) ConnectAgent(ctx context.Context, id string) error {
	return e.onAgent(ctx, id, ci.AgentConnect{})
}

// PauseAgent keeps work from an agent, until a time if it is not zero.
func (e *Engine) PauseAgent(ctx context.Context, id, note string, until time.Time) error {
	if err := e.onAgent(ctx, id, ci.AgentPause{Note: note, Until: until}); err != nil {
		return err
	}
	return e.withdraw(ctx, id)
}

// withdraw returns the job to the queue that an agent was offered and will not be told of any more.
// Where it does not get this far, the offer runs out.
func (e *Engine) withdraw(ctx context.Context, agentID string) error {
	job, err := e.Store.JobOfAgent(ctx, agentID)
	if errors.Is(err, store.ErrNotFound) || err == nil && job.State != ci.JobAssigned {
		return nil
	}
	if err != nil {
		return err
	}
	return e.onJob(ctx, job.ID, func(p *progress, j store.Job) error {
		if j.State != ci.JobAssigned || j.AgentID != agentID {
			return nil
		}
		return p.requeue(j, ci.JobOfferExpired{})
	})
}

// ResumeAgent ends an agent's pause.
func (e *Engine) ResumeAgent(ctx context.Context, id string) error {
	return e.onAgent(ctx, id, ci.AgentResume{})
}

// StopAgent asks an agent to leave after its job; with force its job is canceled.
func (e *Engine) StopAgent(ctx context.Context, id string, force bool, by ci.Canceler) error {
	if err := e.onAgent(ctx, id, ci.AgentStop{Force: force}); err != nil {
		return err
	}
	if err := e.withdraw(ctx, id); err != nil || !force {
		return err
	}
	job, err := e.Store.JobOfAgent(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = e.CancelJob(ctx, job.ID, by)
	if r, ok := errors.AsType[*Refused](err); ok && r.Why == Conflict {
		return nil // it ended meanwhile
	}
	return err
}

func (e *Engine) onAgent(ctx context.Context, id string, ev ci.AgentEvent) error {
	return e.update(ctx, func(tx *store.Tx, hint func(...string)) error {
		a, err := tx.LockAgent(ctx, id)
		if err != nil {
			return missing(err, "No agent found")
		}
		next, err := a.Apply(ev, e.Now())
		if err != nil {
			return agentRefusal(ev, err)
		}
		if a.ConnectedAt.IsZero() && next.State == ci.AgentConnected {
			a.ConnectedAt = e.Now()
		}
		a.Agent, a.ChangedAt = next, e.Now()
		hint(live.Agent(id), live.Fleet, live.Assign)
		return tx.UpdateAgent(ctx, a)
	})
}

// agentRefusal says no in the service's words.
func agentRefusal(ev ci.AgentEvent, err error) error {
	switch ev.(type) {
	case ci.AgentPause:
		return refuse(Invalid, "Only connected agents that are not paused may be paused")
	case ci.AgentResume:
		return refuse(Invalid, "Agent is not paused")
	case ci.AgentStop:
		return refuse(Invalid, "Can only stop connected agents")
	}
	return transition(err)
}

// AgentsSeen records when agents, and the jobs that they run, were last heard of. Heartbeats are gathered in
// memory and written in batches: losing the newest is harmless, an agent is only thought silent for longer. What it returns could not be
// written without waiting for what else happens to those agents, which locks them in other orders; it is to be tried again.
func (e *Engine) AgentsSeen(ctx context.Context, seen map[string]store.Seen) (left map[string]store.Seen, err error) {
	err = e.Store.Update(ctx, func(tx *store.Tx) error {
		var err error
		left, err = tx.AgentsSeen(ctx, seen)
		return err
	})
	return left, err
}

// DisconnectAgent ends an agent's session at its own wish. A job that it still holds is lost.
func (e *Engine) DisconnectAgent(ctx context.Context, id string) error {
	return e.endAgent(ctx, id, ci.AgentDisconnect{}, "The agent disconnected while it held the job.")
}

// LoseAgent ends the session of an agent that is gone; reason says how that is known.
func (e *Engine) LoseAgent(ctx context.Context, id, reason string) error {
	return e.endAgent(ctx, id, ci.AgentLose{}, reason)
}

// endAgent ends a session and the job it holds. An agent that has said good-bye or whose token was revoked is
// not left to a pass because it is given a job at the same moment.
func (e *Engine) endAgent(ctx context.Context, id string, ev ci.AgentEvent, reason string) (err error) {
	for range 3 {
		err = e.tryEndAgent(ctx, id, ev, reason)
		if r, ok := errors.AsType[*Refused](err); !ok || r.Why != Conflict {
			return err
		}
	}
	return err
}

// tryEndAgent ends a session and its job together: between the two the agent would be free, and be given the
// job again.
func (e *Engine) tryEndAgent(ctx context.Context, id string, ev ci.AgentEvent, reason string) error {
	job, err := e.Store.JobOfAgent(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return e.update(ctx, func(tx *store.Tx, hint func(...string)) error { return e.endSession(ctx, tx, hint, id, ev) })
	}
	if err != nil {
		return err
	}
	return e.onJob(ctx, job.ID, func(p *progress, j store.Job) error {
		if err := p.lose(j, id, reason); err != nil {
			return err
		}
		return e.endSession(ctx, p.tx, p.hint, id, ev)
	})
}

// endSession ends the session of an agent that holds no job.
func (e *Engine) endSession(ctx context.Context, tx *store.Tx, hint func(...string), id string, ev ci.AgentEvent) error {
	a, err := tx.LockAgent(ctx, id)
	if err != nil {
		return missing(err, "No agent found")
	}
	if !a.Live() {
		return nil
	}
	if a.JobID != "" {
		return refuse(Conflict, "The agent was given a job meanwhile.")
	}
	if a.Agent, err = a.Apply(ev, e.Now()); err != nil {
		return err
	}
	a.ChangedAt = e.Now()
	hint(live.Agent(id), live.Fleet)
	return tx.UpdateAgent(ctx, a)
}

// LoseJob ends a job that the agent which holds it has given up, although it lives. A job that the agent does
// not hold is left alone.
func (e *Engine) LoseJob(ctx context.Context, jobID, agentID, reason string) error {
	return e.onJob(ctx, jobID, func(p *progress, j store.Job) error { return p.lose(j, agentID, reason) })
}

// lose ends a job whose agent is gone, or returns it to the queue if the agent had not accepted it.
// It is retried only by rule. A job that the agent does not hold is left alone.
func (p *progress) lose(j store.Job, agentID, reason string) error {
	if !j.State.Held() || j.AgentID != agentID {
		return nil
	}
	if j.State == ci.JobAssigned {
		return p.requeue(j, ci.JobLose{Reason: reason})
	}
	spec, err := j.Spec()
	if err != nil {
		return err
	}
	if j, err = p.apply(j, ci.JobLose{Reason: reason, Soft: spec.SoftFail.Matches(-1)}); err != nil {
		return err
	}
	if err := errors.Join(p.freeAgent(j, false), p.endLog(j, LogEnding)); err != nil {
		return err
	}
	return p.retryByRule(j)
}
