package worker

import (
	"context"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// Schedules makes the builds of schedules whose time has come.
func Schedules(e *engine.Engine) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		due, err := e.Store.DueSchedules(ctx, e.Now(), batch)
		return each(due, err, func(s store.Schedule) error { return e.FireSchedule(ctx, s.ID) })
	}
}
