package agentapi_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/slipway-ci/slipway/internal/agentapi"
	"github.com/slipway-ci/slipway/internal/store/storetest"
)

// lookups lets statements that look an agent up by its token stand still, and counts those that do.
type lookups struct {
	mu      sync.Mutex
	changed *sync.Cond
	halted  bool
	inside  int
	most    int
}

func (l *lookups) trace(statement string) {
	if !strings.Contains(statement, "token_hash = $1") || !strings.Contains(statement, "FROM agents") {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inside++
	l.most = max(l.most, l.inside)
	l.changed.Broadcast()
	for l.halted {
		l.changed.Wait()
	}
	l.inside--
}

func (l *lookups) halt(halted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.halted = halted
	l.changed.Broadcast()
}

// reach returns when so many stand still.
func (l *lookups) reach(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.inside < n {
		l.changed.Wait()
	}
}

// TestAFleetThatAsksAtOnceLeavesRoomForOthers: when a server comes back, its agents open their streams or ping all at once. They take
// turns, so that what a job sends is served meanwhile; and each gets its turn.
func TestAFleetThatAsksAtOnceLeavesRoomForOthers(t *testing.T) {
	t.Parallel()
	o := storetest.SQLite(t)
	l := &lookups{}
	l.changed = sync.NewCond(&l.mu)
	o.Trace = l.trace
	w := newWorldOn(t, o)
	job := w.running()
	fleet := w.fleet(4 * agentapi.TurnsAtOnce)
	l.halt(true)
	var all sync.WaitGroup
	for i, a := range fleet {
		if i%2 == 0 {
			all.Go(func() { closeAfter(t, openBare(t, w, a.AccessToken, a.ID)) })
			continue
		}
		all.Go(func() { must(w.client(a.AccessToken).Ping(context.Background()))(t) })
	}
	within(t, "the first are looked up", func() { l.reach(agentapi.TurnsAtOnce) })
	if a := w.do(job.Token, "GET", "/v3/jobs/"+job.job.ID, ""); a.status != 200 {
		t.Errorf("a job asks meanwhile: %+v", a)
	}
	l.halt(false)
	within(t, "all were served", all.Wait)
	if l.most > agentapi.TurnsAtOnce {
		t.Errorf("%d were looked up at the same time, not %d", l.most, agentapi.TurnsAtOnce)
	}
}
