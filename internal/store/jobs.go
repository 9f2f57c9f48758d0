package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/pipeline"
)

// Job is one execution of a step: one attempt of one of its jobs.
type Job struct {
	ci.Job
	BuildID           string
	StepID            string
	PipelineID        string
	Number            int    // place in its step
	Position          string // of its step
	QueueID           string
	Rules             []string // agent rules but the queue's
	Priority          int
	ConcurrencyGroup  string
	Concurrency       int
	ConcurrencyMethod string
	GroupID           string // of the concurrency group; "" for none
	Queued            bool   // holds a place in its group's line
	AgentID           string // who holds or held it
	AgentReason       string // why that agent of those that matched; reads on after "this agent"
	ReservedBy        string // the stack that took it to find an agent for it
	TokenHash         string // "" until accepted
	TimeoutMinutes    int    // 0: none
	TimeoutAt         time.Time
	RetriedIn         string // "": the latest attempt
	RetryOf           string
	RetryType         string // how this attempt came to be: manual, automatic or ""
	RetryRule         int    // the automatic rule that made it, or -1
	Retries           int    // attempts before this one
	RetriedBy         string
	TriggeredBuild    string
	UnblockedBy       string
	ChunksFailed      int
	LogSize           int64
	SpecJSON          json.RawMessage // a pipeline.Job; Spec decodes it
}

// Spec is what the job was planned as.
func (j Job) Spec() (spec pipeline.Job, err error) {
	return spec, json.Unmarshal(j.SpecJSON, &spec)
}

const (
	jobColumns = `id, build_id, step_id, pipeline_id, kind, state, number, position, queue_id, rules, priority,
		concurrency_group, concurrency, concurrency_method, lease_state, agent_id, lease_deadline, token_hash,
		timeout_minutes, timeout_at, soft_failed, lost, exit_status, signal, signal_reason, promised, promised_hard, reason,
		canceled_by, retried_in, retry_of, retry_type, retry_rule, retries, retried_by, triggered_build, unblocked_by,
		chunks_failed, log_size, spec, created_at, scheduled_at, runnable_at, started_at, finished_at, agent_reason, reserved_by,
		group_id, queued, limited_at`
	// Some conditions below are redundant: they repeat those of a partial index, in its words, without which
	// SQLite does not use it.

	heldJobs     = `(state = 'assigned' OR state = 'accepted' OR state = 'running' OR state = 'canceling' OR state = 'timing_out')`
	openTriggers = `(state = 'scheduled' OR state = 'running' OR state = 'canceling')`

	sqlInsertJob = `INSERT INTO jobs (` + jobColumns + `, lane) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,
		$14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36,
		$37, $38, $39, $40, $41, $42, $43, $44, $45, $46, $47, $48, $49, $50, $51)`
	// The columns that planning a job sets; the others keep what the schema gives a new row.
	sqlInsertPlannedJob = `INSERT INTO jobs (id, build_id, step_id, pipeline_id, kind, state, number, position, queue_id, rules, lane,
		priority, concurrency_group, concurrency, concurrency_method, group_id, queued, timeout_minutes, reason, spec, created_at,
		scheduled_at, limited_at, runnable_at, finished_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14,
		$15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25)`
	sqlUpdateJob = `UPDATE jobs SET state = $2, priority = $3, lease_state = $4, agent_id = $5, lease_deadline = $6,
		token_hash = $7, timeout_minutes = $8, timeout_at = $9, soft_failed = $10, lost = $11, exit_status = $12,
		signal = $13, signal_reason = $14, promised = $15, promised_hard = $16, reason = $17, canceled_by = $18,
		retried_in = $19, retried_by = $20, triggered_build = $21, unblocked_by = $22, chunks_failed = $23, log_size = $24,
		scheduled_at = $25, runnable_at = $26, started_at = $27, finished_at = $28,
		agent_reason = $29, reserved_by = $30, queued = $31, limited_at = $32 WHERE id = $1`

	sqlSetJobSpec = `UPDATE jobs SET spec = $2 WHERE id = $1`

	sqlJob         = `SELECT ` + jobColumns + ` FROM jobs WHERE id = $1`
	sqlJobByToken  = `SELECT id, build_id, pipeline_id, agent_id, state FROM jobs WHERE token_hash = $1`
	sqlJobs        = `SELECT ` + jobColumns + ` FROM jobs WHERE build_id = $1 ORDER BY position, number, retries`
	sqlJobsOfStep  = `SELECT ` + jobColumns + ` FROM jobs WHERE step_id = $1 AND retried_in = '' ORDER BY number`
	sqlJobsOfSteps = `SELECT ` + jobColumns + ` FROM jobs WHERE step_id IN ($1) AND retried_in = '' ORDER BY step_id, number`
	sqlOpenJobs    = `SELECT ` + jobColumns + ` FROM jobs WHERE build_id = $1 AND retried_in = '' AND state NOT IN
		('finished', 'canceled', 'timed_out', 'skipped', 'broken', 'expired', 'waiting_failed', 'blocked_failed', 'unblocked_failed')
		ORDER BY position, number`
	sqlJobOfAgent  = `SELECT ` + jobColumns + ` FROM jobs WHERE agent_id = $1 AND agent_id <> '' AND ` + heldJobs
	waitingColumns = `id, build_id, pipeline_id, queue_id, rules, priority, scheduled_at, position, number, lane, step_id, retries`
	openLane       = `queue_id = $1 AND state = 'scheduled' AND kind = 'script'`
	dispatchOrder  = `0 - priority, scheduled_at, position, id`
	// The first job of each lane. Each step of the recursion is one look into the index, so the cost
	// depends on the number of lanes and not on that of jobs. The rows come with it: to look them up again
	// PostgreSQL would read the whole table.
	sqlLaneHeads = `WITH RECURSIVE heads (` + waitingColumns + `) AS (
		SELECT ` + waitingColumns + ` FROM jobs WHERE id = (SELECT id FROM jobs WHERE ` + openLane + `
			ORDER BY lane, ` + dispatchOrder + ` LIMIT 1)
		UNION ALL
		SELECT j.id, j.build_id, j.pipeline_id, j.queue_id, j.rules, j.priority, j.scheduled_at, j.position, j.number, j.lane, j.step_id, j.retries
		FROM heads JOIN jobs j ON j.id = (SELECT n.id FROM jobs n WHERE n.queue_id = $1 AND n.state = 'scheduled'
			AND n.kind = 'script' AND n.lane > heads.lane ORDER BY n.lane, 0 - n.priority, n.scheduled_at, n.position, n.id LIMIT 1)
		) SELECT ` + waitingColumns + ` FROM heads LIMIT $2`
	sqlLane = `SELECT ` + waitingColumns + ` FROM jobs WHERE ` + openLane + ` AND lane = $2
		ORDER BY ` + dispatchOrder + ` LIMIT $3`
	sqlBuildToRun = `SELECT b.verdict, b.verdict_commit, b.commit_sha, p.repository FROM builds b
		JOIN pipelines p ON p.id = b.pipeline_id WHERE b.id = $1`
	sqlExpiredOffers = `SELECT ` + jobColumns + ` FROM jobs WHERE (lease_state = 'offered' OR state = 'reserved')
		AND (lease_deadline <= $1 OR lease_deadline > $2 AND lease_state = 'offered' OR lease_deadline > $3) ORDER BY lease_deadline LIMIT $4`
	sqlTimedOutJobs = `SELECT ` + jobColumns + ` FROM jobs WHERE state IN ('running', 'canceling') AND timeout_at > 0 AND timeout_at <= $1
		ORDER BY timeout_at LIMIT $2`
	sqlReadyTriggers = `SELECT ` + jobColumns + ` FROM jobs WHERE kind = 'trigger' AND ` + openTriggers + ` AND state = 'scheduled'
		ORDER BY scheduled_at LIMIT $1`
	sqlTriggerOf       = `SELECT ` + jobColumns + ` FROM jobs WHERE kind = 'trigger' AND ` + openTriggers + ` AND triggered_build = $1`
	sqlHeldShares      = `SELECT pipeline_id, COUNT(*) FROM jobs WHERE queue_id = $1 AND agent_id <> '' AND ` + heldJobs + ` GROUP BY pipeline_id`
	sqlRunningTriggers = `SELECT ` + jobColumns + ` FROM jobs WHERE kind = 'trigger' AND ` + openTriggers + ` AND state <> 'scheduled'
		AND EXISTS (SELECT 1 FROM builds WHERE builds.id = jobs.triggered_build
			AND builds.state IN ('passed', 'failed', 'canceled', 'skipped', 'not_run'))
		ORDER BY scheduled_at LIMIT $1`
	sqlCanceledTriggers = `SELECT ` + jobColumns + ` FROM jobs WHERE kind = 'trigger' AND ` + openTriggers + `
		AND state = 'canceling' AND EXISTS (SELECT 1 FROM builds WHERE builds.id = jobs.triggered_build
			AND builds.state NOT IN ('passed', 'failed', 'canceled', 'skipped', 'not_run', 'canceling'))
		ORDER BY scheduled_at LIMIT $1`
	sqlOldJobs = `SELECT ` + jobColumns + ` FROM jobs WHERE finished_at = 0 AND created_at < $1 AND state IN ('scheduled', 'limited')
		AND EXISTS (SELECT 1 FROM builds WHERE builds.id = jobs.build_id AND builds.organization_id = $2) LIMIT $3`
	sqlEarlierAgents = `SELECT agent_id FROM jobs WHERE step_id = $1 AND number = $2 AND retried_in <> '' AND agent_id <> '' ORDER BY retries DESC LIMIT $3`
	sqlCountRetries  = `SELECT COUNT(*) FROM jobs WHERE step_id = $1 AND number = $2 AND retry_rule = $3`
	sqlCountJobs     = `SELECT COUNT(*) FROM jobs WHERE build_id = $1`
	sqlCountRetried  = `SELECT COUNT(*) FROM jobs WHERE build_id = $1 AND retried_in <> ''`
	sqlCountByState  = `SELECT state, COUNT(*) FROM jobs WHERE build_id = $1 AND retried_in = '' AND kind <> 'waiter' GROUP BY state`
	sqlOpenJobCounts = `SELECT j.queue_id, j.state, COUNT(*) FROM jobs j JOIN queues q ON q.id = j.queue_id
		WHERE q.cluster_id = $1 AND j.finished_at = 0 AND j.kind = 'script' GROUP BY j.queue_id, j.state`
	sqlCountScheduled = `SELECT COUNT(*) FROM jobs WHERE queue_id = $1 AND state = 'scheduled' AND kind = 'script'`
	sqlCountWaiting   = `SELECT COUNT(*) FROM jobs WHERE state = 'scheduled' AND kind = 'script'`
)

func scanJob(s scanner) (j Job, err error) {
	var exit, promised sql.NullInt64
	var token sql.NullString
	err = s.Scan(&j.ID, &j.BuildID, &j.StepID, &j.PipelineID, &j.Kind, &j.State, &j.Number, &j.Position, &j.QueueID,
		document{&j.Rules}, &j.Priority, &j.ConcurrencyGroup, &j.Concurrency, &j.ConcurrencyMethod, &j.Lease.State,
		&j.AgentID, instant{&j.Lease.Deadline}, &token, &j.TimeoutMinutes, instant{&j.TimeoutAt}, &j.SoftFailed, &j.Lost,
		&exit, &j.Signal, &j.SignalReason, &promised, &j.PromisedHard, &j.Reason, &j.CanceledBy, &j.RetriedIn, &j.RetryOf,
		&j.RetryType, &j.RetryRule, &j.Retries, &j.RetriedBy, &j.TriggeredBuild, &j.UnblockedBy, &j.ChunksFailed,
		&j.LogSize, rawDocument{&j.SpecJSON}, instant{&j.CreatedAt}, instant{&j.ScheduledAt}, instant{&j.RunnableAt},
		instant{&j.StartedAt}, instant{&j.FinishedAt}, &j.AgentReason, &j.ReservedBy, &j.GroupID, &j.Queued, instant{&j.LimitedAt})
	j.ExitStatus, j.Promised, j.TokenHash = intOrNil(exit), intOrNil(promised), token.String
	if j.Lease.State != ci.LeaseNone {
		j.Lease.Agent = j.AgentID
	}
	return j, err
}

// rawDocument scans JSON text without looking into it.
type rawDocument struct{ to *json.RawMessage }

func (d rawDocument) Scan(v any) error {
	s, ok := v.(string)
	if !ok {
		return document{d.to}.Scan(v)
	}
	*d.to = json.RawMessage(s)
	return nil
}

// Job returns the job with an id.
func (r Reader) Job(ctx context.Context, id string) (Job, error) {
	return one(ctx, r.q, scanJob, sqlJob, id)
}

// TokenJob is what each request reads that bears a job's token.
type TokenJob struct {
	ID         string
	BuildID    string
	PipelineID string
	AgentID    string
	State      ci.JobState
}

// JobByToken returns the job whose token has a hash.
func (r Reader) JobByToken(ctx context.Context, tokenHash string) (TokenJob, error) {
	return one(ctx, r.q, func(s scanner) (j TokenJob, err error) {
		return j, s.Scan(&j.ID, &j.BuildID, &j.PipelineID, &j.AgentID, &j.State)
	}, sqlJobByToken, tokenHash)
}

// Jobs returns all jobs of a build in pipeline order, retried attempts before later ones.
func (r Reader) Jobs(ctx context.Context, buildID string) ([]Job, error) {
	return list(ctx, r.q, scanJob, sqlJobs, buildID)
}

// JobsOfStep returns the latest attempts of a step's jobs.
func (r Reader) JobsOfStep(ctx context.Context, stepID string) ([]Job, error) {
	return list(ctx, r.q, scanJob, sqlJobsOfStep, stepID)
}

// JobsOfSteps is JobsOfStep for several steps, by the id of the step.
func (r Reader) JobsOfSteps(ctx context.Context, ids []string) (map[string][]Job, error) {
	rows, err := many(ctx, r.q, scanJob, sqlJobsOfSteps, ids)
	jobs := make(map[string][]Job, len(ids))
	for first, i := 0, 1; i <= len(rows); i++ {
		if i == len(rows) || rows[i].StepID != rows[first].StepID {
			jobs[rows[first].StepID] = rows[first:i:i]
			first = i
		}
	}
	return jobs, err
}

// OpenJobs returns the jobs of a build that have not ended.
func (r Reader) OpenJobs(ctx context.Context, buildID string) ([]Job, error) {
	return list(ctx, r.q, scanJob, sqlOpenJobs, buildID)
}

// JobOfAgent returns the job that an agent holds.
func (r Reader) JobOfAgent(ctx context.Context, agentID string) (Job, error) {
	return one(ctx, r.q, scanJob, sqlJobOfAgent, agentID)
}

// WaitingJob is what dispatch looks at in a job that waits for an agent.
type WaitingJob struct {
	ID          string
	BuildID     string
	PipelineID  string
	QueueID     string
	Rules       []string
	Priority    int
	ScheduledAt time.Time
	Position    string
	Number      int
	Lane        string // equal for jobs of one pipeline with equal rules
	StepID      string
	Retries     int // attempts before this one
}

func scanWaitingJob(s scanner) (j WaitingJob, err error) {
	return j, s.Scan(&j.ID, &j.BuildID, &j.PipelineID, &j.QueueID, document{&j.Rules}, &j.Priority, instant{&j.ScheduledAt},
		&j.Position, &j.Number, &j.Lane, &j.StepID, &j.Retries)
}

// EarlierAgents returns the agents of up to limit retried attempts of one job of a step, the latest first. One that had several
// attempts comes as often.
func (r Reader) EarlierAgents(ctx context.Context, stepID string, number, limit int) ([]string, error) {
	return list(ctx, r.q, scanString, sqlEarlierAgents, stepID, number, limit)
}

// laneOf names the lane of a pipeline's jobs with the same rules. Rules can be longer than an entry of an
// index may be.
func laneOf(pipelineID, rules string) string {
	sum := sha256.Sum256([]byte(rules))
	return pipelineID + ":" + hex.EncodeToString(sum[:8])
}

// ExpiredOffers returns up to limit jobs whose assignment or reservation ran out, or lasts beyond a time that none is made for.
func (r Reader) ExpiredOffers(ctx context.Context, now, offers, reservations time.Time, limit int) ([]Job, error) {
	return list(ctx, r.q, scanJob, sqlExpiredOffers, micros(now), micros(offers), micros(reservations), limit)
}

// TimedOutJobs returns up to limit jobs that have run longer than they may, or than a forced cancel lets them.
func (r Reader) TimedOutJobs(ctx context.Context, now time.Time, limit int) ([]Job, error) {
	return list(ctx, r.q, scanJob, sqlTimedOutJobs, micros(now), limit)
}

// EndedTriggers returns up to limit trigger jobs whose build has ended.
func (r Reader) EndedTriggers(ctx context.Context, limit int) ([]Job, error) {
	return list(ctx, r.q, scanJob, sqlRunningTriggers, limit)
}

// CanceledTriggers returns up to limit canceled trigger jobs whose build goes on.
func (r Reader) CanceledTriggers(ctx context.Context, limit int) ([]Job, error) {
	return list(ctx, r.q, scanJob, sqlCanceledTriggers, limit)
}

// OldJobs returns up to limit jobs of an organization that no agent took since before a time.
func (r Reader) OldJobs(ctx context.Context, organizationID string, before time.Time, limit int) ([]Job, error) {
	return list(ctx, r.q, scanJob, sqlOldJobs, micros(before), organizationID, limit)
}

// ReadyTriggers returns up to limit trigger jobs whose build is to be made.
func (r Reader) ReadyTriggers(ctx context.Context, limit int) ([]Job, error) {
	return list(ctx, r.q, scanJob, sqlReadyTriggers, limit)
}

// TriggerOf returns the open trigger job that made a build.
func (r Reader) TriggerOf(ctx context.Context, buildID string) (Job, error) {
	return one(ctx, r.q, scanJob, sqlTriggerOf, buildID)
}

// CountRetries returns how many attempts of one job of a step an automatic rule made.
func (r Reader) CountRetries(ctx context.Context, stepID string, number, rule int) (int, error) {
	n, err := one(ctx, r.q, scanInt, sqlCountRetries, stepID, number, rule)
	return int(n), err
}

// CountRetried returns how many of a build's jobs are attempts that another took the place of: with the
// build's tally, all of its jobs.
func (r Reader) CountRetried(ctx context.Context, buildID string) (int, error) {
	n, err := one(ctx, r.q, scanInt, sqlCountRetried, buildID)
	return int(n), err
}

// CountJobs returns how many jobs a build has, retried attempts included.
func (r Reader) CountJobs(ctx context.Context, buildID string) (int, error) {
	n, err := one(ctx, r.q, scanInt, sqlCountJobs, buildID)
	return int(n), err
}

// JobStates returns how many jobs of a build, without waits and retried attempts, are in each state.
func (r Reader) JobStates(ctx context.Context, buildID string) (map[ci.JobState]int, error) {
	type row struct {
		state ci.JobState
		n     int
	}
	rows, err := list(ctx, r.q, func(s scanner) (v row, err error) { return v, s.Scan(&v.state, &v.n) }, sqlCountByState, buildID)
	out := make(map[ci.JobState]int, len(rows))
	for _, v := range rows {
		out[v.state] = v.n
	}
	return out, err
}

// JobCount is a number of jobs of a queue in one state.
type JobCount struct {
	QueueID string
	State   ci.JobState
	Count   int
}

// OpenJobCounts counts the script jobs of a cluster that have not ended, by queue and state.
func (r Reader) OpenJobCounts(ctx context.Context, clusterID string) ([]JobCount, error) {
	return list(ctx, r.q, func(s scanner) (c JobCount, err error) {
		return c, s.Scan(&c.QueueID, &c.State, &c.Count)
	}, sqlOpenJobCounts, clusterID)
}

// CountScheduledJobs returns how many jobs of a queue wait for an agent; queueID "" counts all queues.
func (r Reader) CountScheduledJobs(ctx context.Context, queueID string) (int, error) {
	if queueID == "" {
		n, err := one(ctx, r.q, scanInt, sqlCountWaiting)
		return int(n), err
	}
	n, err := one(ctx, r.q, scanInt, sqlCountScheduled, queueID)
	return int(n), err
}

// InsertJob adds a job.
func (tx *Tx) InsertJob(ctx context.Context, j Job) error {
	rules := text(j.Rules)
	return later(ctx, tx.q, sqlInsertJob, j.ID, j.BuildID, j.StepID, j.PipelineID, j.Kind, j.State, j.Number, j.Position,
		j.QueueID, rules, j.Priority, j.ConcurrencyGroup, j.Concurrency, j.ConcurrencyMethod, j.Lease.State,
		j.AgentID, micros(j.Lease.Deadline), nullable(j.TokenHash), j.TimeoutMinutes, micros(j.TimeoutAt), j.SoftFailed,
		j.Lost, j.ExitStatus, j.Signal, j.SignalReason, j.Promised, j.PromisedHard, j.Reason, j.CanceledBy, j.RetriedIn,
		j.RetryOf, j.RetryType, j.RetryRule, j.Retries, j.RetriedBy, j.TriggeredBuild, j.UnblockedBy, j.ChunksFailed,
		j.LogSize, string(j.SpecJSON), micros(j.CreatedAt), micros(j.ScheduledAt), micros(j.RunnableAt),
		micros(j.StartedAt), micros(j.FinishedAt), j.AgentReason, j.ReservedBy, j.GroupID, j.Queued, micros(j.LimitedAt), laneOf(j.PipelineID, rules))
}

// InsertJobs adds jobs. It is InsertJob for the many of a plan: a job to which nothing has happened yet is
// written in half the columns, and several of them in one statement.
func (tx *Tx) InsertJobs(ctx context.Context, jobs []Job) error {
	rows := make([][]any, 0, len(jobs))
	var rules, lane string
	for i, j := range jobs {
		if i == 0 || j.PipelineID != jobs[i-1].PipelineID || !slices.Equal(j.Rules, jobs[i-1].Rules) {
			rules = text(j.Rules)
			lane = laneOf(j.PipelineID, rules)
		}
		if !j.onlyPlanned() {
			if err := tx.InsertJob(ctx, j); err != nil {
				return err
			}
			continue
		}
		rows = append(rows, []any{
			j.ID, j.BuildID, j.StepID, j.PipelineID, j.Kind, j.State, j.Number, j.Position, j.QueueID, rules, lane,
			j.Priority, j.ConcurrencyGroup, j.Concurrency, j.ConcurrencyMethod, j.GroupID, j.Queued, j.TimeoutMinutes, j.Reason,
			string(j.SpecJSON), micros(j.CreatedAt), micros(j.ScheduledAt), micros(j.LimitedAt), micros(j.RunnableAt), micros(j.FinishedAt),
		})
	}
	return tx.insertRows(ctx, sqlInsertPlannedJob, rows)
}

// onlyPlanned says whether all that sqlInsertPlannedJob leaves out is as in a new row.
func (j Job) onlyPlanned() bool {
	return j.Lease == ci.Lease{} && !j.SoftFailed && !j.Lost && j.ExitStatus == nil && j.Signal == "" && j.SignalReason == "" &&
		j.Promised == nil && !j.PromisedHard && j.CanceledBy == "" && j.StartedAt.IsZero() &&
		j.AgentID == "" && j.AgentReason == "" && j.ReservedBy == "" && j.TokenHash == "" && j.TimeoutAt.IsZero() &&
		j.RetriedIn == "" && j.RetryOf == "" && j.RetryType == "" && j.RetryRule == -1 && j.Retries == 0 && j.RetriedBy == "" &&
		j.TriggeredBuild == "" && j.UnblockedBy == "" && j.ChunksFailed == 0 && j.LogSize == 0
}

// SetJobSpec replaces what a job was planned as.
func (tx *Tx) SetJobSpec(ctx context.Context, id string, spec json.RawMessage) error {
	return exec(ctx, tx.q, sqlSetJobSpec, id, string(spec))
}

// UpdateJob saves what changes in a job's life. An agent that holds another job is ErrConflict.
func (tx *Tx) UpdateJob(ctx context.Context, j Job) error {
	return later(ctx, tx.q, sqlUpdateJob, j.ID, j.State, j.Priority, j.Lease.State, j.AgentID, micros(j.Lease.Deadline),
		nullable(j.TokenHash), j.TimeoutMinutes, micros(j.TimeoutAt), j.SoftFailed, j.Lost, j.ExitStatus, j.Signal,
		j.SignalReason, j.Promised, j.PromisedHard, j.Reason, j.CanceledBy, j.RetriedIn, j.RetriedBy, j.TriggeredBuild,
		j.UnblockedBy, j.ChunksFailed, j.LogSize, micros(j.ScheduledAt), micros(j.RunnableAt), micros(j.StartedAt),
		micros(j.FinishedAt), j.AgentReason, j.ReservedBy, j.Queued, micros(j.LimitedAt))
}
