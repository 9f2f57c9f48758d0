package loop_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slipway-ci/slipway/internal/loop"
)

func TestLoopRunsOnItsTimerAndWhenWoken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var passes atomic.Int64
		wake := make(chan struct{}, 1)
		l := &loop.Loop{
			Name: "test", Every: time.Minute, Wake: wake, Log: slog.New(slog.DiscardHandler),
			Pass: func(context.Context) (bool, error) { passes.Add(1); return false, nil },
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { l.Run(ctx) })
		want := func(n int64) {
			t.Helper()
			synctest.Wait()
			if got := passes.Load(); got != n {
				t.Fatalf("%d passes, want %d", got, n)
			}
		}
		want(1)
		wake <- struct{}{}
		want(2)
		time.Sleep(time.Minute)
		want(3)
		cancel()
		wg.Wait()
	})
}

func TestLoopGoesOnAfterAFailureAndWhileThereIsMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := 0
		l := &loop.Loop{
			Name: "test", Every: time.Hour, Log: slog.New(slog.DiscardHandler),
			Pass: func(context.Context) (bool, error) {
				n++
				if n == 4 {
					return true, errors.New("broken")
				}
				return n < 10, nil
			},
		}
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Minute)
		defer cancel()
		l.Run(ctx)
		if n != 10 {
			t.Errorf("%d passes, want 10: four, one of them failed, and six after the timer", n)
		}
	})
}
