package store

import (
	"context"
	"slices"
	"time"
)

// A round of dispatch asks what it can at once, in three questions that build on one another: each is a round trip on PostgreSQL,
// and a job waits for all of them before it is offered to an agent.

// Waiting is what a round begins with.
type Waiting struct {
	// Heads are the jobs of a queue that wait for an agent and are the first of their lane. A lane is the jobs of one pipeline with
	// the same rules: if no agent takes its first job, none takes another of it.
	Heads     []WaitingJob
	Idle      int         // agents of the queue, up to a limit
	Canceling []string    // builds that are being canceled and have jobs that were not told yet
	Changed   []IdleAgent // those of the agents that changed at a time or after it, such as by becoming idle
	Paused    bool        // the queue is
}

// WaitingLimits are how much of each is read.
type WaitingLimits struct{ Heads, Idle, Canceling, Changed int }

// Waiting returns that of a queue; agents that changed are looked for unless since is zero.
func (r Reader) Waiting(ctx context.Context, queueID string, since time.Time, most WaitingLimits) (w Waiting, err error) {
	var idle int64
	var queue Queue
	questions := []question{
		ask(&queue, scanQueue, sqlQueueByID, queueID),
		askAll(&w.Heads, scanWaitingJob, sqlLaneHeads, queueID, most.Heads),
		ask(&idle, scanInt, sqlCountIdle, queueID, most.Idle),
		askAll(&w.Canceling, scanString, sqlCancelingMore, most.Canceling),
	}
	if !since.IsZero() {
		questions = append(questions, askAll(&w.Changed, scanIdleAgent, sqlChangedAgents, queueID, micros(since), most.Changed))
	}
	err = r.q.together(ctx, questions)
	w.Idle, w.Paused = int(idle), !queue.PausedAt.IsZero()
	return w, err
}

// Lanes returns, for each of some lanes of a queue, up to so many jobs in the order in which they are to be dispatched.
func (r Reader) Lanes(ctx context.Context, queueID string, lanes []string, limits []int) ([][]WaitingJob, error) {
	out, questions := make([][]WaitingJob, len(lanes)), make([]question, len(lanes))
	for i, lane := range lanes {
		questions[i] = askAll(&out[i], scanWaitingJob, sqlLane, queueID, lane, limits[i])
	}
	return out, r.q.together(ctx, questions)
}

// BuildToRun is what dispatch looks at in the build of a job that waits.
type BuildToRun struct {
	Decision   string // of its verdict
	About      string // the commit that was decided on
	Commit     string // the one to run
	Repository string // its pipeline's
}

func scanBuildToRun(s scanner) (b BuildToRun, err error) {
	return b, s.Scan(&b.Decision, &b.About, &b.Commit, &b.Repository)
}

// Candidates are who some jobs of a queue may be given to, and what is decided by.
type Candidates struct {
	Idle   []IdleAgent           // those of the highest priority first, and of those the ones that succeeded last
	Warm   []IdleAgent           // those whose last job was of one of some pipelines, for each the last to succeed first
	Held   map[string]int        // jobs of the queue that agents hold, by pipeline
	Builds map[string]BuildToRun // by id
}

// CandidatesFor says for whom candidates are looked for.
type CandidatesFor struct {
	QueueID   string
	Idle      int // how many at most
	Builds    []string
	Pipelines []string // whose warm agents are looked for
	Warm      int      // how many of each at most
}

// Candidates returns them.
func (r Reader) Candidates(ctx context.Context, of CandidatesFor) (c Candidates, err error) {
	var held []share
	builds, warm := make([]BuildToRun, len(of.Builds)), make([][]IdleAgent, len(of.Pipelines))
	questions := []question{
		askAll(&c.Idle, scanIdleAgent, sqlIdleAgents, of.QueueID, of.Idle), askAll(&held, scanShare, sqlHeldShares, of.QueueID),
	}
	for i, id := range of.Builds {
		questions = append(questions, ask(&builds[i], scanBuildToRun, sqlBuildToRun, id))
	}
	for i, id := range of.Pipelines {
		questions = append(questions, askAll(&warm[i], scanIdleAgent, sqlWarmAgents, of.QueueID, id, of.Warm))
	}
	err = r.q.together(ctx, questions)
	c.Warm, c.Held, c.Builds = slices.Concat(warm...), map[string]int{}, map[string]BuildToRun{}
	for _, h := range held {
		c.Held[h.pipeline] = h.n
	}
	for i, id := range of.Builds {
		c.Builds[id] = builds[i]
	}
	return c, err
}

type share struct {
	pipeline string
	n        int
}

func scanShare(s scanner) (v share, err error) { return v, s.Scan(&v.pipeline, &v.n) }
