package wire

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// PipelineUpload adds steps to the build of a job.
type PipelineUpload struct {
	// UUID identifies the upload over its retries, so that it is applied once.
	UUID     string          `json:"uuid"`
	Pipeline json.RawMessage `json:"pipeline"`
	Replace  bool            `json:"replace,omitempty"`
}

// UploadAnswer says whether an upload was applied at once, or how long to wait
// before asking for its status.
type UploadAnswer struct {
	Pending bool
	Wait    time.Duration
}

// UploadPipeline sends a pipeline; n counts the attempts before. Status 422
// says what is wrong with the pipeline.
func (c *Client) UploadPipeline(ctx context.Context, jobID string, u PipelineUpload, n int) (UploadAnswer, error) {
	resp, err := c.do(ctx, call{
		method: http.MethodPost, path: path("jobs", jobID, "pipelines"),
		query: url.Values{"async": {"true"}}, header: backoffSequence(n), body: u,
	}, nil)
	if err != nil || resp.StatusCode != http.StatusAccepted {
		return UploadAnswer{}, err
	}
	if err := checkLocation(resp, jobID, u.UUID); err != nil {
		return UploadAnswer{}, err
	}
	wait := retryAfter(resp.Header)
	if wait == 0 {
		wait = time.Second
	}
	return UploadAnswer{Pending: true, Wait: wait}, nil
}

// checkLocation makes sure that a 202 speaks of this upload: a status URL of
// another would report another's fate.
func checkLocation(resp *http.Response, jobID, uuid string) error {
	u, err := resp.Location()
	if err != nil {
		return fmt.Errorf("pipeline upload accepted without a status location: %w", err)
	}
	if !strings.HasSuffix(u.Path, "jobs/"+jobID+"/pipelines/"+uuid) {
		return fmt.Errorf("pipeline upload accepted with a foreign status location %q", u.Path)
	}
	return nil
}

// UploadState is where an upload stands.
type UploadState struct {
	State   string `json:"state"` // pending, processing, applied, rejected or failed
	Message string `json:"message"`
}

// NotYet says that the server has not decided about an upload.
type NotYet struct {
	// RetryAfter is how long the server asked to wait; 0 if it did not.
	RetryAfter time.Duration
}

// Error says what is awaited.
func (e *NotYet) Error() string { return "the server has not applied the pipeline yet" }

// PipelineStatus asks where an upload that was answered with 202 stands; n
// counts the attempts before. The error is a [*NotYet] until that is decided.
func (c *Client) PipelineStatus(ctx context.Context, jobID, uuid string, n int) (UploadState, error) {
	var out UploadState
	resp, err := c.do(ctx, call{
		method: http.MethodGet, path: path("jobs", jobID, "pipelines", uuid),
		header: backoffSequence(n),
	}, &out)
	if err == nil && (out.State == "pending" || out.State == "processing") {
		err = &NotYet{retryAfter(resp.Header)}
	}
	return out, err
}
