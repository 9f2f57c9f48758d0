package agentapi

import (
	"sync"
	"time"
)

// mostRecent is how many answers a recent has; with one more it forgets them all.
const mostRecent = 10_000

// recent remembers answers for a while, each under what was asked. Its zero value is ready for use, also by several goroutines.
type recent[V any] struct {
	mu    sync.Mutex
	known map[string]answer[V]
}

type answer[V any] struct {
	value V
	until time.Time
}

func (r *recent[V]) get(asked string, now time.Time) (V, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a, ok := r.known[asked]
	return a.value, ok && now.Before(a.until)
}

func (r *recent[V]) put(asked string, value V, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil || len(r.known) >= mostRecent {
		r.known = map[string]answer[V]{}
	}
	r.known[asked] = answer[V]{value, until}
}
