package engine

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/slipway-ci/slipway/internal/condition"
	"github.com/slipway-ci/slipway/internal/forge"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
)

// planInput is everything that planning a pipeline's own document depends on.
type planInput struct {
	org      store.Organization
	pipeline store.Pipeline
	build    store.Build
	source   []byte
	file     string
	// lenient treats the document as the service does those in its editor: it may refer to few
	// variables, and any other expands to nothing, with a warning. Otherwise a variable that the
	// server does not know is a *pipeline.UnknownVariable.
	lenient bool
	// changed decides if_changed; nil: a document that has it cannot be planned here.
	changed *Changed
	// used says whether a step of the build has a key. It is set for what a job uploads, as JSON and interpolated
	// by its agent; nil is a pipeline's own document.
	used func(key string) (bool, error)
	// numbered, if set, is called where the plan turns out to depend on the build's number.
	numbered func()
}

// plan parses, interpolates and plans a document. It does no I/O, but for looking for keys.
func (e *Engine) plan(in planInput) (pipeline.Plan, error) {
	if in.used != nil {
		return planUpload(in)
	}
	doc, err := pipeline.Parse(in.source, in.file)
	if err != nil {
		return pipeline.Plan{}, err
	}
	decided, err := SettingsOf(in.org)
	if err != nil {
		return pipeline.Plan{}, err
	}
	var faults []pipeline.Problem
	if in.changed != nil {
		faults = doc.IfChanged(in.changed.Files)
	}
	unset, err := interpolate(doc, in)
	if err != nil {
		return pipeline.Plan{}, err
	}
	plan, err := doc.Plan(pipeline.Facts{
		Condition: in.condition(),
		Branch:    in.build.Branch,
	}, decided.PlanLimits())
	plan.Warnings = append(plan.Warnings, faults...)
	for _, name := range unset {
		plan.Warnings = append(plan.Warnings, pipeline.Problem{Message: fmt.Sprintf(pipeline.ExpandedToNothing, name, name)})
	}
	return plan, err
}

// planUpload plans what a job uploads.
func planUpload(in planInput) (pipeline.Plan, error) {
	doc, err := pipeline.ParseJSON(in.source)
	if err != nil {
		return pipeline.Plan{}, err
	}
	decided, err := SettingsOf(in.org)
	if err != nil {
		return pipeline.Plan{}, err
	}
	var failed error
	plan, err := doc.Plan(pipeline.Facts{
		Condition: in.condition(),
		Branch:    in.build.Branch,
		UsedKeys: func(key string) bool {
			used, err := in.used(key)
			failed = errors.Join(failed, err)
			return used
		},
	}, decided.UploadLimits())
	return plan, errors.Join(failed, err)
}

// condition is what `if` may read, and notes whether it reads the build's number.
func (in planInput) condition() condition.Env {
	env := conditionEnv(in.org, in.pipeline, in.build)
	env.Read = func(name string) { in.noteNumber(name, "build.number") }
	lookup := env.Lookup
	env.Lookup = func(name string) (string, bool) {
		in.noteNumber(name, numberVariable)
		return lookup(name)
	}
	return env
}

const numberVariable = "BUILDKITE_BUILD_NUMBER"

func (in planInput) noteNumber(asked, number string) {
	if asked == number && in.numbered != nil {
		in.numbered()
	}
}

// interpolate expands the document's variables and returns those that expanded to nothing.
func interpolate(doc *pipeline.Document, in planInput) ([]string, error) {
	vars := serverVariables(in)
	lookup := func(name string) (string, bool) {
		in.noteNumber(name, numberVariable)
		v, ok := vars[name]
		return v, ok
	}
	if in.lenient {
		return doc.InterpolateEditor(lookup)
	}
	return nil, doc.Interpolate(lookup)
}

// serverVariables are the variables that a pipeline's own document may refer to
// (https://buildkite.com/docs/pipelines/configure/environment-variables#variable-interpolation).
func serverVariables(in planInput) map[string]string {
	b, pl := in.build, in.pipeline
	v := map[string]string{
		"BUILDKITE_BRANCH": b.Branch, "BUILDKITE_TAG": b.Tag, "BUILDKITE_MESSAGE": b.Message,
		"BUILDKITE_COMMIT": b.Commit, "BUILDKITE_PIPELINE_SLUG": pl.Slug, "BUILDKITE_PIPELINE_NAME": pl.Name,
		"BUILDKITE_PIPELINE_ID": pl.ID, "BUILDKITE_ORGANIZATION_SLUG": in.org.Slug,
		"BUILDKITE_TRIGGERED_FROM_BUILD_PIPELINE_SLUG": "", "BUILDKITE_REPO": pl.Repository,
		"BUILDKITE_PULL_REQUEST": "false", "BUILDKITE_PULL_REQUEST_BASE_BRANCH": "", "BUILDKITE_PULL_REQUEST_REPO": "",
		"BUILDKITE_MERGE_QUEUE_BASE_BRANCH": "", "BUILDKITE_MERGE_QUEUE_BASE_COMMIT": "",
		// Known before the build's jobs are, so that a checked-in document may use them too.
		numberVariable: strconv.FormatInt(b.Number, 10), "BUILDKITE_BUILD_ID": b.ID,
		"BUILDKITE_PIPELINE_DEFAULT_BRANCH": pl.DefaultBranch, "BUILDKITE_SOURCE": b.Source,
		"BUILDKITE_BUILD_AUTHOR": b.Detail.Author.Name, "BUILDKITE_BUILD_AUTHOR_EMAIL": b.Detail.Author.Email,
		"BUILDKITE": "true", "CI": "true",
	}
	if pr := b.Detail.PullRequest; pr != nil {
		v["BUILDKITE_PULL_REQUEST"], v["BUILDKITE_PULL_REQUEST_BASE_BRANCH"] = pr.Number, pr.BaseBranch
		v["BUILDKITE_PULL_REQUEST_REPO"] = pr.Repository
	}
	if mq := b.Detail.MergeQueue; mq != nil {
		v["BUILDKITE_MERGE_QUEUE_BASE_BRANCH"], v["BUILDKITE_MERGE_QUEUE_BASE_COMMIT"] = mq.BaseBranch, mq.BaseCommit
	}
	if ev := b.Detail.Event; ev != nil {
		v["BUILDKITE_GITHUB_EVENT"], v["BUILDKITE_GITHUB_ACTION"] = ev.Name, ev.Action
		for name, value := range ev.Values {
			v["BUILDKITE_GITHUB_"+name] = value
		}
	}
	if t := b.Detail.TriggeredFrom; t != nil {
		v["BUILDKITE_TRIGGERED_FROM_BUILD_PIPELINE_SLUG"] = t.Pipeline
	}
	for name, value := range b.Detail.Env {
		if _, ours := v[name]; !ours {
			v[name] = value
		}
	}
	return v
}

// conditionEnv is what `if` may read about a build.
func conditionEnv(org store.Organization, pl store.Pipeline, b store.Build) condition.Env {
	author, creator := b.Detail.Author, CreatorOf(b)
	vars := condition.Vars{
		"build.id": condition.String(b.ID), "build.number": condition.Int(b.Number),
		"build.source": condition.String(conditionSource(b.Source)), "build.branch": condition.String(b.Branch),
		"build.tag": condition.Optional(b.Tag), "build.message": condition.Optional(b.Message),
		"build.commit":      condition.String(b.Commit),
		"build.author.name": condition.Optional(author.Name), "build.author.email": condition.Optional(author.Email),
		"build.author.id": condition.Optional(author.ID), "build.creator.id": condition.Optional(b.CreatorID),
		"pipeline.id": condition.String(pl.ID), "pipeline.slug": condition.String(pl.Slug),
		"pipeline.name": condition.String(pl.Name), "pipeline.default_branch": condition.Optional(pl.DefaultBranch),
		"pipeline.repository": condition.Optional(pl.Repository),
		"organization.id":     condition.String(org.ID), "organization.slug": condition.String(org.Slug),
	}
	if b.CreatorID != "" {
		vars["build.creator.name"] = condition.Optional(creator.Name)
		vars["build.creator.email"] = condition.Optional(creator.Email)
		vars["build.creator.teams"] = condition.Strings(b.Detail.CreatorTeams)
		if author.ID == b.CreatorID {
			vars["build.author.teams"] = vars["build.creator.teams"]
		}
	}
	if pr := b.Detail.PullRequest; pr != nil {
		vars["build.pull_request.id"] = condition.Optional(pr.Number)
		vars["build.pull_request.base_branch"] = condition.Optional(pr.BaseBranch)
		vars["build.pull_request.repository"] = condition.Optional(pr.Repository)
		vars["build.pull_request.repository.fork"] = condition.Bool(pr.Fork || pr.Repository != "" && !forge.SameRepository(pr.Repository, pl.Repository))
		vars["build.pull_request.draft"] = condition.Bool(pr.Draft)
		vars["build.pull_request.labels"] = condition.Strings(pr.Labels)
		vars["build.pull_request.label"] = condition.Optional(pr.Label)
	}
	if mq := b.Detail.MergeQueue; mq != nil {
		vars["build.merge_queue.base_branch"] = condition.Optional(mq.BaseBranch)
		vars["build.merge_queue.base_commit"] = condition.Optional(mq.BaseCommit)
	}
	if ev := b.Detail.Event; ev != nil {
		vars["build.source_event"] = condition.Optional(ev.Name)
		vars["build.source_action"] = condition.Optional(ev.Action)
	}
	builtIn := serverVariables(planInput{org: org, pipeline: pl, build: b})
	return condition.Env{Vars: vars, Lookup: func(name string) (string, bool) {
		for _, env := range []map[string]string{builtIn, b.Detail.Env, b.Detail.PipelineEnv} {
			if v, ok := env[name]; ok {
				return v, true
			}
		}
		return "", false
	}}
}

// conditionSource is build.source for the language, which has no word for our own client.
func conditionSource(s string) string {
	return strings.ToLower(publicSource(s))
}
