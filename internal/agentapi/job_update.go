package agentapi

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/httperr"
)

// updateJob changes the one attribute of a job that may change, its time limit, called by either of
// its names (https://buildkite.com/docs/agent/cli/reference/job).
func (a *Server) updateJob(w http.ResponseWriter, r *http.Request, c caller) error {
	var in map[string]json.RawMessage
	if err := httperr.Decode(w, r, maxBody, &in); err != nil {
		return err
	}
	if len(in) != 1 {
		return httperr.New(http.StatusUnprocessableEntity, "One attribute of a job is changed at a time.")
	}
	for name, raw := range in {
		if name != "timeout_in_minutes" && name != "timeout" {
			return httperr.New(http.StatusUnprocessableEntity, "A job's %s can't be changed; timeout_in_minutes can.", name)
		}
		minutes := string(raw)
		var text string
		if json.Unmarshal(raw, &text) == nil {
			minutes = text
		}
		if err := a.Engine.SetJobTimeout(r.Context(), c.job.ID, minutes); err != nil {
			return err
		}
	}
	return httperr.JSON(w, http.StatusOK, struct {
		ID string `json:"id"`
	}{c.job.ID})
}

// promiseFailure takes a status that a running job will end with at best. Promising another one than
// before is the protocol's only 409 (clicommand of agent v3.138.1, job promise-failure).
func (a *Server) promiseFailure(w http.ResponseWriter, r *http.Request, c caller) error {
	var in struct {
		ExitStatus int    `json:"exit_status"`
		Reason     string `json:"reason"`
	}
	if err := httperr.Decode(w, r, maxBody, &in); err != nil {
		return err
	}
	if in.ExitStatus < 1 {
		return httperr.New(http.StatusUnprocessableEntity, "The promised exit status must be greater than 0, not %d.", in.ExitStatus)
	}
	err := a.Engine.PromiseFailure(r.Context(), c.job.ID, in.ExitStatus, in.Reason)
	if refused, is := errors.AsType[*engine.Refused](err); is && refused.Why == engine.Conflict {
		return httperr.New(http.StatusConflict, "%s", refused.Message)
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
