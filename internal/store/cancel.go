package store

import "context"

const (
	sqlSetCancels    = `UPDATE builds SET cancels = $2 WHERE id = $1`
	sqlCancelingMore = `SELECT id FROM builds WHERE cancels ORDER BY created_at LIMIT $1`
	sqlJobsToCancel  = `SELECT id FROM jobs WHERE build_id = $1 AND retried_in = '' AND state NOT IN ('canceling',
		'finished', 'canceled', 'timed_out', 'skipped', 'broken', 'expired', 'waiting_failed', 'blocked_failed', 'unblocked_failed')
		ORDER BY CASE WHEN ` + heldJobs + ` THEN 0 WHEN state = 'scheduled' OR state = 'reserved' THEN 1 ELSE 2 END, position, number`
	sqlStepsByID = `SELECT ` + stepColumns + ` FROM steps WHERE id IN ($1)`
)

// CancelingBuilds returns up to limit builds that are being canceled and have jobs that were not told yet, oldest first.
func (r Reader) CancelingBuilds(ctx context.Context, limit int) ([]string, error) {
	return list(ctx, r.q, scanString, sqlCancelingMore, limit)
}

// JobsToCancel returns the jobs of a build that have not ended and are not being canceled: first those that agents hold, then those
// that may be given to one.
func (r Reader) JobsToCancel(ctx context.Context, buildID string) ([]string, error) {
	return list(ctx, r.q, scanString, sqlJobsToCancel, buildID)
}

// StepsByID returns those steps of a list that exist.
func (r Reader) StepsByID(ctx context.Context, ids []string) ([]Step, error) {
	return many(ctx, r.q, scanStep, sqlStepsByID, ids)
}

// SetCancels notes whether a build that is being canceled has jobs that were not told yet.
func (tx *Tx) SetCancels(ctx context.Context, buildID string, more bool) error {
	return exec(ctx, tx.q, sqlSetCancels, buildID, more)
}
