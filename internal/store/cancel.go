package store

import (
	"context"

	"github.com/slipway-ci/slipway/internal/ci"
)

const (
	sqlSetCancels    = `UPDATE builds SET cancels = TRUE WHERE id = $1`
	sqlClearCancels  = `UPDATE builds SET cancels = FALSE WHERE id = $1 AND (state = $2 OR $2 = 'canceling')`
	sqlBuildsToEnd   = `SELECT id FROM builds WHERE cancels ORDER BY created_at LIMIT $1`
	sqlCancelingMore = `SELECT id FROM builds WHERE cancels AND state = 'canceling' ORDER BY created_at LIMIT $1`
	sqlJobsToCancel  = `SELECT id, step_id FROM jobs WHERE build_id = $1 AND retried_in = '' AND state NOT IN ('canceling',
		'finished', 'canceled', 'timed_out', 'skipped', 'broken', 'expired', 'waiting_failed', 'blocked_failed', 'unblocked_failed')
		ORDER BY CASE WHEN ` + heldJobs + ` THEN 0 WHEN state = 'scheduled' OR state = 'reserved' THEN 1 ELSE 2 END, position, number`
	sqlOpenJobsOfStep = `SELECT j.id FROM jobs j JOIN steps s ON s.id = j.step_id WHERE j.build_id = $1 AND (s.id = $2 OR s.group_id = $2)
		AND j.retried_in = '' AND j.state NOT IN
		('finished', 'canceled', 'timed_out', 'skipped', 'broken', 'expired', 'waiting_failed', 'blocked_failed', 'unblocked_failed')
		ORDER BY j.position DESC, j.number DESC`
	sqlStepsByID = `SELECT ` + stepColumns + ` FROM steps WHERE id IN ($1)`
)

// JobToCancel is a job that may have to end.
type JobToCancel struct{ ID, StepID string }

// BuildsToEnd returns up to limit builds that are being canceled or began to fail and have jobs that were not looked at since, oldest first.
func (r Reader) BuildsToEnd(ctx context.Context, limit int) ([]string, error) {
	return list(ctx, r.q, scanString, sqlBuildsToEnd, limit)
}

// CancelingBuilds returns up to limit builds that are being canceled and have jobs that were not told yet, oldest first.
func (r Reader) CancelingBuilds(ctx context.Context, limit int) ([]string, error) {
	return list(ctx, r.q, scanString, sqlCancelingMore, limit)
}

// JobsToCancel returns the jobs of a build that have not ended and are not being canceled: first those that agents hold, then those
// that may be given to one.
func (r Reader) JobsToCancel(ctx context.Context, buildID string) ([]JobToCancel, error) {
	return list(ctx, r.q, func(s scanner) (j JobToCancel, err error) { return j, s.Scan(&j.ID, &j.StepID) }, sqlJobsToCancel, buildID)
}

// OpenJobsOfStep returns the jobs of a step, or of a group's members, that have not ended, the last first: they may wait for earlier ones.
func (r Reader) OpenJobsOfStep(ctx context.Context, buildID, stepID string) ([]string, error) {
	return list(ctx, r.q, scanString, sqlOpenJobsOfStep, buildID, stepID)
}

// StepsByID returns those steps of a list that exist.
func (r Reader) StepsByID(ctx context.Context, ids []string) ([]Step, error) {
	return many(ctx, r.q, scanStep, sqlStepsByID, ids)
}

// SetCancels notes that a build has jobs that may have to end, because it is being canceled or began to fail.
func (tx *Tx) SetCancels(ctx context.Context, buildID string) error {
	return exec(ctx, tx.q, sqlSetCancels, buildID)
}

// ClearCancels notes that the jobs were looked at of a build that was in a state, unless another state asks for another look. One that
// was being canceled asks for none.
func (tx *Tx) ClearCancels(ctx context.Context, buildID string, in ci.BuildState) error {
	_, err := count(ctx, tx.q, sqlClearCancels, buildID, in)
	return err
}
