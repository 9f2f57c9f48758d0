package restapi

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// jobJSON is a job (https://buildkite.com/docs/apis/rest-api/jobs). Reason is ours.
type jobJSON struct {
	ID                 string            `json:"id"`
	GraphQLID          string            `json:"graphql_id"`
	Type               string            `json:"type"`
	Name               maybe             `json:"name"`
	StepKey            maybe             `json:"step_key"`
	GroupKey           maybe             `json:"group_key"`
	Step               jobStepJSON       `json:"step"`
	Priority           priorityJSON      `json:"priority"`
	AgentQueryRules    []string          `json:"agent_query_rules"`
	State              string            `json:"state"`
	Reason             maybe             `json:"reason"`
	BuildURL           string            `json:"build_url"`
	WebURL             string            `json:"web_url"`
	LogURL             string            `json:"log_url"`
	RawLogURL          string            `json:"raw_log_url"`
	ArtifactsURL       string            `json:"artifacts_url"`
	Command            maybe             `json:"command"`
	SoftFailed         bool              `json:"soft_failed"`
	ExitStatus         *int              `json:"exit_status"`
	Signal             maybe             `json:"signal"`
	SignalReason       maybe             `json:"signal_reason"`
	BrokenReason       maybe             `json:"broken_reason"`
	ArtifactPaths      maybe             `json:"artifact_paths"`
	Agent              *agentJSON        `json:"agent"`
	AgentReason        maybe             `json:"agent_reason"` // ours: why this agent; it reads on after "this agent"
	CreatedAt          stamp             `json:"created_at"`
	ScheduledAt        stamp             `json:"scheduled_at"`
	RunnableAt         stamp             `json:"runnable_at"`
	StartedAt          stamp             `json:"started_at"`
	FinishedAt         stamp             `json:"finished_at"`
	ExpiredAt          stamp             `json:"expired_at"`
	Retried            bool              `json:"retried"`
	RetriedInJobID     maybe             `json:"retried_in_job_id"`
	RetriesCount       int               `json:"retries_count"`
	RetrySource        *retrySourceJSON  `json:"retry_source"`
	RetryType          maybe             `json:"retry_type"`
	RetriedBy          *namedJSON        `json:"retried_by"`
	ParallelGroupIndex *int              `json:"parallel_group_index"`
	ParallelGroupTotal *int              `json:"parallel_group_total"`
	Matrix             map[string]string `json:"matrix"`
	ClusterID          maybe             `json:"cluster_id"`
	ClusterURL         maybe             `json:"cluster_url"`
	ClusterQueueID     maybe             `json:"cluster_queue_id"`
	ClusterQueueURL    maybe             `json:"cluster_queue_url"`
	PromisedExitStatus *int              `json:"promised_exit_status,omitempty"`
	ConcurrencyWait    *int64            `json:"concurrency_wait_time_ms"`
	// Explanation is ours, and only in the answer about one job: why it is not running.
	Explanation *engine.Explanation `json:"explanation,omitempty"`
	*manualJSON
	*triggerJSON
}

// manualJSON are the members that only block and input jobs have.
type manualJSON struct {
	Label       maybe      `json:"label"`
	UnblockedBy *namedJSON `json:"unblocked_by"`
	UnblockedAt stamp      `json:"unblocked_at"`
	Unblockable bool       `json:"unblockable"`
	UnblockURL  string     `json:"unblock_url"`
}

// triggerJSON are the members that only trigger jobs have.
type triggerJSON struct {
	Async          bool          `json:"async"`
	TriggeredBuild *buildRefJSON `json:"triggered_build"`
}

type buildRefJSON struct {
	ID     string `json:"id"`
	Number int64  `json:"number"`
	URL    string `json:"url"`
	WebURL string `json:"web_url"`
}

type jobStepJSON struct {
	ID        string          `json:"id"`
	Signature json.RawMessage `json:"signature"`
}

type priorityJSON struct {
	Number int `json:"number"`
}

type retrySourceJSON struct {
	JobID     string `json:"job_id"`
	RetryType string `json:"retry_type"`
}

type namedJSON struct {
	Name string `json:"name"`
}

func named(name string) *namedJSON {
	if name == "" {
		return nil
	}
	return &namedJSON{name}
}

// jobState is the state in the API's words, which tell how a finished job ended.
func jobState(j store.Job) string {
	switch j.State {
	case ci.JobFinished:
		if j.Passed() {
			return "passed"
		}
		return "failed"
	case ci.JobLimiting, ci.JobLimited, ci.JobPlatformLimiting, ci.JobPlatformLimited:
		return string(ci.JobScheduled)
	}
	return string(j.State)
}

// oneOf says whether a list has a value; an empty list has all.
func oneOf(s string, among []string) bool { return len(among) == 0 || slices.Contains(among, s) }

// jobs renders those that are wanted.
func (s scene) jobs(all []store.Job, wanted func(store.Job) bool) ([]jobJSON, error) {
	out := []jobJSON{}
	for _, j := range all {
		if !wanted(j) {
			continue
		}
		v, err := s.job(j)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func (q *request) replyJob(j store.Job) error {
	out, err := q.jobJSON(j)
	if err != nil {
		return err
	}
	return q.reply(200, out)
}

func (q *request) jobJSON(j store.Job) (jobJSON, error) {
	b, err := q.Store.Build(q.ctx, j.BuildID)
	if err != nil {
		return jobJSON{}, err
	}
	s, err := q.newScene([]store.Build{b}, []store.Job{j})
	if err != nil {
		return jobJSON{}, err
	}
	return s.job(j)
}

// jobURL is where the API has the job.
func (s scene) jobURL(j store.Job) string {
	b := s.builds[j.BuildID]
	return s.at.build(s.pipelines[b.PipelineID].Slug, b.Number) + "/jobs/" + j.ID
}

func (s scene) job(j store.Job) (jobJSON, error) {
	spec, err := j.Spec()
	if err != nil {
		return jobJSON{}, fmt.Errorf("job %s: %w", j.ID, err)
	}
	b, step, at := s.builds[j.BuildID], s.steps[j.StepID], s.jobURL(j)
	slug := s.pipelines[b.PipelineID].Slug
	out := jobJSON{
		ID: j.ID, GraphQLID: graphID("Job", j.ID), Type: string(j.Kind), Name: maybe(spec.Label), StepKey: maybe(step.Key),
		GroupKey: maybe(s.steps[step.GroupID].Key), Step: jobStepJSON{step.ID, signature(step)}, Priority: priorityJSON{j.Priority},
		State: jobState(j), Reason: maybe(j.Reason), BuildURL: s.at.build(slug, b.Number),
		WebURL: s.at.buildPage(slug, b.Number) + "/jobs/" + j.ID, LogURL: at + "/log", RawLogURL: at + "/log.txt",
		ArtifactsURL: at + "/artifacts", Command: maybe(spec.Command), SoftFailed: j.SoftFailed, ExitStatus: j.ExitStatus,
		Signal: maybe(j.Signal), SignalReason: maybe(j.SignalReason), Matrix: spec.Matrix, PromisedExitStatus: j.Promised,
		CreatedAt: stamp(j.CreatedAt), ScheduledAt: stamp(j.ScheduledAt), RunnableAt: stamp(j.RunnableAt),
		StartedAt: stamp(j.StartedAt), FinishedAt: stamp(j.FinishedAt),
	}
	if step.Spec.Command != nil {
		out.ArtifactPaths = maybe(joined(step.Spec.Command.ArtifactPaths))
	}
	if spec.ParallelTotal > 0 {
		out.ParallelGroupIndex, out.ParallelGroupTotal = &spec.ParallelIndex, &spec.ParallelTotal
	}
	if j.GroupID != "" && !j.RunnableAt.IsZero() {
		ms := j.RunnableAt.Sub(j.LimitedAt).Milliseconds()
		out.ConcurrencyWait = &ms
	}
	s.addEnd(&out, j)
	s.addPlace(&out, j)
	s.addKind(&out, j, step, at)
	return out, nil
}

// addEnd says how the job ended and what came after it.
func (s scene) addEnd(out *jobJSON, j store.Job) {
	switch j.State {
	case ci.JobBroken:
		out.BrokenReason = maybe(j.Reason)
	case ci.JobExpired:
		out.ExpiredAt = stamp(j.FinishedAt)
	}
	out.Retried, out.RetriedInJobID = j.RetriedIn != "", maybe(j.RetriedIn)
	out.RetriesCount, out.RetryType, out.RetriedBy = j.Retries, maybe(j.RetryType), named(j.RetriedBy)
	if j.RetryOf != "" {
		out.RetrySource = &retrySourceJSON{j.RetryOf, j.RetryType}
	}
}

// addPlace says where the job runs or may run.
func (s scene) addPlace(out *jobJSON, j store.Job) {
	out.AgentQueryRules = []string{}
	if j.Kind != ci.JobScript {
		return
	}
	cluster := s.pipelines[j.PipelineID].ClusterID
	out.ClusterID, out.ClusterURL = maybe(cluster), maybe(s.at.cluster(cluster))
	if queue, ok := s.queues[j.QueueID]; ok {
		out.AgentQueryRules = append(out.AgentQueryRules, "queue="+queue.Key)
		out.ClusterQueueID, out.ClusterQueueURL = maybe(queue.ID), maybe(s.at.queue(queue))
	}
	out.AgentQueryRules = append(out.AgentQueryRules, j.Rules...)
	if a, ok := s.agents[j.AgentID]; ok {
		out.Agent, out.AgentReason = toAgent(s.at, a, s.queues[a.QueueID], s.now), maybe(j.AgentReason)
	}
}

// addKind adds what only jobs of one kind have.
func (s scene) addKind(out *jobJSON, j store.Job, step store.Step, at string) {
	switch j.Kind {
	case ci.JobManual:
		out.manualJSON = &manualJSON{
			Label: out.Name, UnblockedBy: named(j.UnblockedBy), Unblockable: j.State == ci.JobBlocked, UnblockURL: at + "/unblock",
		}
		if j.State == ci.JobFinished {
			out.UnblockedAt = stamp(j.FinishedAt)
		}
	case ci.JobTrigger:
		out.triggerJSON = &triggerJSON{Async: step.Spec.Trigger != nil && step.Spec.Trigger.Async}
		if child, ok := s.children[j.TriggeredBuild]; ok {
			out.TriggeredBuild = &buildRefJSON{
				child.ID, child.Number, s.at.build(child.Pipeline, child.Number), s.at.buildPage(child.Pipeline, child.Number),
			}
		}
	}
}

// signature is that of a signed step, null otherwise.
func signature(step store.Step) json.RawMessage {
	var definition struct {
		Signature json.RawMessage `json:"signature"`
	}
	if step.Spec.Command == nil || !step.Spec.Command.Signed || json.Unmarshal(step.Definition, &definition) != nil {
		return nil
	}
	return definition.Signature
}

// agentJSON is an agent (https://buildkite.com/docs/apis/rest-api/agents).
type agentJSON struct {
	ID              string    `json:"id"`
	GraphQLID       string    `json:"graphql_id"`
	URL             string    `json:"url"`
	WebURL          string    `json:"web_url"`
	Name            string    `json:"name"`
	ConnectionState string    `json:"connection_state"`
	Hostname        string    `json:"hostname"`
	IPAddress       string    `json:"ip_address"`
	UserAgent       string    `json:"user_agent"`
	Version         string    `json:"version"`
	OSID            string    `json:"os_id"`
	Arch            string    `json:"arch"`
	Queue           string    `json:"queue"`
	Creator         *userJSON `json:"creator"`
	CreatedAt       stamp     `json:"created_at"`
	ConnectedAt     stamp     `json:"connected_at"`
	SilentSince     stamp     `json:"silent_since"` // it missed heartbeats; null: it did not, or has left
	DisconnectedAt  stamp     `json:"disconnected_at"`
	LostAt          stamp     `json:"lost_at"`
	StoppedAt       stamp     `json:"stopped_at"`
	Job             *jobJSON  `json:"job"`
	LastJobAt       stamp     `json:"last_job_finished_at"`
	Priority        *int      `json:"priority"`
	MetaData        []string  `json:"meta_data"`
	Paused          bool      `json:"paused"`
	PausedAt        stamp     `json:"paused_at"`
	PausedBy        *userJSON `json:"paused_by"`
	PausedNote      maybe     `json:"paused_note"`
	PausedTimeout   *int      `json:"paused_timeout_in_minutes"`
}

func toAgent(at addresses, a store.Agent, queue store.Queue, now time.Time) *agentJSON {
	out := &agentJSON{
		ID: a.ID, GraphQLID: graphID("Agent", a.ID), URL: at.agent(a.ID), WebURL: at.web() + "/agents/" + a.ID, Name: a.Name,
		ConnectionState: string(a.State), Hostname: a.Hostname, IPAddress: a.IP, UserAgent: a.UserAgent, Version: a.Version,
		OSID: a.OS, Arch: a.Arch, Queue: queue.Key, CreatedAt: stamp(a.CreatedAt), ConnectedAt: stamp(a.ConnectedAt),
		LastJobAt: stamp(a.LastJobAt), Priority: a.Priority, MetaData: list(a.Tags), Paused: a.Paused, PausedNote: maybe(a.PauseNote),
	}
	if a.Silent(now) {
		out.SilentSince = stamp(a.LastSeen)
	}
	switch a.State {
	case ci.AgentDisconnected:
		out.DisconnectedAt = stamp(a.EndedAt)
	case ci.AgentLost:
		out.LostAt = stamp(a.EndedAt)
	}
	return out
}

// minutesLeft is how many minutes a pause still lasts, at least one.
func minutesLeft(a store.Agent, now time.Time) *int {
	if !a.Paused || a.PauseUntil.IsZero() {
		return nil
	}
	n := max(int(a.PauseUntil.Sub(now)/time.Minute), 1)
	return &n
}
