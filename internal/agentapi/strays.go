package agentapi

import (
	"context"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/internal/store"
)

// strayTerm is how long an agent asks for work, and says nothing of the job that it is thought to run,
// before that job is lost. Agents ask for a running job's state every two seconds.
const strayTerm = time.Minute

// maxStrays bounds the agents remembered; those beyond keep their job until its time limit.
const maxStrays = 1 << 16

// strays remembers since when polling agents ask for work although they hold a job that has begun. Such an
// agent has given the job up: its report of the end was lost for good. Nothing else would end the job, for
// the agent lives.
type strays struct {
	mu sync.Mutex
	of map[string]stray // by agent
}

type stray struct {
	jobID string
	since time.Time
}

// asks notes that an agent asked for work, and says whether it did so for a whole term without a word of its
// job.
func (s *strays) asks(agentID, jobID string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.of[agentID]; ok && known.jobID == jobID {
		return now.Sub(known.since) >= strayTerm
	}
	if s.of == nil {
		s.of = map[string]stray{}
	}
	if len(s.of) < maxStrays {
		s.of[agentID] = stray{jobID, now}
	}
	return false
}

// forget is called when an agent shows that it has its job, or holds none.
func (s *strays) forget(agentID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.of, agentID)
}

// lookForStray ends the job of a polling agent that has given it up.
func (a *Server) lookForStray(ctx context.Context, agent store.Errand, busy bool) error {
	if !busy {
		a.strays.forget(agent.AgentID)
		return nil
	}
	if !a.strays.asks(agent.AgentID, agent.JobID, a.Now()) {
		return nil
	}
	a.strays.forget(agent.AgentID)
	return a.Engine.LoseJob(ctx, agent.JobID, agent.AgentID, "The agent asks for other work: it has given the job up, and its report did not arrive.")
}
