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
	State             string // new, finished, error, deleted
	Arrived           bool   // its bytes were received and checked by the server itself
	CreatedAt         time.Time
}

const (
	artifactColumns = `id, build_id, job_id, batch_id, number, path, absolute_path, glob_path, size, sha1, sha256,
		content_type, upload_destination, url, state, arrived, created_at`
	sqlArtifact       = `SELECT ` + artifactColumns + ` FROM artifacts WHERE id = $1`
	sqlArtifactBatch  = `SELECT ` + artifactColumns + ` FROM artifacts WHERE job_id = $1 AND batch_id = $2 ORDER BY number`
	sqlArtifacts      = `SELECT ` + artifactColumns + ` FROM artifacts WHERE build_id = $1 ORDER BY created_at, id`
	sqlArtifactsOfJob = `SELECT ` + artifactColumns + ` FROM artifacts WHERE job_id = $1 ORDER BY created_at, id`
	sqlInsertArtifact = `INSERT INTO artifacts (` + artifactColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
		$11, $12, $13, $14, $15, $16, $17)`
	sqlArtifactArrived = `UPDATE artifacts SET arrived = TRUE WHERE id = $1`
	sqlArtifactState   = `UPDATE artifacts SET state = $3 WHERE id = $1 AND job_id = $2`
)

func scanArtifact(s scanner) (a Artifact, err error) {
	return a, s.Scan(&a.ID, &a.BuildID, &a.JobID, &a.BatchID, &a.Number, &a.Path, &a.AbsolutePath, &a.GlobPath, &a.Size,
		&a.SHA1, &a.SHA256, &a.ContentType, &a.UploadDestination, &a.URL, &a.State, &a.Arrived, instant{&a.CreatedAt})
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

// InsertArtifact adds an artifact.
func (tx *Tx) InsertArtifact(ctx context.Context, a Artifact) error {
	return exec(ctx, tx.q, sqlInsertArtifact, a.ID, a.BuildID, a.JobID, a.BatchID, a.Number, a.Path, a.AbsolutePath,
		a.GlobPath, a.Size, a.SHA1, a.SHA256, a.ContentType, a.UploadDestination, a.URL, a.State, a.Arrived, micros(a.CreatedAt))
}

// ArtifactArrived records that the server has the artifact's bytes.
func (tx *Tx) ArtifactArrived(ctx context.Context, id string) error {
	return exec(ctx, tx.q, sqlArtifactArrived, id)
}

// SetArtifactState records whether an artifact of a job arrived.
func (tx *Tx) SetArtifactState(ctx context.Context, id, jobID, state string) error {
	return exec(ctx, tx.q, sqlArtifactState, id, jobID, state)
}

// Upload is one pipeline upload of a job, applied or rejected.
type Upload struct {
	JobID     string
	UUID      string // idempotency key of the agent's call
	BuildID   string
	State     string // applied, rejected
	Message   string
	Jobs      int // created
	CreatedAt time.Time
}

const (
	uploadColumns   = `job_id, uuid, build_id, state, message, jobs, created_at`
	sqlUpload       = `SELECT ` + uploadColumns + ` FROM uploads WHERE job_id = $1 AND uuid = $2`
	sqlInsertUpload = `INSERT INTO uploads (` + uploadColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7)`
)

func scanUpload(s scanner) (u Upload, err error) {
	return u, s.Scan(&u.JobID, &u.UUID, &u.BuildID, &u.State, &u.Message, &u.Jobs, instant{&u.CreatedAt})
}

// Upload returns a job's upload by its idempotency key.
func (r Reader) Upload(ctx context.Context, jobID, uuid string) (Upload, error) {
	return one(ctx, r.q, scanUpload, sqlUpload, jobID, uuid)
}

// InsertUpload records an upload.
func (tx *Tx) InsertUpload(ctx context.Context, u Upload) error {
	return exec(ctx, tx.q, sqlInsertUpload, u.JobID, u.UUID, u.BuildID, u.State, u.Message, u.Jobs, micros(u.CreatedAt))
}
