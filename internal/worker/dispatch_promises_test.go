package worker_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"pgregory.net/rapid"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/dispatch"
	"github.com/slipway-ci/slipway/internal/store"
)

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// pass assigns, and holds what it did against what it left.
func (m *model) pass(rt *rapid.T) { m.passOn(rt, m.on(rt)) }

func (m *model) passOn(rt *rapid.T, s *server) {
	before := map[string]ci.JobState{}
	for _, j := range m.jobs(rt) {
		before[j.ID] = j.State
	}
	idle := m.idle(rt)
	get(m.assignOn(s, m.ctx))(rt)
	held, more := map[string]int{}, map[string]int{} // more: of those, what this pass gave
	alike := map[string]int{}                        // what it gave a pipeline of one kind
	var left, given []store.Job
	for _, j := range m.jobs(rt) {
		if j.State.Held() {
			held[j.PipelineID]++
		}
		switch {
		case j.State == ci.JobScheduled:
			left = append(left, j)
		case j.State == ci.JobAssigned && before[j.ID] == ci.JobScheduled:
			given = append(given, j)
			more[j.PipelineID]++
			alike[kind(j)]++
		}
	}
	rest := m.idle(rt)
	if !get(m.config.Store.QueueByID(m.ctx, m.queueID))(rt).PausedAt.IsZero() {
		if len(given) > 0 {
			rt.Fatalf("the queue is paused and job %s was given out", given[0].ID)
		}
		return
	}
	for _, g := range given {
		m.chosen(rt, g, idle, rest)
		for _, l := range left {
			m.ordered(rt, g, l, idle)
			had := held[g.PipelineID] - more[g.PipelineID] + alike[kind(g)] // when it was given the last of the kind, at least
			if same := g.PipelineID + kind(l)[len(l.PipelineID):]; same == kind(g) && g.PipelineID != l.PipelineID && had > held[l.PipelineID]+1 {
				rt.Fatalf("pipeline %s held %d and was given one; %s holds %d and waits", g.PipelineID, had-1, l.PipelineID, held[l.PipelineID])
			}
		}
	}
	m.nothingWaits(rt, left, rest)
}

// idle are the agents that would take a job.
func (m *model) idle(rt *rapid.T) map[string]store.Agent {
	out := map[string]store.Agent{}
	for _, id := range m.agents {
		if a := get(m.config.Store.Agent(m.ctx, id))(rt); a.TakesJobs() && a.JobID == "" {
			out[id] = a
		}
	}
	return out
}

// kind is equal for jobs of a pipeline between which dispatch chooses by their age alone.
func kind(j store.Job) string { return fmt.Sprint(j.PipelineID, j.Priority, j.Rules) }

// ordered holds what was given out against what was left for want of an agent.
func (m *model) ordered(rt *rapid.T, given, left store.Job, idle map[string]store.Agent) {
	a := idle[given.AgentID]
	if left.Priority > given.Priority && dispatch.Matches(left.Rules, a.Tags) {
		rt.Fatalf("a job of priority %d waits and one of %d was given an agent for both", left.Priority, given.Priority)
	}
	if kind(left) == kind(given) && left.ScheduledAt.Before(given.ScheduledAt) {
		rt.Fatalf("job %s of %s waits and %s of %s, which is like it, was given out", left.ID, left.ScheduledAt, given.ID, given.ScheduledAt)
	}
}

// nothingWaits holds after a pass: no job waits that an idle agent could run.
func (m *model) nothingWaits(rt *rapid.T, left []store.Job, idle map[string]store.Agent) {
	for _, a := range idle {
		for _, j := range left {
			if dispatch.Matches(j.Rules, a.Tags) {
				rt.Fatalf("job %s (%v) waits while agent %s (%v) idles", j.ID, j.Rules, a.ID, a.Tags)
			}
		}
	}
}

// chosen holds the choice of an agent, and the reason given for it, against the other agents that match: those that
// were idle when the pass began, and of them those that still are, which were free when the choice was made.
func (m *model) chosen(rt *rapid.T, g store.Job, before, after map[string]store.Agent) {
	a, ok := before[g.AgentID]
	if !ok || !dispatch.Matches(g.Rules, a.Tags) {
		rt.Fatalf("job %s (%v) was given agent %s (%v), which was not free or does not match", g.ID, g.Rules, g.AgentID, a.Tags)
	}
	c := choice{agent: a, avoid: m.avoided(rt, g)}
	for _, b := range sorted(before) {
		if before[b].ID == a.ID || !dispatch.Matches(g.Rules, before[b].Tags) {
			continue
		}
		c.others = append(c.others, before[b])
		if _, still := after[b]; still {
			c.left = append(c.left, before[b])
		}
	}
	warmth := m.warmth(g)
	for _, b := range c.left {
		if c.rank(b, warmth) > c.rank(a, warmth) {
			rt.Fatalf("job %s was given agent %s, and agent %s was better (%q)", g.ID, a.ID, b.ID, g.AgentReason)
		}
	}
	if !c.explains(dispatch.Reason(g.AgentReason), warmth) {
		rt.Fatalf("job %s was given agent %s because it %q, of %d others that match", g.ID, a.ID, g.AgentReason, len(c.others))
	}
}

// choice is an agent that a job was given, and those that it was not given.
type choice struct {
	agent        store.Agent
	others, left []store.Agent // others that match; of these those that were free until the pass ended
	avoid        []string      // agents
}

// avoided are the agents of a job's earlier attempts, if its queue prefers others.
func (m *model) avoided(rt *rapid.T, g store.Job) (ids []string) {
	for _, j := range m.jobsOf(rt, g.BuildID) {
		if m.affinity == ci.PreferDifferent && j.StepID == g.StepID && j.Number == g.Number && j.ID != g.ID && j.AgentID != "" {
			ids = append(ids, j.AgentID)
		}
	}
	return ids
}

// warmth is how much of what a job needs an agent has.
func (m *model) warmth(g store.Job) func(store.Agent) int {
	i := slices.IndexFunc(m.pipelines, func(pl store.Pipeline) bool { return pl.ID == g.PipelineID })
	return func(a store.Agent) int {
		switch {
		case a.LastPipelineID == g.PipelineID:
			return 2
		case a.LastRepository == m.pipelines[i].Repository:
			return 1
		}
		return 0
	}
}

func priority(a store.Agent) int {
	if a.Priority == nil {
		return -1
	}
	return *a.Priority
}

// rank puts agents in order, best last, as text.
func (c choice) rank(a store.Agent, warmth func(store.Agent) int) string {
	return fmt.Sprintf("%v %d %d %020d", !slices.Contains(c.avoid, a.ID), 1+priority(a), warmth(a), max(0, a.LastSuccessAt.UnixMicro()))
}

// explains says whether a reason is true.
func (c choice) explains(r dispatch.Reason, warmth func(store.Agent) int) bool {
	avoided := func(b store.Agent) bool { return slices.Contains(c.avoid, b.ID) }
	than := func(n func(store.Agent) int) func(store.Agent) bool {
		return func(b store.Agent) bool { return n(b) < n(c.agent) }
	}
	again := avoided(c.agent)
	switch r {
	case dispatch.ReasonPipeline:
		return !again && warmth(c.agent) == 2
	case dispatch.ReasonRepository:
		return !again && warmth(c.agent) == 1
	case dispatch.ReasonPriority:
		return !again && slices.ContainsFunc(c.others, than(priority))
	case dispatch.ReasonRecent:
		return !again && slices.ContainsFunc(c.others, func(b store.Agent) bool { return b.LastSuccessAt.Before(c.agent.LastSuccessAt) })
	case dispatch.ReasonFree:
		return !again && len(c.others) > 0
	case dispatch.ReasonOnly:
		return !again && len(c.left) == 0
	case dispatch.ReasonDifferent:
		return !again && slices.ContainsFunc(c.others, avoided)
	case dispatch.ReasonLastResort:
		return again && !slices.ContainsFunc(c.left, func(b store.Agent) bool { return !avoided(b) })
	}
	return false
}

// open says whether a job has its place in a concurrency group.
func open(j store.Job) bool {
	return j.State == ci.JobScheduled || j.State == ci.JobReserved || j.State.Held()
}

// holds is what is true at any moment.
func (m *model) holds(rt *rapid.T) {
	holder := map[string]string{} // of jobs, by agent
	limited := ""
	for _, j := range m.jobs(rt) {
		m.endsOnce(rt, j)
		if j.ConcurrencyGroup != "" && open(j) {
			if limited != "" {
				rt.Fatalf("jobs %s and %s of a group for one have left it", limited, j.ID)
			}
			limited = j.ID
		}
		if !j.State.Held() {
			if !j.State.Terminal() && (j.AgentID != "" || j.AgentReason != "") {
				rt.Fatalf("job %s is %s and says that agent %q %q", j.ID, j.State, j.AgentID, j.AgentReason)
			}
			continue
		}
		if other := holder[j.AgentID]; other != "" {
			rt.Fatalf("agent %s holds %s and %s", j.AgentID, other, j.ID)
		}
		if j.AgentReason == "" {
			rt.Fatalf("agent %s holds job %s without a reason", j.AgentID, j.ID)
		}
		holder[j.AgentID] = j.ID
	}
	for _, id := range m.agents {
		a := get(m.config.Store.Agent(m.ctx, id))(rt)
		if a.JobID != holder[id] || a.JobID != "" && !a.Live() {
			rt.Fatalf("agent %s (%s) says that it holds %q, the jobs say %q", id, a.State, a.JobID, holder[id])
		}
		if a.Live() && m.revoked[a.AgentTokenID] {
			rt.Fatalf("agent %s is %s although its token was revoked", id, a.State)
		}
	}
}

// endsOnce holds that an attempt that has ended stays as it is. One that did not run because of another may run yet.
func (m *model) endsOnce(rt *rapid.T, j store.Job) {
	if !j.State.Terminal() || j.State.NotRun() {
		if was := m.ended[j.ID]; was != "" {
			rt.Fatalf("job %s ended as %s and is %s now", j.ID, was, j.State)
		}
		return
	}
	status := -2
	if j.ExitStatus != nil {
		status = *j.ExitStatus
	}
	end := fmt.Sprint(j.State, " with ", status, " ", j.Signal, j.SignalReason, " at ", j.FinishedAt, j.Lost, j.SoftFailed, j.Reason, j.CanceledBy, " on ", j.AgentID)
	if was := cmp.Or(m.ended[j.ID], end); was != end {
		rt.Fatalf("job %s ended as %s and is %s now", j.ID, was, end)
	}
	m.ended[j.ID] = end
}
