package agentapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/internal/auth"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/joblog"
	"github.com/slipway-ci/slipway/internal/store"
)

// maxChunkBody bounds a compressed chunk in bytes: an incompressible one of the largest size that the
// log takes, with room for gzip's own.
const maxChunkBody = joblog.DefaultMaxChunk + 8<<10

// chunk stores a piece of a job's log. Agents send three at a time, in any order and again after a
// fault; a 4xx loses the piece for good (agent/log_streamer.go of v3.138.1), so only what can never
// be stored gets one.
func (a *Server) chunk(w http.ResponseWriter, r *http.Request, c caller) error {
	k, err := readChunk(w, r)
	if err != nil {
		return err
	}
	if err := a.takesChunks(r, c); err != nil {
		return err
	}
	if k.Most, err = a.limits.of(r.Context(), a.Store, c.job.PipelineID, a.Now()); err != nil {
		return err
	}
	if _, err := a.Logs.Append(r.Context(), c.job.ID, k); err != nil {
		return chunkError(err)
	}
	return httperr.JSON(w, http.StatusCreated, struct{}{})
}

// takesChunks says whether a job's log is written to. That of a job that ended with it is closed and
// knows which chunks it has; that of a lost job is not, and what its agent still prints is not kept.
func (a *Server) takesChunks(r *http.Request, c caller) error {
	if auth.Holds(c.job) {
		a.seen.noteJob(c.job.AgentID, c.job.ID, a.Now())
		return nil
	}
	size, err := a.Logs.Size(r.Context(), c.job.ID)
	if errors.Is(err, joblog.ErrNotFound) || err == nil && !size.Finished {
		return httperr.New(http.StatusUnprocessableEntity, "The job has ended.")
	}
	return err
}

func readChunk(w http.ResponseWriter, r *http.Request) (joblog.Chunk, error) {
	var k joblog.Chunk
	query := r.URL.Query()
	for name, to := range map[string]*int64{"sequence": &k.Sequence, "offset": &k.Offset, "size": &k.Size} {
		n, err := strconv.ParseInt(query.Get(name), 10, 64)
		if err != nil {
			return k, httperr.New(http.StatusUnprocessableEntity, "The chunk's %s %q is not a number.", name, query.Get(name))
		}
		*to = n
	}
	if r.Header.Get("Content-Encoding") != "gzip" {
		return k, httperr.New(http.StatusUnsupportedMediaType, "Chunks are sent with Content-Encoding: gzip.")
	}
	var err error
	k.Gzip, err = httperr.Body(w, r, maxChunkBody)
	return k, err
}

// chunkError tells refusals from faults.
func chunkError(err error) error {
	_, malformed := errors.AsType[*joblog.ChunkError](err)
	_, conflict := errors.AsType[*joblog.ConflictError](err)
	_, over := errors.AsType[*joblog.LimitError](err)
	switch {
	case over:
		return httperr.New(http.StatusRequestEntityTooLarge, "%v", err)
	case malformed, conflict, errors.Is(err, joblog.ErrFinished):
		return httperr.New(http.StatusUnprocessableEntity, "%v", err)
	}
	return &httperr.Error{Status: http.StatusServiceUnavailable, Message: "The log chunk could not be stored; send it again.", Err: err}
}

// headerTimes takes when the groups of a log began, from agents that put no time marks into the log. Each call repeats all times so far.
func (a *Server) headerTimes(w http.ResponseWriter, r *http.Request, c caller) error {
	var in struct {
		Times map[string]time.Time `json:"header_times"`
	}
	if err := httperr.Decode(w, r, maxBody, &in); err != nil {
		return err
	}
	times := make(map[int]time.Time, len(in.Times))
	for number, at := range in.Times {
		n, err := strconv.Atoi(number)
		if err != nil {
			return httperr.New(http.StatusUnprocessableEntity, "The group %q is not a number.", number)
		}
		times[n] = at
	}
	if err := a.Engine.SetHeaderTimes(r.Context(), c.job.ID, times); err != nil {
		return err
	}
	return ok(w)
}

// logLimits remembers for a while how long the logs of a pipeline's jobs may be: each chunk asks.
type logLimits struct {
	mu    sync.Mutex
	known map[string]logLimit
}

type logLimit struct {
	bytes int64
	until time.Time
}

const (
	limitTerm   = 10 * time.Second // after which a changed setting is heeded
	knownLimits = 10_000
)

func (l *logLimits) of(ctx context.Context, s *store.Store, pipelineID string, now time.Time) (int64, error) {
	l.mu.Lock()
	known, ok := l.known[pipelineID]
	l.mu.Unlock()
	if ok && now.Before(known.until) {
		return known.bytes, nil
	}
	p, err := s.PipelineByID(ctx, pipelineID)
	if err != nil {
		return 0, err
	}
	org, err := s.OrganizationByID(ctx, p.OrganizationID)
	if err != nil {
		return 0, err
	}
	decided, err := engine.SettingsOf(org)
	if err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known == nil || len(l.known) >= knownLimits {
		l.known = map[string]logLimit{}
	}
	l.known[pipelineID] = logLimit{decided.MaxLogBytes(), now.Add(limitTerm)}
	return decided.MaxLogBytes(), nil
}
