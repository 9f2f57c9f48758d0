package restapi

import (
	"sync"
	"time"

	"github.com/slipway-ci/slipway/internal/store"
)

// manyOpen is from how many open builds of an organization on what its pipelines have to do may be told a
// little late. To count it is to read each of those builds, and every build that is shown tells it: told at
// once, ten thousand builds made together would be read fifty million times.
const manyOpen = 200

// loads remembers what pipelines have to do where that takes long to count, for ten times as long as it took:
// a tenth of one processor goes into counting, however many ask.
type loads struct {
	mu sync.Mutex
	of map[string]*countedLoads // by organization
}

type countedLoads struct {
	loads    map[string]store.Load
	until    time.Time
	renewing bool // somebody counts; others take what is known
}

// known returns what is remembered, if that is good enough. Otherwise the caller counts, and tells renew.
func (l *loads) known(organizationID string, now time.Time) (map[string]store.Load, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.of[organizationID]
	if c == nil {
		return nil, false
	}
	if !c.renewing && !now.Before(c.until) {
		c.renewing = true
		return nil, false
	}
	return c.loads, true
}

// renew remembers a count that took from one time to another; a failed one is nil.
func (l *loads) renew(organizationID string, counted map[string]store.Load, from, to time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	open := 0
	for _, load := range counted {
		for _, n := range load.Builds {
			open += n
		}
	}
	if open < manyOpen {
		delete(l.of, organizationID)
		return
	}
	if l.of == nil {
		l.of = map[string]*countedLoads{}
	}
	l.of[organizationID] = &countedLoads{loads: counted, until: to.Add(10 * to.Sub(from))}
}

// pipelineLoads returns what the organization's pipelines have to do, by pipeline.
func (q *request) pipelineLoads() (map[string]store.Load, error) {
	from := time.Now()
	if known, ok := q.loads.known(q.org.ID, from); ok {
		return known, nil
	}
	counted, err := q.Store.Loads(q.ctx, q.org.ID)
	q.loads.renew(q.org.ID, counted, from, time.Now())
	return counted, err
}
