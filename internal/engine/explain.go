package engine

import (
	"context"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/dispatch"
	"github.com/slipway-ci/slipway/internal/store"
)

// Roster is the queues and live agents of a cluster at one moment. It explains many jobs at the
// price of one and is not safe for concurrent use.
type Roster struct {
	Queues map[string]store.Queue // by id
	Crews  []store.Crew
	// stacked are the queues for whose jobs a stack finds agents.
	stacked []string
	known   map[string]Standing
	all     dispatch.Snapshot
}

// Standing is how a job stands that waits for an agent.
type Standing struct {
	Why      string // it is not running, in a line without a full stop, as dispatch says it
	Paused   bool   // its queue is
	Matching int    // agents that could run it, free or not
	Busy     int    // of those, the ones with a job
	Idle     int    // of those, the ones that could take one now
}

// Roster reads a cluster's queues and agents.
func (e *Engine) Roster(ctx context.Context, clusterID string) (*Roster, error) {
	return e.roster(ctx, e.Store.Reader, clusterID)
}

func (e *Engine) roster(ctx context.Context, s store.Reader, clusterID string) (*Roster, error) {
	r := &Roster{Queues: map[string]store.Queue{}, known: map[string]Standing{}}
	queues, err := s.Queues(ctx, clusterID)
	if err != nil {
		return nil, err
	}
	if r.stacked, err = s.StackedQueues(ctx, clusterID, e.Now().Add(-StackTerm)); err != nil {
		return nil, err
	}
	if err := r.addQueues(ctx, s, queues); err != nil {
		return nil, err
	}
	if r.Crews, err = s.Crews(ctx, clusterID); err != nil {
		return nil, err
	}
	for _, c := range r.Crews {
		agent := dispatch.Agent{
			Queue: c.QueueID, Tags: c.Tags, Idle: c.State == ci.AgentConnected && !c.Busy, Paused: c.Paused,
			Stopping: c.State == ci.AgentStopping, IgnoreInDispatches: c.IgnoreInDispatches,
		}
		for range c.Count {
			r.all.Agents = append(r.all.Agents, agent)
		}
	}
	return r, nil
}

// addQueues adds queues, with who paused them and why.
func (r *Roster) addQueues(ctx context.Context, s store.Reader, queues []store.Queue) error {
	var by []string
	for _, q := range queues {
		by = append(by, q.PausedBy)
	}
	users, err := s.UsersByID(ctx, by)
	for _, q := range queues {
		r.Queues[q.ID] = q
		r.all.Queues = append(r.all.Queues, dispatch.Queue{ID: q.ID, Key: q.Key, Paused: !q.PausedAt.IsZero(), Pause: pauseText(users[q.PausedBy].Name, q.PausedNote)})
	}
	return err
}

// longestPause is how many characters of a queue's pause note stand in an explanation. The queue's page has all.
const longestPause = 200

// pauseText is by whom a queue is paused and why, in one line that ends without a full stop.
func pauseText(by, note string) string {
	note = strings.TrimRight(strings.Join(strings.Fields(note), " "), ".")
	if text := []rune(note); len(text) > longestPause {
		note = string(text[:longestPause]) + "…"
	}
	if by != "" {
		by = " by " + by
	}
	if note != "" {
		note = ": " + note
	}
	return by + note
}

// Serves says whether an agent is there for jobs of a queue with rules, busy or not, or a stack that
// finds one.
func (r *Roster) Serves(queueID string, rules []string) bool {
	return r.stackedQueue(queueID) || r.Standing(allowed, queueID, rules).Matching > 0
}

// unserved says why no agent is there for such jobs.
func (r *Roster) unserved(queueID string, rules []string) string {
	return dispatch.Unserved(dispatch.Job{Queue: queueID, Rules: rules}, r.all)
}

func (r *Roster) stackedQueue(id string) bool { return slices.Contains(r.stacked, id) }

// Standing says how a job of a build stands that waits for an agent of a queue with rules.
func (r *Roster) Standing(b store.Build, queueID string, rules []string) Standing {
	key := b.ID + "\n" + queueID + "\n" + strings.Join(rules, "\n")
	if s, ok := r.known[key]; ok {
		return s
	}
	// Without a clearance, which Clear refuses with an error, Explain says so.
	clearance, _ := dispatch.Clear(b.Verdict.Decision, b.Verdict.Commit, b.Commit)
	s := Standing{
		Why:    dispatch.Explain(dispatch.Job{Queue: queueID, Rules: rules, Clearance: clearance}, r.all),
		Paused: !r.Queues[queueID].PausedAt.IsZero(),
	}
	for _, c := range r.Crews {
		if c.QueueID == queueID && !c.IgnoreInDispatches && dispatch.Matches(rules, c.Tags) {
			s.Matching += c.Count
			switch {
			case c.Busy:
				s.Busy += c.Count
			case c.State == ci.AgentConnected && !c.Paused:
				s.Idle += c.Count
			}
		}
	}
	r.known[key] = s
	return s
}
