package engine_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/dbtest"
	"github.com/slipway-ci/slipway/internal/store"
)

// Transactions that lock the same rows in different orders wait for each other until PostgreSQL
// aborts one, after a second, and it is run again.
func TestBatchesLockTheirRowsInOneOrder(t *testing.T) {
	t.Parallel()
	var written atomic.Int64
	w := newWorld(t, store.Options{Postgres: dbtest.Template(t, "engine", migrated), Trace: func(statement string) {
		if strings.HasPrefix(statement, "INSERT INTO meta_data") || strings.HasPrefix(statement, "UPDATE agents SET last_seen_at") {
			written.Add(1)
		}
	}})
	b := w.build(t, "steps:\n- command: a\n")
	const n, writers, rounds = 40, 3, 5
	values, seen := map[string]string{}, map[string]store.Seen{}
	for i := range n {
		values[fmt.Sprintf("key %d", i)] = "x"
		seen[w.agent(t).ID] = store.Seen{At: w.Now().Add(time.Second)}
	}
	written.Store(0)
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for range rounds {
				if err := w.SetMetaData(t.Context(), b.ID, values); err != nil {
					t.Error(err)
				}
				if err := w.AgentsSeen(t.Context(), seen); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if got := written.Load(); got != 2*n*writers*rounds {
		t.Errorf("%d statements, want %d: some transactions were aborted", got, 2*n*writers*rounds)
	}
}
