package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
)

// AccessToken describes the token.
func (c *Client) AccessToken(ctx context.Context) (AccessToken, error) {
	return call[AccessToken](ctx, c, http.MethodGet, "/v2/access-token", nil)
}

// Organizations lists those that the token may see.
func (c *Client) Organizations(ctx context.Context) ([]Organization, error) {
	return call[[]Organization](ctx, c, http.MethodGet, "/v2/organizations", nil)
}

// CreatePipeline asks for a pipeline.
type CreatePipeline struct {
	Name          string `json:"name"`
	Slug          string `json:"slug,omitempty"` // "": made of the name
	Repository    string `json:"repository"`
	Configuration string `json:"configuration,omitempty"` // YAML; "": read from the repository
	Path          string `json:"path,omitempty"`          // the file in the repository; "": the default ones
	DefaultBranch string `json:"default_branch,omitempty"`
	Description   string `json:"description,omitempty"`
	ClusterID     string `json:"cluster_id,omitempty"` // "": the organization's default
}

// CreatePipeline adds a pipeline.
func (c *Client) CreatePipeline(ctx context.Context, p CreatePipeline) (Pipeline, error) {
	return call[Pipeline](ctx, c, http.MethodPost, c.at("pipelines"), p)
}

// Pipeline returns the pipeline with a slug.
func (c *Client) Pipeline(ctx context.Context, slug string) (Pipeline, error) {
	return call[Pipeline](ctx, c, http.MethodGet, c.at("pipelines", slug), nil)
}

// UpdatePipeline changes the given members of a pipeline, named as in the API.
func (c *Client) UpdatePipeline(ctx context.Context, slug string, changes map[string]any) (Pipeline, error) {
	return call[Pipeline](ctx, c, http.MethodPatch, c.at("pipelines", slug), changes)
}

// Pipelines lists pipelines by slug.
func (c *Client) Pipelines(ctx context.Context, o ListOptions) (Page[Pipeline], error) {
	return listed[Pipeline](ctx, c, c.at("pipelines"), o.query())
}

// CreateBuild asks for a build.
type CreateBuild struct {
	Commit        string            `json:"commit"` // full hash, or a name such as HEAD
	Branch        string            `json:"branch"`
	Message       string            `json:"message"`
	Author        *Person           `json:"author,omitempty"` // nil: the token's user
	Env           map[string]string `json:"env,omitempty"`
	MetaData      map[string]string `json:"meta_data,omitempty"`
	CleanCheckout bool              `json:"clean_checkout,omitempty"`
}

// CreateBuild makes a build of a pipeline.
func (c *Client) CreateBuild(ctx context.Context, pipeline string, b CreateBuild) (Build, error) {
	return call[Build](ctx, c, http.MethodPost, c.at("pipelines", pipeline, "builds"), b)
}

// build is the path of a build.
func (c *Client) build(pipeline string, number int64, more ...string) string {
	return c.at(append([]string{"pipelines", pipeline, "builds", strconv.FormatInt(number, 10)}, more...)...)
}

// Build returns a build with all its jobs, attempts that were retried too.
func (c *Client) Build(ctx context.Context, pipeline string, number int64) (Build, error) {
	return call[Build](ctx, c, http.MethodGet, c.build(pipeline, number)+"?include_retried_jobs=true", nil)
}

// BuildsOptions say which builds are listed. Empty fields do not filter.
type BuildsOptions struct {
	ListOptions
	Pipeline    string // slug; "": of all pipelines
	States      []string
	Branches    []string // "*" stands for any characters
	Commit      string
	WithoutJobs bool
}

// Builds lists builds, newest first.
func (c *Client) Builds(ctx context.Context, o BuildsOptions) (Page[Build], error) {
	q := o.query()
	for key, values := range map[string][]string{"state[]": o.States, "branch[]": o.Branches} {
		q[key] = append(q[key], values...)
	}
	if o.Commit != "" {
		q.Set("commit", o.Commit)
	}
	if o.WithoutJobs {
		q.Set("exclude_jobs", "true")
	}
	path := c.at("builds")
	if o.Pipeline != "" {
		path = c.at("pipelines", o.Pipeline, "builds")
	}
	return listed[Build](ctx, c, path, q)
}

// CancelBuild ends a build. One that has ended is an *Error with status 422.
func (c *Client) CancelBuild(ctx context.Context, pipeline string, number int64) (Build, error) {
	return call[Build](ctx, c, http.MethodPut, c.build(pipeline, number, "cancel"), nil)
}

// Rebuild makes a new build of the same commit and settings.
func (c *Client) Rebuild(ctx context.Context, pipeline string, number int64) (Build, error) {
	return call[Build](ctx, c, http.MethodPut, c.build(pipeline, number, "rebuild"), nil)
}

// ApproveBuild lets a held build run at exactly the commit given, which must be the build's.
func (c *Client) ApproveBuild(ctx context.Context, pipeline string, number int64, commit, note string) (Build, error) {
	return call[Build](ctx, c, http.MethodPut, c.build(pipeline, number, "approve"), map[string]string{"commit": commit, "note": note})
}

// RejectBuild ends a held build, and refuses its commit from then on.
func (c *Client) RejectBuild(ctx context.Context, pipeline string, number int64, commit, note string) (Build, error) {
	return call[Build](ctx, c, http.MethodPut, c.build(pipeline, number, "reject"), map[string]string{"commit": commit, "note": note})
}

// Job returns the job with an id.
func (c *Client) Job(ctx context.Context, id string) (Job, error) {
	return call[Job](ctx, c, http.MethodGet, c.at("jobs", id), nil)
}

// RetryJob runs a job again and returns the new attempt.
func (c *Client) RetryJob(ctx context.Context, id string) (Job, error) {
	return call[Job](ctx, c, http.MethodPut, c.at("jobs", id, "retry"), nil)
}

// CancelJob ends a job.
func (c *Client) CancelJob(ctx context.Context, id string) (Job, error) {
	return call[Job](ctx, c, http.MethodPut, c.at("jobs", id, "cancel"), nil)
}

// UnblockJob lets a build past a block step, with the answers to its fields by key.
func (c *Client) UnblockJob(ctx context.Context, id string, fields map[string]string) (Job, error) {
	return call[Job](ctx, c, http.MethodPut, c.at("jobs", id, "unblock"), map[string]any{"fields": fields})
}

// JobLog reads the text of a job's log, the agent's time markers in it, as far as it is there. The
// caller closes it. A job that has not begun has no log: an *Error with status 404.
func (c *Client) JobLog(ctx context.Context, id string) (io.ReadCloser, error) {
	text, _, err := c.JobLogFrom(ctx, id, 0)
	return text, err
}

// JobLogFrom reads the text of a log from a byte on, as far as it is there, and says where to go on
// reading: following a log is calling it with next until the job has ended and nothing is left. The
// caller closes what it reads; next is right only if all of it was read.
func (c *Client) JobLogFrom(ctx context.Context, id string, offset int64) (text io.ReadCloser, next int64, err error) {
	path := c.at("jobs", id, "log.txt")
	if offset > 0 {
		path += "?offset=" + strconv.FormatInt(offset, 10)
	}
	resp, err := c.send(ctx, http.MethodGet, path, nil, http.Header{"Accept-Encoding": {"identity"}})
	if err != nil {
		return nil, offset, err
	}
	return resp.Body, offset + max(resp.ContentLength, 0), nil
}

// Artifacts lists a build's artifacts; path "" lists all, "*" in it stands for any characters.
func (c *Client) Artifacts(ctx context.Context, pipeline string, number int64, path string, o ListOptions) (Page[Artifact], error) {
	q := o.query()
	if path != "" {
		q.Set("path", path)
	}
	return listed[Artifact](ctx, c, c.build(pipeline, number, "artifacts"), q)
}

// DownloadArtifact reads an artifact's file. The caller closes it. The token is not sent on to where
// the server says that the file is, if that is another host.
func (c *Client) DownloadArtifact(ctx context.Context, a Artifact) (io.ReadCloser, error) {
	resp, err := c.send(ctx, http.MethodGet, c.at("jobs", a.JobID, "artifacts", a.ID, "download"), nil, nil)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// Agents lists the agents that are connected.
func (c *Client) Agents(ctx context.Context, o ListOptions) (Page[Agent], error) {
	return listed[Agent](ctx, c, c.at("agents"), o.query())
}

// StopAgent asks an agent to leave after its job; with force its job is canceled.
func (c *Client) StopAgent(ctx context.Context, id string, force bool) error {
	_, err := call[struct{}](ctx, c, http.MethodPut, c.at("agents", id, "stop"), map[string]bool{"force": force})
	return err
}

// Queues lists a cluster's queues by key.
func (c *Client) Queues(ctx context.Context, clusterID string, o ListOptions) (Page[Queue], error) {
	return listed[Queue](ctx, c, c.at("clusters", clusterID, "queues"), o.query())
}

// CreateQueue asks for a queue.
type CreateQueue struct {
	Key                string `json:"key"`
	Description        string `json:"description,omitempty"`
	RetryAgentAffinity string `json:"retry_agent_affinity,omitempty"` // "": prefer-warmest
}

// CreateQueue adds a queue to a cluster.
func (c *Client) CreateQueue(ctx context.Context, clusterID string, q CreateQueue) (Queue, error) {
	return call[Queue](ctx, c, http.MethodPost, c.at("clusters", clusterID, "queues"), q)
}

// UpdateQueue changes the given members of a queue, named as in the API: description, retry_agent_affinity.
func (c *Client) UpdateQueue(ctx context.Context, clusterID, id string, changes map[string]any) (Queue, error) {
	return call[Queue](ctx, c, http.MethodPatch, c.at("clusters", clusterID, "queues", id), changes)
}

// CheckPipeline asks what a pipeline document would do. Pipeline is the slug of the one it is for, ""
// for none; part says that it is one upload of several. The answer is a report in JSON.
func (c *Client) CheckPipeline(ctx context.Context, configuration, file, pipeline string, part bool) (json.RawMessage, error) {
	return call[json.RawMessage](ctx, c, http.MethodPost, c.at("check-pipeline"), map[string]any{
		"configuration": configuration, "file": file, "pipeline": pipeline, "part": part,
	})
}
