package engine

import (
	"context"
	"time"

	"github.com/slipway-ci/slipway/internal/store"
)

// EffectDone removes an effect that was carried out. One that was replaced meanwhile stays.
func (e *Engine) EffectDone(ctx context.Context, id string) error {
	return e.Store.Update(ctx, func(tx *store.Tx) error { return tx.EffectDone(ctx, id) })
}

// DelayEffect puts an effect off that could not be carried out.
func (e *Engine) DelayEffect(ctx context.Context, id, cause string, next time.Time) error {
	return e.Store.Update(ctx, func(tx *store.Tx) error { return tx.DelayEffect(ctx, id, cause, next) })
}

// ClaimEffect takes an effect that was due at a time for delivery until another; false means that
// somebody else has it.
func (e *Engine) ClaimEffect(ctx context.Context, f store.Effect, until time.Time) (claimed bool, err error) {
	err = e.Store.Update(ctx, func(tx *store.Tx) (err error) {
		claimed, err = tx.ClaimEffect(ctx, f, until)
		return err
	})
	return claimed, err
}
