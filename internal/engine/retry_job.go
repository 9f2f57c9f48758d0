package engine

import (
	"context"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
)

// RetryJob runs a job again at a person's wish: a new attempt takes its place.
func (e *Engine) RetryJob(ctx context.Context, jobID, by string) (store.Job, error) {
	var job store.Job
	err := e.onJob(ctx, jobID, func(p *progress, j store.Job) error {
		job = j
		if err := p.mayRetry(j); err != nil {
			return err
		}
		var err error
		job, err = p.retry(j, "manual", by, -1)
		return err
	})
	return job, err
}

func (p *progress) mayRetry(j store.Job) error {
	switch {
	case p.build.State == ci.BuildCanceled || p.build.State == ci.BuildCanceling:
		return refuse(Invalid, "Jobs from canceled builds cannot be retried")
	case j.RetriedIn != "":
		return refuse(Invalid, "The job has been retried already, as %s.", j.RetriedIn)
	case j.Kind != ci.JobScript && j.Kind != ci.JobTrigger:
		return refuse(Invalid, "This job type cannot be retried")
	}
	if err := requireAllow(p.build); err != nil {
		return err
	}
	s, err := p.step(j.StepID)
	if err != nil {
		return err
	}
	if err := StepLetsRetry(s, j.Class()); err != nil {
		return err
	}
	return p.checkSize(1)
}

// StepLetsRetry refuses what a step does not let people do with a job of a class: Invalid where no
// step of this kind would, Forbidden with the step's reason where its author decided.
func StepLetsRetry(s *store.Step, c ci.Class) error {
	manual := manualRetry(s)
	switch {
	case c == ci.ClassPassed && manual.PermitOnPassed:
	case c == ci.ClassPassed, c != ci.ClassSoftFailed && c != ci.ClassHardFailed && c != ci.ClassErrored && c != ci.ClassCanceled:
		return refuse(Invalid, "Only failed, timed out or canceled jobs can be retried")
	}
	if !manual.Allowed {
		return refuse(Forbidden, "%s", firstNonEmpty(manual.Reason, "The step does not allow its jobs to be retried."))
	}
	return nil
}

// retry makes the next attempt of an ended job. It has what its predecessor had: the same
// configuration, place in its step and rank in dispatch.
func (p *progress) retry(j store.Job, kind, by string, rule int) (store.Job, error) {
	next := j
	next.Job = ci.Job{ID: p.e.NewID(), Kind: j.Kind, State: ci.JobPending, CreatedAt: p.now, ScheduledAt: j.ScheduledAt}
	next.AgentID, next.AgentReason, next.ReservedBy, next.TokenHash, next.TimeoutAt = "", "", "", "", time.Time{}
	next.RetryOf, next.RetryType, next.RetryRule, next.Retries = j.ID, kind, rule, j.Retries+1
	next.RetriedIn, next.RetriedBy, next.TriggeredBuild = "", "", ""
	next.ChunksFailed, next.LogSize, next.Queued = 0, 0, false
	var err error
	if next.Job, err = next.Apply(ci.JobDepsMet{Limited: j.ConcurrencyGroup != ""}, p.now); err != nil {
		return next, err
	}
	p.lineMoved(ci.JobPending, &next)
	old := j.Class()
	j.RetriedIn, j.RetriedBy = next.ID, by
	if err := p.save(j); err != nil {
		return next, err
	}
	if err := p.tx.InsertJob(p.ctx, next); err != nil {
		return next, err
	}
	if err := p.jobMoved(next); err != nil {
		return next, err
	}
	return next, p.count(j.StepID, old, next.Class())
}

// manualRetry says what a step lets people do. Trigger steps let them retry.
func manualRetry(s *store.Step) pipeline.ManualRetry {
	if s.Spec.Command == nil {
		return pipeline.ManualRetry{Allowed: true}
	}
	return s.Spec.Command.Retry.Manual
}
