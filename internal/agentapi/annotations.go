package agentapi

import (
	"net/http"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/httperr"
)

// maxAnnotation bounds a request in bytes: a body of 1 MiB, each byte of which JSON may write as six.
const maxAnnotation = 7 << 20

func (a *Server) annotate(w http.ResponseWriter, r *http.Request, c caller) error {
	var in struct {
		Body     string `json:"body"`
		Context  string `json:"context"`
		Style    string `json:"style"`
		Append   bool   `json:"append"`
		Priority int    `json:"priority"`
		Scope    string `json:"scope"`
	}
	if err := httperr.Decode(w, r, maxAnnotation, &in); err != nil {
		return err
	}
	jobID, err := scopeOf(c, in.Scope)
	if err != nil {
		return err
	}
	_, err = a.Engine.Annotate(r.Context(), engine.Annotate{
		BuildID: c.job.BuildID, JobID: jobID, Context: in.Context, Style: in.Style, Body: in.Body,
		Append: in.Append, Priority: in.Priority,
	})
	if err != nil {
		return err
	}
	return ok(w)
}

// scopeOf is the job that an annotation belongs to, "" for its build.
func scopeOf(c caller, scope string) (string, error) {
	switch scope {
	case "", "build":
		return "", nil
	case "job":
		return c.job.ID, nil
	}
	return "", httperr.New(http.StatusUnprocessableEntity, "An annotation's scope is build or job, not %q.", scope)
}

func (a *Server) removeAnnotation(w http.ResponseWriter, r *http.Request, c caller) error {
	jobID, err := scopeOf(c, r.URL.Query().Get("scope"))
	if err != nil {
		return err
	}
	if err := a.Engine.RemoveAnnotation(r.Context(), c.job.BuildID, jobID, r.PathValue("context")); err != nil {
		return err
	}
	return ok(w)
}
