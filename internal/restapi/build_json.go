package restapi

import (
	"slices"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

// buildJSON is a build (https://buildkite.com/docs/apis/rest-api/builds). Verdict, PlanError,
// Warnings, Unserved and PlannedBy are ours.
type buildJSON struct {
	ID             string             `json:"id"`
	GraphQLID      string             `json:"graphql_id"`
	URL            string             `json:"url"`
	WebURL         string             `json:"web_url"`
	Number         int64              `json:"number"`
	State          string             `json:"state"`
	Blocked        bool               `json:"blocked"`
	BlockedState   string             `json:"blocked_state"`
	CancelReason   maybe              `json:"cancel_reason"`
	Message        string             `json:"message"`
	Commit         string             `json:"commit"`
	Branch         string             `json:"branch"`
	Tag            maybe              `json:"tag"`
	Env            map[string]string  `json:"env"`
	Source         string             `json:"source"`
	Author         *authorJSON        `json:"author"`
	Creator        *userJSON          `json:"creator"`
	CreatedAt      stamp              `json:"created_at"`
	ScheduledAt    stamp              `json:"scheduled_at"`
	StartedAt      stamp              `json:"started_at"`
	FailingAt      stamp              `json:"failing_at"`
	FinishedAt     stamp              `json:"finished_at"`
	MetaData       map[string]string  `json:"meta_data"`
	PullRequest    *pullRequestJSON   `json:"pull_request"`
	MergeQueue     *mergeQueueJSON    `json:"merge_queue"`
	RebuiltFrom    *rebuiltFromJSON   `json:"rebuilt_from"`
	TriggeredFrom  *triggeredFromJSON `json:"triggered_from"`
	SupersededBy   *rebuiltFromJSON   `json:"superseded_by,omitempty"`
	Jobs           *[]jobJSON         `json:"jobs,omitempty"`
	Pipeline       *pipelineJSON      `json:"pipeline,omitempty"`
	JobStateCounts *jobCountsJSON     `json:"job_state_counts,omitempty"`
	RetriedJobs    *int               `json:"retried_jobs_count,omitempty"`
	Verdict        verdictJSON        `json:"verdict"`
	PlanError      maybe              `json:"plan_error"`
	PlannedBy      maybe              `json:"planned_by"`
	PlannedFrom    maybe              `json:"planned_from"`
	Warnings       []string           `json:"warnings,omitempty"`
	Unserved       []unservedJSON     `json:"unserved,omitempty"`
}

// unservedJSON is a step for which no agent was there when it was planned. Those that still wait for
// one are among the warnings.
type unservedJSON struct {
	StepID  string `json:"step_id"`
	Warning string `json:"warning"`
	Passed  bool   `json:"passed"` // an agent is there now, or the build has ended
}

type authorJSON struct {
	Name  string `json:"name"`
	Email string `json:"email"`
}

type pullRequestJSON struct {
	ID         string   `json:"id"`
	Base       string   `json:"base"`
	Repository string   `json:"repository"`
	Labels     []string `json:"labels"`
}

type mergeQueueJSON struct {
	BaseBranch string `json:"base_branch"`
	BaseCommit string `json:"base_commit"`
}

type rebuiltFromJSON struct {
	ID     string `json:"id"`
	Number int64  `json:"number"`
	URL    string `json:"url"`
}

type triggeredFromJSON struct {
	BuildID       string `json:"build_id"`
	BuildNumber   int64  `json:"build_number"`
	BuildPipeline string `json:"build_pipeline_slug"`
}

type jobCountsJSON struct {
	Total  int            `json:"total"`
	States map[string]int `json:"states"`
}

// buildView says what is shown of a build.
type buildView struct {
	jobs     bool
	retried  bool // attempts that were retried are among the jobs
	pipeline bool
	counts   bool
	states   []string // of the jobs; none: all
}

// toBuilds renders builds; the number of statements does not depend on theirs.
func (q *request) toBuilds(builds []store.Build, v buildView) ([]buildJSON, error) {
	var jobs []store.Job
	var ids []string
	for _, b := range builds {
		ids = append(ids, b.ID)
	}
	if v.jobs || v.counts {
		var err error
		if jobs, err = q.Store.JobsOfBuilds(q.ctx, ids); err != nil {
			return nil, err
		}
	}
	s, err := q.newScene(builds, jobs)
	if err != nil {
		return nil, err
	}
	if s.metaData, err = q.Store.MetaDataOfBuilds(q.ctx, ids); err != nil {
		return nil, err
	}
	perBuild := map[string][]store.Job{}
	for _, j := range jobs {
		perBuild[j.BuildID] = append(perBuild[j.BuildID], j)
	}
	out := make([]buildJSON, len(builds))
	for i, b := range builds {
		if out[i], err = s.build(b, perBuild[b.ID], v); err != nil {
			return nil, err
		}
	}
	if v.pipeline {
		err = q.addPipelines(out, builds, s)
	}
	return out, err
}

// addPipelines shows each build's pipeline.
func (q *request) addPipelines(out []buildJSON, builds []store.Build, s scene) error {
	var all []store.Pipeline
	for _, pl := range s.pipelines {
		all = append(all, pl)
	}
	shown, err := q.toPipelines(all)
	if err != nil {
		return err
	}
	byID := map[string]*pipelineJSON{}
	for i := range shown {
		byID[shown[i].ID] = &shown[i]
	}
	for i, b := range builds {
		out[i].Pipeline = byID[b.PipelineID]
	}
	return nil
}

func (q *request) replyBuild(status int, b store.Build, v buildView) error {
	out, err := q.toBuilds([]store.Build{b}, v)
	if err != nil {
		return err
	}
	return q.reply(status, out[0])
}

// build renders one build with its jobs, which are all of them or none.
func (s scene) build(b store.Build, jobs []store.Job, v buildView) (buildJSON, error) {
	slug := s.pipelines[b.PipelineID].Slug
	out := buildJSON{
		ID: b.ID, GraphQLID: graphID("Build", b.ID), URL: s.at.build(slug, b.Number), WebURL: s.at.buildPage(slug, b.Number),
		Number: b.Number, CancelReason: maybe(b.CanceledBy), Message: b.Message, Commit: b.Commit, Branch: b.Branch,
		Tag: maybe(b.Tag), Env: b.Detail.Env, Source: b.Source, CreatedAt: stamp(b.CreatedAt),
		ScheduledAt: stamp(b.ScheduledAt), StartedAt: stamp(b.StartedAt), FailingAt: stamp(b.FailingAt),
		FinishedAt: stamp(b.FinishedAt), MetaData: s.metaData[b.ID],
		Verdict:   toVerdict(b),
		PlanError: maybe(b.PlanError), PlannedBy: maybe(b.Detail.PlannedBy), PlannedFrom: maybe(b.Detail.PlannedFrom),
		Warnings: b.Detail.Warnings,
	}
	s.addUnserved(&out, b)
	out.State, out.Blocked, out.BlockedState = shownState(b)
	s.addOrigin(&out, b)
	if out.Env == nil {
		out.Env = map[string]string{}
	}
	if out.MetaData == nil {
		out.MetaData = map[string]string{}
	}
	if v.counts {
		out.JobStateCounts = countJobs(jobs)
	}
	if !v.jobs {
		return out, nil
	}
	shown, err := s.jobs(jobs, func(j store.Job) bool {
		return (v.retried || j.RetriedIn == "") && oneOf(jobState(j), v.states)
	})
	out.Jobs = &shown
	return out, err
}

func (s scene) addUnserved(out *buildJSON, b store.Build) {
	waiting, passed := s.rosters[s.pipelines[b.PipelineID].ClusterID].Unserved(b)
	if len(waiting) > 0 {
		out.Warnings = slices.Clone(out.Warnings)
	}
	for _, u := range waiting {
		out.Warnings = append(out.Warnings, u.Warning)
		out.Unserved = append(out.Unserved, unservedJSON{u.StepID, u.Warning, false})
	}
	for _, u := range passed {
		out.Unserved = append(out.Unserved, unservedJSON{u.StepID, u.Warning, true})
	}
}

// addOrigin says where the build came from.
func (s scene) addOrigin(out *buildJSON, b store.Build) {
	d := b.Detail
	if b.Source == string(trust.SourceCLI) {
		out.Source = string(trust.SourceAPI) // clients know no other word for it
	}
	out.Author = &authorJSON{d.Author.Name, d.Author.Email}
	if u, ok := s.users[b.CreatorID]; ok {
		out.Creator = toUser(u)
	}
	if mq := d.MergeQueue; mq != nil {
		out.MergeQueue = &mergeQueueJSON{mq.BaseBranch, mq.BaseCommit}
	}
	if pr := d.PullRequest; pr != nil {
		out.PullRequest = &pullRequestJSON{pr.Number, pr.BaseBranch, pr.Repository, list(pr.Labels)}
	}
	if r := d.RebuiltFrom; r != nil {
		out.RebuiltFrom = &rebuiltFromJSON{r.ID, r.Number, s.at.build(r.Pipeline, r.Number)}
	}
	if r := d.SupersededBy; r != nil {
		out.SupersededBy = &rebuiltFromJSON{r.ID, r.Number, s.at.build(r.Pipeline, r.Number)}
	}
	if r := d.TriggeredFrom; r != nil {
		out.TriggeredFrom = &triggeredFromJSON{r.ID, r.Number, r.Pipeline}
	}
}

// shownState is the state in the API's words: a blocked build keeps the state that it is to be shown
// in, and says that it is blocked. A build that waits for somebody to trust it is blocked too.
func shownState(b store.Build) (state string, blocked bool, blockedState string) {
	if b.State == ci.BuildBlocked {
		shown := b.BlockedState
		if shown == "" {
			shown = string(ci.BuildPassed)
		}
		return shown, true, shown
	}
	return string(b.State), b.State == ci.BuildCreating && b.Verdict.Decision == string(trust.Hold), ""
}

// countJobs counts the jobs that were not retried.
func countJobs(jobs []store.Job) *jobCountsJSON {
	out := &jobCountsJSON{States: map[string]int{}}
	for _, j := range jobs {
		if j.RetriedIn == "" {
			out.Total++
			out.States[jobState(j)]++
		}
	}
	return out
}
