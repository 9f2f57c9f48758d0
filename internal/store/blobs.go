package store

import (
	"context"
	"errors"
	"time"
)

// Blob is what artifacts and caches with the same bytes share.
type Blob struct {
	Key       string
	SHA256    string
	Size      int64
	CreatedAt time.Time
	DeadAt    time.Time // zero: somebody refers to it
}

const (
	blobColumns   = `key, sha256, size, created_at, dead_at`
	sqlLiveBlob   = `SELECT ` + blobColumns + ` FROM blobs WHERE sha256 = $1 AND size = $2 AND dead_at = 0`
	sqlDeadBlobs  = `SELECT ` + blobColumns + ` FROM blobs WHERE dead_at > 0 ORDER BY dead_at LIMIT $1`
	sqlBlobKeys   = `SELECT key FROM blobs WHERE key IN ($1)`
	sqlInsertBlob = `INSERT INTO blobs (` + blobColumns + `) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (sha256, size) WHERE dead_at = 0 DO NOTHING`
	sqlLockBlob = `SELECT ` + blobColumns + ` FROM blobs WHERE key = $1`
	sqlKillBlob = `UPDATE blobs SET dead_at = $2 WHERE key = $1 AND dead_at = 0
		AND NOT EXISTS (SELECT 1 FROM artifacts WHERE blob <> '' AND blob = $1)
		AND NOT EXISTS (SELECT 1 FROM cache_entries WHERE blob <> '' AND blob = $1)`
	sqlDeleteBlob  = `DELETE FROM blobs WHERE key = $1 AND dead_at > 0`
	sqlUsage       = `SELECT bytes FROM artifact_usage WHERE organization_id = $1`
	sqlChangeUsage = `INSERT INTO artifact_usage (organization_id, bytes) VALUES ($1, $2)
		ON CONFLICT (organization_id) DO UPDATE SET bytes = artifact_usage.bytes + excluded.bytes`
)

func scanBlob(s scanner) (b Blob, err error) {
	return b, s.Scan(&b.Key, &b.SHA256, &b.Size, instant{&b.CreatedAt}, instant{&b.DeadAt})
}

// LiveBlob returns the blob with some content that somebody refers to.
func (r Reader) LiveBlob(ctx context.Context, sha256 string, size int64) (Blob, error) {
	return one(ctx, r.q, scanBlob, sqlLiveBlob, sha256, size)
}

// DeadBlobs returns blobs that nobody refers to, those that died first before others.
func (r Reader) DeadBlobs(ctx context.Context, limit int) ([]Blob, error) {
	return list(ctx, r.q, scanBlob, sqlDeadBlobs, limit)
}

// KnownBlobs returns those of some keys that are blobs, dead or not.
func (r Reader) KnownBlobs(ctx context.Context, keys []string) (map[string]bool, error) {
	found, err := many(ctx, r.q, scanString, sqlBlobKeys, keys)
	known := make(map[string]bool, len(found))
	for _, key := range found {
		known[key] = true
	}
	return known, err
}

// ArtifactUsage is how many bytes an organization's artifacts have in the server's own storage.
func (r Reader) ArtifactUsage(ctx context.Context, organizationID string) (int64, error) {
	bytes, err := one(ctx, r.q, scanInt, sqlUsage, organizationID)
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	return bytes, err
}

// LockLiveBlob is LiveBlob that keeps others from killing the blob until the transaction ends.
func (tx *Tx) LockLiveBlob(ctx context.Context, sha256 string, size int64) (Blob, error) {
	return one(ctx, tx.q, scanBlob, sqlLiveBlob+tx.forUpdate, sha256, size)
}

// InsertBlob adds a blob, unless there is a live one with its content.
func (tx *Tx) InsertBlob(ctx context.Context, b Blob) (added bool, err error) {
	n, err := count(ctx, tx.q, sqlInsertBlob, b.Key, b.SHA256, b.Size, micros(b.CreatedAt), micros(b.DeadAt))
	return n > 0, err
}

// KillBlob records that nobody refers to a blob, if nobody does.
func (tx *Tx) KillBlob(ctx context.Context, key string, now time.Time) error {
	// An artifact that begins to refer to it holds this lock until it does.
	if _, err := one(ctx, tx.q, scanBlob, sqlLockBlob+tx.forUpdate, key); err != nil {
		return err
	}
	_, err := count(ctx, tx.q, sqlKillBlob, key, micros(now))
	return err
}

// DeleteBlob forgets a dead blob.
func (tx *Tx) DeleteBlob(ctx context.Context, key string) error {
	return exec(ctx, tx.q, sqlDeleteBlob, key)
}

// ChangeArtifactUsage adds to the bytes that an organization's artifacts have, or takes some away.
func (tx *Tx) ChangeArtifactUsage(ctx context.Context, organizationID string, bytes int64) error {
	return exec(ctx, tx.q, sqlChangeUsage, organizationID, bytes)
}

const (
	sqlMarkStorage = `INSERT INTO storage_mark (id, name) VALUES (1, $1) ON CONFLICT (id) DO NOTHING`
	sqlStorageMark = `SELECT name FROM storage_mark`
)

// MarkStorage records the name of the object that marks the storage of blobs, unless one is recorded.
func (tx *Tx) MarkStorage(ctx context.Context, name string) error {
	_, err := count(ctx, tx.q, sqlMarkStorage, name)
	return err
}

// StorageMark returns the name of the object that marks the storage of blobs; ErrNotFound if none is recorded.
func (r Reader) StorageMark(ctx context.Context) (string, error) {
	return one(ctx, r.q, scanString, sqlStorageMark)
}
