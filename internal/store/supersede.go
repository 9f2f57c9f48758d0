package store

import "context"

// What a build makes unnecessary: older builds of its branch.
const (
	SupersedeQueued  = 1 // those that have not begun
	SupersedeRunning = 2 // those that have, too
)

// Superseder is a build whose older ones are to be ended.
type Superseder struct {
	BuildID string
	Due     int // SupersedeQueued or SupersedeRunning
}

const (
	sqlSetSupersedes   = `UPDATE builds SET supersedes = $2 WHERE id = $1`
	sqlClearSupersedes = `UPDATE builds SET supersedes = 0 WHERE id = $1 AND supersedes = $2`
	sqlSuperseders     = `SELECT id, supersedes FROM builds WHERE supersedes > 0 ORDER BY created_at LIMIT $1`
	sqlOlderOpenBuilds = `SELECT id FROM builds WHERE pipeline_id = $1 AND branch = $2 AND number < $3
		AND ` + skippableBuilds + ` ORDER BY number`
)

// Superseders returns up to limit builds whose older ones are to be ended, oldest first.
func (r Reader) Superseders(ctx context.Context, limit int) ([]Superseder, error) {
	return list(ctx, r.q, func(s scanner) (v Superseder, err error) { return v, s.Scan(&v.BuildID, &v.Due) }, sqlSuperseders, limit)
}

// OlderOpenBuilds returns the ids of the older builds of a build's pipeline and branch that have not
// ended and are not being canceled, oldest first.
func (r Reader) OlderOpenBuilds(ctx context.Context, b Build) ([]string, error) {
	return list(ctx, r.q, scanString, sqlOlderOpenBuilds, b.PipelineID, b.Branch, b.Number)
}

// SetSupersedes notes what of older builds a build makes unnecessary.
func (tx *Tx) SetSupersedes(ctx context.Context, buildID string, due int) error {
	return exec(ctx, tx.q, sqlSetSupersedes, buildID, due)
}

// ClearSupersedes takes the note back, unless there is another one by now.
func (tx *Tx) ClearSupersedes(ctx context.Context, s Superseder) error {
	_, err := count(ctx, tx.q, sqlClearSupersedes, s.BuildID, s.Due)
	return err
}
