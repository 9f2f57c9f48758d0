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
	serve      func(a *API, w http.ResponseWriter, r *http.Request, c caller) error
}

// routes are all endpoints but the stream, which speaks gRPC (stream.go).
var routes = []route{
	{"POST /v3/register", registration, (*API).register},
	{"GET /v3/token", registration, (*API).token},

	{"POST /v3/connect", session, (*API).connect},
	{"POST /v3/disconnect", session, (*API).disconnect},
	{"GET /v3/ping", session, (*API).ping},
	{"POST /v3/heartbeat", session, (*API).heartbeat},
	{"PUT /v3/jobs/{id}/accept", session, (*API).accept},
	{"PUT /v3/jobs/{id}/acquire", session, (*API).acquire},

	{"POST /v3/stop", sessionOrJob, (*API).stop},
	{"POST /v3/pause", sessionOrJob, (*API).pause},
	{"POST /v3/resume", sessionOrJob, (*API).resume},

	{"PUT /v3/jobs/{id}/start", endedJob, (*API).start},
	{"GET /v3/jobs/{id}", endedJob, (*API).jobState},
	{"PUT /v3/jobs/{id}/finish", endedJob, (*API).finish},
	{"POST /v3/jobs/{id}/chunks", endedJob, (*API).chunk},
	{"POST /v3/jobs/{id}/header_times", endedJob, (*API).headerTimes},
	{"/v3/", anybody, (*API).unknown},
}

// caller is who asks. Which fields are set depends on the route's permission.
type caller struct {
	token store.AgentToken
	agent store.Agent
	job   store.Job
}

// agentID is the agent that asks, itself or through the job that it runs.
func (c caller) agentID() string {
	if c.agent.ID != "" {
		return c.agent.ID
	}
	return c.job.AgentID
}

func (a *API) authorise(p permission, r *http.Request) (c caller, err error) {
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
		err = a.checkSignature(r)
	case anybody:
	}
	return c, err
}

// session is the agent whose session token the request bears. It was heard of.
func (a *API) session(ctx context.Context, r *http.Request) (store.Agent, error) {
	agent, err := a.Auth.Agent(ctx, r)
	if err == nil {
		a.seen.note(agent.ID, a.Now())
	}
	return agent, err
}

// heldJob is the job whose token the request bears, if it has not ended.
func (a *API) heldJob(ctx context.Context, r *http.Request) (store.Job, error) {
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
func (a *API) ownJob(ctx context.Context, r *http.Request, ended bool) (j store.Job, err error) {
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
func (a *API) unknown(http.ResponseWriter, *http.Request, caller) error {
	return httperr.New(http.StatusNotFound, "Not Found")
}
