package web

import "slices"

// BuildFacts is what decides how a build looks. State is a build state of the
// REST API: creating, scheduled, running, failing, passed, failed, blocked,
// canceling, canceled, skipped, not_run.
type BuildFacts struct {
	State   string
	Held    bool    // a person must approve its commit first
	Blocked bool    // nothing can run until somebody answers a block step
	Jobs    []State // how its jobs look, any order
}

// Look chooses the one word a build's header shows: the first that applies of
// awaiting approval, canceling, failing, stuck, running, blocked, failed, lost,
// timed out, canceled, soft failed, skipped, passed.
func (f BuildFacts) Look() State {
	switch {
	case f.Held:
		return Approval
	case f.State == "creating":
		return Created
	case f.State == "canceling", f.State == "canceled":
		return Canceled
	case f.State == "skipped", f.State == "not_run":
		return Skipped
	}
	if f.State == "failing" {
		return Failing
	}
	if f.unfinished() {
		return f.underWay()
	}
	return f.over()
}

func (f BuildFacts) unfinished() bool {
	return f.Blocked || f.State == "scheduled" || f.State == "running" || f.State == "blocked"
}

func (f BuildFacts) underWay() State {
	active := f.any(Running) || f.any(Starting) || f.any(Failing)
	hard := f.any(Failed) || f.any(TimedOut) || f.any(Failing)
	switch {
	case hard && (active || f.any(Scheduled)):
		return Failing
	case !active && f.any(Stuck):
		return Stuck
	case f.Blocked || f.State == "blocked":
		return Blocked
	case f.State == "scheduled" && !active:
		return Scheduled
	}
	return Running
}

func (f BuildFacts) over() State {
	if f.State == "failed" {
		switch {
		case f.any(Failed):
			return Failed
		case f.any(Lost):
			return Lost
		case f.any(TimedOut):
			return TimedOut
		case f.any(Expired):
			return Expired
		}
		return Failed
	}
	if f.any(Soft) {
		return Soft
	}
	return Passed
}

func (f BuildFacts) any(s State) bool { return slices.Contains(f.Jobs, s) }

// Tally is one entry of a build's counts.
type Tally struct {
	State State
	Count int
}

// Text is the entry as words: "2 running".
func (t Tally) Text() string { return count(t.Count) + " " + lower(t.State.Word()) }

// tally counts states, worst first.
func tally(states []State) []Tally {
	n := map[State]int{}
	for _, s := range states {
		n[s]++
	}
	out := make([]Tally, 0, len(n))
	for s, k := range n {
		out = append(out, Tally{s, k})
	}
	slices.SortFunc(out, func(a, b Tally) int { return looks[a.State].Rank - looks[b.State].Rank })
	return out
}
