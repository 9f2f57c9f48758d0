// Package ci is the vocabulary of the product and its state machines: Build, Step, Job, Agent and
// Lease. Everything else speaks these words.
//
// A machine is a plain value with Apply(event, now): it returns the next value and never reads a
// clock or does I/O. An event that a state does not allow is a *TransitionError and leaves the
// value unchanged. testdata/*.matrix holds the outcome of every (state, event) pair.
//
// A build is kept by counting, so that the cost of finishing a job does not depend on how many
// others its build has:
//
//	job changes class ─▶ Step.Jobs tally ─▶ (group's tally) ─▶ Build.Jobs tally ─▶ Build state
//	        ▲                    │
//	        │                    ▼ the step's End changed
//	  deps met/failed ◀── Step.Deps tally of each dependant (one edge row each)
//
// Recompute derives every tally and state of a build from its jobs and edges alone. It is the
// oracle that the engine's increments are tested against, and it repairs nothing at run time.
//
// Invariants (numbered; tests name them when they fail):
//
//	I1 a finished job stays finished: no event changes a terminal job, except that a job that never
//	   ran because a dependency failed returns to waiting when that dependency runs again
//	I2 a job has at most one live lease, and only its holder may accept, start or finish it
//	I3 a build ends exactly once for each time it was opened, and only when no job is open
//	I4 nothing runnable is forgotten: a job that waits has an open dependency, a failed one has a
//	   failed dependency
//	I5 tallies equal what Recompute derives
package ci

import "fmt"

// TransitionError says that an event is not allowed in a state.
type TransitionError struct {
	Machine string // "build", "job", …
	State   string
	Event   string
}

func (e *TransitionError) Error() string {
	return fmt.Sprintf("%s: %s is not possible while %s", e.Machine, e.Event, e.State)
}
