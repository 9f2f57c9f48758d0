package engine

import (
	"context"
	"errors"

	"github.com/slipway-ci/slipway/internal/store"
)

// SaveCache begins an entry that nobody finds before it is committed. Asked again, it begins another one.
func (e *Engine) SaveCache(ctx context.Context, c Cache, blobs []store.CacheBlob, platform string) (store.CacheEntry, error) {
	var v store.CacheEntry
	s, err := e.cacheSpace(ctx, c)
	if err == nil {
		err = errors.Join(checkCache(c), checkBlobs(s.store, blobs, platform))
	}
	if err != nil {
		return v, err
	}
	all := s.addresses(s.own, c)
	now := e.Now()
	v = store.CacheEntry{
		ID: e.NewID(), OrganizationID: s.accepted.Organization.ID, JobID: c.JobID, Store: s.store,
		Address: all[len(all)-1], Prefixes: all, CreatedAt: now, UsedAt: now,
		Spec: store.CacheSpec{TargetPaths: c.TargetPaths, Key: c.Key, Blobs: blobs, Platform: platform},
	}
	for _, b := range blobs {
		v.Size += b.Size
	}
	return v, e.Store.Update(ctx, func(tx *store.Tx) error {
		if err := e.roomForCache(ctx, tx, v, s.own == ""); err != nil {
			return err
		}
		return tx.InsertCacheEntry(ctx, v)
	})
}

// checkBlobs takes no other sum than SHA-256: agents do not check others, and whoever can write to their
// store could then change what a trusted build restores (internal/cache/digest.go of buildkite-agent v3.138.1).
func checkBlobs(kind string, blobs []store.CacheBlob, platform string) error {
	if len(blobs) == 0 || len(blobs) > maxCacheBlobs || kind == store.CacheServer && len(blobs) > 1 {
		return refuse(Invalid, "A cache has 1 to %d blobs, and one in the server's own storage; this one has %d.", maxCacheBlobs, len(blobs))
	}
	for _, b := range blobs {
		switch {
		case b.Digest.Algorithm != "sha256" || !sha256Text.MatchString(b.Digest.Value):
			return refuse(Invalid, "A blob's digest is sha256 with 64 lower-case hexadecimal digits; this one is %.100q.", b.Digest.Algorithm+" "+b.Digest.Value)
		case b.Size < 0 || b.Size > maxFileMiB<<20:
			return refuse(Invalid, "A blob has 0 to %d bytes; this one has %d.", int64(maxFileMiB)<<20, b.Size)
		case len(b.Compression) > 100 || len(platform) > 100:
			return refuse(Invalid, "compression and platform have 100 bytes at most.")
		}
	}
	return nil
}

// roomForCache takes away what was not used for longest until an entry fits. For the entry of a stranger's
// code it takes nothing away: that must not push out what others use.
func (e *Engine) roomForCache(ctx context.Context, tx *store.Tx, v store.CacheEntry, push bool) error {
	org, err := tx.LockOrganization(ctx, v.OrganizationID)
	if err != nil {
		return err
	}
	l, err := SettingsOf(org)
	if err != nil {
		return err
	}
	own := int64(0)
	if v.Store == store.CacheServer {
		own = v.Size
	}
	if over(own, l.MaxCacheMiB) || over(own, l.MaxCacheMiBInTotal) {
		return refuse(Forbidden, "The cache has %d bytes; this organization's limits are %d MiB a cache (max_cache_mib) and %d MiB in total (max_cache_mib_in_total).", own, l.MaxCacheMiB, l.MaxCacheMiBInTotal)
	}
	limit := 0
	if push {
		limit = maxPushedOut
	}
	fits, err := e.pushOut(ctx, tx, org.ID, l, 1, own, limit)
	if err == nil && !fits {
		err = refuse(Forbidden, "There is no room for another cache now (max_cache_mib_in_total is %d).", l.MaxCacheMiBInTotal)
	}
	return err
}

// maxPushedOut is how many entries make room for one. More are in the way only after a limit was lowered, and
// go in passes.
const maxPushedOut = 200

// pushOut takes away what was not used for longest, limit entries at most, until there is room for so many
// entries and bytes more. It reports whether there is.
func (e *Engine) pushOut(ctx context.Context, tx *store.Tx, organizationID string, l Settings, moreEntries, moreBytes int64, limit int) (bool, error) {
	entries, bytes, err := tx.CacheTotals(ctx, organizationID)
	if err != nil {
		return false, err
	}
	for ; entries+moreEntries > maxCaches || over(bytes+moreBytes, l.MaxCacheMiBInTotal); limit-- {
		if limit == 0 {
			return false, nil
		}
		kind := ""
		if entries+moreEntries <= maxCaches {
			kind = store.CacheServer
		}
		old, err := tx.OldestCacheEntry(ctx, organizationID, kind)
		if err != nil {
			return false, err
		}
		if err := e.dropCache(ctx, tx, old); err != nil {
			return false, err
		}
		if entries--; old.Store == store.CacheServer {
			bytes -= old.Size
		}
	}
	return true, nil
}

// TrimCaches takes away an organization's caches that are beyond its limits, some of them at a time, and
// reports whether there are more.
func (e *Engine) TrimCaches(ctx context.Context, organizationID string) (more bool, err error) {
	err = e.Store.Update(ctx, func(tx *store.Tx) error {
		org, err := tx.LockOrganization(ctx, organizationID)
		if err != nil {
			return err
		}
		l, err := SettingsOf(org)
		if err != nil {
			return err
		}
		fits, err := e.pushOut(ctx, tx, org.ID, l, 0, 0, maxPushedOut)
		more = !fits
		return err
	})
	return more, err
}

// lockCacheEntry keeps other changes of the organization's caches out: one may take away several, and count each.
func lockCacheEntry(ctx context.Context, tx *store.Tx, id string) (store.CacheEntry, error) {
	v, err := tx.CacheEntry(ctx, id)
	if err != nil {
		return v, err
	}
	if _, err := tx.LockOrganization(ctx, v.OrganizationID); err != nil {
		return v, err
	}
	return tx.LockCacheEntry(ctx, id)
}

// dropCache forgets an entry, and lets go of its bytes. Those that agents keep are theirs to delete.
func (e *Engine) dropCache(ctx context.Context, tx *store.Tx, v store.CacheEntry) error {
	if err := tx.DeleteCacheEntry(ctx, v.ID); err != nil || v.Blob == "" {
		return err
	}
	return tx.KillBlob(ctx, v.Blob, e.Now())
}

// CacheArrived is ArtifactArrived for the bytes of a cache entry.
func (e *Engine) CacheArrived(ctx context.Context, id, key string) (used string, err error) {
	err = e.Store.Update(ctx, func(tx *store.Tx) error {
		v, err := lockCacheEntry(ctx, tx, id)
		if err != nil {
			return missing(err, "The cache entry is gone.")
		}
		if used = v.Blob; used != "" {
			return nil
		}
		blob := v.Spec.Blobs[0]
		if used, err = e.blobFor(ctx, tx, store.Artifact{Path: "cache", SHA256: blob.Digest.Value, Size: blob.Size}, key); err != nil {
			return err
		}
		return tx.SetCacheBlob(ctx, id, used)
	})
	return used, err
}

// CommitCache lets the entry be found that a job began, in place of the one that was at its address.
// Committing it again changes nothing.
func (e *Engine) CommitCache(ctx context.Context, jobID, id string) error {
	err := e.Store.Update(ctx, e.commitCache(ctx, jobID, id))
	if errors.Is(err, store.ErrConflict) { // another job's was first: now it is seen
		err = e.Store.Update(ctx, e.commitCache(ctx, jobID, id))
	}
	return err
}

func (e *Engine) commitCache(ctx context.Context, jobID, id string) func(*store.Tx) error {
	return func(tx *store.Tx) error {
		v, err := lockCacheEntry(ctx, tx, id)
		if err == nil && v.JobID != jobID {
			err = store.ErrNotFound
		}
		switch {
		case err != nil:
			return missing(err, "The job has begun no upload %q of a cache.", id)
		case !v.CommittedAt.IsZero():
			return nil
		case v.Store == store.CacheServer && v.Blob == "":
			return refuse(Conflict, "The cache's bytes have not arrived.")
		}
		old, err := tx.CacheEntryAt(ctx, v.Address)
		if err == nil {
			err = e.dropCache(ctx, tx, old)
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return tx.CommitCacheEntry(ctx, id, e.Now())
	}
}

// ExpireCache takes away the entry with exactly a key, so that it is saved anew. None is fine. A stranger's
// code may expire only what such code saved.
func (e *Engine) ExpireCache(ctx context.Context, c Cache) error {
	s, err := e.cacheSpace(ctx, c)
	if err == nil {
		err = checkCache(c)
	}
	if err != nil {
		return err
	}
	all := s.addresses(s.own, c)
	err = e.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.LockOrganization(ctx, s.accepted.Organization.ID); err != nil {
			return err
		}
		v, err := tx.CacheEntryAt(ctx, all[len(all)-1])
		if err != nil {
			return err
		}
		return e.dropCache(ctx, tx, v)
	})
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if _, err := e.exactCache(ctx, s, c); err == nil {
		return refuse(Forbidden, "The build's commit was only approved: it may not take away a cache that trusted builds saved.")
	}
	return nil
}

// DropUnusedCache takes away an entry that was found not to have been used for long, or not to have been
// committed, unless it has been since.
func (e *Engine) DropUnusedCache(ctx context.Context, seen store.CacheEntry) error {
	err := e.Store.Update(ctx, func(tx *store.Tx) error {
		v, err := lockCacheEntry(ctx, tx, seen.ID)
		if err != nil || !v.UsedAt.Equal(seen.UsedAt) || !v.CommittedAt.Equal(seen.CommittedAt) {
			return err
		}
		return e.dropCache(ctx, tx, v)
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}
