package agent

import (
	"slices"
	"sync"
)

// feed is what the server wants of a worker, as its stream and pings tell.
// Disconnecting is final; of pauses and resumes the last one counts; jobs queue
// up, and one that the worker took on is not given to it again.
type feed struct {
	mu         sync.Mutex
	jobs       []string
	taken      []string // the last few that the worker took on
	paused     bool
	disconnect bool
	streaming  bool
	down       bool // the stream failed at least once
	wake       chan struct{}
}

func newFeed() *feed { return &feed{wake: make(chan struct{}, 1)} }

func (f *feed) update(change func()) {
	f.mu.Lock()
	change()
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *feed) resume()         { f.update(func() { f.paused = false }) }
func (f *feed) pause()          { f.update(func() { f.paused = true }) }
func (f *feed) stop()           { f.update(func() { f.disconnect = true }) }
func (f *feed) healthy(ok bool) { f.update(func() { f.streaming, f.down = ok, !ok }) }

func (f *feed) assign(job string) {
	f.update(func() {
		f.paused = false
		if job != "" && !slices.Contains(f.jobs, job) && !slices.Contains(f.taken, job) {
			f.jobs = append(f.jobs, job)
		}
	})
}

// release makes a job that could not be accepted, or not be started, welcome again.
func (f *feed) release(job string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.taken = slices.DeleteFunc(f.taken, func(id string) bool { return id == job })
}

// remembered is how many jobs are known, to drop late repetitions.
const remembered = 16

// next is what to do now.
type next struct {
	job                                 string
	paused, disconnect, streaming, down bool
}

func (f *feed) next() next {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := next{paused: f.paused, disconnect: f.disconnect, streaming: f.streaming, down: f.down}
	if !f.paused && !f.disconnect && len(f.jobs) > 0 {
		n.job, f.jobs = f.jobs[0], f.jobs[1:]
		f.taken = append(f.taken[max(0, len(f.taken)+1-remembered):], n.job)
	}
	return n
}
