package store

import (
	"context"
	"math/bits"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/internal/ci"
)

// The reads of this file take many ids at once, so that a page of a list costs a fixed number of
// statements whatever is on it.

const (
	sqlUsersByID     = `SELECT id, name, email, password_hash, created_at FROM users WHERE id IN ($1)`
	sqlAgentsByID    = `SELECT ` + agentColumns + ` FROM agents WHERE id IN ($1)`
	sqlPipelinesByID = `SELECT ` + pipelineColumns + ` FROM pipelines WHERE id IN ($1)`
	sqlQueuesByID    = `SELECT ` + queueColumns + ` FROM queues WHERE id IN ($1)`
	sqlJobsOfBuilds  = `SELECT ` + jobColumns + ` FROM jobs WHERE build_id IN ($1)
		ORDER BY build_id, position, number, retries`
	sqlEndedJobsOfAgent = `SELECT ` + jobColumns + ` FROM jobs WHERE agent_id = $1 AND agent_id <> '' AND finished_at > 0
		ORDER BY finished_at DESC, id LIMIT $2`
	sqlJobsOfAgents     = `SELECT ` + jobColumns + ` FROM jobs WHERE ` + heldJobs + ` AND agent_id <> '' AND agent_id IN ($1)`
	sqlStepsOfBuilds    = `SELECT ` + stepColumns + ` FROM steps WHERE build_id IN ($1)`
	sqlMetaDataOfBuilds = `SELECT build_id, key, value FROM meta_data WHERE build_id IN ($1) AND key <> 'buildkite:webhook'`
	sqlBuildsByID       = `SELECT ` + buildColumns + ` FROM builds WHERE id IN ($1)`
	sqlBuildRefs        = `SELECT b.id, b.number, p.slug FROM builds b JOIN pipelines p ON p.id = b.pipeline_id WHERE b.id IN ($1)`
	sqlOpenTallies      = `SELECT pipeline_id, state, jobs, COUNT(*) FROM builds WHERE organization_id = $1 AND ` + openBuilds + `
		GROUP BY pipeline_id, state, jobs`
)

// many runs a query with "($1)" for a list of values, which may be empty or hold one several times.
func many[T any](ctx context.Context, q querier, scan func(scanner) (T, error), query string, values []string) ([]T, error) {
	var out []T
	for some := range slices.Chunk(distinct(values), maxValues) {
		marks, args := in(1, padded(some))
		rows, err := list(ctx, q, scan, strings.Replace(query, "($1)", marks, 1), args...)
		if err != nil {
			return nil, err
		}
		if out == nil {
			out = rows
			continue
		}
		out = append(out, rows...)
	}
	return out, nil
}

// maxValues is how many values one statement takes; SQLite allows 32,766, PostgreSQL 65,535.
const maxValues = 512

func distinct(values []string) []string {
	values = slices.Clone(values)
	slices.Sort(values)
	values = slices.Compact(values)
	return slices.DeleteFunc(values, func(s string) bool { return s == "" })
}

// padded repeats the last value until the length is a power of two: statements are kept by their
// text, and so there are few of them.
func padded(values []string) []string {
	out, last := slices.Clone(values), values[len(values)-1]
	for len(out) < 1<<bits.Len(uint(len(values)-1)) {
		out = append(out, last)
	}
	return out
}

// byID makes a map of rows.
func byID[T any](rows []T, err error, id func(T) string) (map[string]T, error) {
	out := make(map[string]T, len(rows))
	for _, v := range rows {
		out[id(v)] = v
	}
	return out, err
}

// UsersByID returns the users with the given ids.
func (r Reader) UsersByID(ctx context.Context, ids []string) (map[string]User, error) {
	rows, err := many(ctx, r.q, scanUser, sqlUsersByID, ids)
	return byID(rows, err, func(u User) string { return u.ID })
}

// AgentsByID returns the agents with the given ids.
func (r Reader) AgentsByID(ctx context.Context, ids []string) (map[string]Agent, error) {
	rows, err := many(ctx, r.q, scanAgent, sqlAgentsByID, ids)
	return byID(rows, err, func(a Agent) string { return a.ID })
}

// PipelinesByID returns the pipelines with the given ids.
func (r Reader) PipelinesByID(ctx context.Context, ids []string) (map[string]Pipeline, error) {
	rows, err := many(ctx, r.q, scanPipeline, sqlPipelinesByID, ids)
	return byID(rows, err, func(p Pipeline) string { return p.ID })
}

// QueuesByID returns the queues with the given ids.
func (r Reader) QueuesByID(ctx context.Context, ids []string) (map[string]Queue, error) {
	rows, err := many(ctx, r.q, scanQueue, sqlQueuesByID, ids)
	return byID(rows, err, func(q Queue) string { return q.ID })
}

// JobsOfBuilds returns all jobs of several builds, those of one build in pipeline order, retried
// attempts before later ones.
func (r Reader) JobsOfBuilds(ctx context.Context, buildIDs []string) ([]Job, error) {
	return many(ctx, r.q, scanJob, sqlJobsOfBuilds, buildIDs)
}

// JobsOfAgents returns the jobs that agents hold, by agent.
func (r Reader) JobsOfAgents(ctx context.Context, agentIDs []string) (map[string]Job, error) {
	rows, err := many(ctx, r.q, scanJob, sqlJobsOfAgents, agentIDs)
	return byID(rows, err, func(j Job) string { return j.AgentID })
}

// EndedJobsOfAgent returns up to limit jobs that an agent held and that have ended, the newest first.
func (r Reader) EndedJobsOfAgent(ctx context.Context, agentID string, limit int) ([]Job, error) {
	return list(ctx, r.q, scanJob, sqlEndedJobsOfAgent, agentID, limit)
}

// StepsOfBuilds returns the steps of several builds, those that were replaced too.
func (r Reader) StepsOfBuilds(ctx context.Context, buildIDs []string) (map[string]Step, error) {
	rows, err := many(ctx, r.q, scanStep, sqlStepsOfBuilds, buildIDs)
	return byID(rows, err, func(s Step) string { return s.ID })
}

// MetaDataOfBuilds returns the meta-data of several builds, by build.
func (r Reader) MetaDataOfBuilds(ctx context.Context, buildIDs []string) (map[string]map[string]string, error) {
	type row struct{ build, key, value string }
	rows, err := many(ctx, r.q, func(s scanner) (v row, err error) { return v, s.Scan(&v.build, &v.key, &v.value) },
		sqlMetaDataOfBuilds, buildIDs)
	out := map[string]map[string]string{}
	for _, v := range rows {
		if out[v.build] == nil {
			out[v.build] = map[string]string{}
		}
		out[v.build][v.key] = v.value
	}
	return out, err
}

// BuildsByID returns the builds with the given ids.
func (r Reader) BuildsByID(ctx context.Context, ids []string) ([]Build, error) {
	return many(ctx, r.q, scanBuild, sqlBuildsByID, ids)
}

// BuildRefs names the builds with the given ids.
func (r Reader) BuildRefs(ctx context.Context, ids []string) (map[string]BuildRef, error) {
	rows, err := many(ctx, r.q, func(s scanner) (v BuildRef, err error) { return v, s.Scan(&v.ID, &v.Number, &v.Pipeline) },
		sqlBuildRefs, ids)
	return byID(rows, err, func(b BuildRef) string { return b.ID })
}

// Load is what a pipeline has to do.
type Load struct {
	Builds map[ci.BuildState]int // open ones
	Jobs   ci.Tally              // of the open builds
}

// Loads returns what the pipelines of an organization have to do; one without open builds is left
// out. It reads all open builds.
func (r Reader) Loads(ctx context.Context, organizationID string) (map[string]Load, error) {
	type row struct {
		pipeline string
		state    ci.BuildState
		jobs     ci.Tally // of each
		builds   int
	}
	rows, err := list(ctx, r.q, func(s scanner) (v row, err error) {
		return v, s.Scan(&v.pipeline, &v.state, document{&v.jobs}, &v.builds)
	}, sqlOpenTallies, organizationID)
	out := map[string]Load{}
	for _, v := range rows {
		l := out[v.pipeline]
		if l.Builds == nil {
			l.Builds = map[ci.BuildState]int{}
		}
		l.Builds[v.state] += v.builds
		l.Jobs = l.Jobs.Add(v.jobs.Times(v.builds))
		out[v.pipeline] = l
	}
	return out, err
}
