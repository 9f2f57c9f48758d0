package store

import (
	"context"
	"database/sql"

	"github.com/slipway-ci/slipway/internal/ci"
)

// The reads of this file are those of pages that show thousands of rows: they leave out the
// documents and whatever else no page shows.

const (
	sqlJobLines = `SELECT id, step_id, kind, state, number, queue_id, rules, concurrency_group, concurrency, agent_id,
		timeout_minutes, soft_failed, lost, exit_status, signal, promised_hard, reason, canceled_by, retried_in, retries,
		unblocked_by, created_at, runnable_at, started_at, finished_at FROM jobs
		WHERE build_id = $1 AND kind <> 'waiter' ORDER BY position, number, retries`
	sqlStepLines   = `SELECT id, kind, key, label, group_id FROM steps WHERE build_id = $1 AND NOT gone ORDER BY position`
	sqlManualSteps = `SELECT ` + stepColumns + ` FROM steps WHERE build_id = $1 AND kind IN ('block', 'input') AND NOT gone
		ORDER BY position`
	sqlSpecsOfJobs = `SELECT id, spec FROM jobs WHERE id IN ($1)`
	sqlCrews       = `SELECT queue_id, tags, state, paused, ignore_in_dispatches, job_id <> '', COUNT(*)
		FROM agents WHERE cluster_id = $1 AND ` + liveAgents + `
		GROUP BY queue_id, tags, state, paused, ignore_in_dispatches, job_id <> ''`
	sqlQueueHead = `SELECT id FROM jobs WHERE queue_id = $1 AND state = 'scheduled' AND kind = 'script' AND position >= ''
		ORDER BY 0 - priority, scheduled_at, position, id LIMIT $2`
	sqlGroupUsers = `SELECT b.id, b.number, p.slug FROM jobs j JOIN builds b ON b.id = j.build_id
		JOIN pipelines p ON p.id = b.pipeline_id
		WHERE j.group_id = $1 AND j.group_id <> '' AND (j.state = 'scheduled' OR j.state = 'reserved' OR j.state = 'assigned' OR j.state = 'accepted'
		OR j.state = 'running' OR j.state = 'canceling' OR j.state = 'timing_out')
		ORDER BY j.scheduled_at, j.build_id, j.position, j.number LIMIT $2`
)

// JobLine is what a line of a build's page needs of a job. Of the embedded job, the lease, the
// promised status, the signal's reason and the scheduled time are not read.
type JobLine struct {
	ci.Job
	StepID           string
	Number           int // place in its step
	QueueID          string
	Rules            []string
	ConcurrencyGroup string
	Concurrency      int
	AgentID          string // who holds or held it
	TimeoutMinutes   int
	RetriedIn        string // "": the latest attempt
	Retries          int    // attempts before this one
	UnblockedBy      string
}

func scanJobLine(s scanner) (j JobLine, err error) {
	var exit sql.NullInt64
	err = s.Scan(&j.ID, &j.StepID, &j.Kind, &j.State, &j.Number, &j.QueueID, texts{&j.Rules}, &j.ConcurrencyGroup,
		&j.Concurrency, &j.AgentID, &j.TimeoutMinutes, &j.SoftFailed, &j.Lost, &exit, &j.Signal, &j.PromisedHard, &j.Reason,
		&j.CanceledBy, &j.RetriedIn, &j.Retries, &j.UnblockedBy, instant{&j.CreatedAt}, instant{&j.RunnableAt},
		instant{&j.StartedAt}, instant{&j.FinishedAt})
	j.ExitStatus = intOrNil(exit)
	return j, err
}

// texts is a document of a list of texts, most often an empty one.
type texts struct{ to *[]string }

func (t texts) Scan(v any) error {
	if s, ok := v.(string); ok && (s == "[]" || s == "null") {
		*t.to = nil
		return nil
	}
	return document{t.to}.Scan(v)
}

// JobLines returns the jobs of a build but those of wait steps, in pipeline order, retried attempts
// before later ones.
func (r Reader) JobLines(ctx context.Context, buildID string) ([]JobLine, error) {
	return list(ctx, r.q, scanJobLine, sqlJobLines, buildID)
}

// StepLine is what a line of a build's page needs of a step.
type StepLine struct {
	ID      string
	Kind    ci.StepKind
	Key     string
	Label   string
	GroupID string
}

func scanStepLine(s scanner) (v StepLine, err error) {
	var key sql.NullString
	err = s.Scan(&v.ID, &v.Kind, &key, &v.Label, &v.GroupID)
	v.Key = key.String
	return v, err
}

// StepLines returns the steps of a build in pipeline order, without those that were replaced.
func (r Reader) StepLines(ctx context.Context, buildID string) ([]StepLine, error) {
	return list(ctx, r.q, scanStepLine, sqlStepLines, buildID)
}

// ManualSteps returns the block and input steps of a build in pipeline order, without those that
// were replaced.
func (r Reader) ManualSteps(ctx context.Context, buildID string) ([]Step, error) {
	return list(ctx, r.q, scanStep, sqlManualSteps, buildID)
}

// SpecsOfJobs returns what some jobs were planned as, by id; Spec of each decodes it.
func (r Reader) SpecsOfJobs(ctx context.Context, ids []string) (map[string]Job, error) {
	rows, err := many(ctx, r.q, func(s scanner) (j Job, err error) { return j, s.Scan(&j.ID, rawDocument{&j.SpecJSON}) }, sqlSpecsOfJobs, ids)
	return byID(rows, err, func(j Job) string { return j.ID })
}

// Crew is a number of agents that are alike in all that decides what they may run now.
type Crew struct {
	QueueID            string
	Tags               []string
	State              ci.AgentState
	Paused             bool
	IgnoreInDispatches bool
	Busy               bool // they hold a job
	Count              int
}

func scanCrew(s scanner) (c Crew, err error) {
	return c, s.Scan(&c.QueueID, texts{&c.Tags}, &c.State, &c.Paused, &c.IgnoreInDispatches, &c.Busy, &c.Count)
}

// Crews returns the agents of a cluster whose session has not ended, counted by what they are.
func (r Reader) Crews(ctx context.Context, clusterID string) ([]Crew, error) {
	return list(ctx, r.q, scanCrew, sqlCrews, clusterID)
}

// QueueHead returns the ids of the first jobs that wait for an agent of a queue, in the order in
// which they are given out.
func (r Reader) QueueHead(ctx context.Context, queueID string, limit int) ([]string, error) {
	return list(ctx, r.q, scanString, sqlQueueHead, queueID, limit)
}

// GroupUsers names the builds of the first jobs that hold a slot of a concurrency group; one that
// holds several comes several times.
func (r Reader) GroupUsers(ctx context.Context, groupID string, limit int) ([]BuildRef, error) {
	return list(ctx, r.q, scanBuildRef, sqlGroupUsers, groupID, limit)
}
