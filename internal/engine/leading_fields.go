package engine

import (
	"context"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
)

// LeadingFields are the fields of the block or input step that a pipeline's own configuration begins
// with, as planned for its default branch. Whoever makes a build may answer them at once
// (https://buildkite.com/docs/pipelines/configure/build-meta-data). None: it begins with no such step,
// or cannot be planned.
func (e *Engine) LeadingFields(ctx context.Context, pl store.Pipeline) ([]pipeline.Field, error) {
	if pl.Configuration == "" {
		return nil, nil
	}
	org, err := e.Store.OrganizationByID(ctx, pl.OrganizationID)
	if err != nil {
		return nil, err
	}
	b := store.Build{PipelineID: pl.ID, Branch: pl.DefaultBranch, Commit: "HEAD", Source: "ui"}
	plan, err := e.plan(planInput{org: org, pipeline: pl, build: b, source: []byte(pl.Configuration), lenient: true})
	if err != nil || len(plan.Steps) == 0 || plan.Steps[0].Manual == nil {
		return nil, nil // the build itself will say what is wrong
	}
	return plan.Steps[0].Manual.Fields, nil
}

// answerLeading unblocks the step that a build begins with, now that it is planned, by the answers that
// were given when it was made. Answers to another kind of step count for nothing.
func (p *progress) answerLeading() error {
	given := p.build.Detail.Answers
	p.build.Detail.Answers = nil
	if given == nil || len(p.order) == 0 {
		return nil
	}
	f := p.fresh[p.order[0]]
	if f.step.Spec.Manual == nil || len(f.step.Spec.Manual.Fields) == 0 || f.jobs[0].State != ci.JobBlocked {
		return nil
	}
	_, err := p.unblock(f.jobs[0], UnblockJob{By: p.build.Detail.Author, Actor: p.build.CreatorID, Fields: given})
	return err
}
