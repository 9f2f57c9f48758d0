package ci

// Graph is a whole build: what Recompute derives everything from.
type Graph struct {
	Steps []Step
	Edges []Edge
	Jobs  []JobOfStep // latest attempts only
}

// JobOfStep is a job and the step it belongs to.
type JobOfStep struct {
	Job
	StepID string
}

// Recompute returns the steps with the tallies that the graph's jobs and edges amount to, and the
// build's tally. It costs the size of the build.
func Recompute(g Graph) ([]Step, Tally) {
	steps, index := clearedSteps(g.Steps)
	var total Tally
	for _, j := range g.Jobs {
		c := j.Class()
		total[c]++
		s := &steps[index[j.StepID]]
		s.Jobs[c]++
		if s.GroupID != "" {
			steps[index[s.GroupID]].Jobs[c]++
		}
	}
	countEdges(steps, index, g.Edges)
	return steps, total
}

func clearedSteps(in []Step) ([]Step, map[string]int) {
	steps, index := make([]Step, len(in)), make(map[string]int, len(in))
	for i, s := range in {
		s.Deps, s.Jobs = Deps{}, Tally{}
		steps[i], index[s.ID] = s, i
	}
	return steps, index
}

// countEdges counts edges until nothing changes: whether a wait passed over a failure depends on
// its own dependencies, and a gate on its group's.
func countEdges(steps []Step, index map[string]int, edges []Edge) {
	for range len(steps) + 1 {
		deps := make([]Deps, len(steps))
		for _, e := range edges {
			to := index[e.To]
			w := e.weigh(steps[to], steps[index[e.From]].Signal())
			deps[to] = deps[to].add(w, 1)
		}
		changed := false
		for i := range steps {
			changed = changed || steps[i].Deps != deps[i]
			steps[i].Deps = deps[i]
		}
		if !changed {
			return
		}
	}
}
