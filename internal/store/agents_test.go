package store

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
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

// Each pass of dispatch asks for the queues that have work and an idle agent, and for the jobs and agents that it may pair: what that
// costs must not depend on how many jobs wait or agents idle, whether or not the database looked at its tables since they are as they are.
func TestPassesOfDispatchReadWhatTheyTake(t *testing.T) {
	t.Parallel()
	s := reopen(t, Options{Postgres: dbtest.Template(t, "store", migrated)})
	seed(t, s)
	jobs := make([]Job, 2000)
	for i := range jobs {
		jobs[i] = job(fmt.Sprintf("j%04d", i))
		jobs[i].Rules = []string{"os=none"}
		jobs[i].SpecJSON = fmt.Appendf(nil, `{"Command": %q}`, strings.Repeat("make ", 200)) // a small table is read as a whole
	}
	one := job("one")
	one.Rules, one.Position = []string{"os=some"}, "000002"
	update(t, s, func(tx *Tx) error {
		err := tx.InsertJobs(t.Context(), append(jobs, one))
		for i := range 1000 {
			err = errors.Join(err, tx.InsertAgent(t.Context(), agent(fmt.Sprintf("idle%04d", i))))
		}
		return err
	})
	read := regexp.MustCompile(`on (?:jobs|agents).*rows=(\d+)|Removed by Filter: (\d+)`)
	for _, analyzed := range []string{"before", "after"} {
		for query, args := range map[string][]any{
			sqlIdleQueues: nil, sqlLaneHeads: {"q", 10}, sqlLane: {"q", laneOf("p", text(one.Rules)), 5}, sqlChangedAgents: {"q", at(1).UnixMicro(), 5},
			sqlIdleAgents: {"q", 5}, sqlWarmAgents: {"q", "p", 5},
		} {
			plan, err := list(t.Context(), s.q, scanString, "EXPLAIN (ANALYZE, COSTS FALSE, TIMING FALSE) "+query, args...)
			text, most := strings.Join(plan, "\n"), 0
			for _, m := range read.FindAllStringSubmatch(text, -1) {
				n, _ := strconv.Atoi(m[1] + m[2])
				most = max(most, n)
			}
			if err != nil || most > 5 {
				t.Errorf("%s: err %v, %s the database looked at its tables the plan is\n%s", firstWords(query), err, analyzed, text)
			}
		}
		if _, err := s.db.ExecContext(t.Context(), "ANALYZE"); err != nil {
			t.Fatal(err)
		}
	}
	if queues, err := s.IdleQueues(t.Context()); err != nil || len(queues) != 1 || queues[0].ID != "q" {
		t.Errorf("queues with work are %v, %v", queues, err)
	}
}
