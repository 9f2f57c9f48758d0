package agentapi

import (
	"net/http"

	"github.com/slipway-ci/slipway/internal/httperr"
)

// secret gives a job the value of a secret (api/secrets.go of v3.138.1).
func (a *Server) secret(w http.ResponseWriter, r *http.Request, c caller) error {
	v, value, err := a.Engine.ReadSecret(r.Context(), c.job.ID, r.URL.Query().Get("key"))
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	return httperr.JSON(w, http.StatusOK, map[string]string{"key": v.Key, "value": value, "uuid": v.ID})
}
