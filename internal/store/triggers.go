package store

import (
	"context"
	"time"
)

// PipelineTrigger is an address that makes builds of a pipeline for whoever has it.
type PipelineTrigger struct {
	ID         string
	PipelineID string
	TokenHash  string
	Label      string
	Signed     bool   // requests must bear a signature
	Branch     string // "": the pipeline's default branch
	Commit     string
	Message    string
	Env        map[string]string
	Enabled    bool
	CreatedBy  string // user id, or ""
	CreatedAt  time.Time
	UsedAt     time.Time
}

const (
	triggerColumns = `id, pipeline_id, token_hash, label, signed, branch, commit_sha, message, env, enabled, created_by, created_at,
		used_at`
	sqlTrigger        = `SELECT ` + triggerColumns + ` FROM pipeline_triggers WHERE id = $1`
	sqlTriggerByToken = `SELECT ` + triggerColumns + ` FROM pipeline_triggers WHERE token_hash = $1`
	sqlTriggers       = `SELECT ` + triggerColumns + ` FROM pipeline_triggers WHERE pipeline_id = $1 ORDER BY created_at, id LIMIT $2`
	sqlInsertTrigger  = `INSERT INTO pipeline_triggers (` + triggerColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`
	sqlUpdateTrigger  = `UPDATE pipeline_triggers SET token_hash = $2, label = $3, signed = $4, branch = $5, commit_sha = $6,
		message = $7, env = $8, enabled = $9, used_at = $10 WHERE id = $1`
	sqlDeleteTrigger = `DELETE FROM pipeline_triggers WHERE id = $1`
)

func scanTrigger(s scanner) (v PipelineTrigger, err error) {
	return v, s.Scan(&v.ID, &v.PipelineID, &v.TokenHash, &v.Label, &v.Signed, &v.Branch, &v.Commit, &v.Message, document{&v.Env},
		&v.Enabled, &v.CreatedBy, instant{&v.CreatedAt}, instant{&v.UsedAt})
}

// PipelineTrigger returns the trigger with an id.
func (r Reader) PipelineTrigger(ctx context.Context, id string) (PipelineTrigger, error) {
	return one(ctx, r.q, scanTrigger, sqlTrigger, id)
}

// PipelineTriggerByToken returns the trigger with the hash of a token.
func (r Reader) PipelineTriggerByToken(ctx context.Context, hash string) (PipelineTrigger, error) {
	return one(ctx, r.q, scanTrigger, sqlTriggerByToken, hash)
}

// PipelineTriggers returns up to limit triggers of a pipeline, oldest first.
func (r Reader) PipelineTriggers(ctx context.Context, pipelineID string, limit int) ([]PipelineTrigger, error) {
	return list(ctx, r.q, scanTrigger, sqlTriggers, pipelineID, limit)
}

// LockPipelineTrigger returns a trigger and keeps others from it until the transaction ends.
func (tx *Tx) LockPipelineTrigger(ctx context.Context, id string) (PipelineTrigger, error) {
	return one(ctx, tx.q, scanTrigger, sqlTrigger+tx.forUpdate, id)
}

// InsertPipelineTrigger adds a trigger.
func (tx *Tx) InsertPipelineTrigger(ctx context.Context, v PipelineTrigger) error {
	return exec(ctx, tx.q, sqlInsertTrigger, v.ID, v.PipelineID, v.TokenHash, v.Label, v.Signed, v.Branch, v.Commit, v.Message,
		text(v.Env), v.Enabled, v.CreatedBy, micros(v.CreatedAt), micros(v.UsedAt))
}

// UpdatePipelineTrigger saves a trigger.
func (tx *Tx) UpdatePipelineTrigger(ctx context.Context, v PipelineTrigger) error {
	return exec(ctx, tx.q, sqlUpdateTrigger, v.ID, v.TokenHash, v.Label, v.Signed, v.Branch, v.Commit, v.Message, text(v.Env),
		v.Enabled, micros(v.UsedAt))
}

// DeletePipelineTrigger removes a trigger.
func (tx *Tx) DeletePipelineTrigger(ctx context.Context, id string) error {
	return exec(ctx, tx.q, sqlDeleteTrigger, id)
}
