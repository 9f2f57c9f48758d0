package web

import (
	"github.com/slipway-ci/slipway/internal/store"
)

// named is a template whose outer element has the template's name as its id.
func (w *watcher) named(page any, names ...string) error {
	for _, name := range names {
		if err := w.fragment(name, name, page); err != nil {
			return err
		}
	}
	return nil
}

// lookAgents sends the queues and the first page of agents.
func (w *watcher) lookAgents() error {
	page, err := w.loadAgents("")
	if err != nil {
		return err
	}
	page.Still = true
	return w.named(page, "fleetqueues", "agentlist")
}

// permitAgent checks that an agent is the organization's.
func (w *watcher) permitAgent(id string) error {
	w.r.SetPathValue("agent", id)
	_, err := w.agent()
	return err
}

// lookAgent sends what an agent does, what it did and what may be done to it.
func (w *watcher) lookAgent(t topic) error {
	a, err := w.Store.Agent(w.ctx, t.id)
	if err != nil {
		return err
	}
	page, err := w.loadAgent(a)
	if err != nil {
		return err
	}
	page.Still = true
	return w.named(page, "agentacts", "agentnow", "agentpause", "agentfacts", "agentjobs")
}

// queueByID is a queue of the organization's default cluster.
func (w *watcher) queueByID(id string) (store.Queue, error) {
	c, err := w.cluster()
	if err != nil {
		return store.Queue{}, err
	}
	byID, err := w.Store.QueuesByID(w.ctx, []string{id})
	if v, ok := byID[id]; err != nil || ok && v.ClusterID == c.ID {
		return v, err
	}
	return store.Queue{}, missing("There is nothing at this address")
}

// lookQueue sends who waits for a queue and who serves it.
func (w *watcher) lookQueue(t topic) error {
	v, err := w.queueByID(t.id)
	if err != nil {
		return err
	}
	page, err := w.loadQueue(v)
	if err != nil {
		return err
	}
	page.Still = true
	return w.named(page, "queuepaused", "queuefigs", "queuewaits", "queueserving", "queuepause")
}
