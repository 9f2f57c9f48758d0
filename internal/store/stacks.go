package store

import (
	"context"
	"time"
)

// Stack is a program that takes jobs and finds agents for them.
type Stack struct {
	ID             string
	ClusterID      string
	Key            string // unique in its cluster
	Type           string // kubernetes, elastic or custom
	QueueID        string // it plans to serve; it may serve others of its cluster
	Metadata       map[string]string
	CreatedAt      time.Time
	SeenAt         time.Time // to the minute
	DeregisteredAt time.Time // zero: it has not left
}

// StackNote is what a stack says of a job.
type StackNote struct {
	ID     string
	JobID  string
	Detail string
	At     time.Time
}

// StackJob is what a stack is told of a job that waits for an agent.
type StackJob struct {
	ID           string
	Priority     int
	Rules        []string // but the queue's
	ScheduledAt  time.Time
	PipelineSlug string
	PipelineID   string
	BuildID      string
	BuildNumber  int
	Branch       string
	StepKey      *string
}

const (
	stackColumns = `id, cluster_id, key, type, queue_id, metadata, created_at, seen_at, deregistered_at`
	sqlPutStack  = `INSERT INTO stacks (` + stackColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (cluster_id, key) DO UPDATE SET type = excluded.type, queue_id = excluded.queue_id,
		metadata = excluded.metadata, seen_at = excluded.seen_at, deregistered_at = excluded.deregistered_at`
	sqlStack       = `SELECT ` + stackColumns + ` FROM stacks WHERE cluster_id = $1 AND key = $2`
	sqlStackByID   = `SELECT ` + stackColumns + ` FROM stacks WHERE id = $1`
	sqlCountStacks = `SELECT COUNT(*) FROM stacks s JOIN clusters c ON c.id = s.cluster_id
		WHERE c.organization_id = $1 AND s.deregistered_at = 0 AND s.seen_at >= $2`
	sqlStackedQueues = `SELECT DISTINCT queue_id FROM stacks WHERE cluster_id = $1 AND deregistered_at = 0 AND seen_at >= $2`
	sqlSeenStack     = `UPDATE stacks SET seen_at = $2 WHERE id = $1 AND seen_at < $2`
	sqlStackJobs     = `SELECT j.id, j.priority, j.rules, j.scheduled_at, p.slug, p.id, b.id, b.number, b.branch, s.key
		FROM jobs j JOIN builds b ON b.id = j.build_id JOIN pipelines p ON p.id = j.pipeline_id JOIN steps s ON s.id = j.step_id
		WHERE j.queue_id = $1 AND j.state = 'scheduled' AND j.kind = 'script' AND b.verdict = 'allow'
		AND (j.scheduled_at, j.id) > ($2, $3) ORDER BY j.scheduled_at, j.id LIMIT $4`
	sqlJobsByID       = `SELECT ` + jobColumns + ` FROM jobs WHERE id IN ($1)`
	sqlInsertNote     = `INSERT INTO stack_notes (id, job_id, detail, noted_at) VALUES ($1, $2, $3, $4)`
	sqlNotes          = `SELECT id, job_id, detail, noted_at FROM stack_notes WHERE job_id = $1 ORDER BY noted_at, id LIMIT 100`
	sqlCountNotesOfID = `SELECT job_id, COUNT(*) FROM stack_notes WHERE job_id IN ($1) GROUP BY job_id`
)

func scanStack(s scanner) (k Stack, err error) {
	return k, s.Scan(&k.ID, &k.ClusterID, &k.Key, &k.Type, &k.QueueID, document{&k.Metadata}, instant{&k.CreatedAt},
		instant{&k.SeenAt}, instant{&k.DeregisteredAt})
}

// Stack returns the stack of a cluster with a key, also one that has left.
func (r Reader) Stack(ctx context.Context, clusterID, key string) (Stack, error) {
	return one(ctx, r.q, scanStack, sqlStack, clusterID, key)
}

// StackByID returns the stack with an id.
func (r Reader) StackByID(ctx context.Context, id string) (Stack, error) {
	return one(ctx, r.q, scanStack, sqlStackByID, id)
}

// StackedQueues returns the queues of a cluster that stacks serve which have been seen since a time and
// have not left.
func (r Reader) StackedQueues(ctx context.Context, clusterID string, since time.Time) ([]string, error) {
	return list(ctx, r.q, scanString, sqlStackedQueues, clusterID, micros(since))
}

// CountStacks returns how many stacks of an organization have been seen since a time and have not left.
func (r Reader) CountStacks(ctx context.Context, organizationID string, since time.Time) (int, error) {
	n, err := one(ctx, r.q, scanInt, sqlCountStacks, organizationID, micros(since))
	return int(n), err
}

// StackJobs returns up to limit jobs of a queue that wait for an agent, the oldest first, after the one
// scheduled at a time with an id (zero and "" for the first).
func (r Reader) StackJobs(ctx context.Context, queueID string, after time.Time, afterID string, limit int) ([]StackJob, error) {
	return list(ctx, r.q, func(s scanner) (j StackJob, err error) {
		return j, s.Scan(&j.ID, &j.Priority, document{&j.Rules}, instant{&j.ScheduledAt}, &j.PipelineSlug, &j.PipelineID,
			&j.BuildID, &j.BuildNumber, &j.Branch, &j.StepKey)
	}, sqlStackJobs, queueID, micros(after), afterID, limit)
}

// JobsByID returns those jobs of a list that exist.
func (r Reader) JobsByID(ctx context.Context, ids []string) (map[string]Job, error) {
	rows, err := many(ctx, r.q, scanJob, sqlJobsByID, ids)
	return byID(rows, err, func(j Job) string { return j.ID })
}

// StackNotes returns what stacks said of a job, in the order in which they noted it.
func (r Reader) StackNotes(ctx context.Context, jobID string) ([]StackNote, error) {
	return list(ctx, r.q, func(s scanner) (n StackNote, err error) {
		return n, s.Scan(&n.ID, &n.JobID, &n.Detail, instant{&n.At})
	}, sqlNotes, jobID)
}

// CountStackNotes returns how many notes there are of each of some jobs.
func (r Reader) CountStackNotes(ctx context.Context, jobIDs []string) (map[string]int, error) {
	type row struct {
		id string
		n  int
	}
	rows, err := many(ctx, r.q, func(s scanner) (v row, err error) { return v, s.Scan(&v.id, &v.n) }, sqlCountNotesOfID, jobIDs)
	out := make(map[string]int, len(rows))
	for _, v := range rows {
		out[v.id] = v.n
	}
	return out, err
}

// PutStack adds a stack, or changes the one of its cluster and key, which keeps its id.
func (tx *Tx) PutStack(ctx context.Context, k Stack) error {
	return exec(ctx, tx.q, sqlPutStack, k.ID, k.ClusterID, k.Key, k.Type, k.QueueID, text(k.Metadata), micros(k.CreatedAt),
		micros(k.SeenAt), micros(k.DeregisteredAt))
}

// StackSeen records when a stack was heard of.
func (tx *Tx) StackSeen(ctx context.Context, id string, at time.Time) error {
	_, err := count(ctx, tx.q, sqlSeenStack, id, micros(at))
	return err
}

// InsertStackNote adds what a stack says of a job.
func (tx *Tx) InsertStackNote(ctx context.Context, n StackNote) error {
	return exec(ctx, tx.q, sqlInsertNote, n.ID, n.JobID, n.Detail, micros(n.At))
}
