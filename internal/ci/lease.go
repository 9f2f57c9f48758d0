package ci

import "time"

// LeaseState is where a lease is.
type LeaseState string

// The lease states. The zero value is no lease.
const (
	LeaseNone    LeaseState = ""
	LeaseOffered LeaseState = "offered" // assigned; must be accepted before the deadline
	LeaseHeld    LeaseState = "held"    // accepted; lasts as long as the agent is heard of
)

// LeaseStates lists every lease state.
var LeaseStates = []LeaseState{LeaseNone, LeaseOffered, LeaseHeld}

// Lease is the server's claim that an agent holds a job.
type Lease struct {
	State LeaseState
	Agent string
	// Deadline is when an offer or a reservation runs out. A held lease has none of its own: it ends
	// with its agent.
	Deadline time.Time
}

// LeaseEvent is something that happens to a lease.
type LeaseEvent interface{ leaseEvent() }

type (
	// LeaseAccepted says that an agent took what it was offered.
	LeaseAccepted struct{ Agent string }
	// LeaseDeadline says that the offer's deadline was looked at.
	LeaseDeadline struct{}
	// LeaseReleased says that the job ended or its agent is gone.
	LeaseReleased struct{}
)

func (LeaseAccepted) leaseEvent() {}
func (LeaseDeadline) leaseEvent() {}
func (LeaseReleased) leaseEvent() {}

// Apply returns the lease after ev. Accepting again is no change; accepting another agent's lease,
// or letting an offer run out before its deadline, is a *TransitionError.
func (l Lease) Apply(ev LeaseEvent, now time.Time) (Lease, error) {
	switch ev := ev.(type) {
	case LeaseAccepted:
		if l.State != LeaseNone && l.Agent == ev.Agent {
			return Lease{State: LeaseHeld, Agent: l.Agent}, nil
		}
	case LeaseDeadline:
		if l.State == LeaseOffered && !now.Before(l.Deadline) {
			return Lease{}, nil
		}
	case LeaseReleased:
		if l.State != LeaseNone {
			return Lease{}, nil
		}
	}
	return l, &TransitionError{Machine: "lease", State: string(l.State), Event: eventName(ev)}
}
