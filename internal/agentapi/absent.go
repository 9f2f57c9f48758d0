package agentapi

import (
	"net/http"

	"github.com/slipway-ci/slipway/internal/httperr"
)

// The endpoints of this file answer for what the server does not offer. They refuse with a 4xx, so
// that a job fails at once and says why instead of asking again for minutes.

func (a *Server) cacheRegistry(http.ResponseWriter, *http.Request, caller) error {
	return httperr.New(http.StatusNotFound, "Cache registry not found")
}
