package restapi

import (
	"net/http"
	"strings"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

// whole shows everything of a build.
var whole = buildView{jobs: true, pipeline: true}

func (q *request) buildView() buildView {
	return buildView{
		jobs: !q.flag("exclude_jobs", false), pipeline: !q.flag("exclude_pipeline", false),
		retried: q.flag("include_retried_jobs", false), states: q.values("job_states"),
	}
}

func listBuilds(q *request) error {
	f, err := q.buildFilter()
	if err != nil {
		return err
	}
	p := q.page()
	if p.number > maxDepth/p.size {
		return httperr.New(http.StatusBadRequest, "Listing builds this deep is not supported. Please narrow your query using filters such as branch or created_from.")
	}
	builds, err := q.Store.FindBuilds(q.ctx, f, p.rows())
	if err != nil {
		return err
	}
	total := p.rows().Offset + len(builds)
	if len(builds) == 0 || len(builds) == p.size { // there may be more, or fewer
		if total, err = q.Store.CountFoundBuilds(q.ctx, f, maxDepth); err != nil {
			return err
		}
	}
	q.link(p, total)
	return q.replyBuilds(builds, q.buildView())
}

func (q *request) buildFilter() (f store.BuildFilter, err error) {
	f = store.BuildFilter{
		OrganizationID: q.org.ID, States: buildStates(q.values("state")), Branches: q.values("branch"), Commits: q.values("commit"),
		CreatorID: q.r.URL.Query().Get("creator"), MetaData: q.keyed("meta_data"),
	}
	if q.r.PathValue("pipeline") != "" {
		pl, err := q.pipeline()
		if err != nil {
			return f, err
		}
		f.PipelineID = pl.ID
	}
	if f.CreatedFrom, err = q.instant("created_from"); err != nil {
		return f, err
	}
	if f.CreatedTo, err = q.instant("created_to"); err != nil {
		return f, err
	}
	f.FinishedFrom, err = q.instant("finished_from")
	return f, err
}

// buildStates reads a filter; "finished" stands for what the API counts as that, a blocked build too.
func buildStates(words []string) []ci.BuildState {
	var out []ci.BuildState
	for _, w := range words {
		if w == "finished" {
			out = append(out, ci.BuildPassed, ci.BuildFailed, ci.BuildBlocked, ci.BuildCanceled)
			continue
		}
		out = append(out, ci.BuildState(w))
	}
	return out
}

func getBuild(q *request) error {
	b, err := q.build()
	if err != nil {
		return err
	}
	v := q.buildView()
	v.counts = true
	return q.replyBuild(http.StatusOK, b, v)
}

// createBuildBody is what creating a build sends.
type createBuildBody struct {
	Commit         string   `json:"commit"`
	Branch         string   `json:"branch"`
	Tag            string   `json:"tag"`
	Message        string   `json:"message"`
	Author         person   `json:"author"`
	CleanCheckout  bool     `json:"clean_checkout"`
	Env            looseMap `json:"env"`
	MetaData       looseMap `json:"meta_data"`
	PullRequestID  loose    `json:"pull_request_id"`
	BaseBranch     string   `json:"pull_request_base_branch"`
	PullRepository string   `json:"pull_request_repository"`
	PullLabels     []string `json:"pull_request_labels"`
	IgnoreFilter   bool     `json:"ignore_pipeline_branch_filters"`
}

func createBuild(q *request) error {
	pl, err := q.pipeline()
	if err != nil {
		return err
	}
	var body createBuildBody
	if err := q.decode(&body); err != nil {
		return err
	}
	if err := body.check(); err != nil {
		return err
	}
	b, err := q.Engine.CreateBuild(q.ctx, body.operation(pl, q.by()))
	if err != nil {
		return err
	}
	return q.replyBuild(http.StatusCreated, b, whole)
}

func (body createBuildBody) check() error {
	fields := map[string]string{}
	if strings.TrimSpace(body.Commit) == "" {
		fields["commit"] = "can't be blank"
	}
	if strings.TrimSpace(body.Branch) == "" {
		fields["branch"] = "can't be blank"
	}
	for key, value := range body.MetaData {
		if key == "" || strings.TrimSpace(string(value)) == "" {
			fields["meta_data"] = "has a blank key or value"
		}
	}
	if len(fields) > 0 {
		return &httperr.Error{Status: http.StatusUnprocessableEntity, Message: "Validation Failed", Fields: fields}
	}
	return nil
}

func (body createBuildBody) operation(pl store.Pipeline, by store.Person) engine.CreateBuild {
	op := engine.CreateBuild{
		PipelineID: pl.ID, Source: trust.SourceAPI, Commit: body.Commit, Branch: body.Branch, Tag: body.Tag,
		Message: body.Message, Author: store.Person{Name: body.Author.Name, Email: body.Author.Email}, CreatorID: by.ID,
		Env: body.Env.texts(), MetaData: body.MetaData.texts(), CleanCheckout: body.CleanCheckout,
		IgnoreBranchFilter: body.IgnoreFilter,
	}
	if op.Author == (store.Person{}) {
		op.Author = by
	}
	if body.PullRequestID != "" && body.PullRequestID != "0" {
		op.PullRequest = &store.PullRequest{
			Number: string(body.PullRequestID), BaseBranch: body.BaseBranch, Repository: body.PullRepository, Labels: body.PullLabels,
		}
	}
	return op
}

func cancelBuild(q *request) error {
	b, err := q.build()
	if err != nil {
		return err
	}
	if b, err = q.Engine.CancelBuild(q.ctx, b.ID, q.canceler()); err != nil {
		return err
	}
	return q.replyBuild(http.StatusOK, b, whole)
}

// canceler names who asks to the people who find something canceled.
func (q *request) canceler() ci.Canceler { return ci.Canceler(q.name()) }

func (q *request) name() string {
	if q.actor.User.Name != "" {
		return q.actor.User.Name
	}
	return q.actor.User.Email
}

func rebuild(q *request) error {
	b, err := q.build()
	if err != nil {
		return err
	}
	if b, err = q.Engine.Rebuild(q.ctx, b.ID, trust.SourceAPI, q.by()); err != nil {
		return err
	}
	return q.replyBuild(http.StatusOK, b, whole)
}

// retryFailedJobs retries what failed. A job that its step lets nobody retry is left as it is.
func retryFailedJobs(q *request) error {
	b, err := q.build()
	if err != nil {
		return err
	}
	var body struct {
		States string `json:"states"`
	}
	if err := q.decode(&body); err != nil {
		return err
	}
	n, err := q.retryFailed(b, body.States)
	if err != nil {
		return err
	}
	if b, err = q.Store.Build(q.ctx, b.ID); err != nil {
		return err
	}
	out, err := q.toBuilds([]store.Build{b}, whole)
	if err != nil {
		return err
	}
	out[0].RetriedJobs = &n
	return q.reply(http.StatusAccepted, out[0])
}

func (q *request) retryFailed(b store.Build, states string) (int, error) {
	jobs, err := q.Store.Jobs(q.ctx, b.ID)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, j := range jobs {
		if j.RetriedIn != "" || !failed(j, states) {
			continue
		}
		_, err := q.Engine.RetryJob(q.ctx, j.ID, q.name())
		if r := httperr.Of(err); err != nil && r.Status != http.StatusForbidden {
			return n, err
		}
		if err == nil {
			n++
		}
	}
	return n, nil
}

// failed says whether a job failed in one of the ways listed; by default in any but softly.
func failed(j store.Job, states string) bool {
	if j.Kind != ci.JobScript && j.Kind != ci.JobTrigger {
		return false
	}
	words := []string{"failed", "timed_out", "canceled", "expired"}
	if states != "" {
		words = strings.Split(strings.ReplaceAll(states, " ", ""), ",")
	}
	if j.SoftFailed {
		return oneOf("soft_failed", words)
	}
	return oneOf(jobState(j), words)
}
