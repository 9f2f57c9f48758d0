package dispatch

import "fmt"

// Snapshot is everything that Match looks at. Match changes none of it.
type Snapshot struct {
	Jobs   []Job
	Agents []Agent
	Queues []Queue // a queue that is not here is not paused
	// Held counts the jobs that agents hold already, by queue and pipeline.
	Held map[Share]int
}

// Share is a pipeline's part of a queue.
type Share struct{ Queue, Pipeline string }

// Queue is a routing key of a cluster. Jobs and agents name it by ID, so those
// of different clusters never meet.
type Queue struct {
	ID     string
	Key    string // what people write
	Paused bool
	Pause  string // by whom and why, put right behind "is paused": " by Ana: new disks"; may be empty
}

// Job is a job that waits for an agent and nothing else.
type Job struct {
	ID         string
	Pipeline   string
	Repository string // whatever is equal for jobs that share a checkout; may be empty
	Queue      string // id
	// Rules are `key=value` pairs an agent's tags must satisfy, without the
	// queue's, which is in Queue. See Matches.
	Rules       []string
	Priority    int
	ScheduledAt int64  // µs since 1970; inherited by uploads and retries
	Position    string // of the step, ordered as bytes
	Number      int64  // within the step
	// AvoidAgents are ids, such as those of the agents that ran earlier attempts. One of them is given the job only if no
	// other agent that matches is free.
	AvoidAgents []string
	Clearance   Clearance
}

// Clearance is proof that a stored verdict allows a job's commit. The zero
// Clearance is none; any other comes from Clear.
type Clearance struct{ granted bool }

// Clear makes the proof from a verdict as it is stored with a build: decision
// is "allow" or something else, about is the commit that it was made for. It
// fails unless the verdict allows the very commit that the job would run.
func Clear(decision, about, commit string) (Clearance, error) {
	if decision != "allow" {
		return Clearance{}, fmt.Errorf("the verdict is %q", decision)
	}
	if about != commit || commit == "" {
		return Clearance{}, fmt.Errorf("the verdict is about commit %q, the job would run %q", about, commit)
	}
	return Clearance{granted: true}, nil
}

// Agent is a connected agent.
type Agent struct {
	ID       string
	Queue    string   // id
	Tags     []string // `key=value`; a key may come more than once
	Priority *int     // nil comes after all others

	Idle     bool // it holds no job and would take one at once
	Paused   bool
	Stopping bool
	// IgnoreInDispatches is set for agents that acquire their own jobs.
	IgnoreInDispatches bool

	LastPipeline   string // of its last job
	LastRepository string
	LastSuccessAt  int64 // µs since 1970; 0: never
}

func (a *Agent) free() bool {
	return a.Idle && !a.Paused && !a.Stopping && !a.IgnoreInDispatches
}

// Assignment pairs a job with an agent.
type Assignment struct {
	JobID   string
	AgentID string
	Reason  Reason
}

// Reason says why this agent of those that match.
type Reason string

// The reasons, as people read them after "this agent".
const (
	ReasonPipeline   Reason = "last ran this pipeline"
	ReasonRepository Reason = "last ran this repository"
	ReasonPriority   Reason = "had the highest priority of the free agents"
	ReasonRecent     Reason = "succeeded most recently of the free agents"
	ReasonFree       Reason = "was free, like others that match"
	ReasonOnly       Reason = "was the only free agent that matches"
	ReasonFirst      Reason = "was the first free agent found that matches" // said by callers whose snapshot had not all agents
	ReasonDifferent  Reason = "ran no earlier attempt of this job"
	ReasonLastResort Reason = "ran an earlier attempt, but no other agent that matches was free"
)
