package store

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
)

// The statements of a job's usual life, which write what that changes and no more: an UPDATE writes each index anew of which it names
// a column, changed or not, also in the index's condition, and every page that it writes is written to the log of the commit.
const (
	sqlOfferJob = `UPDATE jobs SET state = $2, lease_state = $3, lease_deadline = $4, agent_id = $5, agent_reason = $6 WHERE id = $1`
	sqlHoldJob  = `UPDATE jobs SET state = $2, lease_state = $3, lease_deadline = $4, token_hash = $5 WHERE id = $1`
	sqlStartJob = `UPDATE jobs SET state = $2, lease_state = $3, lease_deadline = $4, started_at = $5, timeout_at = $6 WHERE id = $1`
	sqlEndJob   = `UPDATE jobs SET state = $2, lease_state = $3, lease_deadline = $4, soft_failed = $5, exit_status = $6, signal = $7,
		signal_reason = $8, reason = $9, chunks_failed = $10, log_size = $11, finished_at = $12 WHERE id = $1`
	sqlLetGoJobs = `UPDATE jobs SET state = $1, scheduled_at = $2, runnable_at = $3, finished_at = $4 WHERE id IN ($5)`

	sqlMoveAgent = `UPDATE agents SET job_id = $2, last_pipeline_id = $3, last_repository = $4, last_success_at = $5, last_job_at = $6,
		changed_at = $7, job_seen_at = $8 WHERE id = $1`

	sqlCountStep  = `UPDATE steps SET jobs = $2, deps_open = $3, deps_failed = $4, deps_tainted = $5, state = $6, outcome = $7 WHERE id = $1`
	sqlCountBuild = `UPDATE builds SET version = version + 1, jobs = $2 WHERE id = $1`
)

// ChangeJob is UpdateJob for a job that is known as it is in the database.
func (tx *Tx) ChangeJob(ctx context.Context, was, j Job) error {
	with := was
	with.State, with.Lease = j.State, j.Lease
	query, more := "", []any(nil)
	switch {
	case j.State == ci.JobAssigned:
		with.AgentID, with.AgentReason = j.AgentID, j.AgentReason
		query, more = sqlOfferJob, []any{j.AgentID, j.AgentReason}
	case j.State == ci.JobAccepted:
		with.TokenHash = j.TokenHash
		query, more = sqlHoldJob, []any{nullable(j.TokenHash)}
	case j.State == ci.JobRunning:
		with.StartedAt, with.TimeoutAt = j.StartedAt, j.TimeoutAt
		query, more = sqlStartJob, []any{micros(j.StartedAt), micros(j.TimeoutAt)}
	default:
		with.SoftFailed, with.ExitStatus, with.Signal, with.SignalReason, with.Reason = j.SoftFailed, j.ExitStatus, j.Signal, j.SignalReason, j.Reason
		with.ChunksFailed, with.LogSize, with.FinishedAt = j.ChunksFailed, j.LogSize, j.FinishedAt
		query, more = sqlEndJob, []any{
			j.SoftFailed, j.ExitStatus, j.Signal, j.SignalReason, j.Reason, j.ChunksFailed, j.LogSize, micros(j.FinishedAt),
		}
	}
	if !reflect.DeepEqual(with, j) {
		return tx.UpdateJob(ctx, j)
	}
	return later(ctx, tx.q, query, append([]any{j.ID, j.State, j.Lease.State, micros(j.Lease.Deadline)}, more...)...)
}

// LetGo is what changes of a job that waited for others when it may run, or never will.
type LetGo struct {
	State                               ci.JobState
	ScheduledAt, RunnableAt, FinishedAt time.Time
}

// LetGoJobs changes jobs to which the same happened.
func (tx *Tx) LetGoJobs(ctx context.Context, to LetGo, ids []string) error {
	for some := range slices.Chunk(ids, maxValues) {
		marks, args := in(5, padded(some))
		args = append([]any{to.State, micros(to.ScheduledAt), micros(to.RunnableAt), micros(to.FinishedAt)}, args...)
		if err := later(ctx, tx.q, strings.Replace(sqlLetGoJobs, "($5)", marks, 1), args...); err != nil {
			return err
		}
	}
	return nil
}

// ChangeAgent is UpdateAgent for an agent that is known as it is in the database.
func (tx *Tx) ChangeAgent(ctx context.Context, was, a Agent) error {
	was.JobID, was.LastPipelineID, was.LastRepository = a.JobID, a.LastPipelineID, a.LastRepository
	was.LastSuccessAt, was.LastJobAt, was.ChangedAt, was.JobSeen = a.LastSuccessAt, a.LastJobAt, a.ChangedAt, a.JobSeen
	if !reflect.DeepEqual(was, a) {
		return tx.UpdateAgent(ctx, a)
	}
	return later(ctx, tx.q, sqlMoveAgent, a.ID, a.JobID, a.LastPipelineID, a.LastRepository, micros(a.LastSuccessAt),
		micros(a.LastJobAt), micros(a.ChangedAt), micros(a.JobSeen))
}

// ChangeStep is UpdateStep for a step that is known as it is in the database.
func (tx *Tx) ChangeStep(ctx context.Context, was, s Step) error {
	if was.Key != s.Key || was.Label != s.Label || was.Gone != s.Gone {
		return tx.UpdateStep(ctx, s)
	}
	return later(ctx, tx.q, sqlCountStep, s.ID, text(s.Jobs), s.Deps.Open, s.Deps.Failed, s.Deps.Tainted, s.State(), s.Outcome())
}

// ChangeBuild is UpdateBuild for a build that is known as it is in the database. Like that it counts the version up.
func (tx *Tx) ChangeBuild(ctx context.Context, was, b Build) error {
	if reflect.DeepEqual(was, b) {
		return later(ctx, tx.q, sqlTouchBuild, b.ID)
	}
	was.Jobs = b.Jobs
	if reflect.DeepEqual(was, b) {
		return later(ctx, tx.q, sqlCountBuild, b.ID, text(b.Jobs))
	}
	was.Build, was.BlockedState = b.Build, b.BlockedState
	if reflect.DeepEqual(was, b) {
		return tx.AdvanceBuild(ctx, b)
	}
	return tx.UpdateBuild(ctx, b)
}
