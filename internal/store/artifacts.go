package store

import (
	"context"
	"time"
)

// Artifact is a file that a job uploaded.
type Artifact struct {
	ID                string
	BuildID           string
	JobID             string
	PipelineID        string
	BatchID           string // idempotency key of the agent's call
	Number            int    // place in the batch
	Path              string
	AbsolutePath      string
	GlobPath          string
	Size              int64
	SHA1              string
	SHA256            string
	ContentType       string
	UploadDestination string // "": the server's own storage
	URL               string // of custom destinations
	State             string // new, finished, error, deleted, expired
	Upload            string // the object store's name of an upload under way
	Blob              string // key of its bytes, once the server itself has received and checked them
	CreatedAt         time.Time
}

// Gone says whether the file was deleted or has expired.
func (a Artifact) Gone() bool { return a.State == "deleted" || a.State == "expired" }

const (
	artifactColumns = `id, build_id, job_id, pipeline_id, batch_id, number, path, absolute_path, glob_path, size, sha1,
		sha256, content_type, upload_destination, url, state, upload, blob, created_at`
	sqlArtifact       = `SELECT ` + artifactColumns + ` FROM artifacts WHERE id = $1`
	sqlArtifactBatch  = `SELECT ` + artifactColumns + ` FROM artifacts WHERE job_id = $1 AND batch_id = $2 ORDER BY number`
	sqlArtifacts      = `SELECT ` + artifactColumns + ` FROM artifacts WHERE build_id = $1 ORDER BY created_at, id`
	sqlArtifactsOfJob = `SELECT ` + artifactColumns + ` FROM artifacts WHERE job_id = $1 ORDER BY created_at, id`
	sqlInsertArtifact = `INSERT INTO artifacts (` + artifactColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
		$11, $12, $13, $14, $15, $16, $17, $18, $19)`
	sqlArtifactUpload = `UPDATE artifacts SET upload = $2 WHERE id = $1 AND upload = ''`
	sqlArtifactBlob   = `UPDATE artifacts SET blob = $2, upload = '' WHERE id = $1`
	sqlArtifactState  = `UPDATE artifacts SET state = $2 WHERE id = $1`
	sqlArtifactTotals = `SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM artifacts WHERE job_id = $1`
	sqlOldArtifacts   = `SELECT ` + artifactColumns + ` FROM artifacts WHERE pipeline_id = $1 AND created_at < $2
		AND state IN ('new', 'finished', 'error') ORDER BY created_at LIMIT $3`
	sqlOpenArtifacts = `SELECT ` + artifactColumns + ` FROM artifacts WHERE created_at < $1 AND state = 'new'
		ORDER BY created_at LIMIT $2`
)

func scanArtifact(s scanner) (a Artifact, err error) {
	return a, s.Scan(&a.ID, &a.BuildID, &a.JobID, &a.PipelineID, &a.BatchID, &a.Number, &a.Path, &a.AbsolutePath,
		&a.GlobPath, &a.Size, &a.SHA1, &a.SHA256, &a.ContentType, &a.UploadDestination, &a.URL, &a.State, &a.Upload,
		&a.Blob, instant{&a.CreatedAt})
}

// Artifact returns the artifact with an id.
func (r Reader) Artifact(ctx context.Context, id string) (Artifact, error) {
	return one(ctx, r.q, scanArtifact, sqlArtifact, id)
}

// ArtifactBatch returns the artifacts of one call of an agent, in its order.
func (r Reader) ArtifactBatch(ctx context.Context, jobID, batchID string) ([]Artifact, error) {
	return list(ctx, r.q, scanArtifact, sqlArtifactBatch, jobID, batchID)
}

// Artifacts returns a build's artifacts, oldest first.
func (r Reader) Artifacts(ctx context.Context, buildID string) ([]Artifact, error) {
	return list(ctx, r.q, scanArtifact, sqlArtifacts, buildID)
}

// ArtifactsOfJob returns a job's artifacts, oldest first.
func (r Reader) ArtifactsOfJob(ctx context.Context, jobID string) ([]Artifact, error) {
	return list(ctx, r.q, scanArtifact, sqlArtifactsOfJob, jobID)
}

// OldArtifacts returns artifacts of a pipeline that were made before a time and are not gone, oldest first.
func (r Reader) OldArtifacts(ctx context.Context, pipelineID string, before time.Time, limit int) ([]Artifact, error) {
	return list(ctx, r.q, scanArtifact, sqlOldArtifacts, pipelineID, micros(before), limit)
}

// OpenArtifacts returns artifacts that were announced before a time and of whose end nobody has told, oldest first.
func (r Reader) OpenArtifacts(ctx context.Context, before time.Time, limit int) ([]Artifact, error) {
	return list(ctx, r.q, scanArtifact, sqlOpenArtifacts, micros(before), limit)
}

// ArtifactTotals returns how many artifacts a job has announced, and their bytes.
func (r Reader) ArtifactTotals(ctx context.Context, jobID string) (count, bytes int64, err error) {
	t, err := one(ctx, r.q, scanTwoInts, sqlArtifactTotals, jobID)
	return t[0], t[1], err
}

func scanTwoInts(s scanner) (v [2]int64, err error) { return v, s.Scan(&v[0], &v[1]) }

// LockArtifact returns an artifact and keeps others from changing it until the transaction ends.
func (tx *Tx) LockArtifact(ctx context.Context, id string) (Artifact, error) {
	return one(ctx, tx.q, scanArtifact, sqlArtifact+tx.forUpdate, id)
}

// InsertArtifact adds an artifact.
func (tx *Tx) InsertArtifact(ctx context.Context, a Artifact) error {
	return exec(ctx, tx.q, sqlInsertArtifact, a.ID, a.BuildID, a.JobID, a.PipelineID, a.BatchID, a.Number, a.Path,
		a.AbsolutePath, a.GlobPath, a.Size, a.SHA1, a.SHA256, a.ContentType, a.UploadDestination, a.URL, a.State, a.Upload,
		a.Blob, micros(a.CreatedAt))
}

// SetArtifactUpload records the object store's name of an upload, unless there is one: ErrNotFound.
func (tx *Tx) SetArtifactUpload(ctx context.Context, id, upload string) error {
	return exec(ctx, tx.q, sqlArtifactUpload, id, upload)
}

// SetArtifactBlob records where an artifact's bytes are; "": nowhere. An upload under way has ended.
func (tx *Tx) SetArtifactBlob(ctx context.Context, id, key string) error {
	return exec(ctx, tx.q, sqlArtifactBlob, id, key)
}

// SetArtifactState changes an artifact's state.
func (tx *Tx) SetArtifactState(ctx context.Context, id, state string) error {
	return exec(ctx, tx.q, sqlArtifactState, id, state)
}
