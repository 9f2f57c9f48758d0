package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
)

// Build is one run of a pipeline.
type Build struct {
	ci.Build
	ID             string
	OrganizationID string
	PipelineID     string
	Number         int64
	BlockedState   string // what to show while blocked: passed, failed or running
	Version        int64  // grows with every change that pages show
	Commit         string
	Branch         string
	Tag            string
	Message        string
	Source         string // ui, api, cli, webhook, schedule, trigger_job, pipeline_trigger
	Detail         BuildDetail
	CreatorID      string // user id, or ""
	Verdict        Verdict
	AskAt          time.Time // when its repository is to be asked what the verdict lacked; zero: never
	PlanError      string    // why it could not be planned
	CanceledBy     ci.Canceler
	NextPosition   int64 // counts the documents that added steps
}

// Verdict is the stored trust decision of a build; package trust says what it means.
type Verdict struct {
	Decision string // allow, hold, deny
	Rule     string
	Reason   string
	Commit   string // the commit that was decided on
	Profile  string // how far an allowed build may reach: member, approved; "": no further than approved
}

// BuildDetail is what of a build nothing is looked up by.
type BuildDetail struct {
	Author         Person            `json:"author"`
	Env            map[string]string `json:"env,omitempty"`          // of the build, uploads' top-level env included
	PipelineEnv    map[string]string `json:"pipeline_env,omitempty"` // top-level env of the configuration
	Agents         []string          `json:"agents,omitempty"`       // default agent rules
	Notify         []json.RawMessage `json:"notify,omitempty"`
	Warnings       []string          `json:"warnings,omitempty"`
	Unserved       []Unserved        `json:"unserved,omitempty"`
	PullRequest    *PullRequest      `json:"pull_request,omitempty"`
	TriggeredFrom  *BuildRef         `json:"triggered_from,omitempty"`
	RebuiltFrom    *BuildRef         `json:"rebuilt_from,omitempty"`
	CleanCheckout  bool              `json:"clean_checkout,omitempty"`
	PlannedBy      string            `json:"planned_by,omitempty"` // configuration, repository, upload
	PlannedFrom    string            `json:"planned_from,omitempty"`
	Unblocker      *Person           `json:"unblocker,omitempty"` // of the latest unblocked step
	CommitSubject  string            `json:"commit_subject,omitempty"`
	SupersededBy   *BuildRef         `json:"superseded_by,omitempty"` // the newer build for which it was skipped or canceled
	MergeQueue     *MergeQueue       `json:"merge_queue,omitempty"`
	Event          *SourceEvent      `json:"event,omitempty"`
	Changes        *Changes          `json:"changes,omitempty"`       // that decided if_changed
	Statuses       *StatusPlan       `json:"statuses,omitempty"`      // nil: none
	Origin         *Origin           `json:"origin,omitempty"`        // what its verdict rests on
	Review         *Review           `json:"review,omitempty"`        // what a member said of its commit
	Creator        Person            `json:"creator,omitzero"`        // zero: nobody, or somebody who is gone
	CreatorTeams   []string          `json:"creator_teams,omitempty"` // slugs, when it was made
	UnblockerTeams []string          `json:"unblocker_teams,omitempty"`

	// Answers are those to the fields of the step that it begins with, by key, until it is planned; nil: it is not answered.
	Answers map[string][]string `json:"answers,omitzero"`
}

// Unserved is a step for which no agent was there when it was planned.
type Unserved struct {
	StepID  string   `json:"step_id"`
	QueueID string   `json:"queue_id"`
	Rules   []string `json:"rules,omitempty"` // but the queue
	Warning string   `json:"warning"`         // with the step's place in its document, and why
}

// Changes are the files that a build changes, as far as they are named to people.
type Changes struct {
	Base  string   `json:"base"`  // what was asked for, such as origin/main
	Since string   `json:"since"` // full hash of the commit they were compared with
	Count int      `json:"count"`
	Files []string `json:"files,omitempty"` // the first of them
}

// StatusPlan says which commit statuses a build sends of itself.
type StatusPlan struct {
	Context          string `json:"context"`             // of the build's own
	Steps            bool   `json:"steps,omitempty"`     // one for each command step too
	StepKeys         bool   `json:"step_keys,omitempty"` // those are named by key before label
	BlockedAsPending bool   `json:"blocked_as_pending,omitempty"`
}

// MergeQueue is what a build of a merge queue would be merged into.
type MergeQueue struct {
	BaseBranch string `json:"base_branch"`
	BaseCommit string `json:"base_commit"`
	DiffBase   bool   `json:"diff_base,omitempty"` // changed files are those since BaseCommit
}

// SourceEvent is the event of a forge that a build was made for.
type SourceEvent struct {
	Name   string            `json:"name"` // as the forge names it, e.g. pull_request
	Action string            `json:"action,omitempty"`
	Values map[string]string `json:"values,omitempty"` // of variables, by the name behind BUILDKITE_GITHUB_
}

// Person is a name and an e-mail address; either may be empty.
type Person struct {
	ID    string `json:"id,omitempty"`
	Name  string `json:"name"`
	Email string `json:"email"`
}

// PullRequest is what a build knows of the pull request it was made for.
type PullRequest struct {
	Number     string   `json:"number"`
	BaseBranch string   `json:"base_branch,omitempty"`
	Repository string   `json:"repository,omitempty"`
	Labels     []string `json:"labels,omitempty"`
	Draft      bool     `json:"draft,omitempty"`
	Label      string   `json:"label,omitempty"`     // the one that was added or removed, where that made the build
	Fork       bool     `json:"fork,omitempty"`      // the forge said that it comes from another repository
	MergeRef   bool     `json:"merge_ref,omitempty"` // build what merging it would give
}

// BuildRef names another build.
type BuildRef struct {
	ID       string `json:"id"`
	Number   int64  `json:"number"`
	Pipeline string `json:"pipeline"`         // slug
	JobID    string `json:"job_id,omitempty"` // the trigger job
}

const (
	buildColumns = `id, organization_id, pipeline_id, number, state, blocked_state, version, jobs, commit_sha, branch, tag,
		message, source, detail, creator_id, verdict, verdict_rule, verdict_reason, verdict_commit, plan_error, canceled_by,
		next_position, created_at, scheduled_at, started_at, failing_at, finished_at, verdict_profile, ask_at`
	// The words of the partial indexes.
	openBuilds = `(state = 'creating' OR state = 'scheduled' OR state = 'running' OR state = 'failing' OR state = 'blocked'
		OR state = 'canceling')`
	skippableBuilds = `(state = 'creating' OR state = 'scheduled' OR state = 'running' OR state = 'failing' OR state = 'blocked')`

	sqlBuild         = `SELECT ` + buildColumns + ` FROM builds WHERE id = $1`
	sqlBuildByNumber = `SELECT ` + buildColumns + ` FROM builds WHERE pipeline_id = $1 AND number = $2`
	sqlCreating      = `SELECT ` + buildColumns + ` FROM builds WHERE state = 'creating' AND verdict = 'allow' ORDER BY created_at LIMIT $1`
	sqlInsertBuild   = `INSERT INTO builds (` + buildColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,
		$13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29)`
	sqlUpdateBuild = `UPDATE builds SET state = $2, blocked_state = $3, version = version + 1, jobs = $4, commit_sha = $5,
		branch = $6, message = $7, detail = $8, verdict = $9, verdict_rule = $10, verdict_reason = $11, verdict_commit = $12,
		plan_error = $13, canceled_by = $14, next_position = $15, scheduled_at = $16, started_at = $17, failing_at = $18,
		finished_at = $19, verdict_profile = $20, ask_at = $21 WHERE id = $1`
	sqlAdvanceBuild = `UPDATE builds SET state = $2, blocked_state = $3, version = version + 1, jobs = $4, scheduled_at = $5,
		started_at = $6, failing_at = $7, finished_at = $8 WHERE id = $1`
	sqlBuildOfItsJob = `SELECT ` + buildColumns + ` FROM builds WHERE id = (SELECT build_id FROM jobs WHERE jobs.id = $1)`
	sqlLastEnded     = `SELECT state FROM builds WHERE pipeline_id = $1 AND branch = $2 AND number < $3
		AND state IN ('passed', 'failed') ORDER BY number DESC LIMIT 1`
	sqlTouchBuild = `UPDATE builds SET version = version + 1 WHERE id = $1`
)

func scanBuild(s scanner) (b Build, err error) {
	return b, s.Scan(&b.ID, &b.OrganizationID, &b.PipelineID, &b.Number, &b.State, &b.BlockedState, &b.Version,
		document{&b.Jobs}, &b.Commit, &b.Branch, &b.Tag, &b.Message, &b.Source, document{&b.Detail}, &b.CreatorID,
		&b.Verdict.Decision, &b.Verdict.Rule, &b.Verdict.Reason, &b.Verdict.Commit, &b.PlanError, &b.CanceledBy,
		&b.NextPosition, instant{&b.CreatedAt}, instant{&b.ScheduledAt}, instant{&b.StartedAt}, instant{&b.FailingAt},
		instant{&b.FinishedAt}, &b.Verdict.Profile, instant{&b.AskAt})
}

// Build returns the build with an id.
func (r Reader) Build(ctx context.Context, id string) (Build, error) {
	return one(ctx, r.q, scanBuild, sqlBuild, id)
}

// BuildByNumber returns a pipeline's build by its number.
func (r Reader) BuildByNumber(ctx context.Context, pipelineID string, number int64) (Build, error) {
	return one(ctx, r.q, scanBuild, sqlBuildByNumber, pipelineID, number)
}

// LastEnded returns whether the last build of a branch before a number that ended of itself passed or
// failed, "" if there is none.
func (r Reader) LastEnded(ctx context.Context, pipelineID, branch string, before int64) (ci.BuildState, error) {
	s, err := one(ctx, r.q, scanString, sqlLastEnded, pipelineID, branch, before)
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return ci.BuildState(s), err
}

// CreatingBuilds returns up to limit builds that may run and are not planned yet, oldest first.
func (r Reader) CreatingBuilds(ctx context.Context, limit int) ([]Build, error) {
	return list(ctx, r.q, scanBuild, sqlCreating, limit)
}

// LockBuild returns a build and keeps other operations on it out until the transaction ends. Every
// operation that changes a build, its steps or its jobs begins with it.
func (tx *Tx) LockBuild(ctx context.Context, id string) (Build, error) {
	return one(ctx, tx.q, scanBuild, sqlBuild+tx.forUpdate, id)
}

// JobInBuild is a job with what an operation on it begins with.
type JobInBuild struct {
	Build  Build
	Job    Job
	Step   Step
	Agents []Agent // the one that was asked for, if it is there
}

// AgentToo is an agent to be read in the same round trip as a job.
type AgentToo struct {
	ID   string // "": none
	Lock bool   // as LockAgent
}

// LockJob is LockBuild for the build of a job, and reads the job, its step and an agent as they are then.
func (tx *Tx) LockJob(ctx context.Context, jobID string, agent AgentToo) (v JobInBuild, err error) {
	questions := []question{
		ask(&v.Build, scanBuild, sqlBuildOfItsJob+tx.forUpdate, jobID), ask(&v.Job, scanJob, sqlJob, jobID), ask(&v.Step, scanStep, sqlStepOfItsJob, jobID),
	}
	if agent.ID != "" {
		query := sqlAgent
		if agent.Lock {
			query += tx.forUpdate
		}
		questions = append(questions, askAll(&v.Agents, scanAgent, query, agent.ID))
	}
	return v, tx.q.together(ctx, questions)
}

// InsertBuild adds a build.
func (tx *Tx) InsertBuild(ctx context.Context, b Build) error {
	return later(ctx, tx.q, sqlInsertBuild, b.ID, b.OrganizationID, b.PipelineID, b.Number, b.State, b.BlockedState,
		b.Version, text(b.Jobs), b.Commit, b.Branch, b.Tag, b.Message, b.Source, text(b.Detail), b.CreatorID,
		b.Verdict.Decision, b.Verdict.Rule, b.Verdict.Reason, b.Verdict.Commit, b.PlanError, b.CanceledBy,
		b.NextPosition, micros(b.CreatedAt), micros(b.ScheduledAt), micros(b.StartedAt), micros(b.FailingAt),
		micros(b.FinishedAt), b.Verdict.Profile, micros(b.AskAt))
}

// UpdateBuild saves a build and counts its version up.
func (tx *Tx) UpdateBuild(ctx context.Context, b Build) error {
	return later(ctx, tx.q, sqlUpdateBuild, b.ID, b.State, b.BlockedState, text(b.Jobs), b.Commit, b.Branch, b.Message,
		text(b.Detail), b.Verdict.Decision, b.Verdict.Rule, b.Verdict.Reason, b.Verdict.Commit, b.PlanError, b.CanceledBy,
		b.NextPosition, micros(b.ScheduledAt), micros(b.StartedAt), micros(b.FailingAt), micros(b.FinishedAt),
		b.Verdict.Profile, micros(b.AskAt))
}

// AdvanceBuild saves what jobs change in a build, its state and its tally, and counts its version up. It is UpdateBuild for what
// happens most.
func (tx *Tx) AdvanceBuild(ctx context.Context, b Build) error {
	return later(ctx, tx.q, sqlAdvanceBuild, b.ID, b.State, b.BlockedState, text(b.Jobs), micros(b.ScheduledAt),
		micros(b.StartedAt), micros(b.FailingAt), micros(b.FinishedAt))
}

// TouchBuild counts a build's version up, so that pages look at it again.
func (tx *Tx) TouchBuild(ctx context.Context, id string) error {
	return exec(ctx, tx.q, sqlTouchBuild, id)
}

// CreatedBefore is a place in a list that is sorted newest first.
type CreatedBefore struct {
	Number int64 // 0: from the newest
}

func (c CreatedBefore) bound() int64 {
	if c.Number == 0 {
		return 1 << 62
	}
	return c.Number
}

const (
	sqlBuilds = `SELECT ` + buildColumns + ` FROM builds WHERE pipeline_id = $1 AND number < $2
		ORDER BY number DESC LIMIT $3`
	sqlBuildsOfBranch = `SELECT ` + buildColumns + ` FROM builds WHERE pipeline_id = $1 AND branch = $2 AND number < $3
		ORDER BY number DESC LIMIT $4`
	sqlCountBuilds  = `SELECT COUNT(*) FROM builds WHERE pipeline_id = $1`
	sqlBuildStates  = `SELECT state, COUNT(*) FROM builds WHERE pipeline_id = $1 GROUP BY state`
	sqlOpenBuilds   = `SELECT ` + buildColumns + ` FROM builds WHERE organization_id = $1 AND ` + openBuilds + ` ORDER BY created_at DESC LIMIT $2`
	sqlRecentBuilds = `SELECT ` + buildColumns + ` FROM builds WHERE organization_id = $1 AND created_at < $2
		ORDER BY created_at DESC LIMIT $3`
)

// Builds returns up to limit builds of a pipeline, newest first.
func (r Reader) Builds(ctx context.Context, pipelineID string, before CreatedBefore, limit int) ([]Build, error) {
	return list(ctx, r.q, scanBuild, sqlBuilds, pipelineID, before.bound(), limit)
}

// BuildsOfBranch returns up to limit builds of a branch, newest first.
func (r Reader) BuildsOfBranch(ctx context.Context, pipelineID, branch string, before CreatedBefore, limit int) ([]Build, error) {
	return list(ctx, r.q, scanBuild, sqlBuildsOfBranch, pipelineID, branch, before.bound(), limit)
}

// OpenBuilds returns up to limit builds of an organization that have not ended, newest first.
func (r Reader) OpenBuilds(ctx context.Context, organizationID string, limit int) ([]Build, error) {
	return list(ctx, r.q, scanBuild, sqlOpenBuilds, organizationID, limit)
}

// RecentBuilds returns up to limit builds of an organization made before a time, newest first.
func (r Reader) RecentBuilds(ctx context.Context, organizationID string, before time.Time, limit int) ([]Build, error) {
	return list(ctx, r.q, scanBuild, sqlRecentBuilds, organizationID, micros(before), limit)
}

// CountBuilds returns how many builds a pipeline has.
func (r Reader) CountBuilds(ctx context.Context, pipelineID string) (int, error) {
	n, err := one(ctx, r.q, scanInt, sqlCountBuilds, pipelineID)
	return int(n), err
}

// BuildStates returns how many builds of a pipeline are in each state.
func (r Reader) BuildStates(ctx context.Context, pipelineID string) (map[ci.BuildState]int, error) {
	type row struct {
		state ci.BuildState
		n     int
	}
	rows, err := list(ctx, r.q, func(s scanner) (v row, err error) { return v, s.Scan(&v.state, &v.n) }, sqlBuildStates, pipelineID)
	out := make(map[ci.BuildState]int, len(rows))
	for _, v := range rows {
		out[v.state] = v.n
	}
	return out, err
}
