package store

import (
	"context"
	"encoding/json"
	"time"
)

// Pipeline says what to build and how.
type Pipeline struct {
	ID             string
	OrganizationID string
	ClusterID      string
	Slug           string
	Name           string
	Description    string
	Repository     string
	Configuration  string // YAML; "": read from the repository at the built commit
	Path           string // the file in the repository; "": the default ones
	DefaultBranch  string
	Settings       json.RawMessage // an object
	CreatedBy      string          // user id, or ""
	CreatedAt      time.Time
	ArchivedAt     time.Time // zero: in use
}

const (
	pipelineColumns = `id, organization_id, cluster_id, slug, name, description, repository, configuration, path,
		default_branch, settings, created_by, created_at, archived_at`
	sqlPipeline        = `SELECT ` + pipelineColumns + ` FROM pipelines WHERE organization_id = $1 AND slug = $2`
	sqlPipelineByID    = `SELECT ` + pipelineColumns + ` FROM pipelines WHERE id = $1`
	sqlPipelineOfBuild = `SELECT ` + pipelineColumns + ` FROM pipelines WHERE id = (SELECT pipeline_id FROM builds WHERE builds.id = $1)`
	sqlPipelines       = `SELECT ` + pipelineColumns + ` FROM pipelines WHERE organization_id = $1 AND slug > $2 ORDER BY slug LIMIT $3`
	sqlInsertPipeline  = `INSERT INTO pipelines (` + pipelineColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`
	sqlUpdatePipeline  = `UPDATE pipelines SET slug = $2, name = $3, description = $4, repository = $5, configuration = $6,
		path = $7, default_branch = $8, settings = $9, archived_at = $10 WHERE id = $1`
	sqlNextBuildNumber = `UPDATE pipelines SET next_build_number = next_build_number + 1 WHERE id = $1 RETURNING next_build_number - 1`
)

func scanPipeline(s scanner) (p Pipeline, err error) {
	return p, s.Scan(&p.ID, &p.OrganizationID, &p.ClusterID, &p.Slug, &p.Name, &p.Description, &p.Repository,
		&p.Configuration, &p.Path, &p.DefaultBranch, document{&p.Settings}, &p.CreatedBy, instant{&p.CreatedAt},
		instant{&p.ArchivedAt})
}

// Pipeline returns an organization's pipeline by slug.
func (r Reader) Pipeline(ctx context.Context, organizationID, slug string) (Pipeline, error) {
	return one(ctx, r.q, scanPipeline, sqlPipeline, organizationID, slug)
}

// PipelineByID returns the pipeline with an id.
func (r Reader) PipelineByID(ctx context.Context, id string) (Pipeline, error) {
	return one(ctx, r.q, scanPipeline, sqlPipelineByID, id)
}

// Pipelines returns up to limit pipelines of an organization by slug, after the given one.
func (r Reader) Pipelines(ctx context.Context, organizationID, afterSlug string, limit int) ([]Pipeline, error) {
	return list(ctx, r.q, scanPipeline, sqlPipelines, organizationID, afterSlug, limit)
}

// LockPipeline returns a pipeline and keeps others from changing it until the transaction ends.
func (tx *Tx) LockPipeline(ctx context.Context, id string) (Pipeline, error) {
	return one(ctx, tx.q, scanPipeline, sqlPipelineByID+tx.forUpdate, id)
}

// InsertPipeline adds a pipeline.
func (tx *Tx) InsertPipeline(ctx context.Context, p Pipeline) error {
	return exec(ctx, tx.q, sqlInsertPipeline, p.ID, p.OrganizationID, p.ClusterID, p.Slug, p.Name, p.Description,
		p.Repository, p.Configuration, p.Path, p.DefaultBranch, text(p.Settings), p.CreatedBy, micros(p.CreatedAt),
		micros(p.ArchivedAt))
}

// UpdatePipeline saves a pipeline's settings.
func (tx *Tx) UpdatePipeline(ctx context.Context, p Pipeline) error {
	return exec(ctx, tx.q, sqlUpdatePipeline, p.ID, p.Slug, p.Name, p.Description, p.Repository, p.Configuration,
		p.Path, p.DefaultBranch, text(p.Settings), micros(p.ArchivedAt))
}

// NextBuildNumber takes the pipeline's next build number. Numbers grow and are never used twice. Until the transaction ends no
// other takes one of the pipeline, so that an operation takes one alone.
func (tx *Tx) NextBuildNumber(ctx context.Context, pipelineID string) (int64, error) {
	if tx.shared {
		return 0, errNotShared // several operations in a row take them of several pipelines, in any order
	}
	return one(ctx, tx.q, scanInt, sqlNextBuildNumber, pipelineID)
}
