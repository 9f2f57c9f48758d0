package worker

import (
	"context"
	"errors"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// ExpireCaches takes away the caches that nobody used for as long as their organization keeps them, and
// those that were begun and never committed, and what is beyond the organization's limits.
func ExpireCaches(e *engine.Engine) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		drop := func(v store.CacheEntry) error { return e.DropUnusedCache(ctx, v) }
		open, err := e.Store.OpenCacheEntries(ctx, e.Now().Add(-engine.CacheUploadTerm), batch)
		more, err := each(open, err, drop)
		again, failed := ofEach(ctx, e, func(o store.Organization) (bool, error) {
			decided, err := engine.SettingsOf(o)
			if err != nil {
				return false, err
			}
			unused, err := e.Store.UnusedCacheEntries(ctx, o.ID, e.Now().AddDate(0, 0, -decided.CacheRetentionDays), batch)
			more, err := each(unused, err, drop)
			beyond, failed := e.TrimCaches(ctx, o.ID)
			return more || beyond, errors.Join(err, failed)
		})
		return more || again, errors.Join(err, failed)
	}
}
