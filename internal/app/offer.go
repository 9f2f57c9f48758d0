package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

// Offer is a pipeline of a repository on this machine, and a commit of it.
type Offer struct {
	Slug       string // wanted; adjusted where it cannot be one
	Repository string // path
	Path       string // of the document in the repository
	Branch     string // "": main
	Commit     string
	Message    string
}

// Offer makes the pipeline, unless there is one of the same repository and document, and builds
// the commit.
func (a *App) Offer(ctx context.Context, o Offer) (store.Build, error) {
	pl, err := a.pipeline(ctx, o)
	if err != nil {
		return store.Build{}, err
	}
	return a.Engine.CreateBuild(ctx, engine.CreateBuild{
		PipelineID: pl.ID, Source: trust.SourceCLI, Commit: o.Commit, Branch: o.Branch, Message: o.Message,
	})
}

// OfferOnce is Offer, except that a pipeline that has builds gets no new one. The build is the zero
// value then.
func (a *App) OfferOnce(ctx context.Context, o Offer) (store.Pipeline, store.Build, error) {
	pl, err := a.pipeline(ctx, o)
	if err != nil {
		return pl, store.Build{}, err
	}
	n, err := a.Store.CountBuilds(ctx, pl.ID)
	if err != nil || n > 0 {
		return pl, store.Build{}, err
	}
	b, err := a.Offer(ctx, o)
	return pl, b, err
}

// pipeline finds or makes the pipeline of an offer. A slug that another pipeline has gets a number.
func (a *App) pipeline(ctx context.Context, o Offer) (store.Pipeline, error) {
	org, err := a.Store.Organization(ctx, a.Organization)
	if err != nil {
		return store.Pipeline{}, err
	}
	for n := 1; ; n++ {
		slug := numbered(engine.Slug(o.Slug), n)
		pl, err := a.Store.Pipeline(ctx, org.ID, slug)
		if errors.Is(err, store.ErrNotFound) {
			return a.Engine.CreatePipeline(ctx, engine.CreatePipeline{
				OrganizationID: org.ID, Name: slug, Slug: slug, Repository: o.Repository, Path: o.Path, DefaultBranch: o.Branch,
			})
		}
		if err != nil || pl.Repository == o.Repository && pl.Path == o.Path {
			return pl, err
		}
	}
}

// numbered is a slug that no page has: the n-th choice for a name.
func numbered(slug string, n int) string {
	if slug == "" || slices.Contains(engine.ReservedPipelines, slug) {
		slug = strings.TrimPrefix(slug+"-pipeline", "-")
	}
	if n == 1 {
		return slug
	}
	return fmt.Sprintf("%s-%d", slug, n)
}
