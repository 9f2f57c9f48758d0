package restapi

import (
	"context"

	"github.com/slipway-ci/slipway/internal/auth"
	"github.com/slipway-ci/slipway/internal/store"
)

// RenderBuild returns a function that shows a build, without its jobs, and its pipeline as the API
// does to a token without scopes. Webhooks carry them, to whomever they are addressed.
func RenderBuild(d Deps) func(ctx context.Context, b store.Build) (build, pipeline any, err error) {
	s := &server{Deps: d}
	return func(ctx context.Context, b store.Build) (build, pipeline any, err error) {
		q := &request{server: s, ctx: ctx, actor: auth.Actor{Token: &store.APIToken{}}} // without any scope
		if q.org, err = s.Store.OrganizationByID(ctx, b.OrganizationID); err != nil {
			return nil, nil, err
		}
		out, err := q.toBuilds([]store.Build{b}, buildView{pipeline: true})
		if err != nil {
			return nil, nil, err
		}
		pipeline, out[0].Pipeline = out[0].Pipeline, nil
		return out[0], pipeline, nil
	}
}
