package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

// CreateBuild asks for a build of a pipeline.
type CreateBuild struct {
	PipelineID    string
	Source        trust.Source
	Commit        string // full hash, or a name such as HEAD
	Branch        string // "": the tag, or the pipeline's default branch
	Tag           string
	Message       string
	Author        store.Person
	CreatorID     string // user id, or ""
	Env           map[string]string
	MetaData      map[string]string
	PullRequest   *store.PullRequest
	MergeQueue    *store.MergeQueue
	CleanCheckout bool
	RebuiltFrom   *store.BuildRef
	TriggeredFrom *store.BuildRef
	// Answers are those to the fields of the step that the build begins with; nil: it is not answered.
	Answers map[string][]string
	// IgnoreBranchFilter lets a branch through that the pipeline's filter does not; steps have theirs.
	IgnoreBranchFilter bool
	// Origin says where a webhook's code comes from; nil where there is no webhook.
	Origin *Origin
	// Event is what a webhook told of itself, nil where there is none.
	Event *store.SourceEvent

	draft *draft
}

// CreateBuild makes a build. A pipeline with a configuration is planned in the same transaction; any
// other build stays in creating until PlanBuild. A build that is not trusted is made without jobs.
func (e *Engine) CreateBuild(ctx context.Context, op CreateBuild) (store.Build, error) {
	var out store.Build
	err := e.drafting(ctx, func(d *draft) error {
		op.draft = d
		return e.update(ctx, func(tx *store.Tx, hint func(...string)) error {
			b, err := e.createBuild(ctx, tx, hint, op)
			out = b
			return err
		})
	})
	return out, err
}

// createBuild is CreateBuild inside a transaction. A document is refused before anything but the
// build's number is taken, so that a trigger job can fail for it and its own transaction go on.
func (e *Engine) createBuild(ctx context.Context, tx *store.Tx, hint func(...string), op CreateBuild) (store.Build, error) {
	pl, err := tx.PipelineByID(ctx, op.PipelineID)
	if err != nil {
		return store.Build{}, missing(err, "No pipeline found")
	}
	if !pl.ArchivedAt.IsZero() {
		return store.Build{}, refuse(Conflict, "The pipeline %s is archived; unarchive it to build it.", pl.Slug)
	}
	if err := mayBuild(ctx, tx, pl, op); err != nil {
		return store.Build{}, err
	}
	b, err := e.newBuild(ctx, tx, pl, op)
	if err != nil {
		return b, err
	}
	p := e.progress(ctx, tx, hint, b)
	p.draft, p.of = op.draft, pl
	planned := b.Verdict.Decision == string(trust.Allow) && pl.Configuration != ""
	if planned {
		if err := p.planConfiguration(pl); err != nil {
			return b, err
		}
	}
	if err := p.insertBuild(op.MetaData); err != nil {
		return b, err
	}
	if err := p.outdate(pl); err != nil {
		return b, err
	}
	if planned {
		if err := p.answerLeading(); err != nil {
			return b, err
		}
		err = p.finish()
		return p.build, err
	}
	if err := p.tellHeld(); err != nil {
		return b, err
	}
	hint(live.Plan, live.Pipeline(pl.ID), live.Organization(pl.OrganizationID))
	return b, nil
}

// tellHeld tells those who want to know that a build waits for a member. The forge's status is pending.
func (p *progress) tellHeld() error {
	if p.build.Verdict.Decision != string(trust.Hold) {
		return nil
	}
	if !p.build.AskAt.IsZero() {
		p.hint(live.Origin)
	}
	return errors.Join(p.statusOfBuild(), p.notifyServices(pipeline.EventHeld))
}

func (p *progress) insertBuild(metaData map[string]string) error {
	if err := p.tx.InsertBuild(p.ctx, p.build); err != nil {
		return err
	}
	p.found = p.build
	return setMetaData(p.ctx, p.tx, p.build.ID, metaData)
}

func (e *Engine) newBuild(ctx context.Context, tx *store.Tx, pl store.Pipeline, op CreateBuild) (store.Build, error) {
	number, err := tx.NextBuildNumber(ctx, pl.ID)
	if err != nil {
		return store.Build{}, err
	}
	b := e.buildOf(pl, op)
	b.ID, b.Number = e.buildID(op.draft), number
	if err := checkAsked(pl, op, b); err != nil {
		return b, err
	}
	if b.Detail.Creator, err = personOf(ctx, tx.Reader, op.CreatorID); err != nil {
		return b, err
	}
	if b.Detail.CreatorTeams, err = tx.TeamSlugs(ctx, pl.OrganizationID, op.CreatorID); err != nil {
		return b, err
	}
	origin, err := e.whence(ctx, tx.Reader, pl, &b, op.Origin)
	if err != nil {
		return b, err
	}
	b.Detail.Origin = &origin
	if err := e.judge(ctx, tx.Reader, pl, &b); err != nil {
		return b, err
	}
	b.Detail.Statuses, err = e.statusPlan(ctx, tx.Reader, pl, b)
	return b, err
}

// buildOf is the build that is asked for, without what makes it one: an id, a number and a verdict.
func (e *Engine) buildOf(pl store.Pipeline, op CreateBuild) store.Build {
	return store.Build{
		Build:          ci.Build{State: ci.BuildCreating, CreatedAt: e.Now()},
		OrganizationID: pl.OrganizationID,
		PipelineID:     pl.ID,
		Version:        1,
		Commit:         firstNonEmpty(strings.TrimSpace(op.Commit), "HEAD"),
		Branch:         firstNonEmpty(op.Branch, op.Tag, pl.DefaultBranch),
		Tag:            op.Tag,
		Message:        op.Message,
		Source:         string(op.Source),
		CreatorID:      op.CreatorID,
		Detail: store.BuildDetail{
			Author: op.Author, Env: op.Env, PullRequest: op.PullRequest, CleanCheckout: op.CleanCheckout,
			RebuiltFrom: op.RebuiltFrom, TriggeredFrom: op.TriggeredFrom, MergeQueue: op.MergeQueue, Event: op.Event,
			Answers: op.Answers,
		},
	}
}

// checkAsked refuses what a build can't be made of.
func checkAsked(pl store.Pipeline, op CreateBuild, b store.Build) error {
	if err := checkRef(b.Commit); err != nil {
		return err
	}
	if len(b.Branch) > maxLookedUp {
		return invalidField("branch", fmt.Sprintf("has %d bytes; the limit is %d", len(b.Branch), maxLookedUp))
	}
	if err := checkBranch(pl, op, b.Branch); err != nil {
		return err
	}
	return checkMetaData(op.MetaData)
}

// checkRef refuses what git would take for an option.
func checkRef(ref string) error {
	if strings.HasPrefix(ref, "-") || strings.ContainsAny(ref, " \t\n\x00") || len(ref) > maxLookedUp {
		return invalidField("commit", "is not a commit, branch or tag name")
	}
	return nil
}

func firstNonEmpty(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// planConfiguration plans a build from its pipeline's configuration. It writes nothing.
func (p *progress) planConfiguration(pl store.Pipeline) error {
	org, err := p.organization()
	if err != nil {
		return err
	}
	plan, err := p.e.planned(p.draft, planInput{org: org, pipeline: pl, build: p.build, source: []byte(pl.Configuration), file: "configuration", lenient: true})
	if err != nil {
		return planRefusal(err)
	}
	p.build.Detail.PlannedBy = "configuration"
	return p.addPlan(plan, placement{pipeline: pl, scheduledAt: p.build.CreatedAt})
}

// planRefusal turns what is wrong with a document into an answer.
func planRefusal(err error) error {
	var bad *pipeline.Error
	var unknown *pipeline.UnknownVariable
	var attribute *pipeline.AgentAttribute
	if errors.As(err, &bad) || errors.As(err, &unknown) || errors.As(err, &attribute) {
		return &Refused{Why: Invalid, Message: err.Error()}
	}
	return err
}

// effectiveTimeout is a step's time limit in minutes under the settings of its pipeline and
// organization; 0 is none (https://buildkite.com/docs/pipelines/configure/build-timeouts).
func effectiveTimeout(step int, pl store.Pipeline, decided Settings) int {
	var s struct {
		Default int `json:"default_command_step_timeout"`
		Maximum int `json:"maximum_command_step_timeout"`
	}
	if json.Unmarshal(pl.Settings, &s) != nil {
		s.Default, s.Maximum = 0, 0
	}
	step = cmp.Or(step, s.Default, decided.DefaultStepTimeout)
	for _, most := range []int{s.Maximum, decided.MaximumStepTimeout} {
		if most > 0 && (step == 0 || step > most) {
			step = most
		}
	}
	return min(step, pipeline.MaxTimeoutMinutes)
}

// timeoutAt is when a job that starts at a time has run too long; zero if it never has.
func timeoutAt(j store.Job, started time.Time) time.Time {
	if j.TimeoutMinutes == 0 {
		return time.Time{}
	}
	return started.Add(time.Duration(j.TimeoutMinutes) * time.Minute)
}
