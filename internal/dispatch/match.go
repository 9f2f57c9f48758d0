package dispatch

import (
	"cmp"
	"container/heap"
	"maps"
	"slices"
)

// Match pairs jobs with agents; the package comment says how. The result is
// ordered by queue id, then as it was decided.
func Match(s Snapshot) []Assignment {
	queues := gather(s)
	var out []Assignment
	for _, id := range slices.Sorted(maps.Keys(queues)) {
		out = queues[id].match(out)
	}
	return out
}

// queue is what one queue brings to a pass.
type queue struct {
	id     string
	jobs   []request
	agents []*Agent
	held   map[string]int // by pipeline
}

// request is a job with the agents that satisfy its rules.
type request struct {
	*Job
	set *set
}

// gather sorts cleared jobs and free agents by queue and leaves out queues
// that are paused or have no agent.
func gather(s Snapshot) map[string]*queue {
	queues := map[string]*queue{}
	for i := range s.Agents {
		if a := &s.Agents[i]; a.free() {
			q := queues[a.Queue]
			if q == nil {
				q = &queue{id: a.Queue, held: map[string]int{}}
				queues[a.Queue] = q
			}
			q.agents = append(q.agents, a)
		}
	}
	for _, q := range s.Queues {
		if q.Paused {
			delete(queues, q.ID)
		}
	}
	for i := range s.Jobs {
		if j := &s.Jobs[i]; queues[j.Queue] != nil && j.Clearance.granted {
			queues[j.Queue].jobs = append(queues[j.Queue].jobs, request{Job: j})
		}
	}
	for share, n := range s.Held {
		if q := queues[share.Queue]; q != nil {
			q.held[share.Pipeline] = n
		}
	}
	return queues
}

func compareJobs(a, b *Job) int {
	return cmp.Or(
		cmp.Compare(b.Priority, a.Priority),
		cmp.Compare(a.ScheduledAt, b.ScheduledAt),
		cmp.Compare(a.Position, b.Position),
		cmp.Compare(a.Number, b.Number),
		cmp.Compare(a.ID, b.ID),
	)
}

func (q *queue) match(out []Assignment) []Assignment {
	if len(q.jobs) == 0 {
		return out
	}
	slices.SortFunc(q.jobs, func(a, b request) int { return compareJobs(a.Job, b.Job) })
	slices.SortFunc(q.agents, compareAgents)
	p := newPool(q.agents, q.jobs)
	for rest := q.jobs; len(rest) > 0; {
		n := slices.IndexFunc(rest, func(j request) bool { return j.Priority != rest[0].Priority })
		if n < 0 {
			n = len(rest)
		}
		out = q.share(p, rest[:n], out)
		rest = rest[n:]
	}
	return out
}

// share serves the jobs of one priority, each time the pipeline with the
// fewest.
func (q *queue) share(p *pool, jobs []request, out []Assignment) []Assignment {
	lanes := q.lanes(jobs)
	for len(lanes) > 0 {
		l := lanes[0]
		if next := l.jobs[0]; !p.exhausted(next.set) {
			agent, reason := p.pick(next.set, next.Job)
			out = append(out, Assignment{next.ID, agent.ID, reason})
			l.held++
			q.held[l.pipeline] = l.held
		}
		if l.jobs = l.jobs[1:]; len(l.jobs) == 0 {
			heap.Pop(&lanes)
		} else {
			heap.Fix(&lanes, 0)
		}
	}
	return out
}

// lane is the jobs of one pipeline and priority, in order.
type lane struct {
	pipeline string
	held     int
	jobs     []request
}

type lanes []*lane

func (q *queue) lanes(jobs []request) lanes {
	byPipeline := map[string]*lane{}
	var all lanes
	for _, j := range jobs {
		l := byPipeline[j.Pipeline]
		if l == nil {
			l = &lane{pipeline: j.Pipeline, held: q.held[j.Pipeline]}
			byPipeline[j.Pipeline] = l
			all = append(all, l)
		}
		l.jobs = append(l.jobs, j)
	}
	heap.Init(&all)
	return all
}

func (l lanes) Len() int      { return len(l) }
func (l lanes) Swap(i, k int) { l[i], l[k] = l[k], l[i] }
func (l *lanes) Push(x any)   { *l = append(*l, x.(*lane)) }
func (l *lanes) Pop() any {
	last := (*l)[len(*l)-1]
	*l = (*l)[:len(*l)-1]
	return last
}

func (l lanes) Less(i, k int) bool {
	if l[i].held != l[k].held {
		return l[i].held < l[k].held
	}
	return compareJobs(l[i].jobs[0].Job, l[k].jobs[0].Job) < 0
}
