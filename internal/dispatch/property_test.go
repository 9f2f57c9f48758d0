package dispatch

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func anySnapshot(t *rapid.T, grant Clearance) Snapshot {
	choose := func(label string, from ...string) string { return rapid.SampledFrom(from).Draw(t, label) }
	tags := rapid.SliceOfN(rapid.SampledFrom([]string{"os=linux", "os=mac", "gpu=1", "gpu=2", "ci"}), 0, 3)
	avoid := rapid.SliceOfN(rapid.SampledFrom([]string{"a00", "a01", "a02", "a03", "gone"}), 0, 3)
	rules := rapid.SliceOfN(rapid.SampledFrom([]string{"os=linux", "os=*", "gpu=1", "gpu", "ci"}), 0, 2)
	s := Snapshot{Held: map[Share]int{}, Queues: []Queue{{ID: "q1"}, {ID: "q2", Paused: rapid.Bool().Draw(t, "paused")}}}
	for i := range rapid.IntRange(0, 20).Draw(t, "agents") {
		a := Agent{
			ID: fmt.Sprintf("a%02d", i), Queue: choose("queue", "q1", "q1", "q2", "q3"), Tags: tags.Draw(t, "tags"),
			Idle: rapid.IntRange(0, 4).Draw(t, "idle") > 0, Paused: rapid.IntRange(0, 9).Draw(t, "paused") == 0,
			Stopping: rapid.IntRange(0, 9).Draw(t, "stopping") == 0, IgnoreInDispatches: rapid.IntRange(0, 9).Draw(t, "ignore") == 0,
			LastPipeline: choose("last", "", "p1", "p2"), LastRepository: choose("last", "", "r1"),
			LastSuccessAt: rapid.Int64Range(0, 3).Draw(t, "success"),
		}
		if rapid.Bool().Draw(t, "ranked") {
			a.Priority = new(rapid.IntRange(-1, 1).Draw(t, "rank"))
		}
		s.Agents = append(s.Agents, a)
	}
	for i := range rapid.IntRange(0, 40).Draw(t, "jobs") {
		j := Job{
			ID: fmt.Sprintf("j%02d", i), Pipeline: choose("pipeline", "p1", "p2", "p3"), Repository: choose("repository", "", "r1", "r2"),
			Queue: choose("queue", "q1", "q1", "q2", "q3"), Rules: rules.Draw(t, "rules"),
			Priority: rapid.IntRange(-1, 1).Draw(t, "priority"), ScheduledAt: rapid.Int64Range(0, 3).Draw(t, "at"),
			Position: choose("position", "a", "b"), AvoidAgents: avoid.Draw(t, "avoid"),
		}
		if rapid.IntRange(0, 5).Draw(t, "cleared") > 0 {
			j.Clearance = grant
		}
		s.Jobs = append(s.Jobs, j)
	}
	for _, p := range []string{"p1", "p2", "p3"} {
		s.Held[Share{"q1", p}] = rapid.IntRange(0, 5).Draw(t, "held")
	}
	return s
}

// The numbers are those of the invariants in the package comment.
func TestInvariants(t *testing.T) {
	t.Parallel()
	grant := cleared(t)
	rapid.Check(t, func(rt *rapid.T) {
		s := anySnapshot(rt, grant)
		out := Match(s)
		jobs, free := map[string]*Job{}, map[string]*Agent{}
		for i := range s.Jobs {
			jobs[s.Jobs[i].ID] = &s.Jobs[i]
		}
		for i := range s.Agents {
			free[s.Agents[i].ID] = &s.Agents[i]
		}
		for _, a := range out {
			j, agent := jobs[a.JobID], free[a.AgentID]
			if j == nil || agent == nil {
				rt.Fatalf("1: %v repeats a job or an agent", a)
			}
			if j.Queue != agent.Queue || !agent.free() || !Matches(j.Rules, agent.Tags) || s.paused(j.Queue) {
				rt.Fatalf("2: %v: %+v on %+v", a, *j, *agent)
			}
			if j.Clearance != grant {
				rt.Fatalf("3: %v", a)
			}
			delete(jobs, a.JobID)
			delete(free, a.AgentID)
			if avoided := slices.Contains(j.AvoidAgents, a.AgentID); avoided != (a.Reason == ReasonLastResort) {
				rt.Fatalf("8: %+v was given as %+v", *j, a)
			}
		}
		checkAvoided(rt, out, s, free)
		for _, j := range jobs {
			for _, a := range free {
				if j.Clearance == grant && j.Queue == a.Queue && a.free() && Matches(j.Rules, a.Tags) && !s.paused(j.Queue) {
					rt.Fatalf("4: %s waits although %s is free", j.ID, a.ID)
				}
			}
		}
		checkOrder(rt, s, out, jobs)
		checkShuffled(rt, s, out)
	})
}

// checkAvoided fails if a job was given an agent to avoid and a better one is left: what was free at the end was free before.
func checkAvoided(t *rapid.T, out []Assignment, s Snapshot, free map[string]*Agent) {
	for _, a := range out {
		if a.Reason != ReasonLastResort {
			continue
		}
		j := s.Jobs[slices.IndexFunc(s.Jobs, func(j Job) bool { return j.ID == a.JobID })]
		for _, other := range free {
			if other.free() && other.Queue == j.Queue && Matches(j.Rules, other.Tags) && !slices.Contains(j.AvoidAgents, other.ID) {
				t.Fatalf("8: %s was given %s although %s is free", j.ID, a.AgentID, other.ID)
			}
		}
	}
}

// checkOrder replays the decisions: none may pass over a job that is left
// over, of its own pipeline (5) or of one that holds less (6).
func checkOrder(t *rapid.T, s Snapshot, out []Assignment, left map[string]*Job) {
	byID := map[string]*Job{}
	for i := range s.Jobs {
		byID[s.Jobs[i].ID] = &s.Jobs[i]
	}
	held := map[Share]int{}
	for share, n := range s.Held {
		held[share] = n
	}
	for _, a := range out {
		j := byID[a.JobID]
		for _, w := range left {
			comparable := w.Queue == j.Queue && w.Clearance == j.Clearance && slices.Equal(w.Rules, j.Rules)
			switch {
			case !comparable:
			case w.Priority > j.Priority, w.Pipeline == j.Pipeline && compareJobs(w, j) < 0:
				t.Fatalf("5: %s is assigned, %s is not", j.ID, w.ID)
			case w.Priority == j.Priority && held[Share{j.Queue, j.Pipeline}] > held[Share{w.Queue, w.Pipeline}]:
				t.Fatalf("6: %s is assigned although %s holds less than %s", j.ID, w.Pipeline, j.Pipeline)
			}
		}
		held[Share{j.Queue, j.Pipeline}]++
	}
}

func checkShuffled(t *rapid.T, s Snapshot, want []Assignment) {
	s.Jobs, s.Agents = slices.Clone(s.Jobs), slices.Clone(s.Agents)
	r := rand.New(rand.NewPCG(1, 2))
	r.Shuffle(len(s.Jobs), func(i, k int) { s.Jobs[i], s.Jobs[k] = s.Jobs[k], s.Jobs[i] })
	r.Shuffle(len(s.Agents), func(i, k int) { s.Agents[i], s.Agents[k] = s.Agents[k], s.Agents[i] })
	if diff := cmp.Diff(want, Match(s)); diff != "" {
		t.Fatalf("7: another order of the snapshot gives (-want +got):\n%s", diff)
	}
}

// Where a large pipeline holds every agent, a small one gets each agent that
// comes free until it holds as many; from then on the older job goes first.
func TestNoPipelineStarves(t *testing.T) {
	t.Parallel()
	grant := cleared(t)
	s := Snapshot{Held: map[Share]int{{"", "big"}: 4}}
	for i := range 1000 {
		s.Jobs = append(s.Jobs, Job{ID: fmt.Sprintf("b%04d", i), Pipeline: "big", Clearance: grant})
	}
	for i := range 3 {
		s.Jobs = append(s.Jobs, Job{ID: fmt.Sprintf("s%d", i), Pipeline: "small", ScheduledAt: 1000, Clearance: grant})
	}
	s.Agents = []Agent{{ID: "a", Idle: true}}
	var served []string
	for range 4 {
		done := Match(s)[0].JobID
		served = append(served, done)
		at := slices.IndexFunc(s.Jobs, func(j Job) bool { return j.ID == done })
		s.Held[Share{"", s.Jobs[at].Pipeline}]++
		s.Jobs = slices.Delete(s.Jobs, at, at+1)
		s.Held[Share{"", "big"}]-- // the agent that comes free next
	}
	if diff := cmp.Diff([]string{"s0", "s1", "b0000", "b0001"}, served); diff != "" {
		t.Error(diff)
	}
}
