package engine

import (
	"context"

	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

// Rebuild makes a new build of the same commit, branch and settings. It is trusted no
// further than the original, whoever asks.
func (e *Engine) Rebuild(ctx context.Context, buildID string, source trust.Source, by store.Person) (store.Build, error) {
	old, err := e.Store.Build(ctx, buildID)
	if err != nil {
		return old, missing(err, "No build found")
	}
	pl, err := e.Store.PipelineByID(ctx, old.PipelineID)
	if err != nil {
		return old, err
	}
	return e.CreateBuild(ctx, CreateBuild{
		PipelineID: old.PipelineID, Source: source, Commit: old.Commit, Branch: old.Branch, Tag: old.Tag,
		Message: old.Message, Author: by, CreatorID: by.ID, Env: old.Detail.Env, PullRequest: old.Detail.PullRequest,
		CleanCheckout: old.Detail.CleanCheckout, MergeQueue: old.Detail.MergeQueue, IgnoreBranchFilter: true,
		RebuiltFrom: &store.BuildRef{ID: old.ID, Number: old.Number, Pipeline: pl.Slug},
	})
}
