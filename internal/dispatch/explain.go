package dispatch

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Explain says, in a line without a full stop, why the job is not running, as
// far as the snapshot shows: a paused queue, a queue nobody serves, a tag
// nobody has, or agents that match but are not free.
func Explain(j Job, s Snapshot) string {
	key := s.queueKey(j.Queue)
	switch {
	case !j.Clearance.granted:
		return "no verdict allows its commit"
	case s.paused(j.Queue):
		return "queue " + key + " is paused" + s.queue(j.Queue).Pause
	}
	there, matching := s.crew(j)
	if why := s.unserved(j, there, matching); why != "" {
		return why
	}
	return waiting(matching, key)
}

// Unserved says, likewise, why no agent is there for a job, busy or not, whether its queue is paused or not; "": one is.
func Unserved(j Job, s Snapshot) string {
	there, matching := s.crew(j)
	return s.unserved(j, there, matching)
}

func (s Snapshot) unserved(j Job, there, matching []*Agent) string {
	key := s.queueKey(j.Queue)
	switch {
	case len(there) == 0:
		return "no agent matches queue=" + key + nearest(key, s.servedKeys())
	case len(matching) == 0:
		return "no agent in queue " + key + " matches " + unmatched(j.Rules, there)
	}
	return ""
}

// crew are the agents of a job's queue, and those of them that match.
func (s Snapshot) crew(j Job) (there, matching []*Agent) {
	for i := range s.Agents {
		if a := &s.Agents[i]; a.Queue == j.Queue && !a.IgnoreInDispatches {
			there = append(there, a)
			if Matches(j.Rules, a.Tags) {
				matching = append(matching, a)
			}
		}
	}
	return there, matching
}

// queue is the one with an id, or the zero value.
func (s Snapshot) queue(id string) Queue {
	if i := slices.IndexFunc(s.Queues, func(q Queue) bool { return q.ID == id }); i >= 0 {
		return s.Queues[i]
	}
	return Queue{}
}

func (s Snapshot) queueKey(id string) string { return cmp.Or(s.queue(id).Key, id) }

func (s Snapshot) paused(id string) bool { return s.queue(id).Paused }

// servedKeys are the keys of queues that have agents.
func (s Snapshot) servedKeys() []string {
	ids := map[string]bool{}
	for i := range s.Agents {
		ids[s.Agents[i].Queue] = true
	}
	keys := make([]string, 0, len(ids))
	for id := range ids {
		keys = append(keys, s.queueKey(id))
	}
	slices.Sort(keys)
	return keys
}

// unmatched names the rules that no agent satisfies, or all of them if each
// has an agent but no agent has all.
func unmatched(rules []string, agents []*Agent) string {
	tags := map[string]bool{}
	for _, a := range agents {
		for _, tag := range a.Tags {
			tags[tag] = true
		}
	}
	known := slices.Sorted(maps.Keys(tags))
	var missing []string
	for _, r := range rules {
		if !slices.ContainsFunc(known, parse(r).satisfied) {
			missing = append(missing, r)
		}
	}
	switch len(missing) {
	case 0:
		return "all of " + strings.Join(rules, ", ") + "; each has agents, but no agent has all"
	case 1:
		return missing[0] + nearest(missing[0], known)
	default:
		return strings.Join(missing, " or ")
	}
}

func waiting(matching []*Agent, key string) string {
	var free, busy, paused, stopping int
	for _, a := range matching {
		switch {
		case a.free():
			free++
		case a.Stopping:
			stopping++
		case a.Paused:
			paused++
		default:
			busy++
		}
	}
	if free > 0 {
		return "an agent that matches is free; other jobs may come first"
	}
	var counts []string
	for _, c := range []struct {
		n    int
		name string
	}{{busy, "busy"}, {paused, "paused"}, {stopping, "stopping"}} {
		if c.n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", c.n, c.name))
		}
	}
	return fmt.Sprintf("no agent that matches is free in queue %s: %s", key, strings.Join(counts, ", "))
}

// nearest is "; did you mean x?" for the candidate with the fewest typing
// errors, at most a third of the word.
func nearest(word string, candidates []string) string {
	best, least := "", max(1, len(word)/3)+1
	for _, c := range candidates {
		if d := typos(word, c); d < least && c != word {
			best, least = c, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// typos counts the bytes inserted, left out or replaced, and the neighbours
// swapped, between a and b.
func typos(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for k := range row {
		last[k] = k
	}
	for i := range len(a) {
		row[0] = i + 1
		for k := range len(b) {
			cost := 1
			if a[i] == b[k] {
				cost = 0
			}
			row[k+1] = min(last[k]+cost, last[k+1]+1, row[k]+1)
			if i > 0 && k > 0 && a[i] == b[k-1] && a[i-1] == b[k] {
				row[k+1] = min(row[k+1], before[k-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// QueueHint says, for a queue that does not exist, which one was perhaps meant and which there are.
func QueueHint(key string, s Snapshot) string {
	keys := make([]string, 0, len(s.Queues))
	for _, q := range s.Queues {
		keys = append(keys, q.Key)
	}
	slices.Sort(keys)
	hint := "the queues are: " + strings.Join(keys, ", ")
	if near := nearest(key, keys); near != "" {
		return strings.TrimPrefix(near, "; ") + " " + hint
	}
	return hint
}
