package live

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Wire carries topics between servers. It may lose them.
type Wire interface {
	SendHints(ctx context.Context, topics []string) error
	// HearHints calls hear with what other servers sent until ctx is done or the wire fails.
	HearHints(ctx context.Context, hear func(topics []string)) error
}

// Bounds of what is sent. A topic that is hinted at again and again is sent once in a while; of very many some are lost.
const (
	sendRest   = 5 * time.Millisecond
	maxWaiting = 10_000
	wireRest   = time.Second // after the wire failed
)

// Join carries hints to and from other servers until ctx is done. A failing wire is tried again; what was to be sent meanwhile is lost.
func (h *Hub) Join(ctx context.Context, w Wire, log *slog.Logger) {
	h.mu.Lock()
	h.waiting, h.send = map[string]struct{}{}, make(chan struct{}, 1)
	h.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { h.hear(ctx, w, log) })
	h.sendAll(ctx, w, log)
	wg.Wait()
}

func (h *Hub) hear(ctx context.Context, w Wire, log *slog.Logger) {
	for ctx.Err() == nil {
		err := w.HearHints(ctx, func(topics []string) {
			if h.Deaf.Load() {
				return
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			h.wake(topics)
		})
		if ctx.Err() == nil {
			log.Warn("hints of other servers are not heard; timers do their work meanwhile", "err", err)
			rest(ctx, wireRest)
		}
	}
}

func (h *Hub) sendAll(ctx context.Context, w Wire, log *slog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.send:
		}
		if err := w.SendHints(ctx, h.take()); err != nil && ctx.Err() == nil {
			log.Warn("hints did not reach other servers; timers do their work meanwhile", "err", err)
			rest(ctx, wireRest)
			h.take()
		}
		rest(ctx, sendRest)
	}
}

// take returns the topics that wait to be sent.
func (h *Hub) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	topics := make([]string, 0, len(h.waiting))
	for t := range h.waiting {
		topics = append(topics, t)
	}
	clear(h.waiting)
	return topics
}

func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
