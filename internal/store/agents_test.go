package store

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/ci"
)

func TestErrandsOfManyAgentsAreThoseOfEachThatIsNotFree(t *testing.T) {
	eachStore(t, func(t *testing.T, s *Store, _ Options) {
		seed(t, s)
		ctx := t.Context()
		paused, offered := agent("a3"), job("j")
		paused.Paused, paused.PauseNote = true, "for a look"
		offered.State, offered.Lease.Deadline, offered.AgentID = ci.JobAssigned, at(5), "a2"
		busy := agent("a2")
		busy.JobID = "j"
		update(t, s, func(tx *Tx) error {
			return errors.Join(tx.InsertJob(ctx, offered), tx.UpdateAgent(ctx, busy), tx.InsertAgent(ctx, paused))
		})
		want := map[string]Errand{
			"a1": {AgentID: "a1", Agent: ci.Agent{State: ci.AgentConnected}},
			"a2": {AgentID: "a2", Agent: ci.Agent{State: ci.AgentConnected}, JobID: "j", JobState: ci.JobAssigned, Deadline: at(5)},
			"a3": {AgentID: "a3", Agent: ci.Agent{State: ci.AgentConnected, Paused: true, PauseNote: "for a look"}},
		}
		got, err := s.Errands(ctx, []string{"a3", "unknown", "a1", "a2"})
		if diff := cmp.Diff(map[string]Errand{"a2": want["a2"], "a3": want["a3"]}, got); err != nil || diff != "" {
			t.Errorf("err %v (-want +got):\n%s", err, diff)
		}
		for id, want := range want {
			one, err := s.Errand(ctx, id)
			byToken, tokenErr := s.AgentByToken(ctx, id)
			if diff := cmp.Diff([]Errand{want, want}, []Errand{one, byToken}); err != nil || tokenErr != nil || diff != "" {
				t.Errorf("%s: errs %v, %v (-want +got, by id and by token):\n%s", id, err, tokenErr, diff)
			}
		}
	})
}
