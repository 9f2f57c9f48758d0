package agentapi

import (
	"maps"
	"net/http"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/store"
)

// action is what an agent is told to do.
type action string

const (
	idle       action = "idle" // run jobs; none is there
	pause      action = "pause"
	disconnect action = "disconnect"
	run        action = "run"  // accept a job
	busy       action = "busy" // it runs one: nothing to tell
)

// order is what an agent is to do now. Orders that are equal tell the agent the same.
type order struct {
	action action
	note   string // for pause and disconnect
	jobID  string // for run
	// offer tells two offers of one job apart.
	offer time.Time
	// accepted says that the job of a run was accepted before and not started since.
	accepted bool
}

// orderFor is what an agent is to do. A pause or a stop comes before a job that was offered;
// the offer runs out.
func orderFor(e store.Errand) order {
	switch {
	case e.State == ci.AgentStopping:
		return order{action: disconnect, note: "The agent was asked to stop."}
	case e.Paused:
		return order{action: pause, note: e.PauseNote}
	case e.JobID == "":
		return order{action: idle}
	}
	switch e.JobState {
	case ci.JobAssigned:
		return order{action: run, jobID: e.JobID, offer: e.Deadline}
	case ci.JobAccepted:
		return order{action: run, jobID: e.JobID, accepted: true}
	case ci.JobCanceling:
		if e.Started.IsZero() {
			// Accepting it is refused, which ends it.
			return order{action: run, jobID: e.JobID, accepted: true}
		}
	}
	return order{action: busy}
}

type pingResponse struct {
	Action   string   `json:"action,omitempty"`
	Message  string   `json:"message,omitempty"`
	Job      *pingJob `json:"job,omitempty"`
	Endpoint string   `json:"endpoint,omitempty"`
	// RequestHeaders replace the agent's; an empty object takes those away that it had.
	RequestHeaders map[string]string `json:"request_headers"`
}

type pingJob struct {
	ID string `json:"id"`
}

// ping tells a polling agent what to do. Agents do not ping while they run a job, so one whose job
// is accepted and not started has lost the answer to its acceptance: it is sent the job again.
func (a *Server) ping(w http.ResponseWriter, r *http.Request, c caller) error {
	o := orderFor(c.agent)
	if err := a.lookForStray(r.Context(), c.agent, o.action == busy); err != nil {
		return err
	}
	out := pingResponse{Endpoint: a.AgentEndpoint, RequestHeaders: map[string]string{}}
	maps.Copy(out.RequestHeaders, a.RequestHeaders)
	switch o.action {
	case pause, disconnect:
		out = pingResponse{Action: string(o.action), Message: o.note}
	case run:
		out.Job = &pingJob{ID: o.jobID}
	case idle, busy:
		out.Action = string(idle)
	}
	return httperr.JSON(w, http.StatusOK, out)
}
