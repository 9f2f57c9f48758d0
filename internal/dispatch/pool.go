package dispatch

import (
	"cmp"
	"slices"
)

// pool is the free agents of one queue, best first, and who of them is taken.
type pool struct {
	agents []*Agent
	taken  []bool
	byID   map[string]int
	wanted map[rule][]int // agents that satisfy a rule some job has
}

// set is the agents that satisfy one set of rules.
type set struct {
	rules []string
	all   *shelf
	warm  map[warmth]*shelf
}

// warmth is what an agent of some priority last ran.
type warmth struct {
	rank                 rank
	pipeline, repository string // one of them
}

// rank is an agent's priority; agents without one share the zero rank, which
// comes last.
type rank struct {
	given bool
	value int
}

func (a *Agent) rank() rank {
	if a.Priority == nil {
		return rank{}
	}
	return rank{true, *a.Priority}
}

func compareRanks(a, b rank) int {
	if a.given != b.given {
		if a.given {
			return -1
		}
		return 1
	}
	return cmp.Compare(b.value, a.value)
}

func compareAgents(a, b *Agent) int {
	if c := compareRanks(a.rank(), b.rank()); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(b.LastSuccessAt, a.LastSuccessAt), cmp.Compare(a.ID, b.ID))
}

// newPool takes agents in order, and the jobs that will ask for them.
func newPool(agents []*Agent, jobs []request) *pool {
	p := &pool{
		agents: agents,
		taken:  make([]bool, len(agents)),
		byID:   make(map[string]int, len(agents)),
		wanted: map[rule][]int{},
	}
	p.declare(jobs)
	for i, a := range agents {
		p.byID[a.ID] = i
		p.index(i)
	}
	return p
}

// declare gives every job its set and notes what tags are asked for, so that
// only those are indexed.
func (p *pool) declare(jobs []request) {
	sets := map[string]*set{}
	var key []byte
	for i := range jobs {
		key = signature(key[:0], jobs[i].Rules)
		s := sets[string(key)]
		if s == nil {
			s = &set{rules: jobs[i].Rules}
			sets[string(key)] = s
			for _, r := range s.rules {
				p.wanted[parse(r)] = nil
			}
		}
		jobs[i].set = s
	}
}

func (p *pool) index(i int) {
	if len(p.wanted) == 0 {
		return
	}
	for _, tag := range p.agents[i].Tags {
		exact := parse(tag)
		p.add(exact, i)
		if exact.value != "" {
			p.add(rule{key: exact.key}, i)
		}
	}
}

// add keeps each list free of repetitions: an agent may have a key twice.
func (p *pool) add(r rule, i int) {
	list, wanted := p.wanted[r]
	if wanted && (len(list) == 0 || list[len(list)-1] != i) {
		p.wanted[r] = append(list, i)
	}
}

// candidates walks the shortest list that any of the rules has.
func (p *pool) candidates(rules []string) []int {
	if len(rules) == 0 {
		everyone := make([]int, len(p.agents))
		for i := range everyone {
			everyone[i] = i
		}
		return everyone
	}
	shortest := p.wanted[parse(rules[0])]
	for _, r := range rules[1:] {
		if list := p.wanted[parse(r)]; len(list) < len(shortest) {
			shortest = list
		}
	}
	var matching []int
	for _, i := range shortest {
		if Matches(rules, p.agents[i].Tags) {
			matching = append(matching, i)
		}
	}
	return matching
}

// exhausted reports that no agent of the set is free, which no later pick of
// the pass can change. The set is filled when it is first asked about.
func (p *pool) exhausted(s *set) bool {
	if s.all == nil {
		s.all = newShelf(p.candidates(s.rules))
	}
	return s.all.seek(p.taken, 0) == len(s.all.agents)
}

// pick takes the best free agent of the set for the job; there must be one.
func (p *pool) pick(s *set, j *Job) (*Agent, Reason) {
	i, reason := p.choose(s, j)
	p.taken[i] = true
	return p.agents[i], reason
}

// choose leaves the agents to avoid out only where it would choose one of them.
func (p *pool) choose(s *set, j *Job) (int, Reason) {
	i, reason := p.prefer(s, j, nil)
	avoid := p.findAll(j.AvoidAgents)
	if !slices.Contains(avoid, i) {
		return i, reason
	}
	if other, _ := p.prefer(s, j, avoid); other != none {
		return other, ReasonDifferent
	}
	return i, ReasonLastResort
}

// prefer chooses among the free agents of the set but those to avoid; none if there is no other.
func (p *pool) prefer(s *set, j *Job, avoid []int) (int, Reason) {
	best, second := s.all.best(p.taken, avoid)
	if best == none {
		return none, ""
	}
	top := p.agents[best].rank()
	if i := p.warmest(s, warmth{rank: top, pipeline: j.Pipeline}, avoid); i != none {
		return i, ReasonPipeline
	}
	if i := p.warmest(s, warmth{rank: top, repository: j.Repository}, avoid); i != none {
		return i, ReasonRepository
	}
	return best, p.coldReason(best, second)
}

func (p *pool) find(id string) int {
	if i, ok := p.byID[id]; ok {
		return i
	}
	return none
}

func (p *pool) findAll(ids []string) (found []int) {
	for _, id := range ids {
		if i := p.find(id); i != none {
			found = append(found, i)
		}
	}
	return found
}

func (p *pool) warmest(s *set, w warmth, avoid []int) int {
	if w.pipeline == "" && w.repository == "" {
		return none
	}
	if s.warm == nil {
		s.warm = p.sortByWarmth(s.all.agents)
	}
	if shelf := s.warm[w]; shelf != nil {
		i, _ := shelf.best(p.taken, avoid)
		return i
	}
	return none
}

func (p *pool) sortByWarmth(agents []int) map[warmth]*shelf {
	lists := map[warmth][]int{}
	for _, i := range agents {
		a := p.agents[i]
		if p.taken[i] {
			continue
		}
		if a.LastPipeline != "" {
			w := warmth{rank: a.rank(), pipeline: a.LastPipeline}
			lists[w] = append(lists[w], i)
		}
		if a.LastRepository != "" {
			w := warmth{rank: a.rank(), repository: a.LastRepository}
			lists[w] = append(lists[w], i)
		}
	}
	shelves := make(map[warmth]*shelf, len(lists))
	for w, list := range lists {
		shelves[w] = newShelf(list)
	}
	return shelves
}

// coldReason says what the best agent has that the second has not.
func (p *pool) coldReason(best, second int) Reason {
	if second == none {
		return ReasonOnly
	}
	a, b := p.agents[best], p.agents[second]
	switch {
	case a.rank() != b.rank():
		return ReasonPriority
	case a.LastSuccessAt != b.LastSuccessAt:
		return ReasonRecent
	default:
		return ReasonFree
	}
}
