package wire

import (
	"context"
	"net/http"
	"time"
)

// RegisterRequest introduces an agent to the server.
type RegisterRequest struct {
	// Name may hold %hostname, %random, %pid and %n, which the server expands; an
	// empty one lets the server invent it.
	Name               string   `json:"name"`
	Hostname           string   `json:"hostname"`
	OS                 string   `json:"os"`
	Arch               string   `json:"arch"`
	ScriptEvalEnabled  bool     `json:"script_eval_enabled"`
	IgnoreInDispatches bool     `json:"ignore_in_dispatches"`
	Priority           string   `json:"priority,omitempty"` // integer text
	Version            string   `json:"version"`
	Build              string   `json:"build"`
	MetaData           []string `json:"meta_data"` // tags, such as "queue=default"
	PID                int      `json:"pid,omitempty"`
	MachineID          string   `json:"machine_id,omitempty"`
	Features           []string `json:"features"`
}

// RegisterResponse is what the agent works with from then on.
type RegisterResponse struct {
	ID                string            `json:"id"`
	Name              string            `json:"name"`
	AccessToken       string            `json:"access_token"`
	Endpoint          string            `json:"endpoint"` // "" keeps the present one
	RequestHeaders    map[string]string `json:"request_headers"`
	PingInterval      int               `json:"ping_interval"`       // seconds
	JobStatusInterval int               `json:"job_status_interval"` // seconds
	HeartbeatInterval int               `json:"heartbeat_interval"`  // seconds
	MetaData          []string          `json:"meta_data"`
}

// Register announces an agent; the client's token is a registration token.
func (c *Client) Register(ctx context.Context, r RegisterRequest) (RegisterResponse, error) {
	if r.MetaData == nil {
		r.MetaData = []string{}
	}
	if r.Features == nil {
		r.Features = []string{}
	}
	var out RegisterResponse
	_, err := c.do(ctx, call{method: http.MethodPost, path: "register", body: r}, &out)
	return out, err
}

// Connect marks the registered agent as ready for work.
func (c *Client) Connect(ctx context.Context) error {
	_, err := c.do(ctx, call{method: http.MethodPost, path: "connect"}, nil)
	return err
}

// Disconnect ends the agent's session.
func (c *Client) Disconnect(ctx context.Context) error {
	_, err := c.do(ctx, call{method: http.MethodPost, path: "disconnect"}, nil)
	return err
}

// Ping actions; any other value means idle.
const (
	ActionPause      = "pause"
	ActionDisconnect = "disconnect"
)

// PingResponse is what the server wants of the agent.
type PingResponse struct {
	Action  string   `json:"action"`
	Message string   `json:"message"` // shown in the agent's log
	Job     *PingJob `json:"job"`
	// Endpoint, unless empty, is where the agent should talk to from now on.
	Endpoint string `json:"endpoint"`
	// RequestHeaders replace the present ones; nil keeps them.
	RequestHeaders map[string]string `json:"request_headers"`
}

// PingJob names the job assigned to the agent.
type PingJob struct {
	ID string `json:"id"`
}

// Ping asks for work. A failed ping is not retried but asked again at the next
// interval.
func (c *Client) Ping(ctx context.Context) (PingResponse, error) {
	var out PingResponse
	_, err := c.do(ctx, call{method: http.MethodGet, path: "ping"}, &out)
	return out, err
}

// Heartbeat is the server's answer to a heartbeat.
type Heartbeat struct {
	SentAt     string `json:"sent_at"` // RFC 3339 with nanoseconds
	ReceivedAt string `json:"received_at,omitempty"`
}

// Heartbeat tells the server that the agent lives.
func (c *Client) Heartbeat(ctx context.Context, sentAt time.Time) (Heartbeat, error) {
	out := Heartbeat{SentAt: sentAt.Format(time.RFC3339Nano)}
	_, err := c.do(ctx, call{method: http.MethodPost, path: "heartbeat", body: out}, &out)
	return out, err
}

// Stop asks the server to stop the agent: after its job, or with force by
// canceling the job. It takes a session or a job token.
func (c *Client) Stop(ctx context.Context, force bool) error {
	body := struct {
		Force bool `json:"force,omitempty"`
	}{force}
	_, err := c.do(ctx, call{method: http.MethodPost, path: "stop", body: body}, nil)
	return err
}

// Pause keeps the agent from taking jobs until it is resumed or, where minutes
// is not 0, until they have passed.
func (c *Client) Pause(ctx context.Context, note string, minutes int) error {
	body := struct {
		Note             string `json:"note,omitempty"`
		TimeoutInMinutes int    `json:"timeout_in_minutes,omitempty"`
	}{note, minutes}
	_, err := c.do(ctx, call{method: http.MethodPost, path: "pause", body: body}, nil)
	return err
}

// Resume ends a pause.
func (c *Client) Resume(ctx context.Context) error {
	_, err := c.do(ctx, call{method: http.MethodPost, path: "resume"}, nil)
	return err
}
