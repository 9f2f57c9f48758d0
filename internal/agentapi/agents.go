package agentapi

import (
	"net"
	"net/http"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/httperr"
)

// maxBody bounds, in bytes, the requests that carry a handful of fields.
const maxBody = 1 << 20

// Intervals that agents are told to keep, in seconds. The agent's process panics if one is missing
// or zero (agent/agent_worker.go of v3.138.1).
const (
	pingInterval      = 1
	heartbeatInterval = 30
	jobStatusInterval = 2
)

type registerRequest struct {
	Name               string   `json:"name"` // %hostname, %pid and %random are ours to expand
	Hostname           string   `json:"hostname"`
	OS                 string   `json:"os"`
	Arch               string   `json:"arch"`
	IgnoreInDispatches bool     `json:"ignore_in_dispatches"`
	Priority           string   `json:"priority"`
	Version            string   `json:"version"`
	Build              string   `json:"build"`
	MetaData           []string `json:"meta_data"` // tags
	PID                int      `json:"pid"`
	MachineID          string   `json:"machine_id"`
	Features           []string `json:"features"`
}

// registerResponse has no tracing: jobs are traced where their agent's operator says so.
type registerResponse struct {
	ID                string            `json:"id"`
	Name              string            `json:"name"`
	AccessToken       string            `json:"access_token"`
	Endpoint          string            `json:"endpoint,omitempty"`
	RequestHeaders    map[string]string `json:"request_headers,omitempty"`
	PingInterval      int               `json:"ping_interval"`
	JobStatusInterval int               `json:"job_status_interval"`
	HeartbeatInterval int               `json:"heartbeat_interval"`
	MetaData          []string          `json:"meta_data"`
}

func (a *Server) register(w http.ResponseWriter, r *http.Request, c caller) error {
	now := a.Now()
	if a.rates.use("register "+c.token.ID, now) > registrationsToken {
		return busyNow(w)
	}
	var in registerRequest
	if err := httperr.Decode(w, r, maxBody, &in); err != nil {
		return err
	}
	agent, token, err := a.Engine.RegisterAgent(r.Context(), engine.RegisterAgent{
		Token: c.token, Name: in.Name, Hostname: in.Hostname, OS: in.OS, Arch: in.Arch, Version: in.Version,
		Build: in.Build, PID: in.PID, MachineID: in.MachineID, IP: remoteIP(r), UserAgent: r.UserAgent(),
		Tags: in.MetaData, Features: in.Features, Priority: in.Priority, IgnoreInDispatches: in.IgnoreInDispatches,
	})
	if err != nil {
		return err
	}
	return httperr.JSON(w, http.StatusOK, registerResponse{
		ID: agent.ID, Name: agent.Name, AccessToken: token, MetaData: agent.Tags,
		Endpoint: a.AgentEndpoint, RequestHeaders: a.RequestHeaders,
		PingInterval: pingInterval, JobStatusInterval: jobStatusInterval, HeartbeatInterval: heartbeatInterval,
	})
}

func remoteIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

func (a *Server) connect(w http.ResponseWriter, r *http.Request, c caller) error {
	if err := a.Engine.ConnectAgent(r.Context(), c.agent.AgentID); err != nil {
		return err
	}
	return ok(w)
}

// disconnect ends a session, once: an agent whose answer was lost asks four times in all (api/connect.go of v3.138.1).
func (a *Server) disconnect(w http.ResponseWriter, r *http.Request, c caller) error {
	if !c.agent.Live() {
		return ok(w)
	}
	if err := a.Engine.DisconnectAgent(r.Context(), c.agent.AgentID); err != nil {
		return err
	}
	return ok(w)
}

type tokenResponse struct {
	UUID             string  `json:"uuid"`
	Description      string  `json:"description"`
	TokenType        string  `json:"token_type"`
	OrganizationSlug string  `json:"organization_slug"`
	OrganizationUUID string  `json:"organization_uuid"`
	ClusterUUID      string  `json:"cluster_uuid"`
	ClusterName      string  `json:"cluster_name"`
	QueueUUID        *string `json:"organization_queue_uuid"` // null: the token is not bound to a queue
	QueueKey         *string `json:"organization_queue_key"`
}

// token describes a registration token; fleet tools ask, agents do not (api/token.go of v3.138.1).
func (a *Server) token(w http.ResponseWriter, r *http.Request, c caller) error {
	cluster, err := a.Store.Cluster(r.Context(), c.token.ClusterID)
	if err != nil {
		return err
	}
	org, err := a.Store.OrganizationByID(r.Context(), cluster.OrganizationID)
	if err != nil {
		return err
	}
	return httperr.JSON(w, http.StatusOK, tokenResponse{
		UUID: c.token.ID, Description: c.token.Description, TokenType: "cluster",
		OrganizationSlug: org.Slug, OrganizationUUID: org.ID, ClusterUUID: cluster.ID, ClusterName: cluster.Name,
	})
}
