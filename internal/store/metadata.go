package store

import (
	"context"
	"errors"
	"time"
)

const (
	sqlMetaData     = `SELECT value FROM meta_data WHERE build_id = $1 AND key = $2`
	sqlMetaDataKeys = `SELECT key FROM meta_data WHERE build_id = $1 ORDER BY key`
	sqlAllMetaData  = `SELECT key, value FROM meta_data WHERE build_id = $1 ORDER BY key`
	sqlSetMetaData  = `INSERT INTO meta_data (build_id, key, value) VALUES ($1, $2, $3)
		ON CONFLICT (build_id, key) DO UPDATE SET value = excluded.value`
	sqlMetaDataSize = `SELECT OCTET_LENGTH(key) + OCTET_LENGTH(value) FROM meta_data WHERE build_id = $1 AND key = $2`
	// Written also where nothing changes: its row is the lock of a build's meta-data.
	sqlAddMetaDataBytes = `INSERT INTO build_usage (build_id, meta_data) VALUES ($1, $2)
		ON CONFLICT (build_id) DO UPDATE SET meta_data = build_usage.meta_data + excluded.meta_data RETURNING meta_data`
	sqlMetaDataBytes = `SELECT build_id, meta_data FROM build_usage WHERE build_id IN ($1)`
)

// MetaData returns the value of a build's key.
func (r Reader) MetaData(ctx context.Context, buildID, key string) (string, error) {
	return one(ctx, r.q, scanString, sqlMetaData, buildID, key)
}

// MetaDataKeys returns the keys of a build's meta-data, sorted.
func (r Reader) MetaDataKeys(ctx context.Context, buildID string) ([]string, error) {
	return list(ctx, r.q, scanString, sqlMetaDataKeys, buildID)
}

// AllMetaData returns a build's meta-data.
func (r Reader) AllMetaData(ctx context.Context, buildID string) (map[string]string, error) {
	type pair struct{ key, value string }
	pairs, err := list(ctx, r.q, func(s scanner) (p pair, err error) { return p, s.Scan(&p.key, &p.value) }, sqlAllMetaData, buildID)
	out := make(map[string]string, len(pairs))
	for _, p := range pairs {
		out[p.key] = p.value
	}
	return out, err
}

// SetMetaData sets a key of a build.
func (tx *Tx) SetMetaData(ctx context.Context, buildID, key, value string) error {
	return exec(ctx, tx.q, sqlSetMetaData, buildID, key, value)
}

// MetaDataSize returns how many bytes a build's key and its value have; 0: it is not set.
func (tx *Tx) MetaDataSize(ctx context.Context, buildID, key string) (int64, error) {
	n, err := one(ctx, tx.q, scanInt, sqlMetaDataSize, buildID, key)
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	return n, err
}

// AddMetaDataBytes counts bytes of a build's meta-data, and returns how many it has now. Until the transaction
// ends no other counts.
func (tx *Tx) AddMetaDataBytes(ctx context.Context, buildID string, bytes int64) (int64, error) {
	return one(ctx, tx.q, scanInt, sqlAddMetaDataBytes, buildID, bytes)
}

// MetaDataBytes returns how many bytes of meta-data builds have, without the payload of a webhook.
func (r Reader) MetaDataBytes(ctx context.Context, buildIDs []string) (map[string]int64, error) {
	type row struct {
		build string
		bytes int64
	}
	rows, err := many(ctx, r.q, func(s scanner) (v row, err error) { return v, s.Scan(&v.build, &v.bytes) }, sqlMetaDataBytes, buildIDs)
	out := make(map[string]int64, len(rows))
	for _, v := range rows {
		out[v.build] = v.bytes
	}
	return out, err
}

// Annotation is a text shown with a build or a job.
type Annotation struct {
	ID        string
	BuildID   string
	JobID     string // "": of the build
	Context   string // one annotation a context and scope
	Style     string
	Priority  int
	Body      string // Markdown
	CreatedAt time.Time
	UpdatedAt time.Time
}

const (
	annotationColumns   = `id, build_id, job_id, context, style, priority, body, created_at, updated_at`
	sqlAnnotation       = `SELECT ` + annotationColumns + ` FROM annotations WHERE build_id = $1 AND job_id = $2 AND context = $3`
	sqlAnnotations      = `SELECT ` + annotationColumns + ` FROM annotations WHERE build_id = $1 ORDER BY priority DESC, created_at, id LIMIT 1000`
	sqlInsertAnnotation = `INSERT INTO annotations (` + annotationColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`
	sqlUpdateAnnotation = `UPDATE annotations SET style = $2, priority = $3, body = $4, updated_at = $5 WHERE id = $1`
	sqlDeleteAnnotation = `DELETE FROM annotations WHERE build_id = $1 AND job_id = $2 AND context = $3`
)

func scanAnnotation(s scanner) (a Annotation, err error) {
	return a, s.Scan(&a.ID, &a.BuildID, &a.JobID, &a.Context, &a.Style, &a.Priority, &a.Body,
		instant{&a.CreatedAt}, instant{&a.UpdatedAt})
}

// Annotation returns the annotation of a scope and context.
func (r Reader) Annotation(ctx context.Context, buildID, jobID, context string) (Annotation, error) {
	return one(ctx, r.q, scanAnnotation, sqlAnnotation, buildID, jobID, context)
}

// Annotations returns a build's annotations and those of its jobs, the most important first.
func (r Reader) Annotations(ctx context.Context, buildID string) ([]Annotation, error) {
	return list(ctx, r.q, scanAnnotation, sqlAnnotations, buildID)
}

// InsertAnnotation adds an annotation.
func (tx *Tx) InsertAnnotation(ctx context.Context, a Annotation) error {
	return exec(ctx, tx.q, sqlInsertAnnotation, a.ID, a.BuildID, a.JobID, a.Context, a.Style, a.Priority, a.Body,
		micros(a.CreatedAt), micros(a.UpdatedAt))
}

// UpdateAnnotation saves an annotation's text and looks.
func (tx *Tx) UpdateAnnotation(ctx context.Context, a Annotation) error {
	return exec(ctx, tx.q, sqlUpdateAnnotation, a.ID, a.Style, a.Priority, a.Body, micros(a.UpdatedAt))
}

// DeleteAnnotation removes an annotation; one that is not there is none the less gone.
func (tx *Tx) DeleteAnnotation(ctx context.Context, buildID, jobID, context string) error {
	_, err := count(ctx, tx.q, sqlDeleteAnnotation, buildID, jobID, context)
	return err
}
