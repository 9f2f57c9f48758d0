package engine_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
)

func TestJobsAreAssignedTogetherToAgentsThatAreFree(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, parallel(4))
		jobs := must(w.Store.Jobs(t.Context(), b.ID))(t)
		busy, free, other := w.agent(t), w.agent(t), w.agent(t)
		if !must(w.AssignJob(t.Context(), jobs[0].ID, busy.ID))(t) {
			t.Fatal("the first job was not assigned")
		}
		made := must(w.AssignJobs(t.Context(), b.ID, []engine.Offer{
			{JobID: jobs[1].ID, AgentID: other.ID},
			{JobID: jobs[2].ID, AgentID: busy.ID},  // holds a job
			{JobID: jobs[0].ID, AgentID: free.ID},  // is held
			{JobID: jobs[3].ID, AgentID: other.ID}, // was just given one
		}))(t)
		if diff := cmp.Diff([]engine.Offer{{JobID: jobs[1].ID, AgentID: other.ID}}, made); diff != "" {
			t.Errorf("offers made (-want +got):\n%s", diff)
		}
		var states []ci.JobState
		for _, j := range must(w.Store.Jobs(t.Context(), b.ID))(t) {
			states = append(states, j.State)
		}
		if diff := cmp.Diff([]ci.JobState{ci.JobAssigned, ci.JobAssigned, ci.JobScheduled, ci.JobScheduled}, states); diff != "" {
			t.Errorf("states (-want +got):\n%s", diff)
		}
		w.check(t, b)
	})
}

func TestAJobIsAssignedToOneOfTheAgentsThatItIsOfferedTo(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, parallel(1))
		j := must(w.Store.Jobs(t.Context(), b.ID))(t)[0]
		made := must(w.AssignJobs(t.Context(), b.ID, []engine.Offer{{JobID: j.ID, AgentID: w.agent(t).ID}, {JobID: j.ID, AgentID: w.agent(t).ID}}))(t)
		if len(made) != 1 || must(w.Store.Job(t.Context(), j.ID))(t).AgentID != made[0].AgentID {
			t.Errorf("%d offers of one job were made: %v", len(made), made)
		}
		w.check(t, b)
	})
}

// TestAJobThatReturnsToTheQueueHasNoAgent: what was offered to an agent and not accepted shows nothing of it, and its agent is free.
func TestAJobThatReturnsToTheQueueHasNoAgent(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		j := must(w.Store.Jobs(ctx, w.build(t, parallel(1)).ID))(t)[0]
		for name, fail := range map[string]func(agentID string) error{
			"the offer ran out":  func(string) error { w.advance(w.OfferTerm); return w.ExpireOffer(ctx, j.ID) },
			"the agent paused":   func(id string) error { return w.PauseAgent(ctx, id, "", time.Time{}) },
			"the agent was lost": func(id string) error { return w.LoseAgent(ctx, id, "silent") },
		} {
			a := w.agent(t)
			made := must(w.AssignJobs(ctx, j.BuildID, []engine.Offer{{JobID: j.ID, AgentID: a.ID, Reason: "was free"}}))(t)
			if err := fail(a.ID); err != nil || len(made) != 1 {
				t.Fatal(name, err, made)
			}
			got := must(w.Store.Job(ctx, j.ID))(t)
			if got.State != ci.JobScheduled || got.AgentID != "" || got.AgentReason != "" {
				t.Errorf("%s: the job is %s, of agent %q for %q", name, got.State, got.AgentID, got.AgentReason)
			}
			if a := must(w.Store.Agent(ctx, a.ID))(t); a.JobID != "" {
				t.Errorf("%s: the agent holds %s", name, a.JobID)
			}
		}
	})
}
