package worker

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

const (
	maxAside   = 10_000 // jobs remembered; beyond it all are forgotten
	asideTries = 16     // in vain, of one queue in a pass
)

// aside remembers the jobs that could not be offered to the agent that they were matched with. They come after all others, each by
// itself, so that they take no agent from jobs that can be offered. It is a memory only.
type aside struct {
	mu   sync.Mutex
	turn int
	jobs map[string]setAside // by id
	err  error               // of this pass
}

type setAside struct {
	store.WaitingJob
	turn int // of the last try
}

// note remembers the jobs of offers that failed, and forgets those of others.
func (s *aside) note(jobs map[string]store.WaitingJob, offers []engine.Offer, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.jobs) > maxAside || s.jobs == nil {
		s.jobs = map[string]setAside{}
	}
	s.err = errors.Join(s.err, err)
	for _, o := range offers {
		if err == nil {
			delete(s.jobs, o.JobID)
			continue
		}
		s.turn++
		s.jobs[o.JobID] = setAside{jobs[o.JobID], s.turn}
	}
}

// failed returns what went wrong since it was asked last.
func (s *aside) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.err
	s.err = nil
	return err
}

func (s *aside) has(j store.WaitingJob) bool { _, ok := s.jobs[j.ID]; return ok }

// count says how many jobs of a lane are set aside.
func (s *aside) count(queueID, lane string) (n int) {
	for _, j := range s.jobs {
		if j.QueueID == queueID && j.Lane == lane {
			n++
		}
	}
	return n
}

// oldest are the jobs of a queue that were not tried for longest.
func (s *aside) oldest(queueID string) []setAside {
	all := slices.SortedFunc(maps.Values(s.jobs), func(a, b setAside) int { return cmp.Compare(a.turn, b.turn) })
	all = slices.DeleteFunc(all, func(j setAside) bool { return j.QueueID != queueID })
	return all
}

// tryAside tries again what could not be offered, with the agents that are left over.
func (a *Assign) tryAside(ctx context.Context, q store.Queue) error {
	vain := 0
	for _, j := range a.aside.oldest(q.ID) {
		a.aside.turn++
		j.turn = a.aside.turn
		a.aside.jobs[j.ID] = j
		v, err := a.lookFor(ctx, q, []store.WaitingJob{j.WaitingJob}, 1+sampleSlack)
		if err != nil {
			return err
		}
		made, _, err := a.page(ctx, q, v)
		if made == 0 {
			vain++
		}
		if err != nil || vain == asideTries {
			return err
		}
	}
	return nil
}
