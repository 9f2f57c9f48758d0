package agentapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/slipway-ci/slipway/internal/auth"
	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/store"
)

// permission is the kind of credential that a route asks for.
type permission int

const (
	registration permission = iota + 1 // a registration token
	session                            // an agent's session token
	ownJob                             // the token of the job that the path names, which has not ended
	endedJob                           // the same, but the job may have ended: the handler says what follows
	anyJob                             // the token of some job that has not ended
	sessionOrJob                       // either of the two
	signed                             // a URL that the server signed
	anybody                            // nobody is refused: there is nothing behind it
)

// route is one endpoint.
type route struct {
	pattern    string
	permission permission
	serve      func(a *Server, w http.ResponseWriter, r *http.Request, c caller) error
}

// routes are all endpoints but the stream, which speaks gRPC (stream.go).
var routes = []route{
	{"POST /v3/register", registration, (*Server).register},
	{"GET /v3/token", registration, (*Server).token},

	{"POST /v3/connect", session, (*Server).connect},
	{"POST /v3/disconnect", session, (*Server).disconnect},
	{"GET /v3/ping", session, (*Server).ping},
	{"POST /v3/heartbeat", session, (*Server).heartbeat},
	{"PUT /v3/jobs/{id}/accept", session, (*Server).accept},
	{"PUT /v3/jobs/{id}/acquire", session, (*Server).acquire},

	{"POST /v3/stop", sessionOrJob, (*Server).stop},
	{"POST /v3/pause", sessionOrJob, (*Server).pause},
	{"POST /v3/resume", sessionOrJob, (*Server).resume},

	{"PUT /v3/jobs/{id}/start", endedJob, (*Server).start},
	{"GET /v3/jobs/{id}", endedJob, (*Server).jobState},
	{"PUT /v3/jobs/{id}/finish", endedJob, (*Server).finish},
	{"POST /v3/jobs/{id}/chunks", endedJob, (*Server).chunk},
	{"POST /v3/jobs/{id}/header_times", endedJob, (*Server).headerTimes},
	{"PUT /v3/jobs/{id}", ownJob, (*Server).updateJob},
	{"PUT /v3/jobs/{id}/promise_failure", ownJob, (*Server).promiseFailure},

	{"POST /v3/jobs/{id}/pipelines", ownJob, (*Server).uploadPipeline},
	{"GET /v3/jobs/{id}/pipelines/{uuid}", ownJob, (*Server).uploadState},

	{"POST /v3/jobs/{id}/artifacts", ownJob, (*Server).createArtifacts},
	{"PUT /v3/jobs/{id}/artifacts", ownJob, (*Server).updateArtifacts},
	{"GET /v3/builds/{build}/artifacts/search", anyJob, (*Server).searchArtifacts},
	{"POST /artifacts/{artifact}", signed, (*Server).receiveArtifact},
	{"POST /artifacts/{artifact}/batch", signed, (*Server).receiveFromBatch},
	{"PUT /artifacts/{artifact}/parts/{number}", signed, (*Server).receivePart},
	{"GET /artifacts/{artifact}", signed, (*Server).sendArtifact},

	{"POST /v3/jobs/{id}/data/set", ownJob, (*Server).setMetaData},
	{"POST /v3/jobs/{id}/data/set-batch", ownJob, (*Server).setMetaDataBatch},
	{"POST /v3/jobs/{id}/data/get", ownJob, (*Server).getMetaData},
	{"POST /v3/jobs/{id}/data/exists", ownJob, (*Server).metaDataExists},
	{"POST /v3/jobs/{id}/data/keys", ownJob, (*Server).metaDataKeys},
	{"POST /v3/builds/{build}/data/get", anyJob, (*Server).getMetaData},
	{"POST /v3/builds/{build}/data/exists", anyJob, (*Server).metaDataExists},
	{"POST /v3/builds/{build}/data/keys", anyJob, (*Server).metaDataKeys},

	{"POST /v3/jobs/{id}/annotations", ownJob, (*Server).annotate},
	{"DELETE /v3/jobs/{id}/annotations/{context}", ownJob, (*Server).removeAnnotation},

	{"POST /v3/steps/{step}/export", anyJob, (*Server).exportStep},
	{"PUT /v3/steps/{step}", anyJob, (*Server).updateStep},
	{"POST /v3/steps/{step}/cancel", anyJob, (*Server).cancelStep},
	{"POST /v3/builds/{build}/cancel", anyJob, (*Server).cancelBuild},

	{"GET /v3/jobs/{id}/secrets", ownJob, (*Server).secret},
	{"POST /v3/jobs/{id}/oidc/tokens", ownJob, (*Server).oidcToken},
	{"POST /v3/jobs/{id}/repository_access_token", ownJob, (*Server).repositoryToken},
	{"/v3/cache_registries/", anyJob, (*Server).cacheRegistry},

	{"/v3/", anybody, (*Server).unknown},
	{"/artifacts/", anybody, (*Server).unknown},
}

// caller is who asks. Which fields are set depends on the route's permission.
type caller struct {
	token    store.AgentToken
	agent    store.Agent
	job      store.Job
	artifact store.Artifact
}

// agentID is the agent that asks, itself or through the job that it runs.
func (c caller) agentID() string {
	if c.agent.ID != "" {
		return c.agent.ID
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
	case ownJob, endedJob:
		c.job, err = a.ownJob(ctx, r, p == endedJob)
	case anyJob:
		c.job, err = a.heldJob(ctx, r)
	case sessionOrJob:
		c.agent, err = a.session(ctx, r)
		if errors.Is(err, auth.ErrUnauthorized) {
			c.job, err = a.heldJob(ctx, r)
		}
	case signed:
		c.artifact, err = a.Artifacts.Signed(r, r.PathValue("artifact"))
	case anybody:
	}
	return c, err
}

// session is the agent whose session token the request bears. It was heard of.
func (a *Server) session(ctx context.Context, r *http.Request) (store.Agent, error) {
	agent, err := a.Auth.Agent(ctx, r)
	if err == nil {
		a.seen.note(agent.ID, a.Now())
	}
	return agent, err
}

// heldJob is the job whose token the request bears, if it has not ended.
func (a *Server) heldJob(ctx context.Context, r *http.Request) (store.Job, error) {
	j, err := a.Auth.Job(ctx, r)
	if err != nil {
		return j, err
	}
	if !auth.Holds(j) {
		return j, auth.ErrUnauthorized
	}
	a.seen.note(j.AgentID, a.Now())
	return j, nil
}

// ownJob is the job that the path names, for the bearer of its token.
func (a *Server) ownJob(ctx context.Context, r *http.Request, ended bool) (j store.Job, err error) {
	if ended {
		j, err = a.Auth.Job(ctx, r)
	} else {
		j, err = a.heldJob(ctx, r)
	}
	if err != nil {
		return j, err
	}
	if j.ID != r.PathValue("id") {
		return j, httperr.New(http.StatusForbidden, "The access token belongs to another job.")
	}
	return j, nil
}

// unknown answers for paths that do not exist. Agents take an HTML page for a proxy's and retry.
func (a *Server) unknown(http.ResponseWriter, *http.Request, caller) error {
	return httperr.New(http.StatusNotFound, "Not Found")
}
