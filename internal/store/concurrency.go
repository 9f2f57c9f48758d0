package store

import (
	"context"

	"github.com/slipway-ci/slipway/internal/ci"
)

// GroupID is what an organization's concurrency group is known by.
func GroupID(organizationID, name string) string {
	if name == "" {
		return ""
	}
	return organizationID + "/" + name
}

// The line of a group are its limited jobs, and those that hold a place while they still wait for
// their dependencies; the column queued says which. Its order is that of the builds, then that of the
// pipeline. No statement below reads more of the line than its limit; a sum with 0 keeps SQLite from
// choosing another index.
const (
	lineOrder = `scheduled_at, build_id, position, number`
	holdsSlot = `group_id <> '' AND (state = 'scheduled' OR state = 'reserved' OR state = 'assigned' OR state = 'accepted'
		OR state = 'running' OR state = 'canceling' OR state = 'timing_out')`
	waitsEagerly   = `queued AND concurrency_method = 'eager' AND state = 'limited'`
	sqlTouchGroup  = `INSERT INTO concurrency_groups (id, due) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET due = concurrency_groups.due + excluded.due`
	sqlLockGroup   = `SELECT due FROM concurrency_groups WHERE id = $1`
	sqlDueGroups   = `SELECT id, due FROM concurrency_groups WHERE due > 0 LIMIT $1`
	sqlClearGroup  = `UPDATE concurrency_groups SET due = 0 WHERE id = $1 AND due = $2`
	sqlHolders     = `SELECT COUNT(*) FROM jobs WHERE group_id = $1 AND ` + holdsSlot
	sqlWidestLimit = `SELECT concurrency FROM jobs WHERE group_id = $1 AND queued ORDER BY concurrency DESC LIMIT 1`
	sqlLine        = `SELECT id, state, concurrency_method FROM jobs WHERE group_id = $1 AND queued ORDER BY ` + lineOrder + ` LIMIT $2`
	sqlEagerLine   = `SELECT id, state, concurrency_method FROM jobs WHERE group_id = $1 AND ` + waitsEagerly + ` AND concurrency + 0 > $2
		ORDER BY 0 - priority, ` + lineOrder + ` LIMIT $3`
	sqlAhead = `SELECT 1 FROM jobs WHERE group_id = $1 AND queued AND (` + lineOrder + `) < ($2, $3, $4, $5)
		AND (state = 'limited' OR build_id <> $3 AND concurrency_method <> 'eager') LIMIT $6`
	sqlEagerAhead = `SELECT 1 FROM jobs WHERE group_id = $1 AND ` + waitsEagerly + ` AND concurrency + 0 > $2
		AND (0 - priority, ` + lineOrder + `) < ($3, $4, $5, $6, $7) LIMIT $8`
	sqlLineBefore = `SELECT b.id, b.number, p.slug FROM jobs j JOIN builds b ON b.id = j.build_id JOIN pipelines p ON p.id = b.pipeline_id
		WHERE j.group_id = $1 AND j.queued AND (j.scheduled_at, j.build_id, j.position, j.number) < ($2, $3, $4, $5)
		AND (j.state = 'limited' OR j.build_id <> $3 AND j.concurrency_method <> 'eager')
		ORDER BY j.scheduled_at, j.build_id, j.position, j.number LIMIT $6`
	sqlUnqueued = `SELECT ` + jobColumns + ` FROM jobs WHERE build_id = $1 AND group_id <> '' AND state = 'waiting' AND NOT queued`
)

// InLine is a job in the line of a group.
type InLine struct {
	ID     string
	State  ci.JobState // limited, or waiting
	Method string      // ordered or eager
}

func scanInLine(s scanner) (v InLine, err error) { return v, s.Scan(&v.ID, &v.State, &v.Method) }

// GroupDue is a group in which something changed that may let a job go.
type GroupDue struct {
	ID  string
	Due int64
}

// DueGroups returns up to limit groups that are to be looked at.
func (r Reader) DueGroups(ctx context.Context, limit int) ([]GroupDue, error) {
	return list(ctx, r.q, func(s scanner) (v GroupDue, err error) { return v, s.Scan(&v.ID, &v.Due) }, sqlDueGroups, limit)
}

// Holders returns how many jobs hold a slot of a group.
func (r Reader) Holders(ctx context.Context, groupID string) (int, error) {
	n, err := one(ctx, r.q, scanInt, sqlHolders, groupID)
	return int(n), err
}

// WidestLimit returns the largest limit of the jobs in a group's line, ErrNotFound if it is empty.
func (r Reader) WidestLimit(ctx context.Context, groupID string) (int, error) {
	n, err := one(ctx, r.q, scanInt, sqlWidestLimit, groupID)
	return int(n), err
}

// Line returns the first jobs in a group's line.
func (r Reader) Line(ctx context.Context, groupID string, limit int) ([]InLine, error) {
	return list(ctx, r.q, scanInLine, sqlLine, groupID, limit)
}

// EagerLine returns the first of the limited jobs of a group that heed priority and not the line,
// among those whose limit is above the number of slots that are held.
func (r Reader) EagerLine(ctx context.Context, groupID string, held, limit int) ([]InLine, error) {
	return list(ctx, r.q, scanInLine, sqlEagerLine, groupID, held, limit)
}

// Ahead counts the jobs before one in its group's line, up to limit. Jobs of its own build that still
// wait do not count: they may wait for this one.
func (r Reader) Ahead(ctx context.Context, j Job, limit int) (int, error) {
	n, err := list(ctx, r.q, scanInt, sqlAhead, j.GroupID, micros(j.ScheduledAt), j.BuildID, j.Position, j.Number, limit)
	return len(n), err
}

// LineBefore names the builds of the first jobs that Ahead counts; one that has several comes several
// times.
func (r Reader) LineBefore(ctx context.Context, j Job, limit int) ([]BuildRef, error) {
	return list(ctx, r.q, scanBuildRef, sqlLineBefore, j.GroupID, micros(j.ScheduledAt), j.BuildID, j.Position, j.Number, limit)
}

func scanBuildRef(s scanner) (b BuildRef, err error) { return b, s.Scan(&b.ID, &b.Number, &b.Pipeline) }

// EagerAhead counts the limited jobs that come before an eager one, up to limit, when held slots of
// its group are taken.
func (r Reader) EagerAhead(ctx context.Context, j Job, held, limit int) (int, error) {
	n, err := list(ctx, r.q, scanInt, sqlEagerAhead, j.GroupID, held, int64(-j.Priority), micros(j.ScheduledAt), j.BuildID, j.Position,
		j.Number, limit)
	return len(n), err
}

// UnqueuedJobs returns the jobs of a build that have a group, wait for their dependencies and hold no
// place in the group's line.
func (r Reader) UnqueuedJobs(ctx context.Context, buildID string) ([]Job, error) {
	return list(ctx, r.q, scanJob, sqlUnqueued, buildID)
}

// TouchGroup locks a group until the transaction ends, and counts what changed in it that may let a
// job go; 0 for nothing. Groups are locked after builds and agents, in the order of their ids.
func (tx *Tx) TouchGroup(ctx context.Context, groupID string, due int) error {
	if tx.shared {
		return errNotShared // operations lock groups in one order, which several of them in a row do not keep
	}
	if err := exec(ctx, tx.q, sqlTouchGroup, groupID, due); err != nil {
		return err
	}
	_, err := one(ctx, tx.q, scanInt, sqlLockGroup+tx.forUpdate, groupID)
	return err
}

// ClearGroup says that a group was looked at, unless something changed in it meanwhile.
func (tx *Tx) ClearGroup(ctx context.Context, g GroupDue) error {
	_, err := count(ctx, tx.q, sqlClearGroup, g.ID, g.Due)
	return err
}
