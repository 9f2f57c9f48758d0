package engine_test

import (
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
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

func TestNoAgentOutlivesItsTokenByAJobThatItIsGivenMeanwhile(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, "steps:\n- {command: a, key: a}\n")
		job := w.job(t, b, "a")
		var agents []store.Agent
		for range 30 {
			agents = append(agents, w.agent(t))
		}
		var revoked atomic.Bool
		var eager sync.WaitGroup
		eager.Go(func() {
			for !revoked.Load() {
				for _, a := range agents {
					if _, err := w.AssignJob(t.Context(), job.ID, a.ID); err != nil {
						t.Error(err)
					}
				}
			}
		})
		err := w.RevokeAgentToken(t.Context(), w.agents.ID)
		revoked.Store(true)
		eager.Wait()
		if left := must(w.Store.AgentsOfToken(t.Context(), w.agents.ID, 100))(t); err != nil || len(left) > 0 {
			t.Errorf("revoking: %v, %d agents are left", err, len(left))
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

// The agents name queues that are not there yet, some the same.
func TestAgentsThatRegisterAtOnceHaveNamesOfTheirOwn(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		names := make([]string, 16)
		var all sync.WaitGroup
		for i := range names {
			all.Go(func() {
				op := engine.RegisterAgent{Token: w.agents, Name: "one", Tags: []string{"queue=new-" + strconv.Itoa(i/2)}}
				a, _, err := w.RegisterAgent(t.Context(), op)
				if err != nil {
					t.Error(err)
				}
				names[i] = a.Name
			})
		}
		all.Wait()
		slices.Sort(names)
		if got := len(slices.Compact(names)); got != 16 {
			t.Errorf("16 agents have %d names", got)
		}
	})
}

// TestAJobsWordCountsForThatJobAlone: what is heard late of an agent's last job says nothing of its next.
func TestAJobsWordCountsForThatJobAlone(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		b := w.build(t, "steps:\n- {command: a, key: a}\n- {command: b, key: b}\n")
		first, second := w.job(t, b, "a"), w.job(t, b, "b")
		a := w.start(t, first)
		began := w.Now()
		quiet := func(want ...store.QuietJob) {
			t.Helper()
			if got := must(w.Store.QuietJobs(ctx, began, w.Now()))(t); !slices.Equal(got, want) {
				t.Errorf("quiet are %+v, want %+v", got, want)
			}
		}
		seen := func(s store.Seen) {
			t.Helper()
			must(w.AgentsSeen(ctx, map[string]store.Seen{a.ID: s}))(t)
		}
		w.advance(time.Minute)
		seen(store.Seen{At: w.Now()})
		quiet(store.QuietJob{AgentID: a.ID, JobID: first.ID, State: ci.JobRunning})
		// Another server heard of the job before this one heard of the agent, and says so later.
		heard := w.Now().Add(-time.Second)
		seen(store.Seen{At: heard, JobID: first.ID, JobAt: heard})
		quiet(store.QuietJob{AgentID: a.ID, JobID: first.ID, State: ci.JobRunning, Seen: heard})
		seen(store.Seen{At: w.Now(), JobID: first.ID, JobAt: w.Now()})
		quiet()
		must(w.FinishJob(ctx, engine.FinishJob{JobID: first.ID}))(t)
		if !must(w.AssignJob(ctx, second.ID, a.ID))(t) {
			t.Fatal("the second job was not assigned")
		}
		w.advance(time.Minute)
		seen(store.Seen{At: w.Now(), JobID: first.ID, JobAt: w.Now()})
		quiet(store.QuietJob{AgentID: a.ID, JobID: second.ID, State: ci.JobAssigned})
	})
}

func TestAnAgentCountsFromItsConnectionOn(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		a, _, err := w.RegisterAgent(t.Context(), engine.RegisterAgent{Token: w.agents, Name: "slow"})
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []int{0, 1} {
			live, _, err := w.Store.CountAgents(t.Context())
			if err != nil || live != want {
				t.Errorf("%d agents are connected, %v, want %d", live, err, want)
			}
			if err := w.ConnectAgent(t.Context(), a.ID); err != nil {
				t.Fatal(err)
			}
		}
	})
}
