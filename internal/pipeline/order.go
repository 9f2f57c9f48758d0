package pipeline

import (
	"slices"
	"strings"
)

// order is how the steps of a plan wait for each other.
type order struct {
	after [][]int // direct dependencies; a group stands for all its members
	stage []int   // length of the longest chain of steps before each
}

// maxReduced is how many steps a plan may have for edges to be left out that follow from others.
const maxReduced = 2000

// orderOf works with the nodes of the graph, where n+i is the end of group i.
func orderOf(steps []Step) order {
	keys := map[string]int{}
	for i, s := range steps {
		if s.Key != "" {
			keys[s.Key] = i
		}
	}
	g := newGraph(steps, keys)
	o := order{after: make([][]int, len(steps))}
	ranks := g.ranks()
	o.stage = ranks[:len(steps)]
	if len(steps) <= maxReduced {
		g.reduce()
	}
	for i := range steps {
		for _, m := range g.edges[i] {
			if m != steps[i].Group {
				o.after[i] = append(o.after[i], m%len(steps))
			}
		}
		slices.Sort(o.after[i])
		o.after[i] = slices.Compact(o.after[i])
	}
	return o
}

// ranks are the lengths of the longest chains of steps before each node; groups count for nothing.
func (g graph) ranks() []int {
	rank, done := make([]int, len(g.edges)), make([]bool, len(g.edges))
	for start := range g.edges {
		stack := []int{start}
		for len(stack) > 0 {
			n := stack[len(stack)-1]
			ready := true
			for _, m := range g.edges[n] {
				if !done[m] {
					stack, ready = append(stack, m), false
				}
			}
			if !ready {
				continue
			}
			for _, m := range g.edges[n] {
				rank[n] = max(rank[n], rank[m]+g.weight(m))
			}
			done[n], stack = true, stack[:len(stack)-1]
		}
	}
	return rank
}

func (g graph) weight(n int) int {
	if g.steps[n%len(g.steps)].Kind == Group {
		return 0
	}
	return 1
}

// reduce leaves out edges that lead where a longer path leads too. The graph has no cycle.
func (g graph) reduce() {
	words := (len(g.edges) + 63) / 64
	below := make([][]uint64, len(g.edges))
	var reach func(n int) []uint64
	reach = func(n int) []uint64 {
		if below[n] != nil {
			return below[n]
		}
		set := make([]uint64, words)
		for _, m := range g.edges[n] {
			set[m/64] |= 1 << (m % 64)
			for w, bits := range reach(m) {
				set[w] |= bits
			}
		}
		below[n] = set
		return set
	}
	for n := range g.edges {
		reach(n)
	}
	for n, list := range g.edges {
		var kept []int
		for _, m := range list {
			if !slices.ContainsFunc(list, func(o int) bool { return below[o][m/64]&(1<<(m%64)) != 0 }) {
				kept = append(kept, m)
			}
		}
		g.edges[n] = kept
	}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return strings.TrimSpace(line)
}
