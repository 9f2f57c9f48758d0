package agentapi

import (
	"net/http"

	"github.com/slipway-ci/slipway/internal/httperr"
)

// The endpoints of this file answer for what the server does not offer. They refuse with a 4xx, so
// that a job fails at once and says why instead of asking again for minutes.

// repositoryToken must not answer 5xx or 429: the agent's second try always fails, because it has
// used up the request's body (api/github_code_access_token.go of v3.138.1).
func (a *Server) repositoryToken(http.ResponseWriter, *http.Request, caller) error {
	return httperr.New(http.StatusNotFound, "This server has no token for the repository; give the agent's machine credentials for it.")
}

func (a *Server) cacheRegistry(http.ResponseWriter, *http.Request, caller) error {
	return httperr.New(http.StatusNotFound, "Cache registry not found")
}
