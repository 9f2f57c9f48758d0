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
	// largeFleet is how many agents of a cluster are too many to be looked at while others wait: some 2 ms.
	largeFleet = 500
)

// want is what a step's jobs ask of an agent.
type want struct {
	step  int // of the plan
	queue string
	rules []string
}

func (w want) key() string { return w.queue + "\n" + strings.Join(w.rules, "\n") }

// warnUnserved notes on the build for which of a plan's steps, whose ids are given, no agent is there.
// Of steps that want the same it names the first. Such a step is not refused: its agent may come.
func (p *progress) warnUnserved(plan pipeline.Plan, ids []string, at placement) error {
	file := ""
	if at.uploader == nil {
		file = documentName(p.build)
	}
	wants, err := p.doubtful(ids)
	if err != nil || len(wants) == 0 {
		return err
	}
	standings, err := p.standings(wants)
	if err != nil {
		return err
	}
	for _, w := range wants {
		why, unserved := standings[w.key()]
		if !unserved || len(p.build.Detail.Unserved) >= maxUnserved {
			continue
		}
		p.build.Detail.Unserved = append(slices.Clip(p.build.Detail.Unserved), store.Unserved{
			StepID: ids[w.step], QueueID: w.queue, Rules: w.rules, Warning: pipeline.Unserved(plan.Steps[w.step], file, why).String(),
		})
	}
	return nil
}

// doubtful are up to maxUnserved different wants of fresh steps that none of the first agents of their queue meets.
func (p *progress) doubtful(ids []string) (out []want, err error) {
	asked := map[string]bool{}
	for i, id := range ids {
		f := p.fresh[id]
		if f == nil {
			continue
		}
		for _, j := range f.jobs {
			w := want{i, j.QueueID, j.Rules}
			if j.Kind != ci.JobScript || j.State.Terminal() || asked[w.key()] || len(out) >= maxUnserved {
				continue
			}
			asked[w.key()] = true
			served, err := p.servedByFirst(w)
			if err != nil {
				return nil, err
			}
			if !served {
				out = append(out, w)
			}
		}
	}
	return out, nil
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

// servedByFirst says whether one of the first agents of a queue meets a want.
func (p *progress) servedByFirst(w want) (bool, error) {
	look := firstAgents
	if len(w.rules) == 0 {
		look = 1 // any will do
	}
	first, err := p.tx.TagsInQueue(p.ctx, w.queue, look)
	return slices.ContainsFunc(first, func(tags []string) bool { return dispatch.Matches(w.rules, tags) }), err
}

// standings says, by their keys, of wants that no agent and no stack meets why that is. All agents of the cluster are looked at: a large
// fleet by the draft, outside of the transaction, which keeps others waiting.
func (p *progress) standings(wants []want) (map[string]string, error) {
	pl, err := p.pipeline()
	if err != nil {
		return nil, err
	}
	if p.draft != nil {
		large, err := p.tx.ManyAgents(p.ctx, pl.ClusterID, largeFleet)
		if err != nil {
			return nil, err
		}
		if large {
			return p.draft.standings(pl.ClusterID, wants)
		}
	}
	r, err := p.e.roster(p.ctx, p.tx.Reader, pl.ClusterID)
	if err != nil {
		return nil, err
	}
	return r.unmet(wants), nil
}

func (r *Roster) unmet(wants []want) map[string]string {
	out := map[string]string{}
	for _, w := range wants {
		if !r.Serves(w.queue, w.rules) {
			out[w.key()] = r.unserved(w.queue, w.rules)
		}
	}
	return out
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
