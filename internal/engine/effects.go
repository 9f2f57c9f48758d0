package engine

import (
	"context"
	"time"

	"github.com/slipway-ci/slipway/internal/condition"
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

// NotifyHolds says whether a notification's condition holds for a build as it is. An empty one
// does; one that cannot be read or decided does not.
func NotifyHolds(src string, org store.Organization, pl store.Pipeline, b store.Build) bool {
	if src == "" {
		return true
	}
	x, err := condition.Parse(src)
	if err != nil || x.Check(condition.BuildNotify) != nil {
		return false
	}
	env := conditionEnv(org, pl, b)
	env.Vars["build.state"] = condition.String(string(b.State))
	holds, err := x.Eval(env)
	return err == nil && holds
}
