package worker

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// Relay carries out what the outbox holds: at least once, each kind by its own deliverer. An effect
// that fails is tried again later and later, and given up after maxDeliveries.
//
// Each lane (a host, a service) is worked off by few deliveries at a time, and no lane waits for
// another: a host that hangs holds up what goes to it alone. A delivery claims its effect first; one
// that dies with the server is made again when the claim has run out.
type Relay struct {
	Engine  *engine.Engine
	Log     *slog.Logger
	Deliver map[string]func(ctx context.Context, e store.Effect) error // by kind

	mu    sync.Mutex
	busy  map[string]int // deliverers at work by lane
	total int
	work  sync.WaitGroup
}

const (
	maxDeliveries = 12
	firstDelay    = 10 * time.Second
	lastDelay     = time.Hour
	deliverTerm   = 20 * time.Second // of one attempt
	claimTerm     = 30 * time.Second // longer than an attempt takes
	laneLimit     = 4                // deliverers of one lane
	totalLimit    = 256              // deliverers of all lanes
	maxLanes      = 1000             // looked at by one pass
	maxStuck      = 1000             // effects that a deliverer goes round
)

// errUnknownKind says that this version of the program does not know what to do.
var errUnknownKind = errors.New("nobody delivers effects of this kind")

// permanent is a failure that another try would not mend: the effect is given up at once.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// Pass sets deliverers to work on the lanes in which something is due. It does not wait for them; they
// end with ctx or when nothing is due in their lane.
func (r *Relay) Pass(ctx context.Context) (bool, error) {
	lanes, err := r.Engine.Store.DueLanes(ctx, r.Engine.Now(), maxLanes)
	for _, lane := range lanes {
		err = errors.Join(err, r.attend(ctx, lane))
	}
	return false, err
}

// attend sets as many deliverers to work on a lane as there are effects due, as far as there is room.
func (r *Relay) attend(ctx context.Context, lane string) error {
	due, err := r.Engine.Store.DueEffects(ctx, lane, r.Engine.Now(), laneLimit)
	for range due {
		if !r.enter(lane) {
			break
		}
		r.work.Go(func() {
			defer r.leave(lane)
			if err := r.drain(ctx, lane); err != nil && ctx.Err() == nil {
				r.Log.ErrorContext(ctx, "relay", "lane", lane, "err", err)
			}
		})
	}
	return err
}

// Wait returns when no deliverer is at work.
func (r *Relay) Wait() { r.work.Wait() }

func (r *Relay) enter(lane string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy == nil {
		r.busy = map[string]int{}
	}
	if r.busy[lane] >= laneLimit || r.total >= totalLimit {
		return false
	}
	r.busy[lane]++
	r.total++
	return true
}

func (r *Relay) leave(lane string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total--
	if r.busy[lane]--; r.busy[lane] == 0 {
		delete(r.busy, lane)
	}
}

// drain delivers what is due in a lane, one after the other, until nothing is. What cannot be claimed, or taken off the list, does not
// keep what is behind it waiting.
func (r *Relay) drain(ctx context.Context, lane string) (failed error) {
	stuck := map[string]bool{}
	for {
		due, err := r.Engine.Store.DueEffects(ctx, lane, r.Engine.Now(), laneLimit+len(stuck))
		due = slices.DeleteFunc(due, func(e store.Effect) bool { return stuck[e.ID] })
		if err != nil || len(due) == 0 || len(stuck) > maxStuck || ctx.Err() != nil {
			return errors.Join(failed, err)
		}
		for _, e := range due {
			claimed, err := r.Engine.ClaimEffect(ctx, e, r.Engine.Now().Add(claimTerm))
			if claimed { // else another deliverer of the lane has it
				err = errors.Join(err, r.effect(ctx, e))
			}
			if err != nil {
				stuck[e.ID], failed = true, errors.Join(failed, err)
			}
		}
	}
}

func (r *Relay) effect(ctx context.Context, e store.Effect) error {
	failed := r.deliver(ctx, e)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if failed == nil {
		return r.Engine.EffectDone(ctx, e.ID)
	}
	if _, ok := errors.AsType[permanent](failed); ok || e.Attempts+1 >= maxDeliveries {
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
