package agentapi

import (
	"net/http"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/httperr"
)

// readableBuild is the build that the path names, or that of the job in it. A job may read builds of
// its organization; all others do not exist to it.
func (a *Server) readableBuild(r *http.Request, c caller) (string, error) {
	id := r.PathValue("build")
	if id == "" || id == c.job.BuildID {
		return c.job.BuildID, nil
	}
	return id, a.sameOrganization(r, c, id)
}

func (a *Server) sameOrganization(r *http.Request, c caller, buildID string) error {
	other, err := a.Store.Build(r.Context(), buildID)
	if err != nil {
		return err
	}
	own, err := a.Store.Build(r.Context(), c.job.BuildID)
	if err != nil {
		return err
	}
	if own.OrganizationID != other.OrganizationID {
		return httperr.New(http.StatusNotFound, "No build found")
	}
	return nil
}

// ownBuild refuses to let a job change another build than its own.
func ownBuild(c caller, id string) error {
	if id != "" && id != c.job.BuildID {
		return httperr.New(http.StatusForbidden, "A job may only change its own build.")
	}
	return nil
}

type uuid struct {
	UUID string `json:"uuid"`
}

func (a *Server) cancelBuild(w http.ResponseWriter, r *http.Request, c caller) error {
	id := r.PathValue("build")
	if err := ownBuild(c, id); err != nil {
		return err
	}
	if _, err := a.Engine.CancelBuild(r.Context(), id, canceler(c)); err != nil {
		return err
	}
	return httperr.JSON(w, http.StatusOK, uuid{id})
}

// canceler names the job or agent that asked for an end.
func canceler(c caller) ci.Canceler {
	if c.job.ID != "" {
		return ci.Canceler("job " + c.job.ID)
	}
	return "the agent"
}
