package restapi

import (
	"net/http"

	"github.com/slipway-ci/slipway/internal/store"
)

// clusterJSON is a cluster (https://buildkite.com/docs/apis/rest-api/clusters).
type clusterJSON struct {
	ID              string          `json:"id"`
	GraphQLID       string          `json:"graphql_id"`
	DefaultQueueID  maybe           `json:"default_queue_id"`
	Name            string          `json:"name"`
	Description     maybe           `json:"description"`
	Emoji           maybe           `json:"emoji"`
	Color           maybe           `json:"color"`
	Maintainers     maintainersJSON `json:"maintainers"`
	URL             string          `json:"url"`
	WebURL          string          `json:"web_url"`
	QueuesURL       string          `json:"queues_url"`
	DefaultQueueURL maybe           `json:"default_queue_url"`
	CreatedAt       stamp           `json:"created_at"`
	CreatedBy       *userJSON       `json:"created_by"`
}

type maintainersJSON struct {
	Users []string `json:"users"`
	Teams []string `json:"teams"`
}

func toCluster(at addresses, c store.Cluster) clusterJSON {
	out := clusterJSON{
		ID: c.ID, GraphQLID: graphID("Cluster", c.ID), DefaultQueueID: maybe(c.DefaultQueueID), Name: c.Name,
		Maintainers: maintainersJSON{[]string{}, []string{}}, URL: at.cluster(c.ID), WebURL: at.web() + "/queues",
		QueuesURL: at.cluster(c.ID) + "/queues", CreatedAt: stamp(c.CreatedAt),
	}
	if c.DefaultQueueID != "" {
		out.DefaultQueueURL = maybe(out.QueuesURL + "/" + c.DefaultQueueID)
	}
	return out
}

func listClusters(q *request) error {
	all, err := q.Store.Clusters(q.ctx, q.org.ID)
	if err != nil {
		return err
	}
	p, out := q.page(), []clusterJSON{}
	for _, c := range slice(all, p) {
		out = append(out, toCluster(q.addresses(), c))
	}
	q.link(p, len(all))
	return q.reply(http.StatusOK, out)
}

// cluster is the one that the path names.
func (q *request) cluster() (store.Cluster, error) {
	c, err := q.Store.Cluster(q.ctx, q.r.PathValue("cluster"))
	if err == nil && c.OrganizationID != q.org.ID {
		err = store.ErrNotFound
	}
	return c, found(err, "cluster")
}

func getCluster(q *request) error {
	c, err := q.cluster()
	if err != nil {
		return err
	}
	return q.reply(http.StatusOK, toCluster(q.addresses(), c))
}

// queueJSON is a queue (https://buildkite.com/docs/apis/rest-api/clusters/queues).
type queueJSON struct {
	ID                 string    `json:"id"`
	GraphQLID          string    `json:"graphql_id"`
	Key                string    `json:"key"`
	Description        maybe     `json:"description"`
	URL                string    `json:"url"`
	WebURL             string    `json:"web_url"`
	ClusterURL         string    `json:"cluster_url"`
	RetryAgentAffinity string    `json:"retry_agent_affinity"`
	DispatchPaused     bool      `json:"dispatch_paused"`
	DispatchPausedBy   *userJSON `json:"dispatch_paused_by"`
	DispatchPausedAt   stamp     `json:"dispatch_paused_at"`
	DispatchPausedNote maybe     `json:"dispatch_paused_note"`
	CreatedAt          stamp     `json:"created_at"`
	CreatedBy          *userJSON `json:"created_by"`
}

func toQueue(at addresses, v store.Queue) queueJSON {
	return queueJSON{
		ID: v.ID, GraphQLID: graphID("ClusterQueue", v.ID), Key: v.Key, Description: maybe(v.Description), URL: at.queue(v),
		WebURL: at.web() + "/queues/" + v.Key, ClusterURL: at.cluster(v.ClusterID), RetryAgentAffinity: "prefer-warmest",
		DispatchPaused: !v.PausedAt.IsZero(), DispatchPausedAt: stamp(v.PausedAt), CreatedAt: stamp(v.CreatedAt),
	}
}

func listQueues(q *request) error {
	c, err := q.cluster()
	if err != nil {
		return err
	}
	all, err := q.Store.Queues(q.ctx, c.ID)
	if err != nil {
		return err
	}
	p, out := q.page(), []queueJSON{}
	for _, v := range slice(all, p) {
		out = append(out, toQueue(q.addresses(), v))
	}
	q.link(p, len(all))
	return q.reply(http.StatusOK, out)
}

func getQueue(q *request) error {
	c, err := q.cluster()
	if err != nil {
		return err
	}
	v, err := q.Store.QueueByID(q.ctx, q.r.PathValue("queue"))
	if err == nil && v.ClusterID != c.ID {
		err = store.ErrNotFound
	}
	if err != nil {
		return found(err, "queue")
	}
	return q.reply(http.StatusOK, toQueue(q.addresses(), v))
}

func createQueue(q *request) error {
	c, err := q.cluster()
	if err != nil {
		return err
	}
	var body struct {
		Key         string `json:"key"`
		Description string `json:"description"`
	}
	if err := q.decode(&body); err != nil {
		return err
	}
	v, err := q.Engine.CreateQueue(q.ctx, c.ID, body.Key, body.Description)
	if err != nil {
		return err
	}
	return q.reply(http.StatusCreated, toQueue(q.addresses(), v))
}
