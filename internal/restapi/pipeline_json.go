package restapi

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
)

// pipelineJSON is a pipeline (https://buildkite.com/docs/apis/rest-api/pipelines).
type pipelineJSON struct {
	ID                 string          `json:"id"`
	GraphQLID          string          `json:"graphql_id"`
	URL                string          `json:"url"`
	WebURL             string          `json:"web_url"`
	Name               string          `json:"name"`
	Description        string          `json:"description"`
	Slug               string          `json:"slug"`
	Repository         string          `json:"repository"`
	Path               string          `json:"path,omitempty"`     // ours: the file in the repository
	Warnings           []string        `json:"warnings,omitempty"` // ours: of a configuration, where it was just saved
	ClusterID          string          `json:"cluster_id"`
	ClusterURL         string          `json:"cluster_url"`
	TemplateUUID       json.RawMessage `json:"pipeline_template_uuid"`
	BranchFilter       json.RawMessage `json:"branch_configuration"`
	DefaultBranch      string          `json:"default_branch"`
	SkipQueued         json.RawMessage `json:"skip_queued_branch_builds"`
	SkipQueuedFilter   json.RawMessage `json:"skip_queued_branch_builds_filter"`
	CancelRunning      json.RawMessage `json:"cancel_running_branch_builds"`
	CancelFilter       json.RawMessage `json:"cancel_running_branch_builds_filter"`
	AllowRebuilds      json.RawMessage `json:"allow_rebuilds"`
	DefaultTimeout     json.RawMessage `json:"default_command_step_timeout"`
	MaximumTimeout     json.RawMessage `json:"maximum_command_step_timeout"`
	ArtifactDays       json.RawMessage `json:"artifact_retention_days"` // null: as the organization decided
	Color              json.RawMessage `json:"color"`
	Emoji              json.RawMessage `json:"emoji"`
	Provider           providerJSON    `json:"provider"`
	BuildsURL          string          `json:"builds_url"`
	BadgeURL           maybe           `json:"badge_url"`
	CreatedBy          *userJSON       `json:"created_by"`
	CreatedAt          stamp           `json:"created_at"`
	ArchivedAt         stamp           `json:"archived_at"`
	Env                json.RawMessage `json:"env"`
	ScheduledBuilds    int             `json:"scheduled_builds_count"`
	RunningBuilds      int             `json:"running_builds_count"`
	ScheduledJobs      int             `json:"scheduled_jobs_count"`
	RunningJobs        int             `json:"running_jobs_count"`
	WaitingJobs        int             `json:"waiting_jobs_count"`
	Visibility         json.RawMessage `json:"visibility"`
	Tags               json.RawMessage `json:"tags"`
	Steps              any             `json:"steps,omitempty"`
	Configuration      string          `json:"configuration,omitempty"`
	ConfigurationError string          `json:"configuration_error,omitempty"`
}

// providerJSON says where the repository lives. Clients decode its settings by its id and fail
// without them.
type providerJSON struct {
	ID         string          `json:"id"`
	WebhookURL string          `json:"webhook_url"`
	Settings   json.RawMessage `json:"settings"`
}

// toPipelines renders pipelines with at most three statements.
func (q *request) toPipelines(pipelines []store.Pipeline) ([]pipelineJSON, error) {
	loads, err := q.pipelineLoads()
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, pl := range pipelines {
		ids = append(ids, pl.CreatedBy)
	}
	users, err := q.usersByID(ids...)
	if err != nil {
		return nil, err
	}
	addresses, err := q.webhookAddresses(pipelines)
	if err != nil {
		return nil, err
	}
	out := make([]pipelineJSON, len(pipelines))
	for i, pl := range pipelines {
		out[i] = q.toPipeline(pl, loads[pl.ID])
		out[i].Provider.WebhookURL = addresses[pl.ID]
		out[i].CreatedBy = users[pl.CreatedBy]
	}
	return out, nil
}

func (q *request) replyPipeline(status int, pl store.Pipeline) error {
	return q.replySaved(status, pl, nil)
}

// replySaved answers with a pipeline and what is to be said of the configuration that it was given.
func (q *request) replySaved(status int, pl store.Pipeline, warnings []string) error {
	out, err := q.toPipelines([]store.Pipeline{pl})
	if err != nil {
		return err
	}
	out[0].Warnings = warnings
	out[0].addSteps(pl)
	return q.reply(status, out[0])
}

func (q *request) toPipeline(pl store.Pipeline, load store.Load) pipelineJSON {
	at, s := q.addresses(), settingsOf(pl)
	out := pipelineJSON{
		ID: pl.ID, GraphQLID: graphID("Pipeline", pl.ID), URL: at.pipeline(pl.Slug), WebURL: at.pipelinePage(pl.Slug),
		Name: pl.Name, Description: pl.Description, Slug: pl.Slug, Repository: pl.Repository, Path: pl.Path,
		ClusterID: pl.ClusterID, ClusterURL: at.cluster(pl.ClusterID), DefaultBranch: pl.DefaultBranch,
		BuildsURL: at.pipeline(pl.Slug) + "/builds", CreatedAt: stamp(pl.CreatedAt), ArchivedAt: stamp(pl.ArchivedAt),
		Provider:        providerJSON{ID: engine.Provider(pl.Repository), Settings: s.get("provider_settings", "{}")},
		ScheduledBuilds: load.Builds[ci.BuildCreating] + load.Builds[ci.BuildScheduled],
		RunningBuilds:   load.Builds[ci.BuildRunning] + load.Builds[ci.BuildFailing] + load.Builds[ci.BuildCanceling],
		ScheduledJobs:   load.Jobs[ci.ClassReady], RunningJobs: load.Jobs.Running(), WaitingJobs: load.Jobs[ci.ClassWaiting],
	}
	out.setSettings(s)
	return out
}

// addSteps shows what the pipeline does; in a build it is left out.
func (out *pipelineJSON) addSteps(pl store.Pipeline) {
	if s := settingsOf(pl); s.has("steps") {
		out.Steps = s["steps"]
		return
	}
	out.Configuration = pl.Configuration
	out.Steps, out.ConfigurationError = describeSteps(pl)
}

func (out *pipelineJSON) setSettings(s settings) {
	out.TemplateUUID = s.get("pipeline_template_uuid", "null")
	out.BranchFilter = s.get("branch_configuration", "null")
	out.SkipQueued = s.get("skip_queued_branch_builds", "false")
	out.SkipQueuedFilter = s.get("skip_queued_branch_builds_filter", "null")
	out.CancelRunning = s.get("cancel_running_branch_builds", "false")
	out.CancelFilter = s.get("cancel_running_branch_builds_filter", "null")
	out.AllowRebuilds = s.get("allow_rebuilds", "true")
	out.DefaultTimeout = s.get("default_command_step_timeout", "null")
	out.MaximumTimeout = s.get("maximum_command_step_timeout", "null")
	out.ArtifactDays = s.get("artifact_retention_days", "null")
	out.Color, out.Emoji = s.get("color", "null"), s.get("emoji", "null")
	out.Visibility, out.Tags = s.get("visibility", `"private"`), s.get("tags", "null")
	out.Env = s.get("env", "{}")
}

// stepJSON is a step as a list of them shows it, whatever document it stands in.
type stepJSON struct {
	Type             string            `json:"type"`
	Name             maybe             `json:"name"`
	Label            maybe             `json:"label,omitempty"`
	Command          maybe             `json:"command"`
	ArtifactPaths    maybe             `json:"artifact_paths"`
	Branches         maybe             `json:"branch_configuration"`
	Env              map[string]string `json:"env"`
	TimeoutInMinutes *int              `json:"timeout_in_minutes"`
	AgentQueryRules  []string          `json:"agent_query_rules"`
	Pipeline         string            `json:"pipeline,omitempty"`
}

// uploadStep stands for a document that is in the repository.
var uploadStep = stepJSON{Type: "script", Name: ":pipeline:", Command: "buildkite-agent pipeline upload", Env: map[string]string{}, AgentQueryRules: []string{}}

// describeSteps lists the steps of a pipeline's configuration.
func describeSteps(pl store.Pipeline) ([]stepJSON, string) {
	if pl.Configuration == "" {
		return []stepJSON{uploadStep}, ""
	}
	doc, err := pipeline.Parse([]byte(pl.Configuration), "configuration")
	if err != nil {
		return []stepJSON{}, err.Error()
	}
	plan, err := doc.Plan(pipeline.Facts{Branch: pl.DefaultBranch}, pipeline.DefaultLimits())
	if err != nil {
		return []stepJSON{}, err.Error()
	}
	out := make([]stepJSON, 0, len(plan.Steps))
	for _, s := range plan.Steps {
		if s.Kind != pipeline.Group {
			out = append(out, describeStep(s))
		}
	}
	return out, ""
}

var stepTypes = map[pipeline.Kind]string{
	pipeline.Command: "script", pipeline.Wait: "waiter", pipeline.Block: "manual", pipeline.Input: "manual", pipeline.Trigger: "trigger",
}

func describeStep(s pipeline.Step) stepJSON {
	out := stepJSON{Type: stepTypes[s.Kind], Name: maybe(s.Label), Env: map[string]string{}, AgentQueryRules: []string{}}
	if s.Kind == pipeline.Block || s.Kind == pipeline.Input {
		out.Label = maybe(s.Label)
	}
	if len(s.Jobs) > 0 && s.Jobs[0].Env != nil {
		out.Env = s.Jobs[0].Env
	}
	if s.Trigger != nil {
		out.Pipeline = s.Trigger.Pipeline
	}
	if s.Command != nil {
		out.Command = maybe(s.Jobs[0].Command)
		out.ArtifactPaths = maybe(joined(s.Command.ArtifactPaths))
		out.AgentQueryRules = list(slices.Clone(s.Command.Agents))
		if n := s.Command.TimeoutMinutes; n > 0 {
			out.TimeoutInMinutes = &n
		}
	}
	return out
}

func listPipelines(q *request) error {
	p := q.page()
	query := q.r.URL.Query()
	pipelines, total, err := q.Store.FindPipelines(q.ctx, q.org.ID, query.Get("name"), query.Get("repository"), p.rows())
	if err != nil {
		return err
	}
	out, err := q.toPipelines(pipelines)
	if err != nil {
		return err
	}
	for i, pl := range pipelines {
		out[i].addSteps(pl)
	}
	q.link(p, total)
	return q.reply(http.StatusOK, out)
}

func getPipeline(q *request) error {
	pl, err := q.pipeline()
	if err != nil {
		return err
	}
	return q.replyPipeline(http.StatusOK, pl)
}
