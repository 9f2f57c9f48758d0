package agentapi

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/internal/auth"
	"github.com/slipway-ci/slipway/internal/ci"
)

const (
	// roundsPerReread is how often, in one Reread, the database is read for the streams that are due: for
	// many in one statement, which costs a tenth of a statement for each.
	roundsPerReread = 10
	// roundRest is the least time between two rounds.
	roundRest = time.Millisecond
	// lookTimeout bounds what is read at one wake-up or in one round.
	lookTimeout = 30 * time.Second
)

// streams are the open streams. While there are any, rounds read the database for them: hints may be lost.
type streams struct {
	api     *Server
	mu      sync.Mutex
	open    map[*pingStream]struct{}
	bearers map[string]*pingStream // by the hash of the token that opened one
	touring bool                   // a goroutine makes rounds
	closing chan struct{}
	work    sync.WaitGroup // what runs for streams: rounds, looks, waits for agents to go
}

func newStreams(a *Server) *streams {
	return &streams{api: a, open: map[*pingStream]struct{}{}, bearers: map[string]*pingStream{}, closing: make(chan struct{})}
}

// ending says whether the server is about to stop.
func (s *streams) ending() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}

// add says whether a stream may stay: not on a server that is about to stop.
func (s *streams) add(p *pingStream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending() {
		return false
	}
	p.reread = time.Now().Add(s.api.Reread)
	s.open[p], s.bearers[p.tokenHash] = struct{}{}, p
	if !s.touring {
		s.touring = true
		s.work.Go(s.makeRounds)
	}
	return true
}

func (s *streams) remove(p *pingStream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, p)
	if s.bearers[p.tokenHash] == p {
		delete(s.bearers, p.tokenHash)
	}
}

// bearer returns the agent that has a stream open with the token that a request bears. Its session was live when the database was
// last read, at most a Reread ago; where hints are heard, its end ends the stream within moments.
func (s *streams) bearer(r *http.Request) (agentID string, ok bool) {
	hash, _ := auth.SessionHash(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.bearers[hash]
	if ok {
		agentID = p.agentID
	}
	return agentID, ok
}

// start runs something for a stream, unless the server is about to stop.
func (s *streams) start(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ending() {
		s.work.Go(f)
	}
}

// end ends all streams, and each that is opened later. It returns when nothing runs for any.
func (s *streams) end() {
	var ends sync.WaitGroup
	for _, p := range s.close() {
		ends.Go(func() { p.end(errReconnect) })
	}
	ends.Wait()
	s.work.Wait()
}

// close lets no more streams in and returns those that are open.
func (s *streams) close() []*pingStream {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ending() {
		close(s.closing)
	}
	return slices.Collect(maps.Keys(s.open))
}

// makeRounds makes rounds until no stream is open.
func (s *streams) makeRounds() {
	tick := time.NewTicker(max(s.api.Reread/roundsPerReread, roundRest))
	defer tick.Stop()
	for {
		select {
		case <-s.closing:
			return
		case now := <-tick.C:
			due, more := s.due(now)
			if !more {
				return
			}
			s.look(due)
		}
	}
}

// due returns the streams to read for, by agent; more is false when the rounds are over.
func (s *streams) due(now time.Time) (due map[string][]*pingStream, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	due = map[string][]*pingStream{}
	for p := range s.open {
		if !p.reread.After(now) {
			p.reread = now.Add(s.api.Reread)
			due[p.agentID] = append(due[p.agentID], p)
		}
	}
	s.touring = len(s.open) > 0
	return due, s.touring
}

// look wakes the streams whose agents are to be told something. It tells them nothing itself: what was read may be
// older than what a hint has told meanwhile. What could not be read each stream reads, and ends with the cause.
func (s *streams) look(due map[string][]*pingStream) {
	if len(due) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
	defer cancel()
	errands, err := s.api.Store.Errands(ctx, slices.Collect(maps.Keys(due)))
	now := s.api.Now()
	for agentID, of := range due {
		errand, read := errands[agentID]
		if !read {
			errand.State = ci.AgentConnected
		}
		for _, p := range of {
			if err != nil || p.stale(errand, now) {
				p.wake()
			}
		}
	}
}
