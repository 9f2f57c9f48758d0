package engine

import (
	"slices"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/store"
)

// waits says who waits for what in a build whose plan is being added, as a graph from each step to
// those that cannot end before it. A group is two nodes: what its dependencies amount to, which its
// members wait for, and its end, which waits for its members.
type waits map[string][]string

func begun(group string) string { return "begun " + group }

// waits reads the whole build. It is only called where an upload depends on steps that have not
// ended, besides the one that uploads: nothing else can make a cycle.
func (p *progress) waits() (waits, error) {
	steps, err := p.tx.Steps(p.ctx, p.build.ID)
	if err != nil {
		return nil, err
	}
	edges, err := p.tx.Edges(p.ctx, p.build.ID)
	if err != nil {
		return nil, err
	}
	for _, f := range p.fresh {
		steps, edges = append(steps, *f.step), append(edges, f.out...)
	}
	w, ended, groups := waits{}, map[string]bool{}, map[string]bool{}
	for _, s := range steps {
		if now, ok := p.steps[s.ID]; ok {
			s = *now // with what this transaction has changed
		}
		ended[s.ID], groups[s.ID] = s.End() != ci.NotEnded, s.Kind == ci.StepGroup
		if s.GroupID != "" {
			w.add(s.ID, s.GroupID)
		}
	}
	for _, e := range append(edges, p.into...) {
		if ended[e.To] {
			continue
		}
		w.edge(e, groups[e.To])
	}
	return w, nil
}

func (w waits) add(from, to string) { w[from] = append(w[from], to) }

func (w waits) edge(e store.Edge, toGroup bool) {
	from, to := e.From, e.To
	if e.Gate {
		from = begun(from)
	}
	if toGroup {
		to = begun(to)
	}
	w.add(from, to)
}

// behind returns every node that waits for some, directly or not.
func (w waits) behind(ids ...string) map[string]bool {
	seen := map[string]bool{}
	for todo := slices.Clone(ids); len(todo) > 0; {
		next := w[todo[0]]
		todo = todo[1:]
		for _, n := range next {
			if !seen[n] {
				seen[n] = true
				todo = append(todo, n)
			}
		}
	}
	return seen
}

// dependsOnOpen says whether a fresh step depends on a step of the build that has not ended, other
// than the one that uploads.
func (p *progress) dependsOnOpen(uploader *store.Step) bool {
	for _, e := range p.into {
		if e.From != uploader.ID && p.steps[e.From].End() == ci.NotEnded {
			return true
		}
	}
	return false
}

// refuseCycles refuses fresh steps that would wait for themselves: members of the uploading step's
// group that depend on what waits for the group.
func (p *progress) refuseCycles(w waits) error {
	for _, e := range p.into {
		to := p.steps[e.To]
		node := to.ID
		if to.Kind == ci.StepGroup {
			node = begun(to.ID)
		}
		if w.behind(node)[node] {
			return refuse(Invalid, "the step %q depends on %q, which waits for it", firstNonEmpty(to.Key, to.Label), p.steps[e.From].Key)
		}
	}
	return nil
}
