package agentapi

import (
	"context"
	"errors"
	"maps"
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

// keep remembers again what could not be written, unless an agent was heard of meanwhile.
func (s *seen) keep(left map[string]store.Seen) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil {
		s.at = map[string]store.Seen{}
	}
	for id, was := range left {
		now, known := s.at[id]
		if !known && len(s.at) < maxSeen {
			s.at[id] = was
		}
		if known && now.JobID == "" {
			now.JobID, now.JobAt = was.JobID, was.JobAt
			s.at[id] = now
		}
	}
}

// FlushSeen writes down when agents were last heard of. It should run about once a minute and must
// run more often than an agent may be silent. What an error kept from being written is forgotten:
// the agents' next heartbeats make up for it. An agent to which something else happens at this moment is tried
// once more at the end, and with the next flush after that.
func (a *Server) FlushSeen(ctx context.Context) error {
	left, err := a.writeSeen(ctx, a.seen.take())
	left, again := a.writeSeen(ctx, left)
	a.seen.keep(left)
	return errors.Join(err, again)
}

func (a *Server) writeSeen(ctx context.Context, at map[string]store.Seen) (left map[string]store.Seen, err error) {
	left = map[string]store.Seen{}
	batch := make(map[string]store.Seen, seenBatch)
	write := func() {
		held, failed := a.Engine.AgentsSeen(ctx, batch)
		maps.Copy(left, held)
		err = errors.Join(err, failed)
		clear(batch)
	}
	for id, seen := range at {
		if batch[id] = seen; len(batch) == seenBatch {
			write()
		}
	}
	if len(batch) > 0 {
		write()
	}
	return left, err
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
