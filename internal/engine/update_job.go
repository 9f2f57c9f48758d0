package engine

import (
	"context"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
)

// maxPromiseReason bounds, in bytes, why a job promises to fail.
const maxPromiseReason = 4 << 10

// PromiseFailure says that a running job will fail with a status; reason says why, to people, and may be "". Promising another status than
// before is a Conflict.
func (e *Engine) PromiseFailure(ctx context.Context, jobID string, status int, reason string) error {
	if len(reason) > maxPromiseReason {
		return refuse(Invalid, "The reason has %d bytes; the limit is %d.", len(reason), maxPromiseReason)
	}
	return e.onJob(ctx, jobID, func(p *progress, j store.Job) error {
		if err := requireScript(j); err != nil {
			return err
		}
		if status == 0 {
			return refuse(Invalid, "The promised exit status must not be 0.")
		}
		if j.State != ci.JobRunning && j.State != ci.JobCanceling && j.State != ci.JobTimingOut {
			return refuse(Invalid, "The job is %s, not running.", j.State)
		}
		if j.Promised != nil && *j.Promised != status {
			return refuse(Conflict, "The job has promised exit status %d already.", *j.Promised)
		}
		spec, err := j.Spec()
		if err != nil {
			return err
		}
		retried, err := p.wouldRetry(j, status)
		if err != nil {
			return err
		}
		_, err = p.apply(j, ci.JobPromise{ExitStatus: status, Reason: strings.TrimSpace(reason), Hard: !retried && !spec.SoftFail.Matches(status)})
		return err
	})
}

// wouldRetry says whether a rule would retry the job if it ended with a status.
func (p *progress) wouldRetry(j store.Job, status int) (bool, error) {
	s, err := p.step(j.StepID)
	if err != nil || s.Spec.Command == nil {
		return false, err
	}
	j.ExitStatus, j.State = &status, ci.JobFinished
	for n, r := range s.Spec.Command.Retry.Automatic {
		if ruleMatches(r, j) {
			used, err := p.tx.CountRetries(p.ctx, j.StepID, j.Number, n)
			return used < r.Limit, err
		}
	}
	return false, nil
}

// SetJobTimeout changes how long a job may run, counted from its start, as long as nobody has asked for its end.
func (e *Engine) SetJobTimeout(ctx context.Context, jobID, minutes string) error {
	n, err := strconv.Atoi(minutes)
	if err != nil || n < 1 {
		return refuse(Invalid, "The timeout %q is not a positive number of minutes.", minutes)
	}
	return e.onJob(ctx, jobID, func(p *progress, j store.Job) error {
		if err := requireScript(j); err != nil {
			return err
		}
		pl, err := p.tx.PipelineByID(ctx, j.PipelineID)
		if err != nil {
			return err
		}
		decided, err := p.settings()
		if err != nil {
			return err
		}
		switch {
		case j.State.Terminal():
			return refuse(Invalid, "The job has ended.")
		case j.State == ci.JobCanceling || j.State == ci.JobTimingOut:
			// By now the time is the one at which a forced cancel ends the job.
			return refuse(Invalid, "The job is being stopped; its time limit can't be changed any more.")
		case effectiveTimeout(n, pl, Settings{}) != n:
			return refuse(Invalid, "The timeout of %d minutes is longer than the pipeline allows.", n)
		case effectiveTimeout(n, pl, decided) != n:
			return refuse(Invalid, "The timeout of %d minutes is longer than the organization allows.", n)
		case j.TimeoutMinutes > 0 && n > j.TimeoutMinutes+60:
			return refuse(Invalid, "The timeout may be raised by at most 60 minutes.")
		}
		started := j.StartedAt
		if !j.TimeoutAt.IsZero() {
			started = j.TimeoutAt.Add(-time.Duration(j.TimeoutMinutes) * time.Minute) // by our clock
		}
		j.TimeoutMinutes = n
		if !started.IsZero() {
			j.TimeoutAt = timeoutAt(j, started)
		}
		return p.save(j)
	})
}

// SetJobPriority changes a job's rank in dispatch.
func (e *Engine) SetJobPriority(ctx context.Context, jobID string, priority int) (store.Job, error) {
	if err := checkPriority(priority); err != nil {
		return store.Job{}, err
	}
	var out store.Job
	err := e.onJob(ctx, jobID, func(p *progress, j store.Job) error {
		if j.State.Terminal() {
			return refuse(Invalid, "The job has ended.")
		}
		j.Priority, out = priority, j
		out.Priority = priority
		return p.save(j)
	})
	return out, err
}

// checkPriority holds a priority to the bounds that a step's has.
func checkPriority(n int) error {
	if n < math.MinInt32 || n > math.MaxInt32 {
		return refuse(Invalid, "Priority must be between %d and %d", math.MinInt32, math.MaxInt32)
	}
	return nil
}

// UpdateStep asks for another value of a step's attribute: its label or whom it notifies (replaced, or appended to), the
// priority of its open jobs, or its parallelism, which may only be raised (clicommand/step_update.go of v3.138.1).
type UpdateStep struct {
	BuildID   string
	Step      string // id or key
	Attribute string
	Value     string
	Append    bool   // to the label, or to notify
	UUID      string // idempotency key; "" for none
}

// UpdateStep changes an attribute of a step. With the uuid of a change that was made it does nothing.
func (e *Engine) UpdateStep(ctx context.Context, op UpdateStep) error {
	if len(op.UUID) > maxLookedUp {
		return refuse(Invalid, "The idempotency_uuid has %d bytes; the limit is %d.", len(op.UUID), maxLookedUp)
	}
	return e.onBuild(ctx, op.BuildID, func(p *progress) error {
		found, err := findStep(ctx, p.tx.Reader, op.BuildID, op.Step)
		if err != nil {
			return err
		}
		s, err := p.step(found.ID)
		if err != nil {
			return err
		}
		if op.UUID != "" {
			if fresh, err := p.tx.InsertStepUpdate(ctx, s.ID, op.UUID); err != nil || !fresh {
				return err
			}
		}
		switch op.Attribute {
		case "label":
			return p.setLabel(s, op.Value, op.Append)
		case "priority":
			return p.setPriority(s, op.Value)
		case "parallelism":
			return p.setParallelism(s, op.Value)
		case "notify":
			return p.setNotify(s, op.Value, op.Append)
		}
		return refuse(Invalid, "The step attribute %q can't be changed; label, notify, priority and parallelism can.", op.Attribute)
	})
}

func (p *progress) setPriority(s *store.Step, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil {
		return refuse(Invalid, "Priority must be an integer")
	}
	if err := checkPriority(n); err != nil {
		return err
	}
	jobs, err := p.tx.JobsOfStep(p.ctx, s.ID)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		if j.State.Terminal() {
			continue
		}
		j.Priority = n
		if err := p.save(j); err != nil {
			return err
		}
	}
	return nil
}

// setNotify changes whom a step notifies of what happens to it from now on.
func (p *progress) setNotify(s *store.Step, value string, add bool) error {
	list, err := pipeline.ReadStepNotify([]byte(value))
	if err != nil {
		return refuse(Invalid, "The step's notify: %s", err)
	}
	for _, raw := range list {
		if n, _ := pipeline.ReadNotification(raw); !slices.Contains(sent, n.Service) {
			return refuse(Invalid, "The step's notify: this server does not send %s notifications.", n.Service)
		}
	}
	if add {
		list = slices.Concat(s.Spec.Notify, list)
	}
	if len(list) > maxStepNotify {
		return refuse(Invalid, "The step would have %d notifications; the limit is %d.", len(list), maxStepNotify)
	}
	p.touch(s)
	s.Spec.Notify = list
	return errors.Join(p.warnUnsent(pipeline.Plan{Notify: list}), p.tx.UpdateStepSpec(p.ctx, *s))
}

// maxStepNotify is how many notifications a job may have given to a step.
const maxStepNotify = 100

// ExpireJob ends a job that no agent took since before a time.
func (e *Engine) ExpireJob(ctx context.Context, jobID string, before time.Time) error {
	return e.onJob(ctx, jobID, func(p *progress, j store.Job) error {
		if !j.CreatedAt.Before(before) || (j.State != ci.JobScheduled && j.State != ci.JobLimited) {
			return nil
		}
		spec, err := j.Spec()
		if err != nil {
			return err
		}
		_, err = p.apply(j, ci.JobExpire{Soft: spec.SoftFail.Any})
		return err
	})
}
