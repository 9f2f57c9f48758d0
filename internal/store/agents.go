package store

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
)

// Agent is one session of a process that runs jobs, from its registration on.
type Agent struct {
	ci.Agent
	ID                 string
	ClusterID          string
	QueueID            string
	TokenHash          string // of the session token
	AgentTokenID       string // what it registered with
	Name               string
	Hostname           string
	OS                 string
	Arch               string
	Version            string
	Build              string
	PID                int
	MachineID          string
	Process            string // by which its end can be proved on its own machine; or ""
	IP                 string
	UserAgent          string
	Tags               []string // "key=value", the queue's included
	Features           []string
	Priority           *int // nil sorts last
	IgnoreInDispatches bool // never assigned to; it acquires
	JobID              string
	LastPipelineID     string
	LastRepository     string
	LastSuccessAt      time.Time
	LastJobAt          time.Time
	CreatedAt          time.Time
	ConnectedAt        time.Time
	JobSeen            time.Time // when its job was last heard of, once it runs; zero: not since it was given
	ChangedAt          time.Time // when anything but LastSeen and JobSeen did
}

const (
	agentColumns = `id, cluster_id, queue_id, token_hash, agent_token_id, name, hostname, os, arch, version, build, pid,
		machine_id, process, ip, user_agent, tags, features, priority, ignore_in_dispatches, state, paused, pause_note,
		pause_until, force_stop, job_id, last_pipeline_id, last_repository, last_success_at, last_job_at, created_at,
		connected_at, last_seen_at, ended_at, changed_at, job_seen_at`
	liveAgents    = `(state = 'never_connected' OR state = 'connected' OR state = 'stopping')`
	idleAgents    = `state = 'connected' AND NOT paused AND NOT ignore_in_dispatches AND job_id = ''`
	errandColumns = `a.id, a.state, a.paused, a.pause_note, a.job_id, COALESCE(j.state, ''), COALESCE(j.lease_deadline, 0), COALESCE(j.started_at, 0)
		FROM agents a LEFT JOIN jobs j ON j.id = a.job_id`

	sqlInsertAgent = `INSERT INTO agents (` + agentColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,
		$12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36)`
	sqlUpdateAgent = `UPDATE agents SET state = $2, paused = $3, pause_note = $4, pause_until = $5, force_stop = $6,
		job_id = $7, last_pipeline_id = $8, last_repository = $9, last_success_at = $10, last_job_at = $11,
		ignore_in_dispatches = $12, connected_at = $13, last_seen_at = $14, ended_at = $15,
		changed_at = $16, job_seen_at = $17 WHERE id = $1`
	sqlHeardAgents = `SELECT id, ` + liveAgents + ` FROM agents WHERE id IN ($1)`
	// Several servers hear of one agent, so neither time may hide the other.
	sqlSeenAgent = `UPDATE agents SET last_seen_at = CASE WHEN last_seen_at < $2 THEN $2 ELSE last_seen_at END,
		job_seen_at = CASE WHEN job_id = $3 AND job_seen_at < $4 THEN $4 ELSE job_seen_at END WHERE id = $1`
	sqlAgent        = `SELECT ` + agentColumns + ` FROM agents WHERE id = $1`
	sqlAgentByToken = `SELECT ` + errandColumns + ` WHERE a.token_hash = $1`
	sqlLiveAgents   = `SELECT ` + agentColumns + ` FROM agents WHERE cluster_id = $1 AND ` + liveAgents + `
		AND (name, id) > ($2, $3) ORDER BY name, id LIMIT $4`
	sqlTagsInQueue = `SELECT tags FROM agents WHERE queue_id = $1 AND ` + liveAgents + ` AND NOT ignore_in_dispatches AND tags >= '' LIMIT $2`
	sqlNameTaken   = `SELECT COUNT(*) FROM agents WHERE cluster_id = $1 AND name = $2 AND ` + liveAgents
	idleColumns    = `id, queue_id, tags, priority, last_pipeline_id, last_repository, last_success_at`
	sqlIdleAgents  = `SELECT ` + idleColumns + ` FROM agents WHERE queue_id = $1 AND ` + idleAgents + ` AND last_success_at >= 0
		ORDER BY COALESCE(priority, -1000000000000) DESC, last_success_at DESC LIMIT $2`
	sqlWarmAgents = `SELECT ` + idleColumns + ` FROM agents WHERE queue_id = $1 AND last_pipeline_id = $2 AND last_pipeline_id <> '' AND ` + idleAgents + `
		ORDER BY last_success_at DESC LIMIT $3`
	sqlChangedAgents = `SELECT ` + idleColumns + ` FROM agents WHERE queue_id = $1 AND changed_at >= $2 AND ` + idleAgents + `
		ORDER BY changed_at LIMIT $3`
	sqlCountIdle = `SELECT COUNT(*) FROM (SELECT 1 FROM agents WHERE queue_id = $1 AND ` + idleAgents + ` LIMIT $2) idle`
	sqlErrand    = `SELECT ` + errandColumns + ` WHERE a.id = $1`
	sqlErrands   = `SELECT ` + errandColumns + ` WHERE a.id IN ($1)
		AND (a.state <> 'connected' OR a.paused OR a.job_id <> '')`
	// PostgreSQL would answer EXISTS by reading all jobs that wait, to join them. The order is that of an index.
	sqlIdleQueues = `SELECT ` + queueColumns + ` FROM queues WHERE paused_at = 0
		AND (SELECT 1 FROM agents WHERE queue_id = queues.id AND ` + idleAgents + ` ORDER BY changed_at LIMIT 1) = 1
		AND (SELECT 1 FROM jobs WHERE queue_id = queues.id AND state = 'scheduled' AND kind = 'script' ORDER BY lane LIMIT 1) = 1`
	sqlQuietAgents = `SELECT ` + agentColumns + ` FROM agents WHERE ` + liveAgents + ` AND last_seen_at < $1
		ORDER BY last_seen_at LIMIT $2`
	sqlQuietJobs = `SELECT id, job_id, COALESCE((SELECT j.state FROM jobs j WHERE j.id = job_id), ''), job_seen_at FROM agents WHERE ` + liveAgents + `
		AND last_seen_at >= $1 AND job_id <> '' AND job_seen_at < $2 ORDER BY last_seen_at LIMIT 20000`
	sqlRestedAgents = `SELECT ` + agentColumns + ` FROM agents WHERE paused AND pause_until > 0 AND pause_until <= $1
		AND ` + liveAgents + ` LIMIT $2`
	sqlAgentProcesses  = `SELECT id, process FROM agents WHERE process > '' AND process <> '' AND ` + liveAgents + ` LIMIT 20000`
	sqlCountLiveAgents = `SELECT COUNT(*) FROM agents WHERE ` + liveAgents + ` AND state <> 'never_connected'`
	sqlCountBusyAgents = `SELECT COUNT(*) FROM agents WHERE ` + liveAgents + ` AND job_id <> ''`
	sqlServingAgents   = `SELECT ` + agentColumns + ` FROM agents WHERE queue_id = $1 AND ` + liveAgents + ` ORDER BY name, id LIMIT $2`
	sqlManyAgents      = `SELECT COUNT(*) FROM (SELECT 1 FROM agents WHERE cluster_id = $1 AND ` + liveAgents + ` LIMIT $2) counted`
	sqlAgentsOfQueue   = `SELECT COUNT(*) FROM agents WHERE queue_id = $1 AND ` + liveAgents
)

func scanAgent(s scanner) (a Agent, err error) {
	var priority sql.NullInt64
	err = s.Scan(&a.ID, &a.ClusterID, &a.QueueID, &a.TokenHash, &a.AgentTokenID, &a.Name, &a.Hostname, &a.OS, &a.Arch,
		&a.Version, &a.Build, &a.PID, &a.MachineID, &a.Process, &a.IP, &a.UserAgent, document{&a.Tags}, document{&a.Features},
		&priority, &a.IgnoreInDispatches, &a.State, &a.Paused, &a.PauseNote, instant{&a.PauseUntil}, &a.ForceStop,
		&a.JobID, &a.LastPipelineID, &a.LastRepository, instant{&a.LastSuccessAt}, instant{&a.LastJobAt},
		instant{&a.CreatedAt}, instant{&a.ConnectedAt}, instant{&a.LastSeen}, instant{&a.EndedAt}, instant{&a.ChangedAt},
		instant{&a.JobSeen})
	a.Priority = intOrNil(priority)
	return a, err
}

func intOrNil(v sql.NullInt64) *int {
	if !v.Valid {
		return nil
	}
	n := int(v.Int64)
	return &n
}

// Agent returns the agent with an id.
func (r Reader) Agent(ctx context.Context, id string) (Agent, error) {
	return one(ctx, r.q, scanAgent, sqlAgent, id)
}

// Errand is what decides what an agent is told to do.
type Errand struct {
	AgentID  string
	ci.Agent             // State, Paused and PauseNote
	JobID    string      // "": none
	JobState ci.JobState // of that job
	Deadline time.Time   // until which the job is offered
	Started  time.Time
}

func scanErrand(s scanner) (e Errand, err error) {
	return e, s.Scan(&e.AgentID, &e.State, &e.Paused, &e.PauseNote, &e.JobID, &e.JobState, instant{&e.Deadline}, instant{&e.Started})
}

// Errand returns an agent's.
func (r Reader) Errand(ctx context.Context, agentID string) (Errand, error) {
	return one(ctx, r.q, scanErrand, sqlErrand, agentID)
}

// Errands returns those of agents, by agent, but not those of agents that are connected and free, which are most: reading so much
// less takes a third of the time.
func (r Reader) Errands(ctx context.Context, agentIDs []string) (map[string]Errand, error) {
	errands, err := many(ctx, r.q, scanErrand, sqlErrands, agentIDs)
	out := make(map[string]Errand, len(errands))
	for _, e := range errands {
		out[e.AgentID] = e
	}
	return out, err
}

// AgentByToken returns the errand of the agent whose session token has a hash: what each request reads that bears one.
func (r Reader) AgentByToken(ctx context.Context, tokenHash string) (Errand, error) {
	return one(ctx, r.q, scanErrand, sqlAgentByToken, tokenHash)
}

// LiveAgents returns up to limit agents of a cluster whose session has not ended, by name, after
// the given one ("" for the first).
func (r Reader) LiveAgents(ctx context.Context, clusterID, afterName, afterID string, limit int) ([]Agent, error) {
	return list(ctx, r.q, scanAgent, sqlLiveAgents, clusterID, afterName, afterID, limit)
}

// AgentNameTaken says whether a live agent of the cluster has a name.
func (r Reader) AgentNameTaken(ctx context.Context, clusterID, name string) (bool, error) {
	n, err := one(ctx, r.q, scanInt, sqlNameTaken, clusterID, name)
	return n > 0, err
}

// IdleAgent is what dispatch looks at in an agent that a job may be assigned to.
type IdleAgent struct {
	ID             string
	QueueID        string
	Tags           []string
	Priority       *int
	LastPipelineID string
	LastRepository string
	LastSuccessAt  time.Time
}

func scanIdleAgent(s scanner) (a IdleAgent, err error) {
	var priority sql.NullInt64
	err = s.Scan(&a.ID, &a.QueueID, document{&a.Tags}, &priority, &a.LastPipelineID, &a.LastRepository, instant{&a.LastSuccessAt})
	a.Priority = intOrNil(priority)
	return a, err
}

// TagsInQueue returns the tags of up to limit live agents of a queue that jobs are given to.
func (r Reader) TagsInQueue(ctx context.Context, queueID string, limit int) ([][]string, error) {
	return list(ctx, r.q, func(s scanner) (tags []string, err error) { return tags, s.Scan(document{&tags}) }, sqlTagsInQueue, queueID, limit)
}

// ManyAgents says whether a cluster has at least so many live agents.
func (r Reader) ManyAgents(ctx context.Context, clusterID string, many int) (bool, error) {
	n, err := one(ctx, r.q, scanInt, sqlManyAgents, clusterID, many)
	return int(n) >= many, err
}

// IdleQueues returns the queues that dispatch and have an idle agent and a job that waits for one. It looks at one of each, however many
// there are.
func (r Reader) IdleQueues(ctx context.Context) ([]Queue, error) {
	return list(ctx, r.q, scanQueue, sqlIdleQueues)
}

// QuietAgents returns up to limit live agents not heard of since a time, the longest first.
func (r Reader) QuietAgents(ctx context.Context, since time.Time, limit int) ([]Agent, error) {
	return list(ctx, r.q, scanAgent, sqlQuietAgents, micros(since), limit)
}

// RestedAgents returns up to limit agents whose pause is over at a time.
func (r Reader) RestedAgents(ctx context.Context, now time.Time, limit int) ([]Agent, error) {
	return list(ctx, r.q, scanAgent, sqlRestedAgents, micros(now), limit)
}

// AgentProcesses returns the processes of live agents, by agent, as far as they are known.
func (r Reader) AgentProcesses(ctx context.Context) (map[string]string, error) {
	type pair struct{ id, process string }
	pairs, err := list(ctx, r.q, func(s scanner) (p pair, err error) { return p, s.Scan(&p.id, &p.process) }, sqlAgentProcesses)
	out := make(map[string]string, len(pairs))
	for _, p := range pairs {
		out[p.id] = p.process
	}
	return out, err
}

// CountAgents returns how many agents are connected and how many of them hold a job.
func (r Reader) CountAgents(ctx context.Context) (live, busy int, err error) {
	n, err := one(ctx, r.q, scanInt, sqlCountLiveAgents)
	if err != nil {
		return 0, 0, err
	}
	b, err := one(ctx, r.q, scanInt, sqlCountBusyAgents)
	return int(n), int(b), err
}

// QuietJob is a job that was not heard of, although its agent was.
type QuietJob struct {
	AgentID, JobID string
	State          ci.JobState
	Seen           time.Time // when the job was last heard of; zero: not since it was given to the agent
}

// QuietJobs returns the jobs not heard of since a time whose agents were heard of since another.
func (r Reader) QuietJobs(ctx context.Context, agentSince, jobSince time.Time) ([]QuietJob, error) {
	scan := func(s scanner) (q QuietJob, err error) {
		return q, s.Scan(&q.AgentID, &q.JobID, &q.State, instant{&q.Seen})
	}
	return list(ctx, r.q, scan, sqlQuietJobs, micros(agentSince), micros(jobSince))
}

// AgentsOfQueue returns up to limit live agents that serve a queue, by name.
func (r Reader) AgentsOfQueue(ctx context.Context, queueID string, limit int) ([]Agent, error) {
	return list(ctx, r.q, scanAgent, sqlServingAgents, queueID, limit)
}

// CountAgentsOfQueue returns how many live agents serve a queue.
func (r Reader) CountAgentsOfQueue(ctx context.Context, queueID string) (int, error) {
	n, err := one(ctx, r.q, scanInt, sqlAgentsOfQueue, queueID)
	return int(n), err
}

// LockAgent returns an agent and keeps others from changing it until the transaction ends.
func (tx *Tx) LockAgent(ctx context.Context, id string) (Agent, error) {
	return one(ctx, tx.q, scanAgent, sqlAgent+tx.forUpdate, id)
}

// Offers are what jobs of a build are offered to agents with.
type Offers struct {
	Build    Build
	Pipeline Pipeline
	Jobs     []Job
	Agents   []Agent
}

// LockOffers is LockBuild for a build of which jobs are to be offered to agents, reads the jobs and locks the agents.
func (tx *Tx) LockOffers(ctx context.Context, buildID string, jobIDs, agentIDs []string) (o Offers, err error) {
	o.Jobs, o.Agents = make([]Job, len(jobIDs)), make([]Agent, len(agentIDs))
	questions := []question{
		ask(&o.Build, scanBuild, sqlBuild+tx.forUpdate, buildID), ask(&o.Pipeline, scanPipeline, sqlPipelineOfBuild, buildID),
	}
	for i, id := range jobIDs {
		questions = append(questions, ask(&o.Jobs[i], scanJob, sqlJob, id))
	}
	for i, id := range agentIDs {
		questions = append(questions, ask(&o.Agents[i], scanAgent, sqlAgent+tx.forUpdate, id))
	}
	return o, tx.q.together(ctx, questions)
}

// Registering is what a session of a cluster's agent begins with.
type Registering struct {
	Token AgentToken
	Queue []Queue // the one that was asked for, if it is there
	Taken bool    // whether a live agent of the cluster has the name
}

// LockRegistering is LockCluster for one whose agent registers with a token for a queue by its key, "" for the default one, and reads these.
func (tx *Tx) LockRegistering(ctx context.Context, clusterID, tokenID, queueKey, name string) (r Registering, err error) {
	var cluster Cluster
	var taken int64
	queue := askAll(&r.Queue, scanQueue, sqlQueue, clusterID, queueKey)
	if queueKey == "" {
		queue = askAll(&r.Queue, scanQueue, sqlDefaultQueue, clusterID)
	}
	err = tx.q.together(ctx, []question{
		ask(&cluster, scanCluster, sqlCluster+tx.forUpdate, clusterID), ask(&r.Token, scanAgentToken, sqlAgentTokenByID, tokenID),
		queue, ask(&taken, scanInt, sqlNameTaken, clusterID, name),
	})
	r.Taken = taken > 0
	return r, err
}

// InsertAgent adds an agent.
func (tx *Tx) InsertAgent(ctx context.Context, a Agent) error {
	return later(ctx, tx.q, sqlInsertAgent, a.ID, a.ClusterID, a.QueueID, a.TokenHash, a.AgentTokenID, a.Name,
		a.Hostname, a.OS, a.Arch, a.Version, a.Build, a.PID, a.MachineID, a.Process, a.IP, a.UserAgent, text(a.Tags),
		text(a.Features), a.Priority, a.IgnoreInDispatches, a.State, a.Paused, a.PauseNote, micros(a.PauseUntil),
		a.ForceStop, a.JobID, a.LastPipelineID, a.LastRepository, micros(a.LastSuccessAt), micros(a.LastJobAt),
		micros(a.CreatedAt), micros(a.ConnectedAt), micros(a.LastSeen), micros(a.EndedAt), micros(a.ChangedAt), micros(a.JobSeen))
}

// UpdateAgent saves what changes in an agent's life.
func (tx *Tx) UpdateAgent(ctx context.Context, a Agent) error {
	return later(ctx, tx.q, sqlUpdateAgent, a.ID, a.State, a.Paused, a.PauseNote, micros(a.PauseUntil), a.ForceStop,
		a.JobID, a.LastPipelineID, a.LastRepository, micros(a.LastSuccessAt), micros(a.LastJobAt), a.IgnoreInDispatches,
		micros(a.ConnectedAt), micros(a.LastSeen), micros(a.EndedAt), micros(a.ChangedAt), micros(a.JobSeen))
}

// Seen is when an agent was last heard of, and when a job that it holds was.
type Seen struct {
	At    time.Time
	JobID string    // "": of no job
	JobAt time.Time // of JobID
}

// AgentsSeen records when agents were heard of, unless they were heard of later or their sessions ended. Of a job it counts only
// while its agent holds it. It waits for nobody: agents that other transactions hold are left out, and returned.
func (tx *Tx) AgentsSeen(ctx context.Context, seen map[string]Seen) (left map[string]Seen, err error) {
	free, err := many(ctx, tx.q, scanHeard, sqlHeardAgents+tx.forFree, slices.Collect(maps.Keys(seen)))
	if err != nil {
		return nil, err
	}
	left = maps.Clone(seen)
	for _, a := range free {
		s := seen[a.id]
		delete(left, a.id)
		if !a.live {
			continue
		}
		if err := later(ctx, tx.q, sqlSeenAgent, a.id, micros(s.At), s.JobID, micros(s.JobAt)); err != nil {
			return nil, err
		}
	}
	return left, nil
}

type heard struct {
	id   string
	live bool
}

func scanHeard(s scanner) (h heard, err error) { return h, s.Scan(&h.id, &h.live) }
