package pipeline

// ScopeStep is what implicit dependencies depend on: a step of one scope, which is the top level of
// a build or the body of a group.
type ScopeStep struct {
	Kind     Kind
	Implicit bool // it has no depends_on of its own
	// Omitted is a step that never runs. An omitted wait or block gates nothing.
	Omitted bool
}

// Scope is the step's part in the scope it stands in.
func (s Step) Scope() ScopeStep {
	return ScopeStep{Kind: s.Kind, Implicit: s.Implicit, Omitted: s.Broken != "" || s.Skip != ""}
}

// ImplicitDependencies returns, for each step of a scope in pipeline order, the indices of the steps
// it implicitly depends on, in ascending order. Waits and blocks are nodes, so that there are at
// most two edges for every step on average, never one for every pair.
//
//   - A command, trigger or group depends on the nearest wait or block before it.
//   - A wait or block depends on all steps before it: on those since the last wait or block whose
//     own dependencies are implicit, and on that one, through which it reaches the rest.
//   - An input depends on nothing, and nothing depends on an input.
//   - A step that is not Implicit depends on nothing here, but a later wait still waits for it.
//   - A wait that touches a block, alone or through other waits, is dropped: it depends on nothing,
//     gates nothing and passes at once; the steps around it see the block only.
//   - An omitted wait or block is as absent: it depends on nothing and gates nothing.
//
// A group stands for its members: whoever depends on it depends on all of them, and each of them
// depends on whatever the group depends on, besides what this function says for the group's body.
//
// https://buildkite.com/docs/pipelines/configure/dependencies
func ImplicitDependencies(steps []ScopeStep) [][]int {
	deps := make([][]int, len(steps))
	dropped := droppedWaits(steps)
	gate := -1        // nearest wait or block
	var pending []int // what an implicit wait at this place would depend on
	for i, s := range steps {
		switch {
		case dropped[i], s.Omitted && s.barrier(), s.Kind == Input:
			continue
		case s.barrier():
			if s.Implicit {
				deps[i], pending = pending, nil
			}
			gate = i
		case s.Implicit && gate >= 0:
			deps[i] = []int{gate}
		}
		pending = append(pending, i)
	}
	return deps
}

func (s ScopeStep) barrier() bool { return s.Kind == Wait || s.Kind == Block }

// droppedWaits marks the waits of every run of waits and blocks that has a block in it.
func droppedWaits(steps []ScopeStep) []bool {
	dropped := make([]bool, len(steps))
	var run []int
	block := false
	end := func() {
		for _, i := range run {
			dropped[i] = block
		}
		run, block = nil, false
	}
	for i, s := range steps {
		switch {
		case s.Omitted && s.barrier():
		case s.Kind == Wait:
			run = append(run, i)
		case s.Kind == Block:
			block = true
		default:
			end()
		}
	}
	end()
	return dropped
}
