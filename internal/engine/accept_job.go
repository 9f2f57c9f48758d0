package engine

import (
	"context"
	"errors"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/secret"
	"github.com/slipway-ci/slipway/internal/store"
)

// Accepted is what an agent needs to run a job.
type Accepted struct {
	Organization store.Organization
	Cluster      store.Cluster
	Queue        store.Queue
	Pipeline     store.Pipeline
	Build        store.Build
	Step         store.Step
	Group        *store.Step // the step's group, if any
	Agent        store.Agent
	Job          store.Job
	Token        string // the job's, which is the same whenever its agent accepts it
	Around
}

// Around is what the environment of a job tells of things that other operations change.
type Around struct {
	Teams          []string // slugs of those that have access to the pipeline
	CommitResolved bool     // an agent has told what the commit is and says
}

// Around reads what is around a build now.
func (e *Engine) Around(ctx context.Context, b store.Build) (a Around, err error) {
	if a.Teams, err = e.Store.TeamsWith(ctx, b.PipelineID); err != nil {
		return a, err
	}
	_, err = e.Store.MetaData(ctx, b.ID, CommitKey)
	a.CommitResolved = err == nil
	if errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	return a, err
}

// CommitKey is the meta-data key under which agents tell of a build's commit
// (agent v3.138.1, internal/job/checkout.go).
const CommitKey = "buildkite:git:commit"

// AcceptJob gives an agent the job that it was offered. The agent that holds the job may accept
// again, since an answer can be lost, and gets the same token: of an acceptance that a network held back and the one
// that was sent in its place, either may be heard last. Anybody else is refused.
func (e *Engine) AcceptJob(ctx context.Context, jobID, agentID string) (Accepted, error) {
	var out Accepted
	err := e.onJobWith(ctx, jobID, store.AgentToo{ID: agentID}, func(p *progress, j store.Job) error {
		var err error
		out, err = p.accept(j, agentID)
		return err
	})
	if err == nil {
		err = e.surround(ctx, &out)
	}
	return out, err
}

// surround adds what lies around a job that was accepted. It does not depend on the job's state, so it is not read in the transaction,
// where others wait; should it fail, the agent accepts again.
func (e *Engine) surround(ctx context.Context, a *Accepted) (err error) {
	s, err := e.Store.Surroundings(ctx, a.Build, a.Agent.QueueID, CommitKey)
	if err != nil {
		return err
	}
	a.Pipeline, a.Organization, a.Cluster, a.Queue = s.Pipeline, s.Organization, s.Cluster, s.Queue
	a.Around = Around{Teams: s.Teams, CommitResolved: s.Said}
	return nil
}

func (p *progress) accept(j store.Job, agentID string) (Accepted, error) {
	a, err := p.agent(agentID)
	if err != nil {
		return Accepted{}, err
	}
	if !a.Live() {
		return Accepted{}, refuse(Conflict, "The agent's session has ended.")
	}
	if err := requireAllow(p.build); err != nil {
		return Accepted{}, err
	}
	if p.build.State == ci.BuildCanceling && j.State == ci.JobAssigned {
		return Accepted{}, refuse(Conflict, "The build is being canceled.")
	}
	token := p.e.Sealer.Token("bkaj_", j.ID, a.ID)
	j.TokenHash = secret.HashToken(token)
	if j, err = p.apply(j, ci.JobAccept{Agent: agentID}); err != nil {
		return Accepted{}, acceptRefusal(j, err)
	}
	return p.accepted(j, a, token)
}

func acceptRefusal(j store.Job, err error) error {
	if _, ok := errors.AsType[*ci.TransitionError](err); ok {
		return refuse(Conflict, "The job is %s and cannot be accepted by this agent.", j.State)
	}
	return err
}

// accepted gathers what the agent needs of the build.
func (p *progress) accepted(j store.Job, a store.Agent, token string) (out Accepted, err error) {
	out = Accepted{Build: p.build, Agent: a, Job: j, Token: token}
	s, err := p.step(j.StepID)
	if err != nil {
		return out, err
	}
	out.Step = *s
	if s.GroupID != "" {
		out.Group, err = p.step(s.GroupID)
	}
	return out, err
}

// AcquireJob gives an agent a particular job that nobody holds, whatever its tags. A job that
// still waits for dependencies is a *NotYet.
func (e *Engine) AcquireJob(ctx context.Context, jobID, agentID string) (Accepted, error) {
	var out Accepted
	err := e.onJob(ctx, jobID, func(p *progress, j store.Job) error {
		if err := requireScript(j); err != nil {
			return err
		}
		if j.Class() == ci.ClassWaiting || j.State == ci.JobLimited {
			return ErrNotYet
		}
		var err error
		if j.State == ci.JobScheduled || j.State == ci.JobReserved {
			if j, err = p.takeScheduled(j, agentID); err != nil {
				return err
			}
		}
		out, err = p.accept(j, agentID)
		return err
	})
	if err == nil {
		err = e.surround(ctx, &out)
	}
	return out, err
}

// ErrNotYet says that a job that an agent asks for is still waiting.
var ErrNotYet = errors.New("the job waits for its dependencies")

func (p *progress) takeScheduled(j store.Job, agentID string) (store.Job, error) {
	a, err := p.tx.LockAgent(p.ctx, agentID)
	if err != nil {
		return j, err
	}
	pl, err := p.pipeline()
	if err != nil {
		return j, err
	}
	if a.JobID != "" || a.ClusterID != pl.ClusterID {
		return j, refuse(Conflict, "The agent cannot take the job.")
	}
	if p.build.State == ci.BuildCanceling {
		return j, refuse(Conflict, "The build is being canceled.")
	}
	if err := p.offer(j, a, "asked for this job"); err != nil {
		return j, err
	}
	return p.job(j.ID)
}

// StartJob says that an agent began a job. Saying it twice changes nothing, also when the job is being stopped: its agent
// learns that from the job's state.
func (e *Engine) StartJob(ctx context.Context, jobID string, at time.Time) error {
	return e.onJob(ctx, jobID, func(p *progress, j store.Job) error {
		if err := requireScript(j); err != nil {
			return err
		}
		if j.State == ci.JobCanceling || j.State == ci.JobTimingOut {
			if !j.StartedAt.IsZero() {
				return nil
			}
			return refuse(Conflict, "The job was canceled before it started.")
		}
		if j.State != ci.JobRunning {
			// By our clock: by one that is behind, the job's time might be over when it starts.
			j.TimeoutAt = timeoutAt(j, p.now)
		}
		_, err := p.apply(j, ci.JobStart{At: notAfter(at, p.now)})
		return transition(err)
	})
}

// requireScript refuses what an agent says of a job that does not run on agents.
func requireScript(j store.Job) error {
	if j.Kind != ci.JobScript {
		return refuse(Invalid, "The job does not run on an agent.")
	}
	return nil
}

// TimeOutJob asks the agent of a job that has run too long to stop it, and ends one that was canceled by force.
func (e *Engine) TimeOutJob(ctx context.Context, jobID string) error {
	return e.onJob(ctx, jobID, func(p *progress, j store.Job) error {
		if j.TimeoutAt.IsZero() || j.TimeoutAt.After(p.now) {
			return nil
		}
		if j.State == ci.JobCanceling {
			return p.abandon(j)
		}
		if j.State != ci.JobRunning {
			return nil
		}
		_, err := p.apply(j, ci.JobTimeOut{})
		return err
	})
}
