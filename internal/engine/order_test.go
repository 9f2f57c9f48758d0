package engine_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/store/storetest"
)

// Transactions that lock the same rows in different orders wait for each other until PostgreSQL
// aborts one, after a second, and it is run again.
func TestBatchesLockTheirRowsInOneOrder(t *testing.T) {
	t.Parallel()
	var written atomic.Int64
	o := storetest.Postgres(t)
	o.Trace = func(statement string) {
		if strings.HasPrefix(statement, "INSERT INTO meta_data") {
			written.Add(1)
		}
	}
	w := newWorld(t, o)
	b := w.build(t, "steps:\n- command: a\n")
	const n, writers, rounds = 40, 3, 5
	values := map[string]string{}
	for i := range n {
		values[fmt.Sprintf("key %d", i)] = "x"
	}
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for range rounds {
				if err := w.SetMetaData(t.Context(), b.ID, values); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if got := written.Load(); got != n*writers*rounds {
		t.Errorf("%d statements, want %d: some transactions were aborted", got, n*writers*rounds)
	}
}

// Operations that share a transaction lock agents in the order in which they came. A batch of heartbeats that waited for one of them
// while it holds another would cross them.
func TestHeartbeatsWaitForNobody(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t, storetest.Postgres(t))
	free, held := w.agent(t), w.agent(t)
	w.advance(time.Second)
	now := store.Seen{At: w.Now()}
	lastSeen := func(a store.Agent) time.Time { return must(w.Store.Agent(ctx, a.ID))(t).LastSeen }
	var left map[string]store.Seen
	written := make(chan error, 1)
	err := w.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.LockAgent(ctx, held.ID); err != nil {
			return err
		}
		go func() {
			var err error
			left, err = w.AgentsSeen(ctx, map[string]store.Seen{free.ID: now, held.ID: now})
			written <- err
		}()
		select {
		case err := <-written:
			return err
		case <-time.After(2 * time.Minute):
			return errors.New("the heartbeats wait")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 1 || left[held.ID] != now || !lastSeen(free).Equal(now.At) {
		t.Errorf("left are %v, want %s alone; %s was seen at %s", left, held.ID, free.ID, lastSeen(free))
	}
	if left := must(w.AgentsSeen(ctx, left))(t); len(left) > 0 || !lastSeen(held).Equal(now.At) {
		t.Errorf("left are %v, and %s was seen at %s", left, held.ID, lastSeen(held))
	}
}
