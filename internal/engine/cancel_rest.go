package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/store"
)

// CancelRest ends the jobs that a build has left which is being canceled, and those that are not worth running in one that began to
// fail: CancelTogether of them in a transaction, so that others wait for none of them long. It may be called again, and go on where it
// was killed: nothing gives a build that is being canceled another open job.
func (e *Engine) CancelRest(ctx context.Context, buildID string) error {
	b, err := e.Store.Build(ctx, buildID)
	if err != nil {
		return missing(err, "No build found")
	}
	jobs, err := e.jobsToCancel(ctx, b)
	if err != nil {
		return err
	}
	failed, first := 0, error(nil)
	for some := range slices.Chunk(jobs, e.CancelTogether) {
		n, err := e.cancelSome(ctx, buildID, some)
		failed, first = failed+n, earlier(first, err)
	}
	if failed > 0 {
		return fmt.Errorf("%d jobs of build %s cannot be ended, the first because: %w", failed, buildID, first)
	}
	return e.Store.Update(ctx, func(tx *store.Tx) error { return tx.ClearCancels(ctx, buildID, b.State) })
}

// jobsToCancel lists the jobs that have to end because of a build's state.
func (e *Engine) jobsToCancel(ctx context.Context, b store.Build) ([]string, error) {
	useless := map[string]bool{} // steps whose jobs end with the first failure
	switch b.State {
	case ci.BuildCanceling:
	case ci.BuildFailing:
		steps, err := e.Store.Steps(ctx, b.ID)
		if err != nil {
			return nil, err
		}
		for _, s := range steps {
			useless[s.ID] = endsWithFailure(s)
		}
	default: // its failure is to be tried again, or all of its jobs have ended
		return nil, nil
	}
	jobs, err := e.Store.JobsToCancel(ctx, b.ID)
	var ids []string
	for _, j := range jobs {
		if b.State == ci.BuildCanceling || useless[j.StepID] {
			ids = append(ids, j.ID)
		}
	}
	return ids, err
}

// cancelSome ends some jobs of a build, and returns how many cannot be ended and why the first of them cannot. Where it fails they are
// tried one by one: one that cannot be ended keeps no other going.
func (e *Engine) cancelSome(ctx context.Context, buildID string, jobs []string) (failed int, first error) {
	err := e.onBuild(ctx, buildID, func(p *progress) error { return p.cancelRest(jobs) })
	if err == nil {
		return 0, nil
	}
	if len(jobs) == 1 || ctx.Err() != nil {
		return len(jobs), err
	}
	for _, id := range jobs {
		n, err := e.cancelSome(ctx, buildID, []string{id})
		failed, first = failed+n, earlier(first, err)
	}
	return failed, first
}

func earlier(first, err error) error {
	if first != nil {
		return first
	}
	return err
}

func (p *progress) cancelRest(ids []string) error {
	state := p.build.State
	if state != ci.BuildCanceling && state != ci.BuildFailing {
		return nil
	}
	p.hint(live.Assign) // to jobs of other builds behind these
	return p.eachOpen(ids, func(j store.Job) error {
		if j.State == ci.JobCanceling {
			return nil
		}
		if state == ci.BuildFailing {
			return p.cancelUseless(j)
		}
		_, err := p.cancelJob(j, p.build.CanceledBy)
		return err
	})
}

// readStepsOf reads the steps of some jobs at once.
func (p *progress) readStepsOf(jobs map[string]store.Job) error {
	var ids []string
	for _, j := range jobs {
		ids = append(ids, j.StepID)
	}
	steps, err := p.tx.StepsByID(p.ctx, ids)
	p.know(steps)
	return err
}
