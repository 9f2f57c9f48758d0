package live_test

import (
	"testing"

	"github.com/slipway-ci/slipway/internal/live"
)

func TestWhoeverIsCalledHearsEachHintUntilItsClose(t *testing.T) {
	t.Parallel()
	var hub live.Hub
	var calls int
	sub := hub.Call(func() { calls++ }, "a", "b")
	other := hub.Subscribe("a")
	for _, topic := range []string{"a", "b", "c"} {
		hub.Publish(topic)
	}
	hub.Deaf.Store(true)
	hub.Publish("a")
	hub.Deaf.Store(false)
	sub.Close()
	sub.Close()
	hub.Publish("a")
	if calls != 2 {
		t.Errorf("called %d times, want 2", calls)
	}
	if len(other.C) != 1 {
		t.Error("who is not called heard nothing")
	}
}
