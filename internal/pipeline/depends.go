package pipeline

import (
	"fmt"
	"strings"
)

// dependencyRef remembers where a dependency was written, to report it once all keys are known.
type dependencyRef struct {
	key   string
	at    Position
	where string
}

// dependsOn reads depends_on, which has three states: absent (implicit dependencies apply), null or
// empty (no dependency at all), and a list, which replaces the implicit ones.
func (p *planner) dependsOn(s *Step, body object) {
	v := body.get("depends_on")
	s.Implicit = v.absent()
	entries := v.items()
	switch {
	case v.unset():
		return
	case v.isString() || v.isObject():
		entries = []value{v}
	case !v.isList():
		p.add(v.position(), "`depends_on` must be the key of a step, or a list of keys")
	}
	seen := map[string]bool{}
	for _, entry := range entries {
		d, ok := p.dependency(entry)
		if !ok || seen[d.Step] {
			continue
		}
		seen[d.Step] = true
		s.DependsOn = append(s.DependsOn, d)
		p.refs = append(p.refs, dependencyRef{d.Step, entry.position(), p.where})
	}
}

func (p *planner) dependency(v value) (Dependency, bool) {
	var d Dependency
	if v.isObject() {
		o := v.object()
		d.Step = p.text(o.get("step"), "step")
		d.Explicit = !o.get("allow_failure").unset()
		d.AllowFailure = p.flag(o, "allow_failure")
		for _, f := range o.fields {
			if f.name != "step" && f.name != "allow_failure" {
				p.add(o.at.keyPosition(f.name), "`%s` is not a valid property of an entry of `depends_on`", f.name)
			}
		}
	} else {
		d.Step = p.text(v, "depends_on")
	}
	if !keyPattern.MatchString(d.Step) {
		p.add(v.position(), "`step` may only contain alphanumeric characters, slashes, dashes or underscores")
		return d, false
	}
	return d, true
}

// dependencies refuses keys that neither the document nor the build has.
func (p *planner) dependencies() {
	for _, ref := range p.refs {
		if _, ok := p.keys[ref.key]; ok {
			continue
		}
		if p.facts.UsedKeys == nil || !p.facts.UsedKeys(ref.key) {
			p.where = ref.where
			if p.facts.anyKey {
				p.warn(ref.at, "the step that it depends on, %q, must come from another upload of the build", ref.key)
				continue
			}
			p.add(ref.at, "step dependencies not found: no step of this build has the key %q", ref.key)
		}
	}
}

// cycles refuses steps that wait for each other and would never run.
func (p *planner) cycles() {
	p.where = ""
	g := newGraph(p.plan.Steps, p.keys)
	cycle := g.cycle()
	if cycle == nil {
		return
	}
	names := make([]string, 0, len(cycle)+1)
	for _, i := range cycle {
		names = append(names, stepName(p.plan.Steps[i]))
	}
	names = append(names, names[0])
	p.add(p.plan.Steps[cycle[0]].Pos, "these steps wait for each other and would never run: %s", strings.Join(names, " → "))
}

func stepName(s Step) string {
	for _, name := range []string{s.Key, s.Label} {
		if name != "" {
			return name
		}
	}
	if s.Pos.Line > 0 {
		return fmt.Sprintf("the %s step on line %d", s.Kind, s.Pos.Line)
	}
	return "a " + string(s.Kind) + " step"
}

// graph holds the dependencies among the steps of one plan. Node n+i is the end of group i: it
// comes after all members, while node i comes before them.
type graph struct {
	edges [][]int
	steps []Step
}

func newGraph(steps []Step, keys map[string]int) graph {
	g := graph{make([][]int, 2*len(steps)), steps}
	for i, s := range steps {
		for _, d := range s.DependsOn {
			if j, ok := keys[d.Step]; ok && j < len(steps) {
				g.edges[i] = append(g.edges[i], g.end(j))
			}
		}
		if s.Group >= 0 {
			g.edges[i] = append(g.edges[i], s.Group)
			g.edges[len(steps)+s.Group] = append(g.edges[len(steps)+s.Group], i)
		}
	}
	for _, members := range scopes(steps) {
		for k, deps := range ImplicitDependencies(scopeSteps(steps, members)) {
			for _, j := range deps {
				g.edges[members[k]] = append(g.edges[members[k]], g.end(members[j]))
			}
		}
	}
	return g
}

func (g graph) end(i int) int {
	if g.steps[i].Kind == Group {
		return len(g.steps) + i
	}
	return i
}

// scopes are the indices of the steps of the top level and of each group.
func scopes(steps []Step) map[int][]int {
	m := map[int][]int{}
	for i, s := range steps {
		m[s.Group] = append(m[s.Group], i)
	}
	return m
}

func scopeSteps(steps []Step, indices []int) []ScopeStep {
	list := make([]ScopeStep, len(indices))
	for k, i := range indices {
		list[k] = steps[i].Scope()
	}
	return list
}

// cycle returns the steps of one cycle in the order in which they wait, or nil. It keeps its own
// stack, for a plan may be a chain of many thousand steps.
func (g graph) cycle() []int {
	const fresh, open, done = 0, 1, 2
	state := make([]uint8, len(g.edges))
	next := make([]int, len(g.edges))
	for start := range g.edges {
		if state[start] != fresh {
			continue
		}
		stack := []int{start}
		state[start] = open
		for len(stack) > 0 {
			n := stack[len(stack)-1]
			if next[n] == len(g.edges[n]) {
				state[n], stack = done, stack[:len(stack)-1]
				continue
			}
			m := g.edges[n][next[n]]
			next[n]++
			switch state[m] {
			case open:
				return g.named(stack, m)
			case fresh:
				state[m] = open
				stack = append(stack, m)
			}
		}
	}
	return nil
}

// named cuts the cycle that closes at node m out of the stack, each step once.
func (g graph) named(stack []int, m int) []int {
	var cycle []int
	seen := map[int]bool{}
	for i := len(stack) - 1; i >= 0; i-- {
		if stack[i] == m {
			stack = stack[i:]
			break
		}
	}
	for _, n := range stack {
		if step := n % len(g.steps); !seen[step] {
			seen[step] = true
			cycle = append(cycle, step)
		}
	}
	return cycle
}
