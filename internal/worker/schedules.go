package worker

import (
	"context"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/loop"
	"github.com/slipway-ci/slipway/internal/store"
)

// Schedules makes the builds of schedules whose time has come.
func Schedules(e *engine.Engine) func(context.Context) (bool, error) {
	rows := &loop.Rows[store.Schedule]{Batch: batch, ID: func(s store.Schedule) string { return s.ID }}
	return func(ctx context.Context) (bool, error) {
		return rows.Each(func(n int) ([]store.Schedule, error) { return e.Store.DueSchedules(ctx, e.Now(), n) },
			func(s store.Schedule) error { return e.FireSchedule(ctx, s.ID) })
	}
}
