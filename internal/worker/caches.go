package worker

import (
	"context"
	"errors"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/loop"
	"github.com/slipway-ci/slipway/internal/store"
)

func cacheRows() *loop.Rows[store.CacheEntry] {
	return &loop.Rows[store.CacheEntry]{Batch: batch, ID: func(v store.CacheEntry) string { return v.ID }}
}

// ExpireCaches takes away the caches that nobody used for as long as their organization keeps them, and
// those that were begun and never committed, and what is beyond the organization's limits.
func ExpireCaches(e *engine.Engine) func(context.Context) (bool, error) {
	opened, unused := cacheRows(), cacheRows()
	return func(ctx context.Context) (bool, error) {
		drop := func(v store.CacheEntry) error { return e.DropUnusedCache(ctx, v) }
		more, err := opened.Each(func(n int) ([]store.CacheEntry, error) {
			return e.Store.OpenCacheEntries(ctx, e.Now().Add(-engine.CacheUploadTerm), n)
		}, drop)
		again, failed := ofEach(ctx, e, func(o store.Organization) (bool, error) {
			decided, err := engine.SettingsOf(o)
			if err != nil {
				return false, err
			}
			more, err := unused.Each(func(n int) ([]store.CacheEntry, error) {
				return e.Store.UnusedCacheEntries(ctx, o.ID, e.Now().AddDate(0, 0, -decided.CacheRetentionDays), n)
			}, drop)
			beyond, failed := e.TrimCaches(ctx, o.ID)
			return more || beyond, errors.Join(err, failed)
		})
		return more || again, errors.Join(err, failed)
	}
}
