package store

import (
	"context"
	"time"
)

// Secret is what is known of a secret of a cluster's jobs but its value, which is sealed in the place
// SecretPlace.
type Secret struct {
	ID          string
	ClusterID   string
	Key         string
	Description string
	Policy      string // YAML; "": every job of the cluster
	CreatedBy   string // user id
	UpdatedBy   string // user id, or ""
	CreatedAt   time.Time
	UpdatedAt   time.Time
	LastReadAt  time.Time // by a job, to the minute; zero: never
}

// SecretPlace is where the value of a secret is sealed.
func SecretPlace(id string) string { return "secret/" + id }

const (
	secretColumns   = `id, cluster_id, key, description, policy, created_by, updated_by, created_at, updated_at, last_read_at`
	sqlSecret       = `SELECT ` + secretColumns + ` FROM secrets WHERE id = $1`
	sqlSecretByKey  = `SELECT ` + secretColumns + ` FROM secrets WHERE cluster_id = $1 AND LOWER(key) = LOWER($2)`
	sqlSecrets      = `SELECT ` + secretColumns + ` FROM secrets WHERE cluster_id = $1 ORDER BY LOWER(key) LIMIT $2 OFFSET $3`
	sqlCountSecrets = `SELECT COUNT(*) FROM secrets WHERE cluster_id = $1`
	sqlInsertSecret = `INSERT INTO secrets (` + secretColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`
	sqlUpdateSecret = `UPDATE secrets SET description = $2, policy = $3, updated_by = $4, updated_at = $5 WHERE id = $1`
	sqlSecretRead   = `UPDATE secrets SET last_read_at = $2 WHERE id = $1`
	sqlDeleteSecret = `DELETE FROM secrets WHERE id = $1`
)

func scanSecret(s scanner) (v Secret, err error) {
	return v, s.Scan(&v.ID, &v.ClusterID, &v.Key, &v.Description, &v.Policy, &v.CreatedBy, &v.UpdatedBy,
		instant{&v.CreatedAt}, instant{&v.UpdatedAt}, instant{&v.LastReadAt})
}

// Secret returns the secret with an id.
func (r Reader) Secret(ctx context.Context, id string) (Secret, error) {
	return one(ctx, r.q, scanSecret, sqlSecret, id)
}

// SecretByKey returns a cluster's secret by its key, whatever the case of its letters.
func (r Reader) SecretByKey(ctx context.Context, clusterID, key string) (Secret, error) {
	return one(ctx, r.q, scanSecret, sqlSecretByKey, clusterID, key)
}

// Secrets returns a page of a cluster's secrets by key.
func (r Reader) Secrets(ctx context.Context, clusterID string, p Page) ([]Secret, error) {
	return list(ctx, r.q, scanSecret, sqlSecrets, clusterID, p.Limit, p.Offset)
}

// CountSecrets returns how many secrets a cluster has.
func (r Reader) CountSecrets(ctx context.Context, clusterID string) (int, error) {
	n, err := one(ctx, r.q, scanInt, sqlCountSecrets, clusterID)
	return int(n), err
}

// LockSecret is Secret that keeps other changes out until the transaction ends.
func (tx *Tx) LockSecret(ctx context.Context, id string) (Secret, error) {
	return one(ctx, tx.q, scanSecret, sqlSecret+tx.forUpdate, id)
}

// InsertSecret adds a secret; ErrConflict if its cluster has the key.
func (tx *Tx) InsertSecret(ctx context.Context, v Secret) error {
	return exec(ctx, tx.q, sqlInsertSecret, v.ID, v.ClusterID, v.Key, v.Description, v.Policy, v.CreatedBy, v.UpdatedBy,
		micros(v.CreatedAt), micros(v.UpdatedAt), micros(v.LastReadAt))
}

// UpdateSecret saves a secret's description and policy, and who changed it and when.
func (tx *Tx) UpdateSecret(ctx context.Context, v Secret) error {
	return exec(ctx, tx.q, sqlUpdateSecret, v.ID, v.Description, v.Policy, v.UpdatedBy, micros(v.UpdatedAt))
}

// SecretRead notes when a job last read a secret.
func (tx *Tx) SecretRead(ctx context.Context, id string, at time.Time) error {
	return exec(ctx, tx.q, sqlSecretRead, id, micros(at))
}

// DeleteSecret removes a secret. Its value is deleted by DeleteSealed.
func (tx *Tx) DeleteSecret(ctx context.Context, id string) error {
	return exec(ctx, tx.q, sqlDeleteSecret, id)
}
