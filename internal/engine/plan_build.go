package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
)

// PlanBuild plans a build that was made without a document, from what was found in its repository.
// One of Source and Upload is set, or Err.
type PlanBuild struct {
	BuildID string
	Source  []byte // the document, read at Commit
	File    string // its path in the repository
	// Upload makes the build one step that uploads the document from an agent's checkout; it is the
	// reason why the server did not read the document itself.
	Upload string
	// Err ends the build: the repository was read and has no usable document.
	Err string

	// Changed are the files that the build changes; nil: they were not asked for. A document that has
	// if_changed is then uploaded by an agent, which finds them.
	Changed *Changed

	Commit  string // what the build's commit turned out to be; "" if it was not resolved
	Message string // of the commit
	Author  store.Person
}

// PlanBuild gives a build its first jobs. A build that is planned already is left alone, so a pass
// may call it again. A document that cannot be planned ends the build with the reason.
func (e *Engine) PlanBuild(ctx context.Context, op PlanBuild) error {
	return e.drafting(ctx, func(d *draft) error {
		return e.onBuild(ctx, op.BuildID, func(p *progress) error {
			p.draft = d
			return p.planBuild(op)
		})
	})
}

func (p *progress) planBuild(op PlanBuild) error {
	if p.build.State != ci.BuildCreating {
		return nil
	}
	if err := p.describe(op); err != nil {
		return err
	}
	if err := requireAllow(p.build); err != nil {
		return err
	}
	pl, err := p.tx.PipelineByID(p.ctx, p.build.PipelineID)
	if err != nil {
		return err
	}
	if op.Err != "" {
		return p.failPlan(op.Err)
	}
	plan, err := p.planFound(op, pl)
	if err != nil {
		return p.failPlanUnlessOurs(err)
	}
	return p.tryPlan(plan, pl)
}

// describe fills in what a build's commit says of itself.
func (p *progress) describe(op PlanBuild) error {
	if op.Commit != "" {
		if err := resolveCommit(&p.build, op.Commit); err != nil {
			return err
		}
	}
	p.build.Message = firstNonEmpty(p.build.Message, op.Message)
	if p.build.Detail.Author == (store.Person{}) {
		p.build.Detail.Author = op.Author
	}
	return nil
}

func (p *progress) planFound(op PlanBuild, pl store.Pipeline) (pipeline.Plan, error) {
	if op.Upload != "" {
		return p.uploadPlan(op.Upload, pl), nil
	}
	org, err := p.organization()
	if err != nil {
		return pipeline.Plan{}, err
	}
	p.build.Detail.PlannedBy, p.build.Detail.PlannedFrom = "repository", op.File
	in := planInput{org: org, pipeline: pl, build: p.build, source: op.Source, file: op.File, changed: op.Changed}
	if c := op.Changed; c != nil {
		p.build.Detail.Changes = &store.Changes{Base: c.Base, Since: c.Since, Count: len(c.Files), Files: c.Files[:min(maxKeptChanges, len(c.Files))]}
	}
	plan, err := p.e.planned(p.draft, in)
	var unknown *pipeline.UnknownVariable
	var attribute *pipeline.AgentAttribute
	if errors.As(err, &unknown) || errors.As(err, &attribute) {
		return p.uploadPlan(err.Error(), pl), nil
	}
	return plan, err
}

// uploadPlan is one step that uploads the pipeline's document from an agent's checkout.
func (p *progress) uploadPlan(reason string, pl store.Pipeline) pipeline.Plan {
	command := "buildkite-agent pipeline upload"
	if pl.Path != "" {
		command += " " + shellQuote(pl.Path)
	}
	p.build.Detail.PlannedBy = "upload"
	p.build.Detail.PlannedFrom = reason
	definition, _ := json.Marshal(map[string]string{"label": ":pipeline: Upload", "command": command}) // two strings always encode
	return pipeline.Plan{Steps: []pipeline.Step{{
		Kind: pipeline.Command, Label: ":pipeline: Upload", Group: -1, Implicit: true, Definition: definition,
		Command: &pipeline.CommandStep{Retry: pipeline.Retry{Manual: pipeline.ManualRetry{Allowed: true}}},
		Jobs:    []pipeline.Job{{Label: ":pipeline: Upload", Command: command}},
	}}}
}

func shellQuote(s string) string {
	out := "'"
	for _, r := range s {
		if r == '\'' {
			out += `'\''`
			continue
		}
		out += string(r)
	}
	return out + "'"
}

// tryPlan adds the plan; what the build refuses, such as an unknown queue, ends it.
func (p *progress) tryPlan(plan pipeline.Plan, pl store.Pipeline) error {
	detail := p.build.Detail
	return p.orFailPlan(detail, p.addPlan(plan, placement{pipeline: pl, scheduledAt: p.build.CreatedAt}))
}

// orFailPlan ends the build if its plan could not be added, with nothing left of that plan.
func (p *progress) orFailPlan(detail store.BuildDetail, err error) error {
	if err == nil {
		return nil
	}
	*p = *p.e.progress(p.ctx, p.tx, p.hint, p.build)
	p.build.Detail = detail
	return p.failPlanUnlessOurs(err)
}

func (p *progress) failPlanUnlessOurs(err error) error {
	var refused *Refused
	if err = planRefusal(err); errors.As(err, &refused) {
		return p.failPlan(refused.Message)
	}
	return err
}

// failPlan ends the build with the reason why it has no jobs.
func (p *progress) failPlan(reason string) error {
	p.build.PlanError = reason
	if err := p.buildEvent(ci.BuildPlanFailed{}); err != nil {
		return fmt.Errorf("ending build %s, which cannot be planned: %w", p.build.ID, err)
	}
	return nil
}
