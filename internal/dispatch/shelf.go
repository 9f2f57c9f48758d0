package dispatch

import "slices"

// none stands for no agent.
const none = -1

// shelf is a list of agents, best first, from which agents vanish as they are
// taken. Finding the first that is left costs close to nothing however many
// have gone: skip remembers, for a place whose agent is taken, a later place
// with nothing free before it. That holds because no agent comes back within a
// pass.
type shelf struct {
	agents []int
	skip   []int
}

func newShelf(agents []int) *shelf { return &shelf{agents, make([]int, len(agents))} }

// seek is the first place from start on whose agent is free, or the length.
func (s *shelf) seek(taken []bool, start int) int {
	end := start
	for end < len(s.agents) && taken[s.agents[end]] {
		end = max(end+1, s.skip[end])
	}
	for i := start; i < end; {
		next := max(i+1, s.skip[i])
		s.skip[i] = end
		i = next
	}
	return end
}

// best gives the two best free agents but those to avoid.
func (s *shelf) best(taken []bool, avoid []int) (first, second int) {
	first, at := s.next(taken, 0, avoid)
	second, _ = s.next(taken, at+1, avoid)
	return first, second
}

func (s *shelf) next(taken []bool, start int, avoid []int) (agent, at int) {
	for at = s.seek(taken, start); at < len(s.agents); at = s.seek(taken, at+1) {
		if !slices.Contains(avoid, s.agents[at]) {
			return s.agents[at], at
		}
	}
	return none, at
}
