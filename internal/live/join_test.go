package live_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/live"
)

// wire joins the hubs of one process, once it has failed as often as broken says.
type wire struct {
	mu     sync.Mutex
	hear   []func([]string)
	broken int
	sent   [][]string
}

func (w *wire) SendHints(_ context.Context, topics []string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.Sort(topics)
	w.sent = append(w.sent, topics)
	for _, hear := range w.hear {
		hear(topics)
	}
	return nil
}

func (w *wire) HearHints(ctx context.Context, hear func([]string)) error {
	w.mu.Lock()
	if w.broken > 0 {
		w.broken--
		w.mu.Unlock()
		return errors.New("broken")
	}
	w.hear = append(w.hear, hear)
	w.mu.Unlock()
	<-ctx.Done()
	return ctx.Err()
}

// joined runs test with two hubs on one wire. What a hub sends reaches it too, which no real wire does.
func joined(t *testing.T, w *wire, test func(a, b *live.Hub)) {
	synctest.Test(t, func(t *testing.T) {
		var a, b live.Hub
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for _, h := range []*live.Hub{&a, &b} {
			wg.Go(func() { h.Join(ctx, w, slog.New(slog.DiscardHandler)) })
		}
		time.Sleep(time.Minute) // in the bubble: until the wire no longer fails
		test(&a, &b)
		cancel()
		wg.Wait()
	})
}

func TestHintsReachOtherServersTogether(t *testing.T) {
	t.Parallel()
	w := &wire{broken: 3}
	joined(t, w, func(a, b *live.Hub) {
		sub := b.Subscribe(live.Build("x"))
		defer sub.Close()
		for range 100 {
			a.Publish(live.Build("x"), live.Assign)
		}
		<-sub.C
		<-time.After(time.Second) // in the bubble
		w.mu.Lock()
		defer w.mu.Unlock()
		if n := len(w.sent); n == 0 || n > 2 {
			t.Errorf("100 hints were sent %d times", n)
		}
		if diff := cmp.Diff([]string{live.Assign, live.Build("x")}, w.sent[0]); diff != "" {
			t.Error(diff)
		}
	})
}

func TestHintsFromOthersAreNotSentOn(t *testing.T) {
	t.Parallel()
	w := &wire{}
	joined(t, w, func(_, b *live.Hub) {
		sub := b.Subscribe("x")
		defer sub.Close()
		w.mu.Lock()
		hear := w.hear
		w.mu.Unlock()
		for _, h := range hear {
			h([]string{"x"})
		}
		<-sub.C
		<-time.After(time.Second) // in the bubble
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.sent) != 0 {
			t.Errorf("sent %v", w.sent)
		}
	})
}
