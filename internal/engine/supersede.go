package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/condition"
	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

// intermediate is what a pipeline wants done with the older builds of a branch
// (https://buildkite.com/docs/pipelines/configure/skipping#skip-queued-intermediate-builds).
type intermediate struct {
	Skip         bool   `json:"skip_queued_branch_builds"`
	SkipFilter   string `json:"skip_queued_branch_builds_filter"`
	Cancel       bool   `json:"cancel_running_branch_builds"`
	CancelFilter string `json:"cancel_running_branch_builds_filter"`
}

func intermediateOf(pl store.Pipeline) intermediate {
	var s intermediate
	if json.Unmarshal(pl.Settings, &s) != nil {
		return intermediate{}
	}
	return s
}

func (s intermediate) skips(branch string) bool {
	return s.Skip && condition.MatchBranch(s.SkipFilter, branch)
}

func (s intermediate) cancels(branch string) bool {
	return s.Cancel && condition.MatchBranch(s.CancelFilter, branch)
}

// outdate notes in the build's own transaction that older ones of its branch are to be skipped now
// that it was made, or canceled now that it began. SupersedeOlder does so afterwards: here the older
// builds' rows would be locked behind this build's and its pipeline's, and every other operation
// locks a build first. A build that may not run outdates nothing.
func (p *progress) outdate(pl store.Pipeline) error {
	s := intermediateOf(pl)
	began := !p.build.StartedAt.IsZero()
	if began && !s.cancels(p.build.Branch) || !began && !s.skips(p.build.Branch) || requireAllow(p.build) != nil {
		return nil
	}
	due := store.SupersedeQueued
	if began {
		due = store.SupersedeRunning
	}
	p.hint(live.Supersede)
	return p.tx.SetSupersedes(p.ctx, p.build.ID, due)
}

// outdateOnStart is outdate for a build whose first job just began.
func (p *progress) outdateOnStart() error {
	pl, err := p.tx.PipelineByID(p.ctx, p.build.PipelineID)
	if err != nil {
		return err
	}
	return p.outdate(pl)
}

// SupersedeOlder skips the older builds of a build's branch that have not begun, and cancels those
// that have once the build itself has begun, as its pipeline wants it. It may be called again.
func (e *Engine) SupersedeOlder(ctx context.Context, due store.Superseder) error {
	b, err := e.Store.Build(ctx, due.BuildID)
	if err != nil {
		return missing(err, "No build found")
	}
	pl, err := e.Store.PipelineByID(ctx, b.PipelineID)
	if err != nil {
		return err
	}
	older, err := e.Store.OlderOpenBuilds(ctx, b)
	if err != nil {
		return err
	}
	for _, o := range older {
		err = errors.Join(err, e.supersede(ctx, o, b, pl))
	}
	if err != nil {
		return err
	}
	return e.Store.Update(ctx, func(tx *store.Tx) error { return tx.ClearSupersedes(ctx, due) })
}

// supersede ends one older build if the pipeline wants it.
func (e *Engine) supersede(ctx context.Context, older string, by store.Build, pl store.Pipeline) error {
	s := intermediateOf(pl)
	return e.onBuild(ctx, older, func(p *progress) error {
		if !supersedes(by, p.build) {
			return nil
		}
		ref := &store.BuildRef{ID: by.ID, Number: by.Number, Pipeline: pl.Slug}
		switch p.build.State {
		case ci.BuildCreating, ci.BuildScheduled:
			if s.skips(by.Branch) {
				return p.skipBuild(ref)
			}
		case ci.BuildRunning, ci.BuildFailing, ci.BuildBlocked:
			if s.cancels(by.Branch) && !by.StartedAt.IsZero() {
				p.build.Detail.SupersededBy = ref
				return p.cancelBuild(newer(ref))
			}
		}
		return nil
	})
}

// supersedes says whether a newer build of a branch may end an older one. What a stranger's code
// came to must not end what members made, and builds that one build triggered together are all wanted.
func supersedes(by, older store.Build) bool {
	from, other := by.Detail.TriggeredFrom, older.Detail.TriggeredFrom
	if from != nil && other != nil && from.ID == other.ID {
		return false
	}
	return by.Verdict.Profile == string(trust.ProfileMember) || older.Verdict.Profile != string(trust.ProfileMember)
}

// newer is who ended a build for a newer one.
func newer(ref *store.BuildRef) ci.Canceler {
	return ci.Canceler(fmt.Sprintf("newer build #%d", ref.Number))
}

// skipBuild ends a build that has not begun. One whose first job an agent has accepted has begun.
func (p *progress) skipBuild(by *store.BuildRef) error {
	jobs, err := p.tx.OpenJobs(p.ctx, p.build.ID)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		if j.State.Held() && j.State != ci.JobAssigned {
			return nil
		}
	}
	for _, j := range jobs {
		if err := p.skipJob(j, fmt.Sprintf("skipped for the newer build #%d", by.Number)); err != nil {
			return err
		}
	}
	if err := p.settle(); err != nil {
		return err
	}
	p.build.Jobs, p.build.Detail.SupersededBy, p.build.CanceledBy = p.tally, by, newer(by)
	return p.buildEvent(ci.BuildSuperseded{})
}

// skipJob ends a job that has not begun. One that an agent was only offered is taken back from it.
func (p *progress) skipJob(j store.Job, reason string) error {
	held := j.State.Held()
	j, err := p.apply(j, ci.JobSkip{Reason: reason})
	if err != nil || !held {
		return err
	}
	p.hint(live.Agent(j.AgentID))
	return p.freeAgent(j, false)
}
