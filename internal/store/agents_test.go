package store

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/dbtest"
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

// Each pass of dispatch asks for the queues that have work and an idle agent: what that costs must not depend on how many jobs wait.
func TestQueuesWithWorkAreFoundInOneLook(t *testing.T) {
	t.Parallel()
	s := reopen(t, Options{Postgres: dbtest.Template(t, "store", migrated)})
	seed(t, s)
	jobs := make([]Job, 2000)
	for i := range jobs {
		jobs[i] = job(fmt.Sprintf("j%04d", i))
	}
	update(t, s, func(tx *Tx) error { return tx.InsertJobs(t.Context(), jobs) })
	for _, analyzed := range []string{"before", "after"} {
		plan, err := list(t.Context(), s.q, scanString, "EXPLAIN (ANALYZE, COSTS FALSE, TIMING FALSE) "+sqlIdleQueues)
		text := strings.Join(plan, "\n")
		read := regexp.MustCompile(`on jobs.*rows=(\d+)`).FindStringSubmatch(text)
		if err != nil || len(read) != 2 || read[1] != "1" {
			t.Errorf("err %v, %s the database looked at its tables the plan is\n%s", err, analyzed, text)
		}
		if _, err := s.db.ExecContext(t.Context(), "ANALYZE"); err != nil {
			t.Fatal(err)
		}
	}
	if queues, err := s.IdleQueues(t.Context()); err != nil || !slices.Equal(queues, []string{"q"}) {
		t.Errorf("queues with work are %v, %v", queues, err)
	}
}
