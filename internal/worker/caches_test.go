package worker_test

import (
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/worker"
)

func TestCachesThatNobodyUsesGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.agent()
	w.build("p", "steps: [{command: x}]")
	w.assign()
	j := w.held(a)
	_, err := w.AcceptJob(w.ctx(), j.ID, a.ID)
	w.must(err)
	cache := func(name string) engine.Cache {
		return engine.Cache{JobID: j.ID, Registry: "~", TargetPaths: []string{"p"}, Key: []store.CachePart{{Value: name, Mandatory: true}}}
	}
	blob := store.CacheBlob{Size: 1}
	blob.Digest.Algorithm, blob.Digest.Value = "sha256", strings.Repeat("0", 64)
	for _, name := range []string{"used", "unused", "open"} {
		v, err := w.SaveCache(w.ctx(), cache(name), []store.CacheBlob{blob}, "")
		w.must(err)
		if name != "open" {
			w.must(w.CommitCache(w.ctx(), j.ID, v.ID))
		}
	}
	left := func(after time.Duration, want int64) {
		t.Helper()
		w.clock.Add(after.Microseconds())
		for more := true; more; {
			var err error
			more, err = worker.ExpireCaches(w.Engine)(w.ctx())
			w.must(err)
		}
		if n, _, err := w.Store.CacheTotals(w.ctx(), w.org.ID); n != want || err != nil {
			t.Errorf("after %s more %d caches are left, want %d: %v", after, n, want, err)
		}
	}
	left(23*time.Hour, 3)
	left(2*time.Hour, 2) // what was never committed is gone
	w.clock.Add((28 * 24 * time.Hour).Microseconds())
	_, _, expires, err := w.RetrieveCache(w.ctx(), cache("used"))
	w.must(err)
	if want := w.Now().AddDate(0, 0, 30); !expires.Equal(want) {
		t.Errorf("what is used ends at %s, want %s", expires, want)
	}
	left(24*time.Hour, 1)
	left(30*24*time.Hour, 0)
}
