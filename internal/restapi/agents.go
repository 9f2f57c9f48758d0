package restapi

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/store"
)

// maxAgents is how many agents of a cluster a list looks at.
const maxAgents = 10_000

func listAgents(q *request) error {
	clusters, err := q.Store.Clusters(q.ctx, q.org.ID)
	if err != nil {
		return err
	}
	var all []store.Agent
	for _, c := range clusters {
		agents, err := q.Store.LiveAgents(q.ctx, c.ID, "", "", maxAgents)
		if err != nil {
			return err
		}
		all = append(all, agents...)
	}
	all = slices.DeleteFunc(all, func(a store.Agent) bool { return !q.wantsAgent(a) })
	p := q.page()
	out, err := q.toAgents(slice(all, p))
	if err != nil {
		return err
	}
	q.link(p, len(all))
	return q.reply(http.StatusOK, out)
}

// wantsAgent applies the filters of the query. Agents that have registered only are not listed.
func (q *request) wantsAgent(a store.Agent) bool {
	query := q.r.URL.Query()
	return a.State != ci.AgentRegistered &&
		strings.Contains(strings.ToLower(a.Name), strings.ToLower(query.Get("name"))) &&
		(query.Get("hostname") == "" || query.Get("hostname") == a.Hostname) &&
		(query.Get("version") == "" || query.Get("version") == a.Version) &&
		(query.Get("cluster_queue_id") == "" || query.Get("cluster_queue_id") == a.QueueID)
}

// toAgents renders agents with the jobs that they hold.
func (q *request) toAgents(agents []store.Agent) ([]agentJSON, error) {
	var ids, queueIDs []string
	for _, a := range agents {
		ids, queueIDs = append(ids, a.ID), append(queueIDs, a.QueueID)
	}
	queues, err := q.Store.QueuesByID(q.ctx, queueIDs)
	if err != nil {
		return nil, err
	}
	held, err := q.heldJobs(ids)
	if err != nil {
		return nil, err
	}
	out := make([]agentJSON, len(agents))
	for i, a := range agents {
		out[i] = *toAgent(q.addresses(), a, queues[a.QueueID], q.Now())
		out[i].PausedTimeout = minutesLeft(a, q.Now())
		if j, ok := held[a.ID]; ok {
			j.Agent = nil // it would be the agent again
			out[i].Job = &j
		}
	}
	return out, nil
}

// heldJobs are the jobs that agents hold, by agent.
func (q *request) heldJobs(agentIDs []string) (map[string]jobJSON, error) {
	held, err := q.Store.JobsOfAgents(q.ctx, agentIDs)
	if err != nil || len(held) == 0 {
		return nil, err
	}
	var jobs []store.Job
	var buildIDs []string
	for _, j := range held {
		jobs, buildIDs = append(jobs, j), append(buildIDs, j.BuildID)
	}
	builds, err := q.Store.BuildsByID(q.ctx, buildIDs)
	if err != nil {
		return nil, err
	}
	s, err := q.newScene(builds, jobs)
	if err != nil {
		return nil, err
	}
	out := map[string]jobJSON{}
	for id, j := range held {
		if out[id], err = s.job(j); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// agent is the one that the path names.
func (q *request) agent() (store.Agent, error) {
	a, err := q.Store.Agent(q.ctx, q.r.PathValue("agent"))
	if err != nil {
		return a, found(err, "agent")
	}
	c, err := q.Store.Cluster(q.ctx, a.ClusterID)
	if err == nil && c.OrganizationID != q.org.ID {
		err = store.ErrNotFound
	}
	return a, found(err, "agent")
}

func getAgent(q *request) error {
	a, err := q.agent()
	if err != nil {
		return err
	}
	out, err := q.toAgents([]store.Agent{a})
	if err != nil {
		return err
	}
	return q.reply(http.StatusOK, out[0])
}

// stopAgent ends an agent after its job or, as is the default, with it.
func stopAgent(q *request) error {
	a, err := q.agent()
	if err != nil {
		return err
	}
	body := struct {
		Force bool `json:"force"`
	}{Force: true}
	if err := q.decode(&body); err != nil {
		return err
	}
	if err := q.Engine.StopAgent(q.ctx, a.ID, body.Force, q.canceler()); err != nil {
		return err
	}
	return q.done()
}

// maxPause is the longest pause in minutes (https://buildkite.com/docs/apis/rest-api/agents#pause-an-agent).
const maxPause = 1440

func pauseAgent(q *request) error {
	a, err := q.agent()
	if err != nil {
		return err
	}
	var body struct {
		Note    string `json:"note"`
		Timeout *int   `json:"timeout_in_minutes"`
	}
	if err := q.decode(&body); err != nil {
		return err
	}
	var until time.Time
	if body.Timeout != nil {
		if *body.Timeout < 1 || *body.Timeout > maxPause {
			return invalid("timeout_in_minutes", "must be between 1 and 1440")
		}
		until = q.Now().Add(time.Duration(*body.Timeout) * time.Minute)
	}
	switch {
	case a.Paused:
		return httperr.New(http.StatusUnprocessableEntity, "Agent is already paused")
	case a.State != ci.AgentConnected:
		return httperr.New(http.StatusUnprocessableEntity, "Only connected agents may be paused")
	}
	if err := q.Engine.PauseAgent(q.ctx, a.ID, body.Note, until); err != nil {
		return err
	}
	return q.done()
}

func resumeAgent(q *request) error {
	a, err := q.agent()
	if err != nil {
		return err
	}
	if err := q.Engine.ResumeAgent(q.ctx, a.ID); err != nil {
		return err
	}
	return q.done()
}
