package store

import (
	"context"
	"errors"
	"fmt"
)

// Log is where the log of a job is that several servers write to and read: its records in rows, the first Kept bytes of them in
// blobs. Generation names those, and tells a log from one that was deleted before it.
type Log struct {
	JobID      string
	Generation string
	Length     int64 // bytes of records
	Kept       int64
	Ended      bool
}

// LogRecord is one record at its place in the log.
type LogRecord struct {
	Position int64
	Bytes    []byte
}

// LogPart is a run of records that are in a blob.
type LogPart struct{ Position, Length int64 }

const (
	logColumns   = `job_id, generation, length, kept, ended`
	sqlLog       = `SELECT ` + logColumns + ` FROM logs WHERE job_id = $1`
	sqlInsertLog = `INSERT INTO logs (` + logColumns + `) VALUES ($1, $2, $3, 0, $4)`
	sqlGrowLog   = `UPDATE logs SET length = $4, ended = $5 WHERE job_id = $1 AND generation = $2 AND length = $3
		AND ended = FALSE`
	// Without the log as it is meant to be there is no generation, and a record must have one. Where another server wrote as much in its
	// place, either that record is in the way or it has been moved to a blob.
	sqlInsertLogRecord = `INSERT INTO log_records (generation, position, length, bytes)
		VALUES ((SELECT generation FROM logs WHERE job_id = $5 AND generation = $1 AND length = $6 AND kept <= $2), $2, $3, $4)`
	sqlLogRecords = `SELECT position, bytes FROM log_records WHERE generation = $1 AND position < $3
		AND position + length > $2 ORDER BY position`
	sqlLogCut = `SELECT COALESCE(MAX(position + length), 0) FROM log_records WHERE generation = $1
		AND position + length <= $2`
	sqlLogParts   = `SELECT position, length FROM log_parts WHERE generation = $1 ORDER BY position`
	sqlLogsToKeep = `SELECT ` + logColumns + ` FROM logs WHERE kept < length AND length - kept > $1 AND (ended OR length - kept > $2)
		ORDER BY length - kept DESC LIMIT $3`
	sqlKeepLog       = `UPDATE logs SET kept = $4 WHERE job_id = $1 AND generation = $2 AND kept = $3`
	sqlInsertLogPart = `INSERT INTO log_parts (generation, position, length) VALUES ($1, $2, $3)`
	sqlKeptRecords   = `DELETE FROM log_records WHERE generation = $1 AND position < $2`
	sqlDeleteLog     = `DELETE FROM logs WHERE job_id = $1 AND generation = $2`
	sqlDeleteRecords = `DELETE FROM log_records WHERE generation = $1`
	sqlDeleteParts   = `DELETE FROM log_parts WHERE generation = $1`
	sqlInsertTrash   = `INSERT INTO log_trash (generation) VALUES ($1)`
	sqlLogTrash      = `SELECT generation FROM log_trash ORDER BY generation LIMIT $1`
	sqlDeleteTrash   = `DELETE FROM log_trash WHERE generation = $1`
)

func scanLog(s scanner) (l Log, err error) {
	return l, s.Scan(&l.JobID, &l.Generation, &l.Length, &l.Kept, &l.Ended)
}

// Log returns the log of a job.
func (r Reader) Log(ctx context.Context, jobID string) (Log, error) {
	return one(ctx, r.q, scanLog, sqlLog, jobID)
}

// LogRecords returns the records that have bytes from one position on and before another.
func (r Reader) LogRecords(ctx context.Context, generation string, from, to int64) ([]LogRecord, error) {
	scan := func(s scanner) (l LogRecord, err error) { return l, s.Scan(&l.Position, &l.Bytes) }
	return list(ctx, r.q, scan, sqlLogRecords, generation, from, to)
}

// LogCut returns the end of the last record that ends at or before a position.
func (r Reader) LogCut(ctx context.Context, generation string, at int64) (int64, error) {
	return one(ctx, r.q, scanInt, sqlLogCut, generation, at)
}

// LogParts returns what of a log is in blobs, in order.
func (r Reader) LogParts(ctx context.Context, generation string) ([]LogPart, error) {
	scan := func(s scanner) (p LogPart, err error) { return p, s.Scan(&p.Position, &p.Length) }
	return list(ctx, r.q, scan, sqlLogParts, generation)
}

// LogsToKeep returns logs with records to be moved to blobs: those that ended and have more than small bytes of them, and those with
// more than tail.
func (r Reader) LogsToKeep(ctx context.Context, small, tail int64, limit int) ([]Log, error) {
	return list(ctx, r.q, scanLog, sqlLogsToKeep, small, tail, limit)
}

// LogTrash returns the generations of deleted logs whose blobs are still there.
func (r Reader) LogTrash(ctx context.Context, limit int) ([]string, error) {
	return list(ctx, r.q, scanString, sqlLogTrash, limit)
}

// AppendLog adds a record to l, which is the log as it was before; one of length 0 is begun. It returns ErrConflict if the log has
// changed since: it has grown, ended, or was deleted. Where the record ends the log, end is true.
func (s *Store) AppendLog(ctx context.Context, l Log, record []byte, end bool) error {
	err := s.Update(ctx, func(tx *Tx) error { return tx.appendLog(ctx, l, record, end) })
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("%w: the log of job %s has changed", ErrConflict, l.JobID)
	}
	return err
}

// appendLog is sent whole: that no row has grown comes to light with the commit, and the record, whose log there is not then, undoes it.
func (tx *Tx) appendLog(ctx context.Context, l Log, record []byte, end bool) error {
	after := l.Length + int64(len(record))
	var err error
	if l.Length == 0 {
		err = later(ctx, tx.q, sqlInsertLog, l.JobID, l.Generation, after, end)
	} else {
		err = later(ctx, tx.q, sqlGrowLog, l.JobID, l.Generation, l.Length, after, end)
	}
	if err != nil {
		return err
	}
	return later(ctx, tx.q, sqlInsertLogRecord, l.Generation, l.Length, len(record), record, l.JobID, after)
}

// KeepLog records that the records from l.Kept on are in a blob of a length. It returns ErrConflict if somebody was there first, or
// the log was deleted.
func (tx *Tx) KeepLog(ctx context.Context, l Log, length int64) error {
	err := exec(ctx, tx.q, sqlKeepLog, l.JobID, l.Generation, l.Kept, l.Kept+length)
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("%w: the log of job %s has changed", ErrConflict, l.JobID)
	}
	if err != nil {
		return err
	}
	if err := exec(ctx, tx.q, sqlInsertLogPart, l.Generation, l.Kept, length); err != nil {
		return err
	}
	return exec(ctx, tx.q, sqlKeptRecords, l.Generation, l.Kept+length)
}

// DeleteLog removes a log; its records and blobs are trash then, and readers that have begun still find them. Removing one that is gone is no error.
func (tx *Tx) DeleteLog(ctx context.Context, jobID, generation string) error {
	n, err := count(ctx, tx.q, sqlDeleteLog, jobID, generation)
	if err != nil || n == 0 {
		return err
	}
	return exec(ctx, tx.q, sqlInsertTrash, generation)
}

// DropLogTrash forgets a deleted log whose blobs are gone.
func (tx *Tx) DropLogTrash(ctx context.Context, generation string) error {
	if _, err := count(ctx, tx.q, sqlDeleteRecords, generation); err != nil {
		return err
	}
	if _, err := count(ctx, tx.q, sqlDeleteParts, generation); err != nil {
		return err
	}
	_, err := count(ctx, tx.q, sqlDeleteTrash, generation)
	return err
}
