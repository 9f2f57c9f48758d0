package agentapi

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/store"
)

const (
	maxSeen   = 1 << 17 // agents remembered between two flushes
	seenBatch = 500     // agents written in one transaction
)

// seen remembers when agents and their jobs were last heard of until it is written down.
type seen struct {
	mu sync.Mutex
	at map[string]store.Seen
}

// note remembers that an agent was heard of.
func (s *seen) note(id string, at time.Time) { s.noteJob(id, "", at) }

// noteJob remembers that an agent was heard of through a job that it runs. To begin one is not to run it: what
// follows may be a long hook, or nothing because the agent missed the answer.
func (s *seen) noteJob(id, jobID string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil {
		s.at = map[string]store.Seen{}
	}
	now, known := s.at[id]
	if !known && len(s.at) >= maxSeen {
		return
	}
	now.At = at
	if jobID != "" {
		now.JobID, now.JobAt = jobID, at
	}
	s.at[id] = now
}

func (s *seen) take() map[string]store.Seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.at
	s.at = nil
	return at
}

// FlushSeen writes down when agents were last heard of. It should run about once a minute and must
// run more often than an agent may be silent. What an error kept from being written is forgotten:
// the agents' next heartbeats make up for it.
func (a *Server) FlushSeen(ctx context.Context) error {
	var errs []error
	batch := make(map[string]store.Seen, seenBatch)
	for id, at := range a.seen.take() {
		batch[id] = at
		if len(batch) == seenBatch {
			errs = append(errs, a.Engine.AgentsSeen(ctx, batch))
			batch = make(map[string]store.Seen, seenBatch)
		}
	}
	if len(batch) > 0 {
		errs = append(errs, a.Engine.AgentsSeen(ctx, batch))
	}
	return errors.Join(errs...)
}

type heartbeat struct {
	SentAt     string    `json:"sent_at"` // by the agent's clock, echoed
	ReceivedAt time.Time `json:"received_at"`
}

// heartbeat needs no more than the session token: authorising noted that the agent was heard of.
func (a *Server) heartbeat(w http.ResponseWriter, r *http.Request, _ caller) error {
	var in heartbeat
	if err := httperr.Decode(w, r, maxBody, &in); err != nil {
		return err
	}
	in.ReceivedAt = a.Now()
	return httperr.JSON(w, http.StatusOK, in)
}
