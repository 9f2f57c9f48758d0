package agentapi

import (
	"sync"
	"time"
)

// maxRates bounds how many callers are counted in one second.
const maxRates = 10_000

// rates counts calls by the second. The zero value is ready.
type rates struct {
	mu     sync.Mutex
	second int64
	calls  map[string]int
}

// use counts a call and returns how many there were in this second, this one included. When more callers
// come than are counted, further ones count as their first.
func (r *rates) use(who string, now time.Time) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := now.Unix(); s != r.second || r.calls == nil {
		r.second, r.calls = s, map[string]int{}
	}
	if _, known := r.calls[who]; !known && len(r.calls) >= maxRates {
		return 1
	}
	r.calls[who]++
	return r.calls[who]
}
