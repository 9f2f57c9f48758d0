package restapi

import (
	"net/http"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
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
	ID                 string           `json:"id"`
	GraphQLID          string           `json:"graphql_id"`
	Key                string           `json:"key"`
	Description        maybe            `json:"description"`
	URL                string           `json:"url"`
	WebURL             string           `json:"web_url"`
	ClusterURL         string           `json:"cluster_url"`
	RetryAgentAffinity ci.RetryAffinity `json:"retry_agent_affinity"`
	DispatchPaused     bool             `json:"dispatch_paused"`
	DispatchPausedBy   *userJSON        `json:"dispatch_paused_by"`
	DispatchPausedAt   stamp            `json:"dispatch_paused_at"`
	DispatchPausedNote maybe            `json:"dispatch_paused_note"`
	CreatedAt          stamp            `json:"created_at"`
	CreatedBy          *userJSON        `json:"created_by"`
}

func toQueue(at addresses, v store.Queue) queueJSON {
	return queueJSON{
		ID: v.ID, GraphQLID: graphID("ClusterQueue", v.ID), Key: v.Key, Description: maybe(v.Description), URL: at.queue(v),
		WebURL: at.web() + "/queues/" + v.Key, ClusterURL: at.cluster(v.ClusterID), RetryAgentAffinity: v.RetryAffinity,
		DispatchPaused: !v.PausedAt.IsZero(), DispatchPausedAt: stamp(v.PausedAt), DispatchPausedNote: maybe(v.PausedNote), CreatedAt: stamp(v.CreatedAt),
	}
}

// replyQueue answers with a queue and who paused it.
func (q *request) replyQueue(status int, v store.Queue) error {
	out, err := q.toQueues(v)
	if err != nil {
		return err
	}
	return q.reply(status, out[0])
}

// toQueues renders queues with one statement.
func (q *request) toQueues(queues ...store.Queue) ([]queueJSON, error) {
	var ids []string
	for _, v := range queues {
		ids = append(ids, v.PausedBy)
	}
	users, err := q.usersByID(ids...)
	out := []queueJSON{}
	for _, v := range queues {
		j := toQueue(q.addresses(), v)
		j.DispatchPausedBy = users[v.PausedBy]
		out = append(out, j)
	}
	return out, err
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
	p := q.page()
	out, err := q.toQueues(slice(all, p)...)
	if err != nil {
		return err
	}
	q.link(p, len(all))
	return q.reply(http.StatusOK, out)
}

// queue is the one that the path names.
func (q *request) queue() (store.Queue, error) {
	c, err := q.cluster()
	if err != nil {
		return store.Queue{}, err
	}
	v, err := q.Store.QueueByID(q.ctx, q.r.PathValue("queue"))
	if err == nil && v.ClusterID != c.ID {
		err = store.ErrNotFound
	}
	return v, found(err, "queue")
}

func getQueue(q *request) error {
	v, err := q.queue()
	if err != nil {
		return err
	}
	return q.replyQueue(http.StatusOK, v)
}

// pauseQueue keeps the queue's jobs from agents
// (https://buildkite.com/docs/apis/rest-api/clusters/queues#pause-a-queue).
func pauseQueue(q *request) error {
	v, err := q.queue()
	if err != nil {
		return err
	}
	var body struct {
		Note string `json:"dispatch_paused_note"`
	}
	if err := q.decode(&body); err != nil {
		return err
	}
	if v, err = q.Engine.PauseQueue(q.ctx, v.ID, body.Note, q.actor.User.ID); err != nil {
		return err
	}
	return q.replyQueue(http.StatusOK, v)
}

func resumeQueue(q *request) error {
	v, err := q.queue()
	if err != nil {
		return err
	}
	if v, err = q.Engine.ResumeQueue(q.ctx, v.ID); err != nil {
		return err
	}
	return q.replyQueue(http.StatusOK, v)
}

func createQueue(q *request) error {
	c, err := q.cluster()
	if err != nil {
		return err
	}
	var body struct {
		Key string `json:"key"`
		queueBody
	}
	if err := q.decode(&body); err != nil {
		return err
	}
	v, err := q.Engine.CreateQueue(q.ctx, engine.CreateQueue{ClusterID: c.ID, Key: body.Key, QueueSettings: body.settings()})
	if err != nil {
		return err
	}
	return q.reply(http.StatusCreated, toQueue(q.addresses(), v))
}

// queueBody is what is given of a queue when it is made or changed.
type queueBody struct {
	Description        *string           `json:"description"`
	RetryAgentAffinity *ci.RetryAffinity `json:"retry_agent_affinity"`
}

func (b queueBody) settings() engine.QueueSettings {
	return engine.QueueSettings{Description: b.Description, RetryAffinity: b.RetryAgentAffinity}
}

// updateQueue changes the members that are given
// (https://buildkite.com/docs/apis/rest-api/clusters/queues#update-a-queue).
func updateQueue(q *request) error {
	v, err := q.queue()
	if err != nil {
		return err
	}
	var body queueBody
	if err := q.decode(&body); err != nil {
		return err
	}
	if v, err = q.Engine.UpdateQueue(q.ctx, v.ID, body.settings()); err != nil {
		return err
	}
	return q.replyQueue(http.StatusOK, v)
}
