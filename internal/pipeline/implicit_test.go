package pipeline

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestImplicitDependencies(t *testing.T) {
	t.Parallel()
	steps := func(kinds ...Kind) []ScopeStep {
		list := make([]ScopeStep, len(kinds))
		for i, k := range kinds {
			list[i] = ScopeStep{Kind: k, Implicit: true}
		}
		return list
	}
	explicit := func(list []ScopeStep, at int) []ScopeStep { list[at].Implicit = false; return list }
	omitted := func(list []ScopeStep, at int) []ScopeStep { list[at].Omitted = true; return list }
	for name, c := range map[string]struct {
		steps []ScopeStep
		want  [][]int
	}{
		"nothing gates without waits":       {steps(Command, Trigger, Group), [][]int{nil, nil, nil}},
		"wait":                              {steps(Command, Command, Wait, Command), [][]int{nil, nil, {0, 1}, {2}}},
		"second wait reaches through first": {steps(Command, Wait, Command, Wait), [][]int{nil, {0}, {1}, {1, 2}}},
		"consecutive waits":                 {steps(Command, Wait, Wait, Command), [][]int{nil, {0}, {1}, {2}}},
		"block":                             {steps(Command, Block, Command), [][]int{nil, {0}, {1}}},
		"input":                             {steps(Command, Input, Wait, Input, Command), [][]int{nil, nil, {0}, nil, {2}}},
		"explicit step is waited for":       {explicit(steps(Wait, Command, Wait), 1), [][]int{nil, nil, {0, 1}}},
		"explicit wait covers nothing":      {explicit(steps(Command, Wait, Command, Wait), 1), [][]int{nil, nil, {1}, {0, 1, 2}}},
		"wait before block":                 {steps(Command, Wait, Block, Command), [][]int{nil, nil, {0}, {2}}},
		"wait after block":                  {steps(Command, Block, Wait, Command), [][]int{nil, {0}, nil, {1}}},
		"waits around block":                {steps(Command, Wait, Wait, Block, Wait, Command), [][]int{nil, nil, nil, {0}, nil, {3}}},
		"input between wait and block":      {steps(Command, Wait, Input, Block), [][]int{nil, {0}, nil, {1}}},
		"omitted wait":                      {omitted(steps(Command, Wait, Command), 1), [][]int{nil, nil, nil}},
		"omitted block leaves the wait":     {omitted(steps(Command, Wait, Block, Command), 2), [][]int{nil, {0}, nil, {1}}},
		"omitted command is harmless":       {omitted(steps(Command, Wait, Command), 0), [][]int{nil, {0}, {1}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, ImplicitDependencies(c.steps)); diff != "" {
				t.Errorf("dependencies (-want +got):\n%s", diff)
			}
		})
	}
}

// TestImplicitDependenciesMeanEverythingBefore holds the sparse edges against the definition that
// people know: a wait or block waits for everything before it, and a step for the nearest of them.
func TestImplicitDependenciesMeanEverythingBefore(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) ScopeStep {
			return ScopeStep{
				Kind:     rapid.SampledFrom([]Kind{Command, Command, Wait, Block, Input, Trigger, Group}).Draw(t, "kind"),
				Implicit: rapid.IntRange(0, 3).Draw(t, "implicit") > 0,
				Omitted:  rapid.IntRange(0, 4).Draw(t, "omitted") == 0,
			}
		}), 0, 30).Draw(t, "steps")
		deps := ImplicitDependencies(steps)
		reach, edges := reachable(deps), 0
		for i := range steps {
			edges += len(deps[i])
			for j := range steps {
				if got, want := reach[i][j], impliedBy(steps, deps, reach, i, j); got != want {
					t.Fatalf("step %d reaches step %d: %v, want %v\nsteps %+v\nedges %v", i, j, got, want, steps, deps)
				}
			}
		}
		if edges > 2*len(steps) {
			t.Fatalf("%d edges for %d steps", edges, len(steps))
		}
	})
}

// reachable is the transitive closure of edges that point backwards.
func reachable(deps [][]int) [][]bool {
	reach := make([][]bool, len(deps))
	for i, list := range deps {
		reach[i] = make([]bool, len(deps))
		for _, j := range list {
			reach[i][j] = true
			for k := range reach[j] {
				reach[i][k] = reach[i][k] || reach[j][k]
			}
		}
	}
	return reach
}

// impliedBy is the definition: must step i wait for step j?
func impliedBy(steps []ScopeStep, _ [][]int, reach [][]bool, i, j int) bool {
	s := steps[i]
	if !s.Implicit || s.Kind == Input || j >= i || !counts(steps, j) {
		return false
	}
	if s.Kind == Wait || s.Kind == Block {
		return gates(steps, i)
	}
	for k := i - 1; k >= 0; k-- {
		if gates(steps, k) {
			return j == k || reach[k][j]
		}
	}
	return false
}

// counts says whether a wait waits for step j.
func counts(steps []ScopeStep, j int) bool {
	switch steps[j].Kind {
	case Input:
		return false
	case Wait, Block:
		return gates(steps, j)
	}
	return true
}

// gates says whether step i is a wait or block that is in force.
func gates(steps []ScopeStep, i int) bool {
	s := steps[i]
	if s.Omitted || s.Kind != Wait && s.Kind != Block {
		return false
	}
	return s.Kind == Block || !touchesBlock(steps, i, 1) && !touchesBlock(steps, i, -1)
}

func touchesBlock(steps []ScopeStep, i, by int) bool {
	for i += by; i >= 0 && i < len(steps); i += by {
		switch {
		case steps[i].Omitted && (steps[i].Kind == Wait || steps[i].Kind == Block):
		case steps[i].Kind == Block:
			return true
		case steps[i].Kind != Wait:
			return false
		}
	}
	return false
}
