package agentapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/slipway-ci/slipway/internal/auth"
	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/joblog"
	"github.com/slipway-ci/slipway/internal/store"
)

// chunkInterval is how long, in seconds, agents let text wait for more of it.
const chunkInterval = 1

// job is what an agent runs (api/jobs.go of v3.138.1).
type job struct {
	ID                string            `json:"id"`
	Token             string            `json:"token"`
	State             ci.JobState       `json:"state"`
	Env               map[string]string `json:"env"`
	Step              json.RawMessage   `json:"step,omitempty"`
	MatrixPermutation map[string]string `json:"matrix_permutation,omitempty"`
	ChunksMaxSize     int               `json:"chunks_max_size_bytes"` // without it an agent gives the job up without a word (agent/log_streamer.go of v3.138.1)
	ChunksInterval    int               `json:"chunks_interval_seconds"`
	LogMaxSize        int64             `json:"log_max_size_bytes"`
	RunnableAt        string            `json:"runnable_at,omitempty"`
	Priority          int               `json:"priority"`
}

func (a *Server) accept(w http.ResponseWriter, r *http.Request, c caller) error {
	accepted, err := a.Engine.AcceptJob(r.Context(), r.PathValue("id"), c.agent.AgentID)
	if err == nil {
		a.knowAccepted(accepted)
		return a.answerJob(w, accepted)
	}
	if _, over := a.Auth.Agent(r.Context(), r); over != nil {
		return over // which the operation may have told otherwise
	}
	return a.dropped(r, r.PathValue("id"), c.agent.AgentID, err)
}

// knowAccepted remembers a job's token, so that what its agent says first need not look it up: this server has just seen that it is good.
func (a *Server) knowAccepted(acc engine.Accepted) {
	j := store.TokenJob{ID: acc.Job.ID, BuildID: acc.Build.ID, PipelineID: acc.Pipeline.ID, AgentID: acc.Agent.ID, State: acc.Job.State}
	a.bears(acc.Job.TokenHash, j)
	a.prints(acc.Job.TokenHash, j)
}

// dropped returns the refusal of a job to its agent, which an agent answers by forgetting the job
// without finishing it (agent/job_runner.go of v3.138.1). A job that was canceled meanwhile would be
// canceling for ever, and its agent busy: it ends here. One that started is not dropped by that: its agent
// runs it, and the request is an older one that comes late. What the request's token said of the job's state is old by now.
func (a *Server) dropped(r *http.Request, jobID, agentID string, refusal error) error {
	refused, isRefusal := errors.AsType[*engine.Refused](refusal)
	if !isRefusal || refused.Why != engine.Conflict {
		return refusal
	}
	j, err := a.Store.Job(r.Context(), jobID)
	if err != nil {
		return err
	}
	if j.AgentID == agentID && stopping(j.State) && j.StartedAt.IsZero() {
		if err := a.end(r, engine.FinishJob{JobID: jobID, ExitStatus: -1, SignalReason: "cancel"}); err != nil {
			return err
		}
	}
	return refusal
}

// retryAcquire is how soon, in seconds, an agent asks again for a job that still waits. Agents say which of their seven attempts
// this is, from 0. The pause doubles as their own would, which it replaces: short ones would use the attempts up in moments
// (core/client.go of v3.138.1).
func retryAcquire(h http.Header) string {
	n, err := strconv.Atoi(h.Get("X-Buildkite-Backoff-Sequence"))
	if err != nil {
		n = 0
	}
	return strconv.Itoa(2 << max(0, min(n, 5)))
}

func (a *Server) acquire(w http.ResponseWriter, r *http.Request, c caller) error {
	accepted, err := a.Engine.AcquireJob(r.Context(), r.PathValue("id"), c.agent.AgentID)
	if errors.Is(err, engine.ErrNotYet) {
		w.Header().Set("Retry-After", retryAcquire(r.Header))
		return httperr.New(http.StatusLocked, "The job still waits for its dependencies, or for its turn in its concurrency group.")
	}
	if err != nil {
		return err
	}
	return a.answerJob(w, accepted)
}

// buildPage is the URL of the page of a job's build.
func (a *Server) buildPage(acc engine.Accepted) string {
	return fmt.Sprintf("%s/%s/%s/builds/%d", a.BaseURL, acc.Organization.Slug, acc.Pipeline.Slug, acc.Build.Number)
}

func (a *Server) answerJob(w http.ResponseWriter, acc engine.Accepted) error {
	env, err := engine.JobEnv(acc, a.buildPage(acc))
	if err != nil {
		return err
	}
	spec, err := acc.Job.Spec()
	if err != nil {
		return fmt.Errorf("job %s: %w", acc.Job.ID, err)
	}
	decided, err := engine.SettingsOf(acc.Organization)
	if err != nil {
		return err
	}
	step, err := engine.AgentStep(acc)
	if err != nil {
		return fmt.Errorf("step %s: %w", acc.Step.ID, err)
	}
	out := job{
		ID: acc.Job.ID, Token: acc.Token, State: acc.Job.State, Env: env, Step: step, MatrixPermutation: spec.Matrix,
		ChunksMaxSize: joblog.ChunkBytes, ChunksInterval: chunkInterval, LogMaxSize: decided.MaxLogBytes(),
		Priority: acc.Job.Priority,
	}
	if t := acc.Job.RunnableAt; !t.IsZero() {
		out.RunnableAt = t.UTC().Format(time.RFC3339Nano)
	}
	return httperr.JSON(w, http.StatusOK, out)
}

// agentTime is a time by the agent's clock. One that cannot be read is no reason to refuse what
// happened, which the agent would take for final: it is zero, and ours counts.
type agentTime struct{ time.Time }

// UnmarshalJSON implements json.Unmarshaler.
func (t *agentTime) UnmarshalJSON(b []byte) error {
	if json.Unmarshal(b, &t.Time) != nil {
		t.Time = time.Time{}
	}
	return nil
}

// start says that a job began.
func (a *Server) start(w http.ResponseWriter, r *http.Request, c caller) error {
	var in struct {
		StartedAt agentTime `json:"started_at"`
	}
	if err := httperr.Decode(w, r, maxBody, &in); err != nil {
		return err
	}
	if err := a.Engine.StartJob(r.Context(), c.job.ID, in.StartedAt.Time); err != nil {
		return a.dropped(r, c.job.ID, c.job.AgentID, err)
	}
	c.job.State = ci.JobRunning // or stopping, which is all the same to its log
	hash, _ := auth.SessionHash(r)
	a.prints(hash, c.job)
	return ok(w)
}

func stopping(s ci.JobState) bool { return s == ci.JobCanceling || s == ci.JobTimingOut }

// jobState tells an agent whether to go on. The token of a job that ended elsewhere is no longer
// valid, which stops the job.
func (a *Server) jobState(w http.ResponseWriter, _ *http.Request, c caller) error {
	if !auth.Holds(c.job) {
		return auth.ErrUnauthorized
	}
	a.seen.noteJob(c.job.AgentID, c.job.ID, a.Now())
	return httperr.JSON(w, http.StatusOK, struct {
		ID    string      `json:"id"`
		State ci.JobState `json:"state"`
	}{c.job.ID, c.job.State})
}

type finishRequest struct {
	ExitStatus        string    `json:"exit_status"`
	Signal            string    `json:"signal"`
	SignalReason      string    `json:"signal_reason"`
	FinishedAt        agentTime `json:"finished_at"`
	ChunksFailedCount int       `json:"chunks_failed_count"`
	IgnoreAgent       bool      `json:"ignore_agent_in_dispatches"`
}

func (a *Server) finish(w http.ResponseWriter, r *http.Request, c caller) error {
	var in finishRequest
	if err := httperr.Decode(w, r, maxBody, &in); err != nil {
		return err
	}
	status, err := strconv.Atoi(in.ExitStatus)
	if err != nil {
		return httperr.New(http.StatusUnprocessableEntity, "The exit status %q is not a number.", in.ExitStatus)
	}
	err = a.end(r, engine.FinishJob{
		JobID: c.job.ID, AgentID: c.job.AgentID, ExitStatus: status, Signal: in.Signal, SignalReason: in.SignalReason,
		FinishedAt: in.FinishedAt.Time, ChunksFailed: in.ChunksFailedCount, IgnoreAgent: in.IgnoreAgent,
	})
	if err != nil {
		return err
	}
	return ok(w)
}

// end closes a job's log and ends the job. The agent repeats both if either fails.
func (a *Server) end(r *http.Request, op engine.FinishJob) error {
	ctx := r.Context()
	size, first, err := a.Logs.FinishSized(ctx, op.JobID)
	if err != nil {
		return fmt.Errorf("closing the log of job %s: %w", op.JobID, err)
	}
	op.LogSize = size.Text
	_, err = a.Engine.FinishJob(ctx, op)
	if _, refused := errors.AsType[*engine.Refused](err); refused && first {
		return cmp.Or(a.stayDeleted(ctx, op.JobID), err)
	}
	return err
}

// stayDeleted takes a log back that the end of a job began which had ended already, if the job's log was deleted.
func (a *Server) stayDeleted(ctx context.Context, jobID string) error {
	l, err := a.Store.JobLog(ctx, jobID)
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && l.State != engine.LogDeleted && l.State != engine.LogExpired:
		return nil
	case err != nil:
		return err
	}
	return a.Logs.Delete(ctx, jobID)
}
