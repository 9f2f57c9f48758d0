package restapi

import (
	"strconv"

	"github.com/slipway-ci/slipway/internal/store"
)

// pipeline is the one that the path names.
func (q *request) pipeline() (store.Pipeline, error) {
	if id := q.r.PathValue("uuid"); id != "" {
		pl, err := q.Store.PipelineByID(q.ctx, id)
		if err == nil && pl.OrganizationID != q.org.ID {
			return pl, missing("pipeline")
		}
		return pl, found(err, "pipeline")
	}
	pl, err := q.Store.Pipeline(q.ctx, q.org.ID, q.r.PathValue("pipeline"))
	return pl, found(err, "pipeline")
}

// build is the one that the path names, by number or by id.
func (q *request) build() (store.Build, error) {
	pl, err := q.pipeline()
	if err != nil {
		return store.Build{}, err
	}
	name := q.r.PathValue("build")
	if number, err := strconv.ParseInt(name, 10, 64); err == nil {
		b, err := q.Store.BuildByNumber(q.ctx, pl.ID, number)
		return b, found(err, "build")
	}
	b, err := q.Store.Build(q.ctx, name)
	if err == nil && b.PipelineID != pl.ID {
		return b, missing("build")
	}
	return b, found(err, "build")
}

// job is the one that the path names, with its build: of the build in the path, or of any of the
// organization.
func (q *request) job() (store.Job, store.Build, error) {
	j, err := q.Store.Job(q.ctx, q.r.PathValue("job"))
	if err != nil {
		return j, store.Build{}, found(err, "job")
	}
	if q.r.PathValue("build") == "" {
		b, err := q.Store.Build(q.ctx, j.BuildID)
		if err == nil && b.OrganizationID != q.org.ID {
			err = store.ErrNotFound
		}
		return j, b, found(err, "job")
	}
	b, err := q.build()
	if err == nil && j.BuildID != b.ID {
		err = store.ErrNotFound
	}
	return j, b, found(err, "job")
}

// by is who asks, as builds remember it.
func (q *request) by() store.Person {
	return store.Person{ID: q.actor.User.ID, Name: q.actor.User.Name, Email: q.actor.User.Email}
}
