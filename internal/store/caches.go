package store

import (
	"context"
	"errors"
	"time"
)

// Where the bytes of a cache entry are.
const (
	CacheAgents = "agent_managed" // in a store that agents reach by themselves
	CacheServer = "server"        // in the server's own storage
)

// CacheEntry is a saved cache. It is found by its Address, or else by one of its prefixes; both are sums
// over everything that must be equal.
type CacheEntry struct {
	ID             string
	OrganizationID string
	JobID          string // of the job that saved it
	Store          string // CacheAgents or CacheServer
	Address        string
	Prefixes       []string // written, never read: sums of the first parts of the key, from one part to all
	Spec           CacheSpec
	Size           int64  // of all blobs
	Blob           string // key of the bytes in the server's own storage, once they were received and checked
	CreatedAt      time.Time
	CommittedAt    time.Time // zero: not found by anybody yet
	UsedAt         time.Time // when it was last found; at first CreatedAt
}

// CacheSpec is what a client said of an entry (api/cache.go of buildkite-agent v3.138.1).
type CacheSpec struct {
	TargetPaths []string    `json:"target_paths"`
	Key         []CachePart `json:"cache_key"`
	Blobs       []CacheBlob `json:"blobs"`
	Platform    string      `json:"platform"`
}

// CachePart is a part of a key. In a question, those that are not mandatory may differ.
type CachePart struct {
	Value     string `json:"value"`
	Mandatory bool   `json:"mandatory"`
}

// CacheBlob is the bytes of an entry.
type CacheBlob struct {
	Digest struct {
		Algorithm string `json:"algorithm"`
		Value     string `json:"value"`
	} `json:"digest"`
	Size        int64  `json:"file_size"`
	Compression string `json:"compression"`
}

const (
	cacheColumns  = `id, organization_id, job_id, store, address, spec, size, blob, created_at, committed_at, used_at`
	sqlCacheEntry = `SELECT ` + cacheColumns + ` FROM cache_entries WHERE id = $1`
	sqlCacheAt    = `SELECT ` + cacheColumns + ` FROM cache_entries WHERE address = $1 AND committed_at > 0`
	sqlCacheLike  = `SELECT id, organization_id, job_id, store, address, spec, size, blob, created_at, e.committed_at, used_at
		FROM cache_prefixes p JOIN cache_entries e ON e.id = p.entry_id
		WHERE p.prefix = $1 AND p.committed_at > 0 ORDER BY p.committed_at DESC LIMIT 1`
	sqlCacheTotals = `SELECT entries, bytes FROM cache_usage WHERE organization_id = $1`
	sqlCacheUsage  = `INSERT INTO cache_usage (organization_id, entries, bytes) VALUES ($1, $2, $3) ON CONFLICT (organization_id)
		DO UPDATE SET entries = cache_usage.entries + excluded.entries, bytes = cache_usage.bytes + excluded.bytes`
	sqlCacheUnused   = `SELECT ` + cacheColumns + ` FROM cache_entries WHERE organization_id = $1 AND used_at < $2 ORDER BY used_at LIMIT $3`
	sqlCacheOldest   = `SELECT ` + cacheColumns + ` FROM cache_entries WHERE organization_id = $1 ORDER BY used_at LIMIT 1`
	sqlCacheOldestOf = `SELECT ` + cacheColumns + ` FROM cache_entries WHERE organization_id = $1 AND store = $2 ORDER BY used_at LIMIT 1`
	sqlCacheOpen     = `SELECT ` + cacheColumns + ` FROM cache_entries WHERE committed_at = 0 AND created_at < $1 ORDER BY created_at LIMIT $2`
	sqlInsertCache   = `INSERT INTO cache_entries (` + cacheColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`
	sqlInsertLike    = `INSERT INTO cache_prefixes (prefix, entry_id) VALUES ($1, $2)`
	sqlCommitCache   = `UPDATE cache_entries SET committed_at = $2 WHERE id = $1`
	sqlCommitLike    = `UPDATE cache_prefixes SET committed_at = $2 WHERE entry_id = $1`
	sqlUseCache      = `UPDATE cache_entries SET used_at = $2 WHERE id = $1`
	sqlCacheBlob     = `UPDATE cache_entries SET blob = $2 WHERE id = $1`
	sqlDropCache     = `DELETE FROM cache_entries WHERE id = $1 RETURNING ` + cacheColumns
	sqlDropLike      = `DELETE FROM cache_prefixes WHERE entry_id = $1`
)

func scanCache(s scanner) (v CacheEntry, err error) {
	return v, s.Scan(&v.ID, &v.OrganizationID, &v.JobID, &v.Store, &v.Address, document{&v.Spec}, &v.Size, &v.Blob,
		instant{&v.CreatedAt}, instant{&v.CommittedAt}, instant{&v.UsedAt})
}

// CacheEntry returns the entry with an id, committed or not.
func (r Reader) CacheEntry(ctx context.Context, id string) (CacheEntry, error) {
	return one(ctx, r.q, scanCache, sqlCacheEntry, id)
}

// CacheEntryAt returns the committed entry with an address.
func (r Reader) CacheEntryAt(ctx context.Context, address string) (CacheEntry, error) {
	return one(ctx, r.q, scanCache, sqlCacheAt, address)
}

// CacheEntryLike returns the committed entry with a prefix that was saved last.
func (r Reader) CacheEntryLike(ctx context.Context, prefix string) (CacheEntry, error) {
	return one(ctx, r.q, scanCache, sqlCacheLike, prefix)
}

// CacheTotals counts an organization's entries, and their bytes in the server's own storage. Entries that
// are not committed yet count too.
func (r Reader) CacheTotals(ctx context.Context, organizationID string) (entries, bytes int64, err error) {
	type totals struct{ entries, bytes int64 }
	t, err := one(ctx, r.q, func(s scanner) (t totals, err error) { return t, s.Scan(&t.entries, &t.bytes) }, sqlCacheTotals, organizationID)
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return t.entries, t.bytes, err
}

// UnusedCacheEntries returns entries of an organization that were last used before a time, longest ago first.
func (r Reader) UnusedCacheEntries(ctx context.Context, organizationID string, before time.Time, limit int) ([]CacheEntry, error) {
	return list(ctx, r.q, scanCache, sqlCacheUnused, organizationID, micros(before), limit)
}

// OpenCacheEntries returns entries that were begun before a time and never committed.
func (r Reader) OpenCacheEntries(ctx context.Context, before time.Time, limit int) ([]CacheEntry, error) {
	return list(ctx, r.q, scanCache, sqlCacheOpen, micros(before), limit)
}

// OldestCacheEntry returns an organization's entry that was not used for longest, of one kind of store
// unless that is "".
func (r Reader) OldestCacheEntry(ctx context.Context, organizationID, kind string) (CacheEntry, error) {
	if kind == "" {
		return one(ctx, r.q, scanCache, sqlCacheOldest, organizationID)
	}
	return one(ctx, r.q, scanCache, sqlCacheOldestOf, organizationID, kind)
}

// LockCacheEntry is CacheEntry that keeps other changes out until the transaction ends.
func (tx *Tx) LockCacheEntry(ctx context.Context, id string) (CacheEntry, error) {
	return one(ctx, tx.q, scanCache, sqlCacheEntry+tx.forUpdate, id)
}

// countCache counts an entry that came, or one that went.
func (tx *Tx) countCache(ctx context.Context, v CacheEntry, n int64) error {
	bytes := int64(0)
	if v.Store == CacheServer {
		bytes = n * v.Size
	}
	return exec(ctx, tx.q, sqlCacheUsage, v.OrganizationID, n, bytes)
}

// InsertCacheEntry adds an entry with its prefixes.
func (tx *Tx) InsertCacheEntry(ctx context.Context, v CacheEntry) error {
	err := exec(ctx, tx.q, sqlInsertCache, v.ID, v.OrganizationID, v.JobID, v.Store, v.Address, text(v.Spec), v.Size, v.Blob,
		micros(v.CreatedAt), micros(v.CommittedAt), micros(v.UsedAt))
	for i := 0; i < len(v.Prefixes) && err == nil; i++ {
		err = exec(ctx, tx.q, sqlInsertLike, v.Prefixes[i], v.ID)
	}
	if err != nil {
		return err
	}
	return tx.countCache(ctx, v, 1)
}

// CommitCacheEntry lets an entry be found; ErrConflict if there is one at its address.
func (tx *Tx) CommitCacheEntry(ctx context.Context, id string, now time.Time) error {
	if err := exec(ctx, tx.q, sqlCommitCache, id, micros(now)); err != nil {
		return err
	}
	_, err := count(ctx, tx.q, sqlCommitLike, id, micros(now))
	return err
}

// CacheEntryUsed notes when an entry was last found.
func (tx *Tx) CacheEntryUsed(ctx context.Context, id string, now time.Time) error {
	return exec(ctx, tx.q, sqlUseCache, id, micros(now))
}

// SetCacheBlob records where an entry's bytes are.
func (tx *Tx) SetCacheBlob(ctx context.Context, id, key string) error {
	return exec(ctx, tx.q, sqlCacheBlob, id, key)
}

// DeleteCacheEntry removes an entry with its prefixes; none is fine.
func (tx *Tx) DeleteCacheEntry(ctx context.Context, id string) error {
	if _, err := count(ctx, tx.q, sqlDropLike, id); err != nil {
		return err
	}
	v, err := one(ctx, tx.q, scanCache, sqlDropCache, id)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return tx.countCache(ctx, v, -1)
}
