package worker_test

import (
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/store"
)

// TestAQueueThatIsPausedDuringAPassGivesNothing: a pass goes through many queues, and whoever paused one was told that it is.
func TestAQueueThatIsPausedDuringAPassGivesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two := w.agent("queue=one"), w.agent("queue=two")
	w.build("one", "agents: {queue: one}\nsteps:\n- command: x\n")
	w.build("two", "agents: {queue: two}\nsteps:\n- command: x\n")
	now, paused := w.Engine.Now, ""
	w.Engine.Now = func() time.Time {
		for _, pair := range [][2]store.Agent{{one, two}, {two, one}} {
			if other := pair[1].QueueID; paused == "" && w.held(pair[0]).ID != "" {
				paused = other
				_, err := w.PauseQueue(t.Context(), other, "", "")
				w.must(err)
			}
		}
		return now()
	}
	w.assign()
	if paused == "" || w.held(one).ID != "" && w.held(two).ID != "" {
		t.Errorf("paused %q; the agents hold %q and %q, want one job", paused, w.held(one).ID, w.held(two).ID)
	}
}
