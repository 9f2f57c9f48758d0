package agent

import (
	"sync"
	"time"
)

// rest knows since when all workers of a process have been without a job, for
// --disconnect-after-idle-timeout: an agent that shares a machine with a busy
// one stays.
type rest struct {
	mu    sync.Mutex
	limit time.Duration // 0 means for ever
	busy  int
	since time.Time
}

func newRest(limit time.Duration) *rest { return &rest{limit: limit, since: time.Now()} }

func (r *rest) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busy++
}

func (r *rest) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busy--
	r.since = time.Now()
}

// left is how long the workers may still rest; false means without limit.
func (r *rest) left() (time.Duration, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.limit <= 0 {
		return 0, false
	}
	if r.busy > 0 {
		return r.limit, true
	}
	return time.Until(r.since.Add(r.limit)), true
}
