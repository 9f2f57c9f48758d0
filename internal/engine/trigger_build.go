package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

// maxTriggerDepth is how many builds a chain of trigger steps may have
// (https://buildkite.com/docs/platform/limits).
const maxTriggerDepth = 10

// TriggerBuild makes the build of a scheduled trigger job. With async set on its step the job
// passes at once, otherwise it runs until SettleTrigger. A job that has its build already is left
// alone.
func (e *Engine) TriggerBuild(ctx context.Context, jobID string) error {
	return e.drafting(ctx, func(d *draft) error {
		return e.onJob(ctx, jobID, func(p *progress, j store.Job) error {
			if j.State != ci.JobScheduled || j.Kind != ci.JobTrigger || p.build.State == ci.BuildCanceling {
				return nil
			}
			s, err := p.step(j.StepID)
			if err != nil {
				return err
			}
			p.draft = d
			return p.trigger(j, *s.Spec.Trigger)
		})
	})
}

func (p *progress) trigger(j store.Job, t pipeline.TriggerStep) error {
	if err := requireAllow(p.build); err != nil {
		return err
	}
	child, err := p.childBuild(j, t)
	if refused, ok := errors.AsType[*Refused](err); ok {
		return p.failTrigger(j, refused.inFull())
	}
	if err != nil {
		return err
	}
	j.TriggeredBuild = child.ID
	if j, err = p.apply(j, ci.JobStart{At: p.now}); err != nil || !t.Async {
		return err
	}
	_, err = p.apply(j, ci.JobFinish{At: p.now})
	return err
}

// failTrigger ends a trigger job whose build cannot be made.
func (p *progress) failTrigger(j store.Job, reason string) error {
	spec, err := j.Spec()
	if err != nil {
		return err
	}
	j.Reason = reason
	if j, err = p.apply(j, ci.JobStart{At: p.now}); err != nil {
		return err
	}
	_, err = p.apply(j, ci.JobFinish{ExitStatus: 1, Soft: spec.SoftFail.Matches(1), At: p.now})
	return err
}

func (p *progress) childBuild(j store.Job, t pipeline.TriggerStep) (store.Build, error) {
	target, err := p.tx.Pipeline(p.ctx, p.build.OrganizationID, t.Pipeline)
	if err != nil {
		return store.Build{}, missing(err, "The trigger step names the pipeline %q, which does not exist.", t.Pipeline)
	}
	if err := p.checkDepth(); err != nil {
		return store.Build{}, err
	}
	pl, err := p.tx.PipelineByID(p.ctx, p.build.PipelineID)
	if err != nil {
		return store.Build{}, err
	}
	spec, err := j.Spec()
	if err != nil {
		return store.Build{}, err
	}
	return p.e.createBuild(p.ctx, p.tx, p.hint, CreateBuild{
		PipelineID: target.ID, Source: trust.SourceTrigger, Commit: t.Commit, Branch: t.Branch,
		Message: firstNonEmpty(t.Message, spec.Label), Author: p.build.Detail.Author, CreatorID: p.build.CreatorID,
		Env: childEnv(t, spec), MetaData: t.MetaData,
		TriggeredFrom: &store.BuildRef{ID: p.build.ID, Number: p.build.Number, Pipeline: pl.Slug, JobID: j.ID},
		draft:         p.draft,
	})
}

func childEnv(t pipeline.TriggerStep, spec pipeline.Job) map[string]string {
	env := maps.Clone(t.Env)
	if spec.ParallelTotal == 0 {
		return env
	}
	if env == nil {
		env = map[string]string{}
	}
	env["BUILDKITE_PARALLEL_JOB"] = strconv.Itoa(spec.ParallelIndex)
	env["BUILDKITE_PARALLEL_JOB_COUNT"] = strconv.Itoa(spec.ParallelTotal)
	return env
}

func (p *progress) checkDepth() error {
	from := p.build.Detail.TriggeredFrom
	for depth := 1; from != nil; depth++ {
		if depth >= maxTriggerDepth {
			return refuse(Invalid, "Builds that trigger builds may be %d deep.", maxTriggerDepth)
		}
		b, err := p.tx.Build(p.ctx, from.ID)
		if err != nil {
			return err
		}
		from = b.Detail.TriggeredFrom
	}
	return nil
}

// CancelTriggered ends the build of a trigger job that was canceled. The job stays canceling until that build
// has ended, and with it the build of the job.
func (e *Engine) CancelTriggered(ctx context.Context, j store.Job) error {
	_, err := e.CancelBuild(ctx, j.TriggeredBuild, j.CanceledBy)
	if refused, ok := errors.AsType[*Refused](err); ok && refused.Why == Conflict {
		return nil // it ended meanwhile
	}
	return err
}

// SettleTrigger ends a trigger job whose build has ended. It is looked at whenever a build that
// was triggered ends, and by a pass.
func (e *Engine) SettleTrigger(ctx context.Context, jobID string) error {
	return e.onJob(ctx, jobID, func(p *progress, j store.Job) error {
		if j.Kind != ci.JobTrigger || j.State != ci.JobRunning && j.State != ci.JobCanceling {
			return nil
		}
		child, err := p.tx.Build(ctx, j.TriggeredBuild)
		if err != nil || !child.State.Finished() {
			return err
		}
		if by := child.Detail.SupersededBy; by != nil && j.State == ci.JobRunning && child.State != ci.BuildPassed && child.State != ci.BuildFailed {
			p.hint(live.Child)
			return p.skipJob(j, fmt.Sprintf("its build #%d was ended for the newer build #%d", child.Number, by.Number))
		}
		spec, err := j.Spec()
		if err != nil {
			return err
		}
		status := 1
		if child.State == ci.BuildPassed || child.State == ci.BuildNotRun {
			status = 0
		}
		p.hint(live.Child)
		_, err = p.apply(j, ci.JobFinish{ExitStatus: status, Soft: spec.SoftFail.Matches(status), At: p.now})
		return err
	})
}
