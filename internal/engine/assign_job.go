package engine

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/store"
)

// AssignJob offers a scheduled job to an idle agent. It reports false where one of the two is no
// longer free: the caller's picture of them was old, and the next pass has a newer one.
func (e *Engine) AssignJob(ctx context.Context, jobID, agentID string) (bool, error) {
	return e.assignOne(ctx, Offer{JobID: jobID, AgentID: agentID})
}

func (e *Engine) assignOne(ctx context.Context, o Offer) (bool, error) {
	assigned := false
	err := e.onJobWith(ctx, o.JobID, store.AgentToo{ID: o.AgentID, Lock: true}, func(p *progress, j store.Job) error {
		a, err := p.lockAgent(o.AgentID)
		if err != nil {
			return err
		}
		assigned, err = p.assign(j, a, o.Reason)
		return err
	})
	if errors.Is(err, store.ErrConflict) {
		return false, nil // the agent's other job came first
	}
	return assigned, err
}

// Offer pairs a job with the agent that it is to be offered to.
type Offer struct {
	JobID, AgentID string
	Reason         string // why this agent; it reads on after "this agent"
}

// AssignJobs does what AssignJob does with several jobs of one build, in one transaction as long as no agent was given another job
// meanwhile. Where the power is cut before anything else is written, there may have been no offer, as when one expires: an agent that
// was told of it is refused. It returns the offers that were made: of several with one job or one agent only the first can be.
func (e *Engine) AssignJobs(ctx context.Context, buildID string, offers []Offer) ([]Offer, error) {
	offers = slices.SortedFunc(slices.Values(offers), func(a, b Offer) int { return cmp.Compare(a.AgentID, b.AgentID) })
	var made []Offer
	err := e.hinted(func(tx *store.Tx, hint func(...string)) (err error) {
		made, err = e.assignAll(ctx, tx, hint, buildID, offers)
		return err
	}, func(fn func(*store.Tx) error) error { return e.Store.UpdateBuildSoon(ctx, buildID, fn) })
	if errors.Is(err, store.ErrConflict) {
		return e.assignEach(ctx, offers)
	}
	for _, o := range made {
		e.Store.JobIsOf(o.JobID, buildID)
	}
	return made, err
}

// assignAll makes those of some offers that can be made.
func (e *Engine) assignAll(ctx context.Context, tx *store.Tx, hint func(...string), buildID string, offers []Offer) (made []Offer, err error) {
	var jobIDs, agentIDs []string
	for _, o := range offers {
		jobIDs, agentIDs = append(jobIDs, o.JobID), append(agentIDs, o.AgentID)
	}
	read, err := tx.LockOffers(ctx, buildID, jobIDs, agentIDs)
	if err != nil {
		return nil, err
	}
	p := e.progress(ctx, tx, hint, read.Build)
	p.of = read.Pipeline
	err = p.run(func(p *progress) error {
		made, err = p.makeOffers(offers, read)
		return err
	})
	return made, err
}

func (p *progress) makeOffers(offers []Offer, read store.Offers) (made []Offer, err error) {
	for i, o := range offers {
		if slices.ContainsFunc(made, func(m Offer) bool { return m.JobID == o.JobID || m.AgentID == o.AgentID }) {
			continue // what was read of it is no longer so
		}
		p.jobs[o.JobID] = read.Jobs[i]
		assigned, err := p.assign(read.Jobs[i], read.Agents[i], o.Reason)
		if err != nil {
			return nil, err
		}
		if assigned {
			made = append(made, o)
		}
	}
	return made, nil
}

func (e *Engine) assignEach(ctx context.Context, offers []Offer) (made []Offer, err error) {
	for _, o := range offers {
		assigned, err := e.assignOne(ctx, o)
		if err != nil {
			return made, err
		}
		if assigned {
			made = append(made, o)
		}
	}
	return made, nil
}

// assign offers a job to an agent if both are free.
func (p *progress) assign(j store.Job, a store.Agent, reason string) (bool, error) {
	if j.State != ci.JobScheduled || j.Kind != ci.JobScript || !a.TakesJobs() || a.IgnoreInDispatches || a.JobID != "" ||
		p.build.State == ci.BuildCanceling {
		return false, nil
	}
	if err := requireAllow(p.build); err != nil {
		return false, err
	}
	return true, p.offer(j, a, reason)
}

// offer offers a job to an agent, which counts as warm for its pipeline and repository from now on.
func (p *progress) offer(j store.Job, a store.Agent, reason string) error {
	pl, err := p.pipeline()
	if err != nil {
		return err
	}
	j.AgentReason = reason
	j, err = p.apply(j, ci.JobAssign{Agent: a.ID, Until: p.now.Add(p.e.OfferTerm)})
	if err != nil {
		return err
	}
	was := a
	a.JobID, a.LastPipelineID, a.LastRepository, a.ChangedAt = j.ID, j.PipelineID, pl.Repository, p.now
	a.JobSeen = time.Time{}
	p.hint(live.Agent(a.ID), live.Fleet)
	return p.tx.ChangeAgent(p.ctx, was, a)
}

// pipeline is the build's.
func (p *progress) pipeline() (store.Pipeline, error) {
	if p.of.ID == "" {
		var err error
		if p.of, err = p.tx.PipelineByID(p.ctx, p.build.PipelineID); err != nil {
			return p.of, err
		}
	}
	return p.of, nil
}

// clocksDiffer is how far apart the clocks of servers on one database may be (docs/adr/0030-every-server-runs-every-pass.md).
const clocksDiffer = 10 * time.Second

// ExpiredOffers returns up to limit jobs that nobody accepted in time. One that would last for longer than any is made for counts
// too: the clock was set back since, and it would stand for as much longer.
func (e *Engine) ExpiredOffers(ctx context.Context, limit int) ([]store.Job, error) {
	now := e.Now()
	return e.Store.ExpiredOffers(ctx, now, now.Add(e.OfferTerm+clocksDiffer), now.Add(maxReservation+clocksDiffer), limit)
}

func (p *progress) expired(j store.Job) bool {
	left, longest := j.Lease.Deadline.Sub(p.now), maxReservation
	switch j.State {
	case ci.JobAssigned:
		longest = p.e.OfferTerm
	case ci.JobReserved:
	default:
		return false
	}
	return left <= 0 || left > longest+clocksDiffer
}

// ExpireOffer returns a job to the queue that nobody accepted in time.
func (e *Engine) ExpireOffer(ctx context.Context, jobID string) error {
	return e.onJob(ctx, jobID, func(p *progress, j store.Job) error {
		if !p.expired(j) {
			return nil
		}
		j.ReservedBy = ""
		return p.requeue(j, ci.JobOfferExpired{})
	})
}

// requeue returns a job to the queue whose agent had not accepted it. Nothing of the offer stays with the job.
func (p *progress) requeue(j store.Job, ev ci.JobEvent) error {
	offered := j
	j.AgentID, j.AgentReason = "", ""
	if _, err := p.apply(j, ev); err != nil {
		return err
	}
	return p.freeAgent(offered, false)
}
