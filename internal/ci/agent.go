package ci

import "time"

// AgentState is an agent's connection, in the words of the REST API's connection_state.
type AgentState string

// The agent states.
const (
	AgentRegistered   AgentState = "never_connected"
	AgentConnected    AgentState = "connected"
	AgentStopping     AgentState = "stopping" // takes no more jobs; leaves after the current one
	AgentDisconnected AgentState = "disconnected"
	AgentLost         AgentState = "lost"
)

// AgentStates lists every agent state.
var AgentStates = []AgentState{AgentRegistered, AgentConnected, AgentStopping, AgentDisconnected, AgentLost}

// Agent is the state of an agent's session. A session that ended is never resumed: the agent
// registers again.
type Agent struct {
	State      AgentState
	Paused     bool
	PauseNote  string
	PauseUntil time.Time // zero: until resumed
	ForceStop  bool      // the current job is to be canceled too
	LastSeen   time.Time
	EndedAt    time.Time
}

// AgentEvent is something that happens to an agent.
type AgentEvent interface{ agentEvent() }

type (
	// AgentConnect says that the agent is ready for work.
	AgentConnect struct{}
	// AgentSeen says that the agent was heard of at a time.
	AgentSeen struct{ At time.Time }
	// AgentPause keeps work from the agent until it is resumed or the time has come.
	AgentPause struct {
		Note  string
		Until time.Time
	}
	// AgentResume ends a pause.
	AgentResume struct{}
	// AgentStop asks the agent to leave after its job, or with Force at once.
	AgentStop struct{ Force bool }
	// AgentDisconnect says that the agent left.
	AgentDisconnect struct{}
	// AgentLose says that the agent was not heard of for too long, or that its end is proved.
	AgentLose struct{}
)

func (AgentConnect) agentEvent()    {}
func (AgentSeen) agentEvent()       {}
func (AgentPause) agentEvent()      {}
func (AgentResume) agentEvent()     {}
func (AgentStop) agentEvent()       {}
func (AgentDisconnect) agentEvent() {}
func (AgentLose) agentEvent()       {}

// Live says whether the session has not ended.
func (a Agent) Live() bool { return a.State != AgentDisconnected && a.State != AgentLost }

// SilentTerm is after how long an agent that is not heard of counts as silent: two of its heartbeats, which come every 30 s, and the
// 30 s that may pass until one is written down.
const SilentTerm = 90 * time.Second

// Silent says whether an agent that should be there was not heard of for so long that something is wrong with it, or between it and the
// server. It is not lost yet.
func (a Agent) Silent(now time.Time) bool {
	return (a.State == AgentConnected || a.State == AgentStopping) && now.Sub(a.LastSeen) > SilentTerm
}

// TakesJobs says whether jobs may be assigned to the agent.
func (a Agent) TakesJobs() bool { return a.State == AgentConnected && !a.Paused }

// Apply returns the agent after ev.
func (a Agent) Apply(ev AgentEvent, now time.Time) (Agent, error) {
	refused := &TransitionError{Machine: "agent", State: string(a.State), Event: eventName(ev)}
	if !a.Live() {
		return a, refused
	}
	switch ev := ev.(type) {
	case AgentConnect:
		if a.State == AgentRegistered {
			a.State = AgentConnected
		}
		a.LastSeen = now
	case AgentSeen:
		a.LastSeen = later(a.LastSeen, ev.At)
	case AgentPause:
		if a.State != AgentConnected || a.Paused {
			return a, refused
		}
		a.Paused, a.PauseNote, a.PauseUntil = true, ev.Note, ev.Until
	case AgentResume:
		if !a.Paused {
			return a, refused
		}
		a.Paused, a.PauseNote, a.PauseUntil = false, "", time.Time{}
	case AgentStop:
		if a.State == AgentRegistered {
			return a, refused
		}
		a.State, a.ForceStop = AgentStopping, a.ForceStop || ev.Force
	case AgentDisconnect:
		a.State, a.EndedAt = AgentDisconnected, now
	case AgentLose:
		a.State, a.EndedAt = AgentLost, now
	}
	return a, nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// RetryAffinity says which of the free agents that match a job goes to when it is retried
// (https://buildkite.com/docs/apis/graphql/schemas/object/clusterqueue).
type RetryAffinity string

// The affinities.
const (
	PreferWarmest   RetryAffinity = "prefer-warmest"   // the one that any other job would go to
	PreferDifferent RetryAffinity = "prefer-different" // one that ran no earlier attempt, if there is any
)

// RetryAffinities lists them all.
var RetryAffinities = []RetryAffinity{PreferWarmest, PreferDifferent}
