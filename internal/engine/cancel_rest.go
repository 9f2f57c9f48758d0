package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/store"
)

// CancelRest ends the jobs that a build has left which is being canceled, CancelTogether of them in a transaction, so that others
// wait for none of them long. It may be called again, and go on where it was killed: nothing gives such a build another open job.
func (e *Engine) CancelRest(ctx context.Context, buildID string) error {
	jobs, err := e.Store.JobsToCancel(ctx, buildID)
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
	return e.Store.Update(ctx, func(tx *store.Tx) error { return tx.SetCancels(ctx, buildID, false) })
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
	if p.build.State != ci.BuildCanceling {
		return nil
	}
	jobs, err := p.tx.JobsByID(p.ctx, ids)
	if err != nil {
		return err
	}
	if err := p.readStepsOf(jobs); err != nil {
		return err
	}
	p.hint(live.Assign) // to jobs of other builds behind these
	for _, id := range ids {
		j, ok := jobs[id]
		if !ok || j.State.Terminal() || j.State == ci.JobCanceling {
			continue
		}
		if _, err := p.cancelJob(j, p.build.CanceledBy); err != nil {
			return err
		}
	}
	return nil
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
