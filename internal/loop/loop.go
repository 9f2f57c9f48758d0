// Package loop runs a pass again and again: on a timer, and sooner when woken.
//
// A wake-up may be lost and wakes coalesce; the timer is what correctness rests on. Passes of one
// loop never overlap. Run returns only when the pass under way has.
//
// Where several servers are on one database each runs every loop. No loop is led by one of them: what a pass does to a row
// is checked again under the row's lock, or claimed, so a second runner finds nothing left, and a server that dies is
// replaced at once (docs/adr/0030-every-server-runs-every-pass.md).
package loop

import (
	"context"
	"log/slog"
	"time"
)

// Loop is one background duty.
type Loop struct {
	Name  string
	Every time.Duration
	Wake  <-chan struct{} // nil: the timer alone
	// Pass does a bounded amount of work and may be ended anywhere. It reports true if there was
	// more to do, in which case it is run again at once.
	Pass func(ctx context.Context) (more bool, err error)
	Log  *slog.Logger
}

// Run runs passes until ctx is done. A pass that fails is logged and tried again in its turn.
func (l *Loop) Run(ctx context.Context) {
	tick := time.NewTicker(l.Every)
	defer tick.Stop()
	for {
		more, err := l.Pass(ctx)
		if err != nil && ctx.Err() == nil {
			l.Log.ErrorContext(ctx, "pass", "loop", l.Name, "err", err)
			more = false
		}
		if more && ctx.Err() == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-l.Wake:
		}
	}
}
