package agentapi

import (
	"bytes"
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
)

// maxChunkBody bounds a compressed chunk in bytes: an incompressible one of the largest size that the
// log takes, with room for gzip's own.
const maxChunkBody = joblog.DefaultMaxChunk + 8<<10

// chunk stores a piece of a job's log. Agents send three at a time, in any order and again after a
// fault; a 4xx loses the piece for good (agent/log_streamer.go of v3.138.1), so only what can never
// be stored gets one.
func (a *Server) chunk(w http.ResponseWriter, r *http.Request, c caller) error {
	body := a.bodies.get()
	defer a.bodies.put(body)
	k, err := readChunk(w, r, body)
	if err != nil {
		return err
	}
	if err := a.takesChunks(r, c); err != nil {
		return err
	}
	if k.Most, err = a.logLimit(r.Context(), c.job.PipelineID); err != nil {
		return err
	}
	p, err := a.Logs.Append(r.Context(), c.job.ID, k)
	if err != nil {
		return chunkError(err)
	}
	if p.First {
		if err := a.begunInTime(r, c); err != nil {
			return err
		}
	}
	return httperr.JSON(w, http.StatusCreated, struct{}{})
}

// lookAgain is how old what is known of a job may be for its log to begin.
const lookAgain = 100 * time.Millisecond

// begunInTime takes a log back that a chunk began after the job's end: the chunk was long on its way, or the job was remembered, and what it
// began may stand where a log was deleted. Logs are deleted of ended jobs only, so the deletion is over or sees the chunk. A log that
// was closed meanwhile ended with its job and stays: its agent did not wait for this answer and repeated the chunk.
func (a *Server) begunInTime(r *http.Request, c caller) error {
	if a.Now().Sub(c.read) < lookAgain {
		return nil
	}
	ctx := context.WithoutCancel(r.Context())
	j, err := a.Auth.Job(ctx, r)
	if err != nil && !errors.Is(err, auth.ErrUnauthorized) {
		return err
	}
	c.job.State = j.State
	if err := a.takesChunks(r.WithContext(ctx), c); !errors.Is(err, errEnded) {
		return err
	}
	if err := a.Logs.Delete(ctx, c.job.ID); err != nil {
		return err
	}
	return errEnded
}

// errEnded refuses a chunk for good.
var errEnded = httperr.New(http.StatusUnprocessableEntity, "The job has ended.")

// takesChunks says whether a job's log is written to. That of a job that ended with it is closed and
// knows which chunks it has; that of a lost job is not, and what its agent still prints is not kept.
func (a *Server) takesChunks(r *http.Request, c caller) error {
	if auth.Holds(c.job) {
		a.seen.noteJob(c.job.AgentID, c.job.ID, a.Now())
		return nil
	}
	size, err := a.Logs.Size(r.Context(), c.job.ID)
	if errors.Is(err, joblog.ErrNotFound) || err == nil && !size.Finished {
		return errEnded
	}
	return err
}

// bodies lends what chunks are read into. One that a large chunk has made large is not kept.
type bodies struct{ pool sync.Pool }

const keepBody = 256 << 10

func (p *bodies) get() *bytes.Buffer {
	if b, ok := p.pool.Get().(*bytes.Buffer); ok {
		return b
	}
	return new(bytes.Buffer)
}

func (p *bodies) put(b *bytes.Buffer) {
	if b.Cap() <= keepBody {
		b.Reset()
		p.pool.Put(b)
	}
}

func readChunk(w http.ResponseWriter, r *http.Request, body *bytes.Buffer) (joblog.Chunk, error) {
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
	err := httperr.ReadBody(w, r, maxChunkBody, body)
	k.Gzip = body.Bytes()
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

// limitTerm is how long the logs of a pipeline's jobs may be as long as before after the setting changed.
const limitTerm = 10 * time.Second

// logLimit is how many bytes the logs of a pipeline's jobs may have. Each chunk asks.
func (a *Server) logLimit(ctx context.Context, pipelineID string) (int64, error) {
	now := a.Now()
	if bytes, ok := a.limits.get(pipelineID, now); ok {
		return bytes, nil
	}
	p, err := a.Store.PipelineByID(ctx, pipelineID)
	if err != nil {
		return 0, err
	}
	org, err := a.Store.OrganizationByID(ctx, p.OrganizationID)
	if err != nil {
		return 0, err
	}
	decided, err := engine.SettingsOf(org)
	if err != nil {
		return 0, err
	}
	a.limits.put(pipelineID, decided.MaxLogBytes(), now.Add(limitTerm))
	return decided.MaxLogBytes(), nil
}
