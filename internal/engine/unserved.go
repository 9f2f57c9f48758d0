package engine

import (
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/dispatch"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
)

const (
	// maxUnserved is how many steps without an agent a build remembers.
	maxUnserved = 50
	// firstAgents is how many agents of a queue are looked at before all of the cluster are: nearly
	// always one of the first few will do.
	firstAgents = 20
)

// warnUnserved notes on the build for which of a plan's steps, whose ids are given, no agent is there.
// Of steps that want the same it names the first. Such a step is not refused: its agent may come.
func (p *progress) warnUnserved(plan pipeline.Plan, ids []string, at placement) error {
	file := ""
	if at.uploader == nil {
		file = documentName(p.build)
	}
	asked := map[string]bool{}
	var all *Roster
	for i := range plan.Steps {
		f := p.fresh[ids[i]]
		if f == nil {
			continue
		}
		for _, j := range f.jobs {
			need := j.QueueID + "\n" + strings.Join(j.Rules, "\n")
			if j.Kind != ci.JobScript || j.State.Terminal() || asked[need] || len(p.build.Detail.Unserved) >= maxUnserved {
				continue
			}
			asked[need] = true
			served, err := p.servedBy(j, &all)
			if err != nil {
				return err
			}
			if !served {
				why := all.Standing(allowed, j.QueueID, j.Rules).Why
				p.build.Detail.Unserved = append(slices.Clip(p.build.Detail.Unserved), store.Unserved{
					StepID: ids[i], QueueID: j.QueueID, Rules: j.Rules, Warning: pipeline.Unserved(plan.Steps[i], file, why).String(),
				})
			}
		}
	}
	return nil
}

// documentName is what a build's own document is called in messages.
func documentName(b store.Build) string {
	switch b.Detail.PlannedBy {
	case "configuration":
		return "configuration"
	case "repository":
		return b.Detail.PlannedFrom
	}
	return ""
}

// servedBy says whether an agent is there for a job. If not, all is the cluster's roster.
func (p *progress) servedBy(j store.Job, all **Roster) (bool, error) {
	look := firstAgents
	if len(j.Rules) == 0 {
		look = 1 // any will do
	}
	first, err := p.tx.TagsInQueue(p.ctx, j.QueueID, look)
	if err != nil {
		return false, err
	}
	if slices.ContainsFunc(first, func(tags []string) bool { return dispatch.Matches(j.Rules, tags) }) {
		return true, nil
	}
	if *all == nil {
		pl, err := p.pipeline()
		if err != nil {
			return false, err
		}
		if *all, err = p.e.roster(p.ctx, p.tx.Reader, pl.ClusterID); err != nil {
			return false, err
		}
	}
	return (*all).Serves(j.QueueID, j.Rules), nil
}

// forgetUnserved drops what is noted of a step that is taken out of the build.
func (p *progress) forgetUnserved(stepID string) {
	d := &p.build.Detail
	d.Unserved = slices.DeleteFunc(slices.Clone(d.Unserved), func(u store.Unserved) bool { return u.StepID == stepID })
}

// Unserved are a build's steps for which no agent was there when they were planned: those that wait for
// one still, and those for which one is there now or none is needed any more. The roster of a finished
// build may be nil, and that of one without such steps.
func (r *Roster) Unserved(b store.Build) (waiting, passed []store.Unserved) {
	for _, u := range b.Detail.Unserved {
		if b.State.Finished() || r.Serves(u.QueueID, u.Rules) {
			passed = append(passed, u)
		} else {
			waiting = append(waiting, u)
		}
	}
	return waiting, passed
}
