package worker

import (
	"bytes"
	"context"
	"errors"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/gitrepo"
	"github.com/slipway-ci/slipway/internal/loop"
	"github.com/slipway-ci/slipway/internal/store"
)

// Plan plans builds whose document is in their repository. The repository is read outside any
// transaction; where the server cannot read it, an agent does, in an upload step.
type Plan struct {
	Engine *engine.Engine
	Repos  *gitrepo.Mirrors

	rows *loop.Rows[store.Build]
}

// fetches is how many repositories are read at once.
const fetches = 4

func builds() *loop.Rows[store.Build] {
	return &loop.Rows[store.Build]{Batch: batch, Parallel: fetches, ID: func(b store.Build) string { return b.ID }}
}

// Pass plans the builds that wait, oldest first. One that cannot be planned does not keep the
// others waiting.
func (p *Plan) Pass(ctx context.Context) (bool, error) {
	if p.rows == nil {
		p.rows = builds()
	}
	return p.rows.Each(func(n int) ([]store.Build, error) { return p.Engine.Store.CreatingBuilds(ctx, n) },
		func(b store.Build) error { return p.plan(ctx, b) })
}

func (p *Plan) plan(ctx context.Context, b store.Build) error {
	pl, err := p.Engine.Store.PipelineByID(ctx, b.PipelineID)
	if err != nil {
		return err
	}
	op := engine.PlanBuild{BuildID: b.ID}
	found, err := p.Repos.Pipeline(ctx, gitrepo.Request{
		Repository: pl.Repository, Commit: b.Commit, Branch: b.Branch, Path: pl.Path,
	})
	op.Commit, op.Message, op.Source, op.File = found.Commit, found.Message, found.Source, found.Path
	op.Author = store.Person{Name: found.Author.Name, Email: found.Author.Email}
	var none *gitrepo.NoPipelineError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &none):
		op.Err = none.Error()
	case err != nil:
		op.Upload = "The server could not read the repository: " + err.Error()
	default:
		p.changes(ctx, &op, b, pl)
	}
	return p.Engine.PlanBuild(ctx, op)
}

// changes finds the changed files for a document that asks for them. Where the server cannot, an
// agent does.
func (p *Plan) changes(ctx context.Context, op *engine.PlanBuild, b store.Build, pl store.Pipeline) {
	if !bytes.Contains(op.Source, []byte("if_changed")) {
		return
	}
	base := engine.DiffBase(b, pl)
	found, err := p.Repos.Changes(ctx, gitrepo.ChangesRequest{Repository: pl.Repository, Commit: op.Commit, Base: base})
	if err != nil {
		op.Upload = "The server could not find the changed files for if_changed, so an agent does: " + err.Error()
		return
	}
	op.Changed = &engine.Changed{Base: base, Since: found.Since, Files: found.Files}
}
