package agentapi

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/store"
)

// The stacks API lets a program find agents for jobs (https://buildkite.com/docs/apis/agent-api/stacks;
// stacksapi v1.0.2). Where the documentation and the library call a thing by two names, both are given
// and both are taken.

// maxStackBody bounds a request in bytes: a thousand notifications of 256 characters.
const maxStackBody = 4 << 20

// stackRates are the calls a second that the service allows a stack, by what it calls them. They are told
// in headers, as clients expect; nothing is refused for them.
var stackRates = map[string]int{
	"list-scheduled-jobs": 10, "batch-reserve": 10, "show-job": 1000, "batch-load-job-states": 20, "finish-job": 100,
	"stack-notification": 200, "default": 10,
}

func (a *Server) rate(w http.ResponseWriter, stackID, scope string) {
	limit := stackRates[scope]
	used := a.rates.use(stackID+" "+scope, a.Now())
	h := w.Header()
	h.Set("RateLimit-Scope", scope)
	h.Set("RateLimit-Limit", strconv.Itoa(limit))
	h.Set("RateLimit-Remaining", strconv.Itoa(max(0, limit-used)))
	h.Set("RateLimit-Reset", "1")
}

// stack is the stack that the path names.
func (a *Server) stack(w http.ResponseWriter, r *http.Request, c caller, scope string) (store.Stack, error) {
	k, err := a.Store.Stack(r.Context(), c.token.ClusterID, r.PathValue("stack"))
	if errors.Is(err, store.ErrNotFound) || err == nil && !k.DeregisteredAt.IsZero() {
		return k, httperr.New(http.StatusNotFound, "No stack found; register it first")
	}
	if err == nil {
		a.rate(w, k.ID, scope)
	}
	return k, err
}

type stackBody struct {
	ID              string            `json:"id"`
	OrganizationID  string            `json:"organization_uuid"`
	QueueKey        string            `json:"cluster_queue_key"`
	Key             string            `json:"key"`
	Type            string            `json:"type"`
	Metadata        map[string]string `json:"metadata"`
	LastConnectedOn time.Time         `json:"last_connected_on"`
	State           string            `json:"state"` // connected, disconnected or lost
}

func (a *Server) registerStack(w http.ResponseWriter, r *http.Request, c caller) error {
	var in struct {
		Key      string            `json:"key"`
		Type     string            `json:"type"`
		QueueKey string            `json:"queue_key"`
		Metadata map[string]string `json:"metadata"`
	}
	if err := httperr.Decode(w, r, maxBody, &in); err != nil {
		return err
	}
	q, err := a.queueByKey(r.Context(), c.token.ClusterID, in.QueueKey)
	if err != nil {
		return err
	}
	cluster, err := a.Store.Cluster(r.Context(), c.token.ClusterID)
	if err != nil {
		return err
	}
	metadata := map[string]string{}
	maps.Copy(metadata, in.Metadata)
	k, created, err := a.Engine.RegisterStack(r.Context(), cluster.OrganizationID, store.Stack{
		ClusterID: c.token.ClusterID, Key: in.Key, Type: in.Type, QueueID: q.ID, Metadata: metadata,
	})
	if err != nil {
		return err
	}
	a.rate(w, k.ID, "default")
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return httperr.JSON(w, status, stackBody{
		ID: k.ID, OrganizationID: cluster.OrganizationID, QueueKey: q.Key, Key: k.Key, Type: k.Type, Metadata: k.Metadata,
		LastConnectedOn: k.SeenAt, State: "connected",
	})
}

// deregisterStack answers 204 also for a stack that has left: the answer may have been lost.
func (a *Server) deregisterStack(w http.ResponseWriter, r *http.Request, c caller) error {
	k, err := a.Store.Stack(r.Context(), c.token.ClusterID, r.PathValue("stack"))
	if errors.Is(err, store.ErrNotFound) {
		return httperr.New(http.StatusNotFound, "No stack found")
	}
	if err == nil && k.DeregisteredAt.IsZero() {
		err = a.Engine.DeregisterStack(r.Context(), k)
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

type scheduledJob struct {
	ID          string    `json:"id"`
	Priority    int       `json:"priority"`
	Rules       []string  `json:"agent_query_rules"`
	ScheduledAt time.Time `json:"scheduled_at"`
	Pipeline    struct {
		Slug string `json:"slug"`
		UUID string `json:"uuid"`
	} `json:"pipeline"`
	Build struct {
		UUID   string `json:"uuid"`
		Number int    `json:"number"`
		Branch string `json:"branch"`
	} `json:"build"`
	Step struct {
		Key *string `json:"key"`
	} `json:"step"`
}

type scheduledPage struct {
	Jobs     []scheduledJob `json:"jobs"`
	PageInfo struct {
		HasNextPage bool    `json:"has_next_page"`
		EndCursor   *string `json:"end_cursor"`
	} `json:"page_info"`
	Queue struct {
		ID             string `json:"id"`
		DispatchPaused bool   `json:"dispatch_paused"` // in the documentation
		Paused         bool   `json:"paused"`          // in the library
	} `json:"cluster_queue"`
}

// pageOfStack is how many jobs a stack is told of at most, and if it does not say.
const pageOfStack = 1000

// scheduledJobs lists the jobs that wait in a queue, none while the queue is paused: not every stack heeds
// the flag.
func (a *Server) scheduledJobs(w http.ResponseWriter, r *http.Request, c caller) error {
	k, err := a.stack(w, r, c, "list-scheduled-jobs")
	if err != nil {
		return err
	}
	q, err := a.queueByKey(r.Context(), c.token.ClusterID, r.URL.Query().Get("queue_key"))
	if err != nil {
		return err
	}
	limit, at, id, err := page(r)
	if err != nil {
		return err
	}
	if err := a.Engine.StackSeen(r.Context(), k); err != nil {
		return err
	}
	out := scheduledPage{Jobs: []scheduledJob{}}
	out.Queue.ID, out.Queue.Paused, out.Queue.DispatchPaused = q.ID, !q.PausedAt.IsZero(), !q.PausedAt.IsZero()
	if out.Queue.Paused {
		return httperr.JSON(w, http.StatusOK, out)
	}
	jobs, err := a.Store.StackJobs(r.Context(), q.ID, at, id, limit+1)
	if err != nil {
		return err
	}
	if len(jobs) > limit {
		jobs, out.PageInfo.HasNextPage = jobs[:limit], true
	}
	for _, j := range jobs {
		out.Jobs = append(out.Jobs, scheduledJobOf(j, q.Key))
	}
	if n := len(jobs); n > 0 {
		end := cursor(jobs[n-1])
		out.PageInfo.EndCursor = &end
	}
	return httperr.JSON(w, http.StatusOK, out)
}

func scheduledJobOf(j store.StackJob, queue string) scheduledJob {
	out := scheduledJob{ID: j.ID, Priority: j.Priority, Rules: append([]string{"queue=" + queue}, j.Rules...), ScheduledAt: j.ScheduledAt}
	out.Pipeline.Slug, out.Pipeline.UUID = j.PipelineSlug, j.PipelineID
	out.Build.UUID, out.Build.Number, out.Build.Branch = j.BuildID, j.BuildNumber, j.Branch
	out.Step.Key = j.StepKey
	return out
}

// cursor says behind which job a page begins.
func cursor(j store.StackJob) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %s", j.ScheduledAt.UnixMicro(), j.ID))
}

// page is how many jobs are asked for and after which.
func page(r *http.Request) (limit int, at time.Time, id string, err error) {
	limit = pageOfStack
	if text := r.URL.Query().Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > pageOfStack {
			return 0, at, "", httperr.New(http.StatusUnprocessableEntity, "The limit %q is not a number from 1 to %d.", text, pageOfStack)
		}
	}
	after := r.URL.Query().Get("after")
	if after == "" {
		return limit, at, "", nil
	}
	plain, err := base64.RawURLEncoding.DecodeString(after)
	micros, id, ok := strings.Cut(string(plain), " ")
	n, parseErr := strconv.ParseInt(micros, 10, 64)
	if err != nil || !ok || parseErr != nil {
		return 0, at, "", httperr.New(http.StatusUnprocessableEntity, "The cursor %q is not one of a page's page_info.", after)
	}
	return limit, time.UnixMicro(n), id, nil
}

// defaultReservation is how long a reservation lasts if the stack does not say.
const defaultReservation = 900 // seconds

func (a *Server) reserveJobs(w http.ResponseWriter, r *http.Request, c caller) error {
	k, err := a.stack(w, r, c, "batch-reserve")
	if err != nil {
		return err
	}
	in := struct {
		JobIDs  []string `json:"job_uuids"`
		Seconds int      `json:"reservation_expiry_seconds"`
	}{}
	if err := httperr.Decode(w, r, maxStackBody, &in); err != nil {
		return err
	}
	if in.Seconds == 0 {
		in.Seconds = defaultReservation
	}
	// A number of seconds that is far too large must not wrap round.
	term := time.Duration(min(max(in.Seconds, -1), 1<<20)) * time.Second
	reserved, err := a.Engine.ReserveJobs(r.Context(), k, in.JobIDs, term)
	if err != nil {
		return err
	}
	left := slices.DeleteFunc(slices.Clone(in.JobIDs), func(id string) bool { return slices.Contains(reserved, id) })
	return httperr.JSON(w, http.StatusOK, struct {
		Reserved    []string `json:"reserved"`
		NotReserved []string `json:"not_reserved"`
	}{append([]string{}, reserved...), append([]string{}, left...)})
}

// stackJob is what an agent would be given of a job, without what only an agent has.
func (a *Server) stackJob(w http.ResponseWriter, r *http.Request, c caller) error {
	k, err := a.stack(w, r, c, "show-job")
	if err != nil {
		return err
	}
	acc, err := a.Engine.Foresee(r.Context(), k, r.PathValue("id"))
	if err != nil {
		return err
	}
	env, err := engine.JobEnv(acc, a.buildPage(acc))
	if err != nil {
		return err
	}
	maps.DeleteFunc(env, func(name, _ string) bool { return strings.HasPrefix(name, "BUILDKITE_AGENT_") })
	return httperr.JSON(w, http.StatusOK, struct {
		ID      string            `json:"id"`
		Env     map[string]string `json:"env"`
		Command string            `json:"command"`
	}{acc.Job.ID, env, env["BUILDKITE_COMMAND"]})
}

func (a *Server) jobStates(w http.ResponseWriter, r *http.Request, c caller) error {
	k, err := a.stack(w, r, c, "batch-load-job-states")
	if err != nil {
		return err
	}
	var in struct {
		JobIDs []string `json:"job_uuids"`
	}
	if err := httperr.Decode(w, r, maxStackBody, &in); err != nil {
		return err
	}
	states, err := a.Engine.States(r.Context(), k, in.JobIDs)
	if err != nil {
		return err
	}
	return httperr.JSON(w, http.StatusOK, struct {
		States map[string]ci.JobState `json:"states"`
	}{states})
}

// declineJob ends a job. The library leaves a status of 0 out, and the documentation takes what is left
// out for -1: a stack that uses the library cannot say that a job passed.
func (a *Server) declineJob(w http.ResponseWriter, r *http.Request, c caller) error {
	k, err := a.stack(w, r, c, "finish-job")
	if err != nil {
		return err
	}
	in := struct {
		ExitStatus *int   `json:"exit_status"`
		Detail     string `json:"detail"`
	}{}
	if err := httperr.Decode(w, r, maxBody, &in); err != nil {
		return err
	}
	status := -1
	if in.ExitStatus != nil {
		status = *in.ExitStatus
	}
	if err := a.Engine.DeclineJob(r.Context(), k, r.PathValue("id"), status, in.Detail); err != nil {
		return err
	}
	return ok(w)
}

type stackNoteError struct {
	Error   string `json:"error"`
	Indexes []int  `json:"indexes"`
}

// noteTime is a time as text. What is no text is kept as it came: one unreadable time refuses its
// notification, not all of them.
type noteTime string

// UnmarshalJSON takes any value.
func (t *noteTime) UnmarshalJSON(b []byte) error {
	var text *string
	if json.Unmarshal(b, &text) != nil {
		*t = noteTime(b)
	} else if text != nil {
		*t = noteTime(*text)
	}
	return nil
}

func (a *Server) stackNotes(w http.ResponseWriter, r *http.Request, c caller) error {
	k, err := a.stack(w, r, c, "stack-notification")
	if err != nil {
		return err
	}
	var in struct {
		Notifications []struct {
			JobID  string   `json:"job_uuid"`
			Detail string   `json:"detail"`
			At     noteTime `json:"timestamp"`
		} `json:"notifications"`
	}
	if err := httperr.Decode(w, r, maxStackBody, &in); err != nil {
		return err
	}
	notes := make([]engine.StackSaid, len(in.Notifications))
	for i, n := range in.Notifications {
		notes[i] = engine.StackSaid{JobID: n.JobID, Detail: n.Detail, At: string(n.At)}
	}
	refused, err := a.Engine.AddStackNotes(r.Context(), k, notes)
	if err != nil {
		return err
	}
	out := struct {
		Errors []stackNoteError `json:"errors"`
	}{Errors: []stackNoteError{}}
	for _, n := range refused {
		out.Errors = append(out.Errors, stackNoteError{n.Why, n.Indexes})
	}
	return httperr.JSON(w, http.StatusOK, out)
}
