package agentapi

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/auth"
	"github.com/slipway-ci/slipway/internal/edge"
	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/store"
)

// permission is the kind of credential that a route asks for.
type permission int

const (
	registration permission = iota + 1 // a registration token
	session                            // an agent's session token
	leaving                            // the same, also of a session that has ended
	waiting                            // a live session's, for agents that ask what to do; they are looked up in turns
	streaming                          // the same; that of an open stream is not looked up
	accepting                          // the same, but a refusal is told only to a session that was looked up
	ownJob                             // the token of the job that the path names, which has not ended
	endedJob                           // the same, but the job may have ended: the handler says what follows
	reporting                          // the same; the state of a job whose token is known is not looked up: the operation finds out
	printing                           // the same; that of a job that printed within the last second is not looked up
	anyJob                             // the token of some job that has not ended
	sessionOrJob                       // either of the two
	signed                             // a URL that the server signed
	anybody                            // nobody is refused: what is behind it is public, or nothing
)

// route is one endpoint.
type route struct {
	pattern    string
	permission permission
	serve      func(a *Server, w http.ResponseWriter, r *http.Request, c caller) error
	// source names who sends the request: a file of the official agent's repository (v3.138.1), of
	// stacksapi (v1.0.2), or another client.
	source string
	// statuses are the answers that are particular to the route. Every route may answer 401 and 403 as
	// its permission says, 400, 413 and 415 to a body, 500 and 503; everyRoute lists those.
	statuses []int
}

// everyRoute are the statuses that any route may answer with.
var everyRoute = []int{400, 401, 403, 413, 415, 500, 503}

// routes are all endpoints but the stream, which speaks gRPC (stream.go).
var routes = []route{
	{"POST /v3/register", registration, (*Server).register, "api/agents.go", []int{200, 422}},
	{"GET /v3/metrics", registration, (*Server).metrics, "agent-metrics collector/collector.go", []int{200}},
	{"GET /v3/metrics/queue", registration, (*Server).queueMetrics, "agent-scaler buildkite/buildkite.go", []int{200, 404}},
	{"GET /v3/token", registration, (*Server).token, "api/token.go", []int{200}},

	{"POST /v3/connect", session, (*Server).connect, "api/connect.go", []int{200}},
	{"POST /v3/disconnect", leaving, (*Server).disconnect, "api/connect.go", []int{200}},
	{"GET /v3/ping", waiting, (*Server).ping, "api/pings.go", []int{200}},
	{"POST /v3/heartbeat", streaming, (*Server).heartbeat, "api/heartbeats.go", []int{200}},
	{"PUT /v3/jobs/{id}/accept", accepting, (*Server).accept, "api/jobs.go", []int{200, 404, 422}},
	{"PUT /v3/jobs/{id}/acquire", session, (*Server).acquire, "api/jobs.go", []int{200, 404, 422, 423}},

	{"POST /v3/stop", sessionOrJob, (*Server).stop, "api/agents.go", []int{200, 422}},
	{"POST /v3/pause", sessionOrJob, (*Server).pause, "api/agents.go", []int{200, 422}},
	{"POST /v3/resume", sessionOrJob, (*Server).resume, "api/agents.go", []int{200}},

	{"PUT /v3/jobs/{id}/start", reporting, (*Server).start, "api/jobs.go", []int{200, 422}},
	{"GET /v3/jobs/{id}", endedJob, (*Server).jobState, "api/jobs.go", []int{200}},
	{"PUT /v3/jobs/{id}/finish", reporting, (*Server).finish, "api/jobs.go", []int{200, 422}},
	{"POST /v3/jobs/{id}/chunks", printing, (*Server).chunk, "api/chunks.go", []int{201, 422}},
	{"POST /v3/jobs/{id}/header_times", endedJob, (*Server).headerTimes, "api/header_times.go", []int{200, 422}},
	{"PUT /v3/jobs/{id}", ownJob, (*Server).updateJob, "api/jobs.go", []int{200, 422}},
	{"PUT /v3/jobs/{id}/promise_failure", ownJob, (*Server).promiseFailure, "api/jobs.go", []int{204, 409, 422}},

	{"POST /v3/jobs/{id}/pipelines", ownJob, (*Server).uploadPipeline, "api/pipelines.go", []int{200, 202, 422}},
	{"GET /v3/jobs/{id}/pipelines/{uuid}", ownJob, (*Server).uploadState, "api/pipelines.go", []int{200, 404}},

	{"POST /v3/jobs/{id}/artifacts", ownJob, (*Server).createArtifacts, "api/artifacts.go", []int{201, 422}},
	{"PUT /v3/jobs/{id}/artifacts", ownJob, (*Server).updateArtifacts, "api/artifacts.go", []int{200, 404, 422}},
	{"GET /v3/builds/{build}/artifacts/search", anyJob, (*Server).searchArtifacts, "api/artifacts.go", []int{200, 422}},
	{"POST /artifacts/{artifact}", signed, (*Server).receiveArtifact, "internal/artifact/bk_uploader.go", []int{204, 404, 422}},
	{"POST /artifacts/{artifact}/batch", signed, (*Server).receiveFromBatch, "internal/artifact/bk_uploader.go", []int{204, 404, 422}},
	{"PUT /artifacts/{artifact}/parts/{number}", signed, (*Server).receivePart, "internal/artifact/bk_uploader.go", []int{204, 404, 422}},
	{"GET /artifacts/{artifact}", signed, (*Server).sendArtifact, "internal/artifact/download.go", []int{200, 206, 302, 304, 404, 412, 416}},

	{"POST /v3/jobs/{id}/data/set", ownJob, (*Server).setMetaData, "api/meta_data.go", []int{200, 422}},
	{"POST /v3/jobs/{id}/data/set-batch", ownJob, (*Server).setMetaDataBatch, "api/meta_data.go", []int{200, 422}},
	{"POST /v3/jobs/{id}/data/get", ownJob, (*Server).getMetaData, "api/meta_data.go", []int{200, 404}},
	{"POST /v3/jobs/{id}/data/exists", ownJob, (*Server).metaDataExists, "api/meta_data.go", []int{200}},
	{"POST /v3/jobs/{id}/data/keys", ownJob, (*Server).metaDataKeys, "api/meta_data.go", []int{200}},
	{"POST /v3/builds/{build}/data/get", anyJob, (*Server).getMetaData, "api/meta_data.go", []int{200, 404}},
	{"POST /v3/builds/{build}/data/exists", anyJob, (*Server).metaDataExists, "api/meta_data.go", []int{200, 404}},
	{"POST /v3/builds/{build}/data/keys", anyJob, (*Server).metaDataKeys, "api/meta_data.go", []int{200, 404}},

	{"POST /v3/jobs/{id}/annotations", ownJob, (*Server).annotate, "api/annotations.go", []int{200, 422}},
	{"DELETE /v3/jobs/{id}/annotations/{context}", ownJob, (*Server).removeAnnotation, "api/annotations.go", []int{200, 422}},

	{"POST /v3/steps/{step}/export", anyJob, (*Server).exportStep, "api/steps.go", []int{200, 404, 422}},
	{"PUT /v3/steps/{step}", anyJob, (*Server).updateStep, "api/steps.go", []int{200, 404, 422}},
	{"POST /v3/steps/{step}/cancel", anyJob, (*Server).cancelStep, "api/steps.go", []int{200, 404, 422}},
	{"POST /v3/builds/{build}/cancel", anyJob, (*Server).cancelBuild, "api/builds.go", []int{200}},

	{"GET /v3/jobs/{id}/secrets", ownJob, (*Server).secret, "api/secrets.go", []int{200, 404}},
	{"POST /v3/jobs/{id}/oidc/tokens", ownJob, (*Server).oidcToken, "api/oidc.go", []int{200, 422}},
	{"GET /.well-known/openid-configuration", anybody, (*Server).discovery, "readers of tokens", []int{200}},
	{"GET " + keysPath, anybody, (*Server).keys, "readers of tokens", []int{200}},
	{"POST /v3/jobs/{id}/repository_access_token", ownJob, (*Server).repositoryToken, "api/repository_access_token.go", []int{200, 404, 422}},
	{"GET /v3/cache_registries/{registry}", anyJob, (*Server).cacheRegistry, "api/cache.go", []int{200, 404}},
	{"POST /v3/cache_registries/{registry}/peek", anyJob, (*Server).peekCache, "api/cache.go", []int{200, 404, 422}},
	{"POST /v3/cache_registries/{registry}/retrieve", anyJob, (*Server).retrieveCache, "api/cache.go", []int{200, 404, 422}},
	{"PUT /v3/cache_registries/{registry}/store", anyJob, (*Server).saveCache, "api/cache.go", []int{200, 404, 422}},
	{"PUT /v3/cache_registries/{registry}/commit", anyJob, (*Server).commitCache, "api/cache.go", []int{200, 404, 422}},
	{"POST /v3/cache_registries/{registry}/expire", anyJob, (*Server).expireCache, "api/cache.go", []int{200, 404, 422}},
	{"PUT /caches/{entry}", signed, (*Server).receiveCache, "who saves to the server's own storage", []int{204, 404, 422}},
	{"GET /caches/{entry}", signed, (*Server).sendCache, "who restores from it", []int{200, 206, 302, 304, 404, 412, 416}},

	{"POST /v3/stacks/register", registration, (*Server).registerStack, "stacksapi register.go", []int{200, 201, 404, 422}},
	{"POST /v3/stacks/{stack}/deregister", registration, (*Server).deregisterStack, "stacksapi register.go", []int{204, 404}},
	{"GET /v3/stacks/{stack}/scheduled-jobs", registration, (*Server).scheduledJobs, "stacksapi scheduled_jobs.go", []int{200, 404, 422}},
	{"PUT /v3/stacks/{stack}/scheduled-jobs/batch-reserve", registration, (*Server).reserveJobs, "stacksapi scheduled_jobs.go", []int{200, 404, 422}},
	{"GET /v3/stacks/{stack}/jobs/{id}", registration, (*Server).stackJob, "stacksapi get_job.go", []int{200, 404}},
	{"POST /v3/stacks/{stack}/jobs/get-states", registration, (*Server).jobStates, "stacksapi get_job_states.go", []int{200, 404, 422}},
	{"POST /v3/stacks/{stack}/jobs/{id}/finish", registration, (*Server).declineJob, "stacksapi finish.go", []int{200, 404, 422}},
	{"POST /v3/stacks/{stack}/notifications", registration, (*Server).stackNotes, "stacksapi stack_notification.go", []int{200, 404, 422}},

	{"/v3/", anybody, (*Server).unknown, "", []int{404, 405}},
	{"/artifacts/", anybody, (*Server).unknown, "", []int{404, 405}},
	{"/caches/", anybody, (*Server).unknown, "", []int{404, 405}},
	{"/.well-known/", anybody, (*Server).unknown, "", []int{404, 405}},
	{"/" + edge.AgentEdgeServiceName + "/", anybody, (*Server).unknown, "", []int{404, 405}},
}

// caller is who asks. Which fields are set depends on the route's permission.
type caller struct {
	token    store.AgentToken
	agent    store.Errand
	job      store.TokenJob
	read     time.Time // when job was, for printing
	artifact store.Artifact
	cache    store.CacheEntry
}

// agentID is the agent that asks, itself or through the job that it runs.
func (c caller) agentID() string {
	if c.agent.AgentID != "" {
		return c.agent.AgentID
	}
	return c.job.AgentID
}

func (a *Server) authorise(p permission, r *http.Request) (c caller, err error) {
	ctx := r.Context()
	switch p {
	case registration:
		c.token, err = a.Auth.AgentToken(ctx, r)
	case session:
		c.agent, err = a.session(ctx, r)
	case leaving:
		c.agent, err = a.session(ctx, r)
		if errors.Is(err, auth.ErrUnauthorized) && c.agent.AgentID != "" {
			err = nil
		}
	case waiting:
		c.agent, err = a.waitingSession(ctx, r)
	case streaming, accepting:
		c.agent, err = a.streamingSession(ctx, r)
	case ownJob:
		c.job, err = a.ownJob(r, a.heldJob)
	case endedJob:
		c.job, err = a.ownJob(r, a.Auth.Job)
	case reporting:
		c.job, err = a.ownJob(r, a.reportingJob)
	case printing:
		c.job, err = a.ownJob(r, func(ctx context.Context, r *http.Request) (store.TokenJob, error) {
			j, err := a.printingJob(ctx, r)
			c.read = j.at
			return j.TokenJob, err
		})
	case anyJob:
		c.job, err = a.heldJob(ctx, r)
	case sessionOrJob:
		c.agent, err = a.session(ctx, r)
		if errors.Is(err, auth.ErrUnauthorized) {
			c.job, err = a.heldJob(ctx, r)
		}
	case signed:
		if id := r.PathValue("entry"); id != "" {
			c.cache, err = a.Artifacts.SignedCache(r, id)
		} else {
			c.artifact, err = a.Artifacts.Signed(r, r.PathValue("artifact"))
		}
	case anybody:
	}
	return c, err
}

// session is the agent whose session token the request bears. It was heard of.
func (a *Server) session(ctx context.Context, r *http.Request) (store.Errand, error) {
	agent, err := a.Auth.Agent(ctx, r)
	if err == nil {
		a.seen.note(agent.AgentID, a.Now())
	}
	return agent, err
}

// waitingSession is session in a turn.
func (a *Server) waitingSession(ctx context.Context, r *http.Request) (store.Errand, error) {
	endTurn, err := a.turns.take(ctx)
	if err != nil {
		return store.Errand{}, err
	}
	defer endTurn()
	return a.session(ctx, r)
}

// streamingSession is session for what does no harm a moment after the session's end. Of the errand it has the agent alone.
func (a *Server) streamingSession(ctx context.Context, r *http.Request) (store.Errand, error) {
	if id, ok := a.streams.bearer(r); ok {
		a.seen.note(id, a.Now())
		return store.Errand{AgentID: id}, nil
	}
	return a.session(ctx, r)
}

// heldJob is the job whose token the request bears, if it has not ended.
func (a *Server) heldJob(ctx context.Context, r *http.Request) (store.TokenJob, error) {
	j, err := a.Auth.Job(ctx, r)
	if err != nil {
		return j, err
	}
	if !auth.Holds(j) {
		return j, auth.ErrUnauthorized
	}
	a.seen.noteJob(j.AgentID, j.ID, a.Now())
	a.strays.forget(j.AgentID)
	return j, nil
}

// reportingJob is the job whose token the request bears, without its state if it is known to be that job's: whose a token is never changes.
func (a *Server) reportingJob(ctx context.Context, r *http.Request) (store.TokenJob, error) {
	hash, _ := auth.SessionHash(r) // of no token, no job is remembered
	if j, ok := a.bearers.get(hash, a.Now()); ok {
		return j, nil
	}
	j, err := a.Auth.Job(ctx, r)
	if err == nil {
		a.bears(hash, j)
	}
	return j, err
}

// bearTerm is for how long a server remembers whose a job's token is that nobody asked with.
const bearTerm = 24 * time.Hour

func (a *Server) bears(hash string, j store.TokenJob) {
	j.State = ""
	a.bearers.put(hash, j, a.Now().Add(bearTerm))
}

// printTerm is for how long a job whose log grows is not looked up again. A job that prints much sends several chunks a second.
const printTerm = time.Second

// readJob is a job as it was at a time.
type readJob struct {
	store.TokenJob
	at time.Time
}

// prints remembers a job that may print, as it is now.
func (a *Server) prints(hash string, j store.TokenJob) {
	now := a.Now()
	a.printed.put(hash, readJob{j, now}, now.Add(printTerm))
}

// printingJob is the job whose token the request bears, for what does no harm a moment after the job's end: that its log is closed
// is known to the log.
func (a *Server) printingJob(ctx context.Context, r *http.Request) (readJob, error) {
	now := a.Now()
	hash, _ := auth.SessionHash(r) // of no token, no job is remembered
	if j, ok := a.printed.get(hash, now); ok {
		return j, nil
	}
	j, err := a.Auth.Job(ctx, r)
	if err == nil && auth.Holds(j) {
		a.prints(hash, j)
	}
	return readJob{j, now}, err
}

// ownJob is the job that the path names, for the bearer of its token.
func (a *Server) ownJob(r *http.Request, bearer func(context.Context, *http.Request) (store.TokenJob, error)) (store.TokenJob, error) {
	j, err := bearer(r.Context(), r)
	if err != nil {
		return j, err
	}
	if j.ID != r.PathValue("id") {
		return j, httperr.New(http.StatusForbidden, "The access token belongs to another job.")
	}
	a.strays.forget(j.AgentID)
	return j, nil
}

// methods are those that a route may have.
var methods = []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete}

// unknown answers for paths that do not exist, and for methods that a path does not have. Agents take
// an HTML page for a proxy's and retry.
func (a *Server) unknown(w http.ResponseWriter, r *http.Request, _ caller) error {
	var allowed []string
	for _, m := range methods {
		other := *r
		other.Method = m
		if _, pattern := a.mux.Handler(&other); !slices.Contains(catchAll, pattern) {
			allowed = append(allowed, m)
		}
	}
	if len(allowed) == 0 {
		return httperr.New(http.StatusNotFound, "Not Found")
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	return httperr.New(http.StatusMethodNotAllowed, "%s is not possible here; %s is.", r.Method, strings.Join(allowed, " or "))
}

// catchAll are the patterns that match what no other does; "" is that of a path that is not clean.
var catchAll = []string{"/v3/", "/artifacts/", "/caches/", "/.well-known/", "/" + edge.AgentEdgeServiceName + "/", ""}
