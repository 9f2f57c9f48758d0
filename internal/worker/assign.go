// Package worker holds the background passes: what must happen without anybody asking.
//
// A pass does a bounded amount of work, decides nothing that an engine operation does not check
// again, and may be killed anywhere: the next one finds what is left. Two servers may run the same
// pass at once; the operations make sure that each thing happens once.
package worker

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/slipway-ci/slipway/internal/dispatch"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// Assign offers scheduled jobs to idle agents.
type Assign struct {
	Engine *engine.Engine
	Log    *slog.Logger
}

const (
	maxPages    = 16     // of a queue's jobs in one pass
	pageJobs    = 200    // jobs looked at together
	sampleSlack = 16     // idle agents looked at beyond one a job
	allAgents   = 20_000 // when the sample did not have the tags
	together    = 16     // assignments of one build in a transaction: it keeps others waiting for about 2 ms
	parallel    = 16     // transactions under way at once: they share commits
)

// Pass gives every queue that has an idle agent what it can run.
func (a *Assign) Pass(ctx context.Context) (bool, error) {
	queues, err := a.Engine.Store.IdleQueues(ctx)
	if err != nil {
		return false, err
	}
	var failed error
	for _, id := range queues {
		failed = errors.Join(failed, a.queue(ctx, id))
	}
	return false, failed
}

// queue goes through a queue's jobs page by page while there are agents that might run them.
func (a *Assign) queue(ctx context.Context, id string) error {
	q, err := a.Engine.Store.QueueByID(ctx, id)
	if err != nil || !q.PausedAt.IsZero() {
		return err
	}
	var after *store.WaitingJob
	for range maxPages {
		jobs, err := a.Engine.Store.ScheduledJobs(ctx, id, after, pageJobs)
		if err != nil || len(jobs) == 0 {
			return err
		}
		left, err := a.page(ctx, q, jobs)
		if err != nil || !left || len(jobs) < pageJobs {
			return err
		}
		after = &jobs[len(jobs)-1]
	}
	return nil
}

// page assigns what it can of some jobs and reports whether idle agents are left over. Agents are
// sampled first; where a job's rules find nobody in the sample, all are looked at.
func (a *Assign) page(ctx context.Context, q store.Queue, jobs []store.WaitingJob) (bool, error) {
	limit := len(jobs) + sampleSlack
	for {
		agents, err := a.Engine.Store.IdleAgents(ctx, q.ID, limit)
		if err != nil || len(agents) == 0 {
			return false, err
		}
		s, err := a.snapshot(ctx, q, jobs, agents)
		if err != nil {
			return false, err
		}
		matched := dispatch.Match(s)
		if err := a.assign(ctx, jobs, matched); err != nil {
			return false, err
		}
		whole := len(agents) < limit || limit >= allAgents
		if whole || len(matched) == len(jobs) {
			return len(matched) < len(agents), nil
		}
		jobs, limit = unmatched(jobs, matched), allAgents
	}
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

func (a *Assign) assign(ctx context.Context, jobs []store.WaitingJob, matched []dispatch.Assignment) error {
	builds := make(map[string]string, len(jobs)) // of jobs
	for _, j := range jobs {
		builds[j.ID] = j.BuildID
	}
	byBuild := map[string][]engine.Offer{}
	for _, m := range matched {
		b := builds[m.JobID]
		byBuild[b] = append(byBuild[b], engine.Offer{JobID: m.JobID, AgentID: m.AgentID})
		a.Log.DebugContext(ctx, "matched", "job", m.JobID, "agent", m.AgentID, "reason", string(m.Reason))
	}
	// One failure cancels no other offer: it may be for ever, and they are not.
	var g errgroup.Group
	g.SetLimit(parallel)
	for build, offers := range byBuild {
		for some := range slices.Chunk(offers, together) {
			g.Go(func() error { return a.offer(ctx, build, some) })
		}
	}
	return g.Wait()
}

func (a *Assign) offer(ctx context.Context, buildID string, offers []engine.Offer) error {
	made, err := a.Engine.AssignJobs(ctx, buildID, offers)
	if err == nil && len(made) > 0 {
		a.Log.DebugContext(ctx, "assigned", "build", buildID, "offers", made)
	}
	return err
}

// snapshot gathers what dispatch decides by.
func (a *Assign) snapshot(ctx context.Context, q store.Queue, jobs []store.WaitingJob, agents []store.IdleAgent) (dispatch.Snapshot, error) {
	s := dispatch.Snapshot{Held: map[dispatch.Share]int{}, Queues: []dispatch.Queue{{ID: q.ID, Key: q.Key}}}
	held, err := a.Engine.Store.HeldShares(ctx, q.ID)
	if err != nil {
		return s, err
	}
	for pipeline, n := range held {
		s.Held[dispatch.Share{Queue: q.ID, Pipeline: pipeline}] = n
	}
	for _, g := range agents {
		s.Agents = append(s.Agents, dispatch.Agent{
			ID: g.ID, Queue: g.QueueID, Tags: g.Tags, Priority: g.Priority, Idle: true,
			LastPipeline: g.LastPipelineID, LastRepository: g.LastRepository, LastSuccessAt: g.LastSuccessAt.UnixMicro(),
		})
	}
	s.Jobs, err = a.cleared(ctx, jobs)
	return s, err
}

// cleared turns jobs into what dispatch takes, which only jobs of an allowed build can become.
func (a *Assign) cleared(ctx context.Context, jobs []store.WaitingJob) ([]dispatch.Job, error) {
	builds, pipelines := map[string]store.Build{}, map[string]store.Pipeline{}
	var out []dispatch.Job
	for _, j := range jobs {
		b, err := remember(builds, j.BuildID, func() (store.Build, error) { return a.Engine.Store.Build(ctx, j.BuildID) })
		if err != nil {
			return nil, err
		}
		pl, err := remember(pipelines, j.PipelineID, func() (store.Pipeline, error) { return a.Engine.Store.PipelineByID(ctx, j.PipelineID) })
		if err != nil {
			return nil, err
		}
		clearance, err := dispatch.Clear(b.Verdict.Decision, b.Verdict.Commit, b.Commit)
		if err != nil {
			a.Log.ErrorContext(ctx, "job is not cleared", "job", j.ID, "err", err)
			continue
		}
		out = append(out, dispatch.Job{
			ID: j.ID, Pipeline: j.PipelineID, Repository: pl.Repository, Queue: j.QueueID, Rules: j.Rules,
			Priority: j.Priority, ScheduledAt: j.ScheduledAt.UnixMicro(), Position: j.Position, Number: int64(j.Number),
			Clearance: clearance,
		})
	}
	return out, nil
}

func remember[T any](known map[string]T, id string, find func() (T, error)) (T, error) {
	if v, ok := known[id]; ok {
		return v, nil
	}
	v, err := find()
	if err == nil {
		known[id] = v
	}
	return v, err
}
