package web

import (
	"slices"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/store"
)

// flow is how the steps of a build follow each other, by index in its steps. Groups are no part of it:
// what waits for a group waits for its last members, and its first members wait for what it waits for.
type flow struct {
	*buildView
	preds     [][]int
	jobsOf    [][]store.JobLine // latest attempts of each step
	ends      []time.Time       // when each step had ended, or now while it runs; zero: not begun
	waitedFor []bool
	members   [][]int // of groups, those that nothing within waits for
}

// loadFlow reads how the steps follow each other.
func (q *request) loadFlow(b *buildView) (*flow, error) {
	if len(b.edgesTo) == 0 {
		edges, err := q.Store.Edges(q.ctx, b.build.ID)
		if err != nil {
			return nil, err
		}
		for _, e := range edges {
			b.edgesTo[e.To] = append(b.edgesTo[e.To], e.From)
		}
	}
	return newFlow(b), nil
}

func newFlow(b *buildView) *flow {
	f := &flow{buildView: b, preds: make([][]int, len(b.steps)), jobsOf: make([][]store.JobLine, len(b.steps)), ends: make([]time.Time, len(b.steps))}
	for _, j := range b.jobs {
		k := b.stepAt[j.StepID]
		f.jobsOf[k] = append(f.jobsOf[k], j)
	}
	f.lastMembers()
	for k, s := range b.steps {
		if s.Kind != ci.StepGroup {
			f.preds[k] = f.before(s)
		}
	}
	f.waitedFor = make([]bool, len(b.steps))
	for _, before := range f.preds {
		for _, p := range before {
			f.waitedFor[p] = true
		}
	}
	f.times()
	return f
}

// lastMembers finds the members of each group that no other member waits for.
func (f *flow) lastMembers() {
	f.members = make([][]int, len(f.steps))
	waited := make([]bool, len(f.steps))
	for _, s := range f.steps {
		for _, from := range f.edgesTo[s.ID] {
			if k, ok := f.stepAt[from]; ok && s.GroupID != "" && f.steps[k].GroupID == s.GroupID {
				waited[k] = true
			}
		}
	}
	for k, s := range f.steps {
		if g, ok := f.stepAt[s.GroupID]; ok && !waited[k] {
			f.members[g] = append(f.members[g], k)
		}
	}
}

// before are the steps that a step waits for. The gate of its own group stands for what that waits for,
// where the step waits for no other member.
func (f *flow) before(s store.StepLine) []int {
	var out, gate []int
	within := false
	for _, from := range f.edgesTo[s.ID] {
		k, ok := f.stepAt[from]
		switch {
		case !ok:
		case f.steps[k].Kind != ci.StepGroup:
			out = append(out, k)
			within = within || s.GroupID != "" && f.steps[k].GroupID == s.GroupID
		case from == s.GroupID:
			gate = f.before(f.steps[k])
		default:
			out = append(out, f.members[k]...)
		}
	}
	if !within {
		out = append(out, gate...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// times works out when each step had ended. A wait had when the last of what it waits for had.
func (f *flow) times() {
	for _, k := range f.inOrder() {
		if f.steps[k].Kind == ci.StepWait {
			for _, p := range f.preds[k] {
				f.ends[k] = later(f.ends[k], f.ends[p])
			}
			continue
		}
		for _, j := range f.jobsOf[k] {
			f.ends[k] = later(f.ends[k], ended(j, f.now))
		}
	}
}

// ended is when a job that began had ended, or now while it runs or could run; zero for one that waits
// for others, or never ran.
func ended(j store.JobLine, now time.Time) time.Time {
	switch {
	case j.FinishedAt.IsZero() && !(j.StartedAt.IsZero() && j.RunnableAt.IsZero()):
		return now
	case j.StartedAt.IsZero():
		return time.Time{}
	}
	return j.FinishedAt
}

// inOrder are the steps so that each comes after those that it waits for.
func (f *flow) inOrder() []int {
	open, next := make([]int, len(f.steps)), make([][]int, len(f.steps))
	var out []int
	for k := range f.steps {
		open[k] = len(f.preds[k])
		for _, p := range f.preds[k] {
			next[p] = append(next[p], k)
		}
		if open[k] == 0 {
			out = append(out, k)
		}
	}
	for at := 0; at < len(out); at++ {
		for _, n := range next[out[at]] {
			if open[n]--; open[n] == 0 {
				out = append(out, n)
			}
		}
	}
	return out
}

// critical is the chain of steps, waits included, that the build's time was spent on: back from the
// step that ended last, always over the one that ended last of those that a step waits for.
func (f *flow) critical() []int {
	at := f.latest(nil)
	var out []int
	for at >= 0 && len(out) <= len(f.steps) {
		out = append(out, at)
		if len(f.preds[at]) == 0 {
			break
		}
		at = f.latest(f.preds[at])
	}
	slices.Reverse(out)
	return out
}

// latest is the step of some, or of all for nil, that ended last; -1 if none has begun.
func (f *flow) latest(some []int) int {
	best := -1
	consider := func(k int) {
		if !f.ends[k].IsZero() && (best < 0 || f.ends[k].After(f.ends[best])) {
			best = k
		}
	}
	for _, k := range some {
		consider(k)
	}
	if some == nil {
		for k := range f.steps {
			consider(k)
		}
	}
	return best
}

// lastJob is the job of a step that ended last.
func (f *flow) lastJob(step int) (store.JobLine, bool) {
	var last store.JobLine
	for _, j := range f.jobsOf[step] {
		if last.ID == "" || ended(j, f.now).After(ended(last, f.now)) {
			last = j
		}
	}
	return last, last.ID != ""
}
