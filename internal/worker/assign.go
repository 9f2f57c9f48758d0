// Package worker holds the background passes: what must happen without anybody asking.
//
// A pass does a bounded amount of work, decides nothing that an engine operation does not check
// again, and may be killed anywhere: the next one finds what is left. Two servers may run the same
// pass at once; the operations make sure that each thing happens once:
//
//   - Assign offers under the build's lock, so one offer stands. A match that lost is made anew.
//   - Plan reads a repository perhaps twice, and plans the build once, under its lock.
//   - Schedules, Triggers, Supersede, CancelRest, Admit, TimeOut, ExpireOffers, ExpireJobs, ResumeAgents and LoseAgents lock the row
//     and do nothing if it is not due any more.
//   - Relay claims an effect before it is delivered. Of a deliverer that died the claim runs out after 30 s.
//   - LoseDead looks at processes of its own machine, which nobody else can.
//   - CloseLogs and ExpireLogs repeat what does no harm twice.
package worker

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/dispatch"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// Assign offers scheduled jobs to idle agents. Its passes must not overlap.
type Assign struct {
	Engine *engine.Engine
	Log    *slog.Logger

	unserved map[string]*unserved // by queue
	last     time.Time            // when the pass before this began
	aside    aside
}

const (
	maxRounds     = 16     // of a queue in one pass
	headLimit     = 2_000  // of a queue
	roundJobs     = 200    // jobs looked at together, beside the first of each lane
	sampleSlack   = 16     // idle agents looked at beyond one a job
	manyIdle      = 16     // idle agents that are not counted any further
	allAgents     = 20_000 // when the sample did not have the tags
	warmSample    = 16     // idle agents looked at that last ran a pipeline
	warmLanes     = 16     // lanes for which they are looked at
	maxCanceling  = 200    // builds whose jobs are not even looked at
	earlierAgents = 16     // attempts of a job whose agents are avoided
	together      = 16     // assignments of one build in a transaction: it keeps others waiting for about 2 ms
	parallel      = 16     // transactions under way at once: they share commits
)

// Pass gives every queue that has an idle agent what it can run. It reports true if there may be more.
func (a *Assign) Pass(ctx context.Context) (bool, error) {
	a.begin()
	queues, seen, err := a.queues(ctx)
	if err != nil {
		return false, err
	}
	var failed error
	again := false
	for _, q := range queues {
		more, err := a.queue(ctx, q, seen)
		failed, again, seen = errors.Join(failed, err), again || more, nil
	}
	return again && failed == nil, failed
}

// queues returns the queues with work, and what the first round of the first of them decides by: most passes have one queue and one
// round. seen is nil where that could not be read, or there is nothing to do.
func (a *Assign) queues(ctx context.Context) (queues []store.Queue, seen *picture, err error) {
	err = a.Engine.Store.View(ctx, func(db store.Reader) (err error) {
		if queues, err = db.IdleQueues(ctx); err != nil || len(queues) == 0 {
			return err
		}
		v, failed := a.see(ctx, db, queues[0], a.last)
		if failed == nil { // else the queue's own look fails, and no other's
			seen = &v
		}
		return nil
	})
	return queues, seen, err
}

// begin forgets what earlier passes saw if the clock was set back since: agents that became idle later bear earlier times.
func (a *Assign) begin() {
	now := a.Engine.Now()
	if now.Before(a.last) {
		a.unserved = nil
	}
	a.last = now
}

// queue assigns jobs until no agent or no job that an agent matches is left. seen, if set, is what was seen of it just now.
func (a *Assign) queue(ctx context.Context, q store.Queue, seen *picture) (more bool, err error) {
	more, err = a.rounds(ctx, q, seen)
	if err == nil {
		err = a.tryAside(ctx, q)
	}
	return more, errors.Join(err, a.aside.failed())
}

func (a *Assign) rounds(ctx context.Context, q store.Queue, seen *picture) (more bool, err error) {
	for range maxRounds {
		if seen == nil {
			seen, err = a.look(ctx, q)
		}
		if err != nil || len(seen.jobs) == 0 {
			return false, err
		}
		before := len(a.aside.jobs)
		made, left, err := a.page(ctx, q, *seen)
		if err != nil {
			return false, err
		}
		done := made == 0 || !left || !seen.cut
		seen = nil
		if done && len(a.aside.jobs) <= before { // else the agents of those set aside are free for others
			return false, nil
		}
	}
	return true, nil
}

// picture is what some jobs are assigned by.
type picture struct {
	jobs   []store.WaitingJob
	cut    bool // there may be more jobs
	agents []store.IdleAgent
	few    bool // it is known that fewer than manyIdle agents are idle
	limit  int  // of agents, beside warm ones: if there are fewer, there are no others
	dispatch.Snapshot
}

// look reads what one round decides by.
func (a *Assign) look(ctx context.Context, q store.Queue) (*picture, error) {
	now := a.Engine.Now()
	var v picture
	err := a.Engine.Store.View(ctx, func(db store.Reader) (err error) {
		v, err = a.see(ctx, db, q, now)
		return err
	})
	return &v, err
}

// see is look in a view that began at now or later.
func (a *Assign) see(ctx context.Context, db store.Reader, q store.Queue, now time.Time) (v picture, err error) {
	if err = a.jobs(ctx, db, q.ID, now, &v); err != nil || len(v.jobs) == 0 {
		return v, err
	}
	err = a.complete(ctx, db, q, &v, len(v.jobs)+sampleSlack)
	return v, err
}

// lookFor reads what is to be known about some jobs.
func (a *Assign) lookFor(ctx context.Context, q store.Queue, jobs []store.WaitingJob, limit int) (picture, error) {
	v := picture{jobs: jobs}
	err := a.Engine.Store.View(ctx, func(db store.Reader) error { return a.complete(ctx, db, q, &v, limit) })
	return v, err
}

// complete adds what is to be known about the jobs of a picture: idle agents, of many only a sample, and what dispatch decides by.
func (a *Assign) complete(ctx context.Context, db store.Reader, q store.Queue, v *picture, limit int) error {
	v.limit = limit
	of := store.CandidatesFor{QueueID: q.ID, Idle: limit, Warm: warmSample, Builds: distinct(v.jobs, func(j store.WaitingJob) string { return j.BuildID })}
	if !v.few {
		of.Pipelines = distinct(v.jobs, func(j store.WaitingJob) string { return j.PipelineID })
		of.Pipelines = of.Pipelines[:min(len(of.Pipelines), warmLanes)]
	}
	c, err := db.Candidates(ctx, of)
	if err != nil || len(c.Idle) == 0 {
		return err
	}
	v.agents = sampled(c, limit)
	v.Snapshot, err = a.snapshot(ctx, db, q, v.jobs, v.agents, c)
	return err
}

// distinct are the values of some jobs, each once.
func distinct(jobs []store.WaitingJob, value func(store.WaitingJob) string) (out []string) {
	seen := map[string]bool{}
	for _, j := range jobs {
		if v := value(j); !seen[v] {
			seen[v] = true
			out = append(out, v)
		}
	}
	return out
}

// jobs fills a picture with the first job of every lane that an idle agent may serve, so that none is starved however
// many there are of another, and, while the lanes are few, what comes behind it: no more of a lane than
// there are idle agents, where those are few.
func (a *Assign) jobs(ctx context.Context, db store.Reader, queueID string, now time.Time, v *picture) error {
	u := a.queueMemory(queueID)
	since, late := u.look(now)
	w, err := db.Waiting(ctx, queueID, since, store.WaitingLimits{Heads: headLimit, Idle: manyIdle, Canceling: maxCanceling, Changed: allAgents})
	if err != nil || w.Paused { // while other queues had their turn, or in an earlier round
		return err
	}
	heads := u.hopeful(w, now, late)
	if len(heads) == 0 {
		return nil
	}
	v.few = w.Idle < manyIdle
	depth := roundJobs / len(heads)
	if v.few {
		depth = min(depth, w.Idle)
	}
	lanes, limits, err := a.lanes(ctx, db, queueID, heads, max(depth, 1))
	if err != nil {
		return err
	}
	for i, lane := range lanes {
		v.cut = v.cut || len(lane) == limits[i]
		v.jobs = append(v.jobs, slices.DeleteFunc(lane, func(j store.WaitingJob) bool {
			return a.aside.has(j) || slices.Contains(w.Canceling, j.BuildID)
		})...)
	}
	return nil
}

// lanes reads as many jobs of each lane, and as many more as are set aside; a head that is alone is known already.
func (a *Assign) lanes(ctx context.Context, db store.Reader, queueID string, heads []store.WaitingJob, depth int) (lanes [][]store.WaitingJob, limits []int, err error) {
	var deep []string
	var deepest []int
	for _, h := range heads {
		n := depth + a.aside.count(queueID, h.Lane)
		lanes, limits = append(lanes, []store.WaitingJob{h}), append(limits, n)
		if n > 1 {
			deep, deepest = append(deep, h.Lane), append(deepest, n)
		}
	}
	if len(deep) == 0 {
		return lanes, limits, nil
	}
	read, err := db.Lanes(ctx, queueID, deep, deepest)
	if err != nil {
		return nil, nil, err
	}
	for i := range lanes {
		if limits[i] > 1 {
			lanes[i], read = read[0], read[1:]
		}
	}
	return lanes, limits, nil
}

// page assigns what it can of some jobs and reports how many it did and whether idle agents are left over.
// Agents are sampled first; where a job's rules find nobody in the sample, all are looked at.
func (a *Assign) page(ctx context.Context, q store.Queue, v picture) (made int, left bool, err error) {
	for len(v.agents) > 0 {
		sample := len(v.agents) >= v.limit
		matched := dispatch.Match(v.Snapshot)
		if sample {
			matched = ofSample(matched, v.limit)
		}
		n, err := a.assign(ctx, v.jobs, matched)
		made += n
		if err != nil {
			return made, false, err
		}
		rest := unmatched(v.jobs, matched)
		if !sample {
			a.leave(q.ID, rest, v.agents)
		}
		if len(rest) == 0 || !sample || v.limit >= allAgents {
			return made, len(matched) < len(v.agents), nil
		}
		if v, err = a.lookFor(ctx, q, rest, allAgents); err != nil {
			return made, false, err
		}
	}
	return made, false, nil
}

// sampled are up to limit idle agents. If there are as many, those are among them that are warm for a job.
func sampled(c store.Candidates, limit int) []store.IdleAgent {
	agents := c.Idle
	if len(agents) < limit {
		return agents
	}
	known := map[string]bool{}
	for _, g := range agents {
		known[g.ID] = true
	}
	for _, g := range c.Warm {
		if !known[g.ID] {
			known[g.ID] = true
			agents = append(agents, g)
		}
	}
	return agents
}

// ofSample is what a match among some of the idle agents is worth. A job that was given an agent to avoid waits until all are looked
// at, and the only agent that matches may not be the only one.
func ofSample(matched []dispatch.Assignment, limit int) (kept []dispatch.Assignment) {
	for _, m := range matched {
		switch {
		case m.Reason == dispatch.ReasonLastResort && limit < allAgents:
			continue
		case m.Reason == dispatch.ReasonOnly:
			m.Reason = dispatch.ReasonFirst
		}
		kept = append(kept, m)
	}
	return kept
}

func unmatched(jobs []store.WaitingJob, matched []dispatch.Assignment) []store.WaitingJob {
	done := map[string]bool{}
	for _, m := range matched {
		done[m.JobID] = true
	}
	var left []store.WaitingJob
	for _, j := range jobs {
		if !done[j.ID] {
			left = append(left, j)
		}
	}
	return left
}

// assign makes offers and returns how many the engine agreed to.
func (a *Assign) assign(ctx context.Context, jobs []store.WaitingJob, matched []dispatch.Assignment) (int, error) {
	byID := make(map[string]store.WaitingJob, len(jobs))
	for _, j := range jobs {
		byID[j.ID] = j
	}
	byBuild := map[string][]engine.Offer{}
	for _, m := range matched {
		b := byID[m.JobID].BuildID
		byBuild[b] = append(byBuild[b], engine.Offer{JobID: m.JobID, AgentID: m.AgentID, Reason: string(m.Reason)})
		a.Log.DebugContext(ctx, "matched", "job", m.JobID, "agent", m.AgentID, "reason", string(m.Reason))
	}
	// One failure cancels no other offer: it may be for ever, and they are not.
	var g errgroup.Group
	var made atomic.Int64
	g.SetLimit(parallel)
	for build, offers := range byBuild {
		for some := range slices.Chunk(offers, together) {
			g.Go(func() error {
				offered, err := a.Engine.AssignJobs(ctx, build, some)
				made.Add(int64(len(offered)))
				if ctx.Err() != nil {
					return err
				}
				a.aside.note(byID, some, err)
				return nil
			})
		}
	}
	err := g.Wait()
	return int(made.Load()), err
}

// snapshot gathers what dispatch decides by.
func (a *Assign) snapshot(ctx context.Context, db store.Reader, q store.Queue, jobs []store.WaitingJob, agents []store.IdleAgent, c store.Candidates) (s dispatch.Snapshot, err error) {
	s = dispatch.Snapshot{Held: map[dispatch.Share]int{}, Queues: []dispatch.Queue{{ID: q.ID, Key: q.Key}}}
	for pipeline, n := range c.Held {
		s.Held[dispatch.Share{Queue: q.ID, Pipeline: pipeline}] = n
	}
	for _, g := range agents {
		s.Agents = append(s.Agents, dispatch.Agent{
			ID: g.ID, Queue: g.QueueID, Tags: g.Tags, Priority: g.Priority, Idle: true,
			LastPipeline: g.LastPipelineID, LastRepository: g.LastRepository, LastSuccessAt: g.LastSuccessAt.UnixMicro(),
		})
	}
	s.Jobs, err = a.cleared(ctx, db, q, jobs, c.Builds)
	return s, err
}

// cleared turns jobs into what dispatch takes, which only jobs of an allowed build can become.
func (a *Assign) cleared(ctx context.Context, db store.Reader, q store.Queue, jobs []store.WaitingJob, builds map[string]store.BuildToRun) ([]dispatch.Job, error) {
	var out []dispatch.Job
	for _, j := range jobs {
		b := builds[j.BuildID]
		clearance, err := dispatch.Clear(b.Decision, b.About, b.Commit)
		if err != nil {
			a.Log.ErrorContext(ctx, "job is not cleared", "job", j.ID, "err", err)
			continue
		}
		avoid, err := earlier(ctx, db, q, j)
		if err != nil {
			return nil, err
		}
		out = append(out, dispatch.Job{
			ID: j.ID, Pipeline: j.PipelineID, Repository: b.Repository, Queue: j.QueueID, Rules: j.Rules,
			Priority: j.Priority, ScheduledAt: j.ScheduledAt.UnixMicro(), Position: j.Position, Number: int64(j.Number),
			AvoidAgents: avoid, Clearance: clearance,
		})
	}
	return out, nil
}

// earlier are the agents of a job's earlier attempts, if its queue prefers others.
func earlier(ctx context.Context, db store.Reader, q store.Queue, j store.WaitingJob) ([]string, error) {
	if q.RetryAffinity != ci.PreferDifferent || j.Retries == 0 {
		return nil, nil
	}
	return db.EarlierAgents(ctx, j.StepID, j.Number, earlierAgents)
}
