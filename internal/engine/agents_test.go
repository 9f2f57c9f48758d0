package engine_test

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

func TestAnAgentThatLeavesIsNotGivenItsJobAgain(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		for range 10 {
			b := w.build(t, "steps:\n- {command: a, key: a}\n")
			job, a := w.job(t, b, "a"), w.agent(t)
			if !must(w.AssignJob(t.Context(), job.ID, a.ID))(t) {
				t.Fatal("the job was not assigned")
			}
			var left atomic.Bool
			var eager sync.WaitGroup
			eager.Go(func() {
				for !left.Load() {
					if given, err := w.AssignJob(t.Context(), job.ID, a.ID); given || err != nil {
						t.Errorf("given again: %t, %v", given, err)
						return
					}
				}
			})
			err := w.DisconnectAgent(t.Context(), a.ID)
			left.Store(true)
			eager.Wait()
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Older agents are configured with %n in their names.
func TestTheFirstFreeNumberIsPartOfAName(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		register := func() store.Agent {
			a, _, err := w.RegisterAgent(t.Context(), engine.RegisterAgent{Token: w.agents, Name: "%hostname-%n", Hostname: "host"})
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		first, second := register(), register()
		if err := w.DisconnectAgent(t.Context(), first.ID); err != nil {
			t.Fatal(err)
		}
		if got := []string{first.Name, second.Name, register().Name}; !slices.Equal(got, []string{"host-1", "host-2", "host-1"}) {
			t.Errorf("the agents are called %v", got)
		}
	})
}
