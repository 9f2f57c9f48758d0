package engine_test

import (
	"sync"
	"sync/atomic"
	"testing"
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
