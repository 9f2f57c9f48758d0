package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/store"
)

// CancelStep asks for the end of every open job of a step.
type CancelStep struct {
	BuildID string
	Step    string // id or key; of a group's its members
	By      ci.Canceler
	// Force ends what agents run after Grace whether or not they have told of it.
	Force bool
	Grace time.Duration
}

const maxGrace = time.Hour

// CancelStep ends every open job of a step, CancelTogether of them in a transaction: where it fails some may have ended, and asking
// again ends the rest. Agents have their own grace period for a job that does not heed their signal; one that a forced cancel ends first is
// told when it next asks about the job.
func (e *Engine) CancelStep(ctx context.Context, op CancelStep) error {
	if op.Grace < 0 || op.Grace > maxGrace {
		return refuse(Invalid, "The grace period must be between 0 and %d seconds.", int(maxGrace.Seconds()))
	}
	s, err := findStep(ctx, e.Store.Reader, op.BuildID, op.Step)
	if err != nil {
		return err
	}
	told := map[string]bool{}
	for {
		jobs, err := e.Store.OpenJobsOfStep(ctx, op.BuildID, s.ID)
		jobs = slices.DeleteFunc(jobs, func(id string) bool { return told[id] }) // else retries that began meanwhile
		if err != nil || len(jobs) == 0 {
			return err
		}
		for some := range slices.Chunk(jobs, e.CancelTogether) {
			if err := e.onBuild(ctx, op.BuildID, func(p *progress) error { return p.cancelOfStep(some, op) }); err != nil {
				return err
			}
		}
		for _, id := range jobs {
			told[id] = true
		}
	}
}

func (p *progress) cancelOfStep(ids []string, op CancelStep) error {
	return p.eachOpen(ids, func(j store.Job) error {
		j, err := p.cancelJob(j, op.By)
		if err != nil || !op.Force || j.State.Terminal() {
			return err
		}
		j.TimeoutAt = p.now.Add(op.Grace)
		return p.save(j)
	})
}

// eachOpen runs fn for those jobs of a list that have not ended, and reads them and their steps at once.
func (p *progress) eachOpen(ids []string, fn func(store.Job) error) error {
	jobs, err := p.tx.JobsByID(p.ctx, ids)
	if err != nil {
		return err
	}
	if err := p.readStepsOf(jobs); err != nil {
		return err
	}
	for _, id := range ids {
		if j, ok := jobs[id]; ok && !j.State.Terminal() {
			if err := fn(j); err != nil {
				return err
			}
		}
	}
	return nil
}

// findStep finds a step of a build by id or key.
func findStep(ctx context.Context, r store.Reader, buildID, name string) (store.Step, error) {
	s, err := r.StepByKey(ctx, buildID, name)
	if errors.Is(err, store.ErrNotFound) {
		s, err = r.Step(ctx, name)
	}
	if err != nil || s.BuildID != buildID {
		return s, missing(errors.Join(err, notIn(s.BuildID, buildID)), "No step found")
	}
	return s, nil
}

func notIn(got, want string) error {
	if got != want {
		return store.ErrNotFound
	}
	return nil
}
