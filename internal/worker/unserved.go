package worker

import (
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/dispatch"
	"github.com/slipway-ci/slipway/internal/store"
)

// unserved remembers of a queue the lanes that none of its idle agents could serve. Neither a lane's rules nor
// an agent's tags ever change, so only an agent that became idle later can: those are looked at, not the whole
// fleet in each pass. It is a memory only. Without it all are looked at again.
type unserved struct {
	since time.Time            // agents that became idle later have not been looked at
	late  time.Time            // when those were last looked for whose change was written late
	lanes map[string]time.Time // and when all idle agents were looked at for them
}

const (
	// A change is written some time after the moment that it bears. Every pass looks so far back,
	writtenSoon = 200 * time.Millisecond
	// and once in so long one looks further, for what was written late or by a server whose clock is behind:
	// while a fleet arrives, all of it is in that window.
	lookLate      = time.Second
	writtenWithin = 5 * time.Second
	// What took longer to write is found when all agents are looked at again.
	lookAgain = 30 * time.Second
)

// look says since when agents must have become idle to be looked at, zero if they need not be: no lane is without one.
func (u *unserved) look(now time.Time) (since time.Time, late bool) {
	if len(u.lanes) == 0 {
		return time.Time{}, false
	}
	return u.back(now)
}

// hopeful returns those first jobs of lanes that an idle agent may serve, as far as is known.
func (u *unserved) hopeful(w store.Waiting, now time.Time, late bool) (hopeful []store.WaitingJob) {
	u.keep(w.Heads, now)
	if len(u.lanes) == 0 {
		u.since, u.late = now, now
		return w.Heads
	}
	if u.since = now; late {
		u.late = now
	}
	served := servedBy(w.Changed)
	for _, h := range w.Heads {
		if len(w.Changed) == allAgents || served(h.Rules) {
			delete(u.lanes, h.Lane)
		}
		if _, hopeless := u.lanes[h.Lane]; !hopeless {
			hopeful = append(hopeful, h)
		}
	}
	return hopeful
}

// leave remembers of jobs that were left, after all idle agents of the queue were looked at, those that no
// agent could have served.
func (a *Assign) leave(queueID string, left []store.WaitingJob, agents []store.IdleAgent) {
	u := a.queueMemory(queueID)
	served := servedBy(agents)
	for _, j := range left {
		if !served(j.Rules) {
			u.lanes[j.Lane] = a.Engine.Now()
		}
	}
}

// back is since when agents must have become idle to be looked at now, and whether those are among them whose change
// was written late.
func (u *unserved) back(now time.Time) (since time.Time, late bool) {
	if now.Sub(u.late) >= lookLate {
		return u.late.Add(-writtenWithin), true
	}
	return u.since.Add(-writtenSoon), false
}

func (a *Assign) queueMemory(queueID string) *unserved {
	if a.unserved == nil {
		a.unserved = map[string]*unserved{}
	}
	u := a.unserved[queueID]
	if u == nil {
		u = &unserved{lanes: map[string]time.Time{}}
		a.unserved[queueID] = u
	}
	return u
}

// keep forgets lanes without a job, and those for which all agents are to be looked at again.
func (u *unserved) keep(heads []store.WaitingJob, now time.Time) {
	lanes := map[string]time.Time{}
	for _, h := range heads {
		if at, known := u.lanes[h.Lane]; known && now.Sub(at) < lookAgain {
			lanes[h.Lane] = at
		}
	}
	u.lanes = lanes
}

// servedBy says whether one of the agents satisfies rules. It looks once for equal ones.
func servedBy(agents []store.IdleAgent) func(rules []string) bool {
	known := map[string]bool{}
	return func(rules []string) bool {
		key := strings.Join(rules, "\x00")
		served, ok := known[key]
		for i := 0; !ok && !served && i < len(agents); i++ {
			served = dispatch.Matches(rules, agents[i].Tags)
		}
		known[key] = served
		return served
	}
}
