package restapi

import (
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/store"
)

func TestLoadsAreCountedSeldomWhereBuildsAreMany(t *testing.T) {
	t.Parallel()
	var l loads
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	many := map[string]store.Load{"p": {Builds: map[ci.BuildState]int{ci.BuildRunning: manyOpen}}}
	few := map[string]store.Load{"p": {Builds: map[ci.BuildState]int{ci.BuildRunning: manyOpen - 1}}}

	l.renew("o", few, now, now.Add(time.Second))
	if _, ok := l.known("o", now.Add(time.Second)); ok {
		t.Error("few builds are not counted each time")
	}
	l.renew("o", many, now, now.Add(time.Second))
	if got, ok := l.known("o", now.Add(10*time.Second)); !ok || got["p"].Builds[ci.BuildRunning] != manyOpen {
		t.Error("a count that took a second is not good for ten")
	}
	if _, ok := l.known("other", now); ok {
		t.Error("one organization is told the count of another")
	}
	if _, ok := l.known("o", now.Add(11*time.Second)); ok {
		t.Error("a count that took a second is good for longer than ten")
	}
	if _, ok := l.known("o", now.Add(12*time.Second)); !ok {
		t.Error("while one counts, another counts too")
	}
	l.renew("o", nil, now, now) // it failed
	if _, ok := l.known("o", now.Add(12*time.Second)); ok {
		t.Error("after a count that failed, nobody counts")
	}
}
