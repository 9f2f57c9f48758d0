package store

import (
	"context"
	"time"
)

// Upload is one pipeline upload of a job.
type Upload struct {
	JobID     string
	UUID      string // idempotency key of the agent's call
	BuildID   string
	State     string // pending, applied or rejected
	Message   string
	Jobs      int // created
	CreatedAt time.Time
}

// UploadToApply is what a pending upload is to do.
type UploadToApply struct {
	Document []byte // JSON as received
	Replace  bool
}

const (
	uploadColumns = `job_id, uuid, build_id, state, message, jobs, created_at`
	sqlUpload     = `SELECT ` + uploadColumns + ` FROM uploads WHERE job_id = $1 AND uuid = $2`
	sqlSaveUpload = `INSERT INTO uploads (` + uploadColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (job_id, uuid) DO UPDATE SET state = excluded.state, message = excluded.message, jobs = excluded.jobs, document = ''
		WHERE uploads.state = 'pending'`
	sqlQueueUpload = `INSERT INTO uploads (` + uploadColumns + `, document, replaces) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (job_id, uuid) DO NOTHING`
	sqlPendingUploads = `SELECT ` + uploadColumns + ` FROM uploads WHERE state = 'pending' ORDER BY created_at LIMIT $1`
	sqlCountPending   = `SELECT COUNT(*) FROM uploads WHERE job_id = $1 AND state = 'pending'`
	sqlUploadToApply  = `SELECT document, replaces FROM uploads WHERE job_id = $1 AND uuid = $2`
)

func scanUpload(s scanner) (u Upload, err error) {
	return u, s.Scan(&u.JobID, &u.UUID, &u.BuildID, &u.State, &u.Message, &u.Jobs, instant{&u.CreatedAt})
}

// Upload returns a job's upload by its idempotency key.
func (r Reader) Upload(ctx context.Context, jobID, uuid string) (Upload, error) {
	return one(ctx, r.q, scanUpload, sqlUpload, jobID, uuid)
}

// PendingUploads returns up to limit uploads that are to be applied, oldest first.
func (r Reader) PendingUploads(ctx context.Context, limit int) ([]Upload, error) {
	return list(ctx, r.q, scanUpload, sqlPendingUploads, limit)
}

// CountPendingUploads counts the uploads of a job that are to be applied.
func (r Reader) CountPendingUploads(ctx context.Context, jobID string) (int64, error) {
	return one(ctx, r.q, scanInt, sqlCountPending, jobID)
}

// UploadToApply returns what a pending upload is to do.
func (r Reader) UploadToApply(ctx context.Context, jobID, uuid string) (UploadToApply, error) {
	return one(ctx, r.q, func(s scanner) (u UploadToApply, err error) {
		return u, s.Scan(&u.Document, &u.Replace)
	}, sqlUploadToApply, jobID, uuid)
}

// QueueUpload records an upload that is to be applied, unless it is known.
func (tx *Tx) QueueUpload(ctx context.Context, u Upload, to UploadToApply) error {
	_, err := count(ctx, tx.q, sqlQueueUpload, u.JobID, u.UUID, u.BuildID, u.State, u.Message, u.Jobs, micros(u.CreatedAt), string(to.Document), to.Replace)
	return err
}

// SaveUpload records what became of an upload; ErrConflict if that is known already.
func (tx *Tx) SaveUpload(ctx context.Context, u Upload) error {
	n, err := count(ctx, tx.q, sqlSaveUpload, u.JobID, u.UUID, u.BuildID, u.State, u.Message, u.Jobs, micros(u.CreatedAt))
	if err == nil && n == 0 {
		return ErrConflict
	}
	return err
}
