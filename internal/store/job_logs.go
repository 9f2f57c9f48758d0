package store

import (
	"context"
	"time"
)

// JobLog says what has become of the log of a job that ran. There is none while it runs.
type JobLog struct {
	JobID      string
	PipelineID string
	State      string // ending, closed, deleted, expired
	Note       string // why it is gone, for a person
	ChangedAt  time.Time
}

const (
	jobLogColumns   = `job_id, job_logs.pipeline_id, state, note, changed_at`
	sqlJobLog       = `SELECT ` + jobLogColumns + ` FROM job_logs WHERE job_id = $1`
	sqlInsertJobLog = `INSERT INTO job_logs (job_id, pipeline_id, state, note, changed_at) VALUES ($1, $2, $3, $4, $5)`
	sqlUpdateJobLog = `UPDATE job_logs SET state = $2, note = $3, changed_at = $4 WHERE job_id = $1 AND state = $5`
	sqlEndingLogs   = `SELECT ` + jobLogColumns + ` FROM job_logs WHERE state = 'ending' ORDER BY changed_at LIMIT $1`
	sqlOldLogs      = `SELECT ` + jobLogColumns + ` FROM job_logs JOIN pipelines ON pipelines.id = job_logs.pipeline_id
		WHERE pipelines.organization_id = $1 AND state = 'closed' AND changed_at < $2 ORDER BY changed_at LIMIT $3`
	sqlSetLogSize  = `UPDATE jobs SET log_size = $2 WHERE id = $1`
	sqlHeaderTimes = `SELECT number, at FROM header_times WHERE job_id = $1 ORDER BY number`
	sqlHeaderTime  = `INSERT INTO header_times (job_id, number, at) VALUES ($1, $2, $3)
		ON CONFLICT (job_id, number) DO UPDATE SET at = excluded.at`
)

func scanJobLog(s scanner) (l JobLog, err error) {
	return l, s.Scan(&l.JobID, &l.PipelineID, &l.State, &l.Note, instant{&l.ChangedAt})
}

// JobLog returns what has become of the log of a job.
func (r Reader) JobLog(ctx context.Context, jobID string) (JobLog, error) {
	return one(ctx, r.q, scanJobLog, sqlJobLog, jobID)
}

// EndingLogs returns logs of jobs that ended otherwise than by their agent's word, which nobody has closed yet.
func (r Reader) EndingLogs(ctx context.Context, limit int) ([]JobLog, error) {
	return list(ctx, r.q, scanJobLog, sqlEndingLogs, limit)
}

// OldLogs returns an organization's logs that were closed before a time.
func (r Reader) OldLogs(ctx context.Context, organizationID string, before time.Time, limit int) ([]JobLog, error) {
	return list(ctx, r.q, scanJobLog, sqlOldLogs, organizationID, micros(before), limit)
}

// InsertJobLog adds what becomes of the log of a job that ends.
func (tx *Tx) InsertJobLog(ctx context.Context, l JobLog) error {
	return later(ctx, tx.q, sqlInsertJobLog, l.JobID, l.PipelineID, l.State, l.Note, micros(l.ChangedAt))
}

// UpdateJobLog changes it, if it still is in the state from; otherwise that is ErrNotFound.
func (tx *Tx) UpdateJobLog(ctx context.Context, l JobLog, from string) error {
	return exec(ctx, tx.q, sqlUpdateJobLog, l.JobID, l.State, l.Note, micros(l.ChangedAt), from)
}

// SetLogSize records how long a job's log is, in bytes.
func (tx *Tx) SetLogSize(ctx context.Context, jobID string, size int64) error {
	return exec(ctx, tx.q, sqlSetLogSize, jobID, size)
}

// HeaderTimes returns when groups of a job's log began, by the number of the group from 0, as far as its agent said so apart from the log.
func (r Reader) HeaderTimes(ctx context.Context, jobID string) (map[int]time.Time, error) {
	type entry struct {
		number int
		at     time.Time
	}
	scan := func(s scanner) (e entry, err error) { return e, s.Scan(&e.number, instant{&e.at}) }
	entries, err := list(ctx, r.q, scan, sqlHeaderTimes, jobID)
	times := make(map[int]time.Time, len(entries))
	for _, e := range entries {
		times[e.number] = e.at
	}
	return times, err
}

// SetHeaderTime records when a group began.
func (tx *Tx) SetHeaderTime(ctx context.Context, jobID string, number int, at time.Time) error {
	return exec(ctx, tx.q, sqlHeaderTime, jobID, number, micros(at))
}
