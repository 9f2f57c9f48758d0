package worker

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// Relay carries out what the outbox holds: at least once, each kind by its own deliverer. An effect
// that fails is tried again later and later, and given up after maxDeliveries.
type Relay struct {
	Engine  *engine.Engine
	Log     *slog.Logger
	Deliver map[string]func(ctx context.Context, e store.Effect) error // by kind
}

const (
	maxDeliveries = 12
	firstDelay    = 10 * time.Second
	lastDelay     = time.Hour
	deliverTerm   = 20 * time.Second // of one attempt
)

// errUnknownKind says that this version of the program does not know what to do.
var errUnknownKind = errors.New("nobody delivers effects of this kind")

// Pass delivers what is due, oldest first.
func (r *Relay) Pass(ctx context.Context) (bool, error) {
	due, err := r.Engine.Store.DueEffects(ctx, r.Engine.Now(), batch)
	return each(due, err, func(e store.Effect) error { return r.effect(ctx, e) })
}

func (r *Relay) effect(ctx context.Context, e store.Effect) error {
	failed := r.deliver(ctx, e)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if failed == nil {
		return r.Engine.EffectDone(ctx, e.ID)
	}
	if e.Attempts+1 >= maxDeliveries {
		r.Log.ErrorContext(ctx, "effect given up", "kind", e.Kind, "target", e.Target, "attempts", e.Attempts+1, "err", failed)
		return r.Engine.EffectDone(ctx, e.ID)
	}
	return r.Engine.DelayEffect(ctx, e.ID, failed.Error(), r.Engine.Now().Add(delay(e.Attempts)))
}

func (r *Relay) deliver(ctx context.Context, e store.Effect) error {
	deliver, ok := r.Deliver[e.Kind]
	if !ok {
		return errUnknownKind
	}
	ctx, cancel := context.WithTimeout(ctx, deliverTerm)
	defer cancel()
	return deliver(ctx, e)
}

// delay is how long to wait after so many failures.
func delay(attempts int) time.Duration {
	return min(firstDelay<<min(attempts, 16), lastDelay)
}
