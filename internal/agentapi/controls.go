package agentapi

import (
	"errors"
	"net/http"
	"time"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/httperr"
)

// The length of a pause in minutes (https://buildkite.com/docs/agent/pausing-and-resuming).
const (
	defaultPause = 5
	longestPause = 1440
)

// stop asks an agent to leave: it says so itself when it is told to end, or a job of it does.
func (a *Server) stop(w http.ResponseWriter, r *http.Request, c caller) error {
	var in struct {
		Force bool `json:"force"`
	}
	if err := httperr.Decode(w, r, maxBody, &in); err != nil {
		return err
	}
	if err := a.Engine.StopAgent(r.Context(), c.agentID(), in.Force, canceler(c)); err != nil {
		return err
	}
	return ok(w)
}

func (a *Server) pause(w http.ResponseWriter, r *http.Request, c caller) error {
	in := struct {
		Note    string `json:"note"`
		Minutes int    `json:"timeout_in_minutes"`
	}{}
	if err := httperr.Decode(w, r, maxBody, &in); err != nil {
		return err
	}
	if in.Minutes == 0 {
		in.Minutes = defaultPause
	}
	if in.Minutes < 0 || in.Minutes > longestPause {
		return httperr.New(http.StatusUnprocessableEntity, "A pause lasts 1 to %d minutes, not %d.", longestPause, in.Minutes)
	}
	until := a.Now().Add(time.Duration(in.Minutes) * time.Minute)
	err := a.Engine.PauseAgent(r.Context(), c.agentID(), in.Note, until)
	if refused(err) {
		// The command repeats a pause whose answer was lost.
		agent, readErr := a.Store.Agent(r.Context(), c.agentID())
		if readErr == nil && agent.Paused && agent.PauseNote == in.Note {
			err = nil
		}
	}
	if err != nil {
		return err
	}
	return ok(w)
}

// refused says whether an operation was refused, rather than at fault.
func refused(err error) bool {
	_, is := errors.AsType[*engine.Refused](err)
	return is
}

func (a *Server) resume(w http.ResponseWriter, r *http.Request, c caller) error {
	// Refused is what is not paused: resuming it again is no fault.
	if err := a.Engine.ResumeAgent(r.Context(), c.agentID()); err != nil && !refused(err) {
		return err
	}
	return ok(w)
}
