package engine_test

import (
	"testing"

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
