package wire

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// MaxBatch is how many artifacts one create call may hold
// (internal/artifact/batch_creator.go of buildkite-agent v3.138.1).
const MaxBatch = 30

// Artifact is a file kept with a build.
type Artifact struct {
	ID                string    `json:"id"`
	Path              string    `json:"path"` // as shown and searched, with slashes
	AbsolutePath      string    `json:"absolute_path"`
	GlobPath          string    `json:"glob_path"`
	FileSize          int64     `json:"file_size"`
	SHA1              string    `json:"sha1sum"`
	SHA256            string    `json:"sha256sum"`
	JobID             string    `json:"job_id"`
	CreatedAt         time.Time `json:"created_at"`
	URL               string    `json:"url,omitempty"`
	UploadDestination string    `json:"upload_destination,omitempty"`
	ContentType       string    `json:"content_type,omitempty"`
}

// Batch announces artifacts before their bytes are sent.
type Batch struct {
	// ID is kept over retries, so that the artifacts are created once.
	ID                 string     `json:"id"`
	Artifacts          []Artifact `json:"artifacts"`
	UploadDestination  string     `json:"upload_destination"`
	MultipartSupported bool       `json:"multipart_supported,omitempty"`
}

// BatchAnswer says how to send the bytes of a batch.
type BatchAnswer struct {
	ID string `json:"id"`
	// ArtifactIDs has the order of the request.
	ArtifactIDs []string `json:"artifact_ids"`
	// Common applies to artifacts that PerArtifact, keyed by id, lacks.
	Common      *Instructions           `json:"upload_instructions"`
	PerArtifact map[string]Instructions `json:"per_artifact_instructions"`
}

// Instructions say how to send one artifact: with a form, or where Actions is
// not empty as parts.
type Instructions struct {
	Action  UploadAction      `json:"action"`
	Actions []UploadAction    `json:"actions"`
	Data    map[string]string `json:"data"`
}

// UploadAction is a request that sends an artifact or a part of it.
type UploadAction struct {
	URL        string `json:"url,omitempty"`
	Method     string `json:"method"`
	Path       string `json:"path"`
	FileInput  string `json:"file_input"`
	PartNumber int    `json:"part_number,omitempty"`
}

// CreateArtifacts announces up to [MaxBatch] artifacts.
func (c *Client) CreateArtifacts(ctx context.Context, jobID string, b Batch) (BatchAnswer, error) {
	var out BatchAnswer
	_, err := c.do(ctx, call{method: http.MethodPost, path: path("jobs", jobID, "artifacts"), body: b}, &out)
	return out, err
}

// States of an artifact in [Client.UpdateArtifacts].
const (
	ArtifactFinished = "finished"
	ArtifactFailed   = "error"
)

// ArtifactState reports how the upload of an artifact ended.
type ArtifactState struct {
	ID             string     `json:"id"`
	State          string     `json:"state"`
	Multipart      bool       `json:"multipart,omitempty"`
	MultipartETags []PartETag `json:"multipart_etags,omitempty"`
}

// PartETag identifies an uploaded part.
type PartETag struct {
	PartNumber int    `json:"part_number"`
	ETag       string `json:"etag"`
}

// UpdateArtifacts reports the ends of uploads.
func (c *Client) UpdateArtifacts(ctx context.Context, jobID string, states []ArtifactState) error {
	body := struct {
		Artifacts []ArtifactState `json:"artifacts"`
	}{states}
	_, err := c.do(ctx, call{method: http.MethodPut, path: path("jobs", jobID, "artifacts"), body: body}, nil)
	return err
}

// Search selects artifacts of a build.
type Search struct {
	Query              string // a glob over paths
	Scope              string // a step's name or key, or a job's id
	State              string
	IncludeRetriedJobs bool
	IncludeDuplicates  bool
}

// SearchArtifacts lists the artifacts of a build that match.
func (c *Client) SearchArtifacts(ctx context.Context, buildID string, s Search) ([]Artifact, error) {
	q := url.Values{}
	for name, value := range map[string]string{"query": s.Query, "scope": s.Scope, "state": s.State} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if s.IncludeRetriedJobs {
		q.Set("include_retried_jobs", "true")
	}
	if s.IncludeDuplicates {
		q.Set("include_duplicates", "true")
	}
	var out []Artifact
	_, err := c.do(ctx, call{method: http.MethodGet, path: path("builds", buildID, "artifacts", "search"), query: q}, &out)
	return out, err
}
