package engine

import (
	"context"
	"errors"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/store"
)

// CancelBuild ends a build: what has not started ends at once, agents are told to stop what they
// run. A build with very many jobs is canceling at once, and CancelRest ends them some at a time. Canceling a build that is being
// canceled changes nothing.
func (e *Engine) CancelBuild(ctx context.Context, buildID string, by ci.Canceler) (store.Build, error) {
	var out store.Build
	err := e.onBuild(ctx, buildID, func(p *progress) error {
		if p.build.State.Finished() {
			return refuse(Conflict, "Build can't be canceled because it's already finished.")
		}
		if p.build.State == ci.BuildCanceling {
			return nil
		}
		return p.cancelBuild(by)
	})
	if err != nil {
		return out, err
	}
	return e.Store.Build(ctx, buildID)
}

// cancelBuild ends a build that is open and not being canceled.
func (p *progress) cancelBuild(by ci.Canceler) error {
	p.build.CanceledBy = by
	if p.tally.Open() > p.e.CancelTogether {
		p.hint(live.Cancel)
		return errors.Join(p.buildEvent(ci.BuildCancelRequested{}), p.tx.SetCancels(p.ctx, p.build.ID))
	}
	if err := p.readSteps(); err != nil {
		return err
	}
	if err := p.cancelOpenJobs(by, everyJob); err != nil {
		return err
	}
	if err := p.settle(); err != nil {
		return err
	}
	p.build.Jobs = p.tally
	return p.buildEvent(ci.BuildCancelRequested{})
}

// readSteps reads all steps of the build at once, for what reaches most of them.
func (p *progress) readSteps() error {
	steps, err := p.tx.Steps(p.ctx, p.build.ID)
	p.know(steps)
	return err
}

// know remembers steps as they are in the database, but those that it knows already.
func (p *progress) know(steps []store.Step) {
	for _, s := range steps {
		if _, ok := p.steps[s.ID]; !ok {
			p.steps[s.ID], p.stored[s.ID] = &s, s
		}
	}
}

func everyJob(store.Job) (bool, error) { return true, nil }

// cancelOpenJobs ends the open jobs that are meant.
func (p *progress) cancelOpenJobs(by ci.Canceler, meant func(store.Job) (bool, error)) error {
	jobs, err := p.tx.OpenJobs(p.ctx, p.build.ID)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		wanted, err := meant(j)
		if err != nil {
			return err
		}
		if !wanted || j.State.Terminal() {
			continue
		}
		if _, err := p.cancelJob(j, by); err != nil {
			return err
		}
	}
	return nil
}

// CancelJob ends one job. The build fails, unless the job's step may fail.
func (e *Engine) CancelJob(ctx context.Context, jobID string, by ci.Canceler) (store.Job, error) {
	var job store.Job
	err := e.onJob(ctx, jobID, func(p *progress, j store.Job) error {
		job = j
		if j.State.Terminal() {
			return refuse(Conflict, "The job can't be canceled because it's already finished.")
		}
		var err error
		job, err = p.cancelJob(j, by)
		return err
	})
	return job, err
}

// abandon ends a job that is canceled by force and whose agent did not end it in time.
func (p *progress) abandon(j store.Job) error {
	j.Reason = "Canceled by force: its agent did not end it in time."
	j, err := p.apply(j, ci.JobFinish{ExitStatus: -1, SignalReason: "cancel", At: p.now})
	if err != nil {
		return err
	}
	p.hint(live.Agent(j.AgentID))
	return p.freeAgent(j, false)
}

// cancelJob ends a job. One that an agent was only offered is taken back from it.
func (p *progress) cancelJob(j store.Job, by ci.Canceler) (store.Job, error) {
	spec, err := j.Spec()
	if err != nil {
		return j, err
	}
	held := j.State.Held()
	if j.State != ci.JobCanceling {
		j.TimeoutAt = time.Time{} // of its running; what is canceled may take its time, unless by force
	}
	j, err = p.apply(j, ci.JobCancel{By: by, Soft: spec.SoftFail.Any})
	if err != nil || !held {
		return j, err
	}
	p.hint(live.Agent(j.AgentID))
	if j.State.Terminal() {
		return j, p.freeAgent(j, false)
	}
	return j, nil
}
