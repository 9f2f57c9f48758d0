package worker

import (
	"context"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/gitrepo"
	"github.com/slipway-ci/slipway/internal/loop"
	"github.com/slipway-ci/slipway/internal/store"
)

// Origins looks for the commits of builds that are held for want of knowing whose they are on the branches
// of their pipelines' own repositories. Nothing of a commit is run or read for that.
type Origins struct {
	Engine *engine.Engine
	Repos  *gitrepo.Mirrors

	rows *loop.Rows[store.Build]
}

// Pass asks about the builds that are due. One whose repository cannot be read does not keep the others
// waiting.
func (o *Origins) Pass(ctx context.Context) (bool, error) {
	if o.rows == nil {
		o.rows = builds()
	}
	return o.rows.Each(func(n int) ([]store.Build, error) { return o.Engine.Store.AskingBuilds(ctx, o.Engine.Now(), n) },
		func(b store.Build) error { return o.ask(ctx, b) })
}

func (o *Origins) ask(ctx context.Context, b store.Build) error {
	pl, err := o.Engine.Store.PipelineByID(ctx, b.PipelineID)
	if err != nil {
		return err
	}
	op := engine.Reconsider{BuildID: b.ID, Commit: b.Commit}
	if b.Source != "webhook" { // which names the commit, and says whose it is
		if op, err = o.whence(ctx, b, pl); err != nil {
			return err
		}
	}
	if op.Commit != "" && op.Branch == "" {
		o.changes(ctx, &op, b, pl)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return o.Engine.Reconsider(ctx, op)
}

// whence asks for a branch that has the commit.
func (o *Origins) whence(ctx context.Context, b store.Build, pl store.Pipeline) (engine.Reconsider, error) {
	r := gitrepo.WhenceRequest{Repository: pl.Repository, Commit: b.Commit, Branch: b.Branch}
	if p := b.Detail.PullRequest; p != nil {
		r.Pull = p.Number
	}
	found, err := o.Repos.Whence(ctx, r)
	if ctx.Err() != nil {
		return engine.Reconsider{}, ctx.Err()
	}
	op := engine.Reconsider{BuildID: b.ID, Commit: found.Commit, Branch: found.Branch}
	if err != nil {
		op.Err = err.Error()
	}
	return op, nil
}

// changes asks for the files that the commit changes, for whoever reviews it.
func (o *Origins) changes(ctx context.Context, op *engine.Reconsider, b store.Build, pl store.Pipeline) {
	base := engine.DiffBase(b, pl)
	found, err := o.Repos.Changes(ctx, gitrepo.ChangesRequest{Repository: pl.Repository, Commit: op.Commit, Base: base})
	if err != nil {
		op.ChangedErr = "The changed files could not be listed: " + err.Error()
		return
	}
	op.Changed = &engine.Changed{Base: base, Since: found.Since, Files: found.Files}
}
