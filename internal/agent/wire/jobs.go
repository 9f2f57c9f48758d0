package wire

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Job is a job as accepted or acquired.
type Job struct {
	ID    string            `json:"id"`
	Token string            `json:"token"` // authorises everything about the job; "" = the session token does
	Env   map[string]string `json:"env"`
	// Step is the command step exactly as uploaded, for signature checks,
	// secrets and cache; nil if absent.
	Step              json.RawMessage   `json:"step"`
	MatrixPermutation map[string]string `json:"matrix_permutation"`
	// ChunksMaxSizeBytes bounds the uncompressed size of a log chunk.
	ChunksMaxSizeBytes    int    `json:"chunks_max_size_bytes"`
	ChunksIntervalSeconds int    `json:"chunks_interval_seconds"` // 0 = 1
	LogMaxSizeBytes       int64  `json:"log_max_size_bytes"`      // 0 = 1 GiB
	TraceParent           string `json:"traceparent"`
	TraceState            string `json:"tracestate"`
	RunnableAt            string `json:"runnable_at"` // RFC 3339
	Priority              int    `json:"priority"`
}

// Accept takes the assigned job.
func (c *Client) Accept(ctx context.Context, jobID string) (Job, error) {
	var out Job
	_, err := c.do(ctx, call{method: http.MethodPut, path: path("jobs", jobID, "accept")}, &out)
	return out, err
}

// Acquire takes a job that was not assigned. n counts the attempts before.
// Status 423 says that the job still waits, 422 that it cannot be had.
func (c *Client) Acquire(ctx context.Context, jobID string, n int) (Job, error) {
	h := backoffSequence(n)
	h.Set("X-Buildkite-Lock-Acquire-Job", "1")
	var out Job
	_, err := c.do(ctx, call{method: http.MethodPut, path: path("jobs", jobID, "acquire"), header: h}, &out)
	return out, err
}

// Start reports that the job's process is about to start.
func (c *Client) Start(ctx context.Context, jobID string, at time.Time) error {
	body := struct {
		StartedAt string `json:"started_at"`
	}{at.UTC().Format(time.RFC3339Nano)}
	_, err := c.do(ctx, call{method: http.MethodPut, path: path("jobs", jobID, "start"), body: body}, nil)
	return err
}

// JobState returns the state of the job as the server sees it: "canceling",
// "canceled", "timing_out" and "timed_out" ask the agent to stop it, and so
// does status 401.
func (c *Client) JobState(ctx context.Context, jobID string) (string, error) {
	var out struct {
		State string `json:"state"`
	}
	_, err := c.do(ctx, call{method: http.MethodGet, path: path("jobs", jobID)}, &out)
	return out.State, err
}

// Finish is how a job ended.
type Finish struct {
	ExitStatus        string `json:"exit_status"` // "-1" = no status
	Signal            string `json:"signal,omitempty"`
	SignalReason      string `json:"signal_reason,omitempty"`
	FinishedAt        string `json:"finished_at"` // RFC 3339, UTC
	ChunksFailedCount int    `json:"chunks_failed_count"`
	// IgnoreAgentInDispatches tells the server that the agent takes no more.
	IgnoreAgentInDispatches bool `json:"ignore_agent_in_dispatches,omitempty"`
}

// Finish reports the end of the job. A final 4xx means that the server already
// ended it.
func (c *Client) Finish(ctx context.Context, jobID string, f Finish) error {
	_, err := c.do(ctx, call{method: http.MethodPut, path: path("jobs", jobID, "finish"), body: f}, nil)
	return err
}

// Chunk is a part of a job's log.
type Chunk struct {
	Sequence int   // from 1
	Offset   int64 // of its first byte in the uncompressed log
	Size     int   // uncompressed
	Gzip     []byte
}

// UploadChunk stores a part of the log. Chunks may arrive in any order and more
// than once.
func (c *Client) UploadChunk(ctx context.Context, jobID string, k Chunk) error {
	q := url.Values{
		"sequence": {strconv.Itoa(k.Sequence)},
		"offset":   {strconv.FormatInt(k.Offset, 10)},
		"size":     {strconv.Itoa(k.Size)},
	}
	h := http.Header{"Content-Type": {"text/plain"}, "Content-Encoding": {"gzip"}}
	_, err := c.do(ctx, call{
		method: http.MethodPost, path: path("jobs", jobID, "chunks"),
		query: q, header: h, raw: k.Gzip,
	}, nil)
	return err
}

// UpdateJob sets one attribute of the job. The server knows
// "timeout_in_minutes" and answers 422 for others.
func (c *Client) UpdateJob(ctx context.Context, jobID, attribute, value string) error {
	_, err := c.do(ctx, call{
		method: http.MethodPut, path: path("jobs", jobID),
		body: map[string]string{attribute: value},
	}, &struct {
		ID string `json:"id"`
	}{})
	return err
}

// PromiseFailure declares that the job will fail with exitStatus, which is
// greater than 0. Status 409 says that another one was promised before, 422
// that the job is not running.
func (c *Client) PromiseFailure(ctx context.Context, jobID string, exitStatus int, reason string) error {
	body := struct {
		ExitStatus int    `json:"exit_status"`
		Reason     string `json:"reason,omitempty"`
	}{exitStatus, reason}
	_, err := c.do(ctx, call{method: http.MethodPut, path: path("jobs", jobID, "promise_failure"), body: body}, nil)
	return err
}

// Secret returns the value of a secret the job may read.
func (c *Client) Secret(ctx context.Context, jobID, key string) (string, error) {
	var out struct {
		Value string `json:"value"`
	}
	_, err := c.do(ctx, call{
		method: http.MethodGet, path: path("jobs", jobID, "secrets"),
		query: url.Values{"key": {key}},
	}, &out)
	return out.Value, err
}

// OIDCTokenRequest says what the identity token should contain.
type OIDCTokenRequest struct {
	Audience       string   `json:"audience,omitempty"`
	Lifetime       int      `json:"lifetime,omitempty"` // seconds; 0 = the server's choice
	Claims         []string `json:"claims,omitempty"`
	AWSSessionTags []string `json:"aws_session_tags,omitempty"`
	SubjectClaim   string   `json:"subject_claim,omitempty"`
}

// OIDCToken returns a signed token that states the job's identity.
func (c *Client) OIDCToken(ctx context.Context, jobID string, r OIDCTokenRequest) (string, error) {
	var out struct {
		Token string `json:"token"`
	}
	_, err := c.do(ctx, call{method: http.MethodPost, path: path("jobs", jobID, "oidc", "tokens"), body: r}, &out)
	return out.Token, err
}

// RepositoryAccessToken returns a token for cloning repoURL over HTTPS.
func (c *Client) RepositoryAccessToken(ctx context.Context, jobID, repoURL string) (string, error) {
	body := struct {
		RepoURL string `json:"repo_url"`
	}{repoURL}
	var out struct {
		Token string `json:"token"`
	}
	_, err := c.do(ctx, call{method: http.MethodPost, path: path("jobs", jobID, "repository_access_token"), body: body}, &out)
	return out.Token, err
}
