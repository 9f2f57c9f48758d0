package engine

import (
	"context"
	"errors"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/store"
)

// AssignJob offers a scheduled job to an idle agent. It reports false where one of the two is no
// longer free: the caller's picture of them was old, and the next pass has a newer one.
func (e *Engine) AssignJob(ctx context.Context, jobID, agentID string) (bool, error) {
	assigned := false
	err := e.onJob(ctx, jobID, func(p *progress, j store.Job) error {
		assigned = false
		a, err := p.tx.LockAgent(ctx, agentID)
		if err != nil {
			return err
		}
		if j.State != ci.JobScheduled || j.Kind != ci.JobScript || !a.TakesJobs() || a.IgnoreInDispatches || a.JobID != "" {
			return nil
		}
		if err := requireAllow(p.build); err != nil {
			return err
		}
		assigned = true
		return p.offer(j, a)
	})
	if errors.Is(err, store.ErrConflict) {
		return false, nil // the agent's other job came first
	}
	return assigned, err
}

func (p *progress) offer(j store.Job, a store.Agent) error {
	j, err := p.apply(j, ci.JobAssign{Agent: a.ID, Until: p.now.Add(p.e.OfferTerm)})
	if err != nil {
		return err
	}
	a.JobID, a.LastPipelineID = j.ID, j.PipelineID
	p.hint(live.Agent(a.ID), live.Fleet)
	return p.tx.UpdateAgent(p.ctx, a)
}

// ExpireOffer returns a job to the queue that nobody accepted in time.
func (e *Engine) ExpireOffer(ctx context.Context, jobID string) error {
	return e.onJob(ctx, jobID, func(p *progress, j store.Job) error {
		offered := j.State == ci.JobAssigned || j.State == ci.JobReserved
		if !offered || j.Lease.Deadline.After(p.now) {
			return nil
		}
		j, err := p.apply(j, ci.JobOfferExpired{})
		if err != nil {
			return err
		}
		return p.freeAgent(j, false)
	})
}
