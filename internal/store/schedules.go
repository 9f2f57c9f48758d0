package store

import (
	"context"
	"time"
)

// Schedule makes builds of a pipeline at certain times.
type Schedule struct {
	ID            string
	PipelineID    string
	Label         string
	Cronline      string
	Message       string
	Commit        string
	Branch        string // "": the pipeline's default branch
	Env           map[string]string
	Enabled       bool
	NextAt        time.Time // zero: never
	FailedAt      time.Time
	FailedMessage string // why its latest build could not be made
	CreatedBy     string // user id, or ""
	CreatedAt     time.Time
}

const (
	scheduleColumns = `id, pipeline_id, label, cronline, message, commit_sha, branch, env, enabled, next_at, failed_at,
		failed_message, created_by, created_at`
	sqlSchedule       = `SELECT ` + scheduleColumns + ` FROM schedules WHERE id = $1`
	sqlSchedules      = `SELECT ` + scheduleColumns + ` FROM schedules WHERE pipeline_id = $1 ORDER BY created_at, id LIMIT $2`
	sqlDueSchedules   = `SELECT ` + scheduleColumns + ` FROM schedules WHERE enabled AND next_at > 0 AND next_at <= $1 ORDER BY next_at LIMIT $2`
	sqlInsertSchedule = `INSERT INTO schedules (` + scheduleColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`
	sqlUpdateSchedule = `UPDATE schedules SET label = $2, cronline = $3, message = $4, commit_sha = $5, branch = $6, env = $7,
		enabled = $8, next_at = $9, failed_at = $10, failed_message = $11 WHERE id = $1`
	sqlDeleteSchedule = `DELETE FROM schedules WHERE id = $1`
)

func scanSchedule(s scanner) (v Schedule, err error) {
	return v, s.Scan(&v.ID, &v.PipelineID, &v.Label, &v.Cronline, &v.Message, &v.Commit, &v.Branch, document{&v.Env}, &v.Enabled,
		instant{&v.NextAt}, instant{&v.FailedAt}, &v.FailedMessage, &v.CreatedBy, instant{&v.CreatedAt})
}

// Schedule returns the schedule with an id.
func (r Reader) Schedule(ctx context.Context, id string) (Schedule, error) {
	return one(ctx, r.q, scanSchedule, sqlSchedule, id)
}

// Schedules returns up to limit schedules of a pipeline, oldest first.
func (r Reader) Schedules(ctx context.Context, pipelineID string, limit int) ([]Schedule, error) {
	return list(ctx, r.q, scanSchedule, sqlSchedules, pipelineID, limit)
}

// DueSchedules returns up to limit schedules whose time has come.
func (r Reader) DueSchedules(ctx context.Context, now time.Time, limit int) ([]Schedule, error) {
	return list(ctx, r.q, scanSchedule, sqlDueSchedules, micros(now), limit)
}

// LockSchedule returns a schedule and keeps others from it until the transaction ends.
func (tx *Tx) LockSchedule(ctx context.Context, id string) (Schedule, error) {
	return one(ctx, tx.q, scanSchedule, sqlSchedule+tx.forUpdate, id)
}

// InsertSchedule adds a schedule.
func (tx *Tx) InsertSchedule(ctx context.Context, v Schedule) error {
	return exec(ctx, tx.q, sqlInsertSchedule, v.ID, v.PipelineID, v.Label, v.Cronline, v.Message, v.Commit, v.Branch, text(v.Env),
		v.Enabled, micros(v.NextAt), micros(v.FailedAt), v.FailedMessage, v.CreatedBy, micros(v.CreatedAt))
}

// UpdateSchedule saves a schedule.
func (tx *Tx) UpdateSchedule(ctx context.Context, v Schedule) error {
	return exec(ctx, tx.q, sqlUpdateSchedule, v.ID, v.Label, v.Cronline, v.Message, v.Commit, v.Branch, text(v.Env), v.Enabled,
		micros(v.NextAt), micros(v.FailedAt), v.FailedMessage)
}

// DeleteSchedule removes a schedule.
func (tx *Tx) DeleteSchedule(ctx context.Context, id string) error {
	return exec(ctx, tx.q, sqlDeleteSchedule, id)
}
