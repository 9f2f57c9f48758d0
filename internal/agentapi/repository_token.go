package agentapi

import (
	"net/http"

	"github.com/slipway-ci/slipway/internal/forge/github"
	"github.com/slipway-ci/slipway/internal/httperr"
)

// repositoryToken gives a job the token with which git reads the repository of its pipeline
// (api/repository_access_token.go of v3.138.1). Where GitHub gives none it must not answer 5xx or 429: the
// agent's second try always fails, because it has used up the request's body. What may pass was tried twice.
func (a *Server) repositoryToken(w http.ResponseWriter, r *http.Request, c caller) error {
	var body struct {
		RepoURL string `json:"repo_url"`
	}
	if err := httperr.Decode(w, r, 1<<16, &body); err != nil {
		return err
	}
	app, repository, err := a.Engine.RepositoryAccess(r.Context(), c.job.ID, body.RepoURL)
	if err != nil {
		return err
	}
	token, err := a.Apps.Token(r.Context(), app, repository, github.ReadContents)
	if err != nil {
		a.Log.WarnContext(r.Context(), "token for a repository", "job", c.job.ID, "repository", repository, "err", err)
		return httperr.New(http.StatusUnprocessableEntity, "There is no token for the repository: %v", err)
	}
	w.Header().Set("Cache-Control", "no-store")
	return httperr.JSON(w, http.StatusOK, map[string]string{"token": token})
}
