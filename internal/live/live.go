// Package live tells whoever listens in this process that something changed.
//
// Where several servers share a database, Join carries hints between them.
//
// A hint carries no data and promises nothing: a hint may be lost, repeated or late, and says only that
// looking again is worth while. Whoever depends on seeing a change looks on a timer too.
package live

import (
	"sync"
	"sync/atomic"
)

// Hub fans hints out by topic. The zero value is ready.
type Hub struct {
	// Deaf drops every hint; tests prove with it that correctness does not rest on them.
	Deaf atomic.Bool

	mu      sync.Mutex
	subs    map[string]map[*Subscription]struct{}
	waiting map[string]struct{} // topics to be sent to other servers; nil: there are none
	send    chan struct{}
}

// Subscription is one listener. C receives at most one hint that was not taken yet.
type Subscription struct {
	C      <-chan struct{}
	c      chan struct{} // nil: hinted is called
	hinted func()
	hub    *Hub
	topics []string
}

// Topics that parts of the program agree on.
const (
	Assign = "assign" // a job may be runnable or an agent idle
	Admit  = "admit"  // a concurrency group may have room
	Plan   = "plan"   // a build waits to be planned
	Relay  = "relay"  // the outbox may have something
	Child  = "child"  // a trigger job waits for its build
	Fleet  = "fleet"  // agents came, went or changed

	Cancel    = "cancel"    // a build that is being canceled has jobs left
	Supersede = "supersede" // a build makes older ones unnecessary
	Upload    = "upload"    // a pipeline upload is to be applied
	SignIn    = "sign-in"   // a sign-in link was used
	Origin    = "origin"    // of a held build, its repository may know more of the commit
)

// Build is the topic of one build.
func Build(id string) string { return "build:" + id }

// Log is the topic of the log of one job.
func Log(jobID string) string { return "log:" + jobID }

// Agent is the topic of one agent: what it is to do.
func Agent(id string) string { return "agent:" + id }

// Pipeline is the topic of a pipeline's list of builds.
func Pipeline(id string) string { return "pipeline:" + id }

// Organization is the topic of an organization's overview.
func Organization(id string) string { return "organization:" + id }

// Subscribe listens to topics until Close.
func (h *Hub) Subscribe(topics ...string) *Subscription {
	c := make(chan struct{}, 1)
	return h.listen(&Subscription{C: c, c: c, hub: h, topics: topics})
}

// Call calls hinted at each hint at a topic until Close, for listeners too many to have a goroutine each. It must
// not wait for anything, and not use the hub.
func (h *Hub) Call(hinted func(), topics ...string) *Subscription {
	return h.listen(&Subscription{hinted: hinted, hub: h, topics: topics})
}

func (h *Hub) listen(s *Subscription) *Subscription {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.subs == nil {
		h.subs = map[string]map[*Subscription]struct{}{}
	}
	for _, t := range s.topics {
		if h.subs[t] == nil {
			h.subs[t] = map[*Subscription]struct{}{}
		}
		h.subs[t][s] = struct{}{}
	}
	return s
}

// Close ends the subscription. It may be called twice.
func (s *Subscription) Close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	for _, t := range s.topics {
		delete(s.hub.subs[t], s)
		if len(s.hub.subs[t]) == 0 {
			delete(s.hub.subs, t)
		}
	}
}

// Publish hints at topics. It never waits.
func (h *Hub) Publish(topics ...string) {
	if h.Deaf.Load() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wake(topics)
	if h.waiting == nil || len(h.waiting) >= maxWaiting {
		return
	}
	for _, t := range topics {
		h.waiting[t] = struct{}{}
	}
	select {
	case h.send <- struct{}{}:
	default:
	}
}

func (h *Hub) wake(topics []string) {
	for _, t := range topics {
		for s := range h.subs[t] {
			s.hint()
		}
	}
}

func (s *Subscription) hint() {
	if s.c == nil {
		s.hinted()
		return
	}
	select {
	case s.c <- struct{}{}:
	default:
	}
}
