package agentapi

import (
	"net/http"
	"strconv"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/store"
)

// pollMetrics is how often, in seconds, fleet tools are asked to look at most. The scaler never looks
// more often again than it was once told, so this is below its own ten.
const pollMetrics = 5

// metrics answers buildkite-agent-metrics (collector/collector.go of v5.12.4). The organization's slug
// must not be empty; all numbers are integers.
type metrics struct {
	Agents       agentMetrics `json:"agents"`
	Jobs         jobMetrics   `json:"jobs"`
	Organization struct {
		Slug string `json:"slug"`
	} `json:"organization"`
	Cluster struct {
		Name string `json:"name"`
	} `json:"cluster"`
}

type agentMetrics struct {
	Idle   int                     `json:"idle"`
	Busy   int                     `json:"busy"`
	Total  int                     `json:"total"`
	Queues map[string]agentMetrics `json:"queues,omitempty"`
}

type jobMetrics struct {
	Scheduled int                   `json:"scheduled"`
	Running   int                   `json:"running"`
	Waiting   int                   `json:"waiting"` // for dependencies or a concurrency group
	Total     int                   `json:"total"`   // of the three
	Queues    map[string]jobMetrics `json:"queues,omitempty"`
}

func (m agentMetrics) plus(o agentMetrics) agentMetrics {
	m.Idle, m.Busy, m.Total = m.Idle+o.Idle, m.Busy+o.Busy, m.Total+o.Total
	return m
}

func (m jobMetrics) plus(o jobMetrics) jobMetrics {
	m.Scheduled, m.Running, m.Waiting, m.Total = m.Scheduled+o.Scheduled, m.Running+o.Running, m.Waiting+o.Waiting, m.Total+o.Total
	return m
}

// metrics counts the agents and jobs of the token's cluster, by queue and all together.
func (a *Server) metrics(w http.ResponseWriter, r *http.Request, c caller) error {
	out, err := a.clusterMetrics(r, c.token.ClusterID)
	if err != nil {
		return err
	}
	return answerMetrics(w, out)
}

// queueMetrics counts those of one queue.
func (a *Server) queueMetrics(w http.ResponseWriter, r *http.Request, c caller) error {
	queue, err := a.queueByKey(r.Context(), c.token.ClusterID, r.URL.Query().Get("name"))
	if err != nil {
		return err
	}
	out, err := a.clusterMetrics(r, c.token.ClusterID)
	if err != nil {
		return err
	}
	out.Agents, out.Jobs = out.Agents.Queues[queue.Key], out.Jobs.Queues[queue.Key]
	return answerMetrics(w, out)
}

func answerMetrics(w http.ResponseWriter, m metrics) error {
	w.Header().Set("Buildkite-Agent-Metrics-Poll-Duration", strconv.Itoa(pollMetrics))
	return httperr.JSON(w, http.StatusOK, m)
}

func (a *Server) clusterMetrics(r *http.Request, clusterID string) (out metrics, err error) {
	ctx := r.Context()
	cluster, err := a.Store.Cluster(ctx, clusterID)
	if err != nil {
		return out, err
	}
	org, err := a.Store.OrganizationByID(ctx, cluster.OrganizationID)
	if err != nil {
		return out, err
	}
	out.Organization.Slug, out.Cluster.Name = org.Slug, cluster.Name
	queues, err := a.Store.Queues(ctx, clusterID)
	if err != nil {
		return out, err
	}
	crews, err := a.Store.Crews(ctx, clusterID)
	if err != nil {
		return out, err
	}
	counts, err := a.Store.OpenJobCounts(ctx, clusterID)
	if err != nil {
		return out, err
	}
	out.Agents.Queues, out.Jobs.Queues = map[string]agentMetrics{}, map[string]jobMetrics{}
	for _, q := range queues {
		agents, jobs := agentsOf(crews, q.ID), jobsOf(counts, q.ID)
		out.Agents, out.Jobs = out.Agents.plus(agents), out.Jobs.plus(jobs)
		out.Agents.Queues[q.Key], out.Jobs.Queues[q.Key] = agents, jobs
	}
	return out, nil
}

// agentsOf counts the agents of a queue that are there. One that registered and never connected may be nowhere: a scaler
// that took it for idle would start no machine.
func agentsOf(crews []store.Crew, queueID string) (m agentMetrics) {
	for _, c := range crews {
		switch {
		case c.QueueID != queueID, c.State == ci.AgentRegistered:
		case c.Busy:
			m = m.plus(agentMetrics{Busy: c.Count, Total: c.Count})
		default:
			m = m.plus(agentMetrics{Idle: c.Count, Total: c.Count})
		}
	}
	return m
}

func jobsOf(counts []store.JobCount, queueID string) (m jobMetrics) {
	for _, c := range counts {
		switch {
		case c.QueueID != queueID:
		case c.State.Held():
			m = m.plus(jobMetrics{Running: c.Count, Total: c.Count})
		case c.State == ci.JobScheduled || c.State == ci.JobReserved:
			m = m.plus(jobMetrics{Scheduled: c.Count, Total: c.Count})
		default:
			m = m.plus(jobMetrics{Waiting: c.Count, Total: c.Count})
		}
	}
	return m
}
