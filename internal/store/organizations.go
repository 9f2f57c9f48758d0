package store

import (
	"context"
	"encoding/json"
	"iter"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
)

// Organization owns pipelines and clusters.
type Organization struct {
	ID        string
	Slug      string
	Name      string
	Settings  json.RawMessage
	ForgeApp  *ForgeApp // nil: none
	CreatedAt time.Time
}

// ForgeApp is the app of a forge that speaks for an organization. Its private key is sealed.
type ForgeApp struct {
	AppID     string    `json:"app_id"`
	APIURL    string    `json:"api_url"`
	UpdatedBy string    `json:"updated_by"`
	UpdatedAt time.Time `json:"updated_at"`
}

const (
	sqlOrganization       = `SELECT id, slug, name, settings, forge_app, created_at FROM organizations WHERE slug = $1`
	sqlOrganizationByID   = `SELECT id, slug, name, settings, forge_app, created_at FROM organizations WHERE id = $1`
	sqlOrganizations      = `SELECT id, slug, name, settings, forge_app, created_at FROM organizations WHERE slug > $1 ORDER BY slug LIMIT 100`
	sqlCountOrganizations = `SELECT COUNT(*) FROM organizations`
	sqlInsertOrganization = `INSERT INTO organizations (id, slug, name, settings, created_at) VALUES ($1, $2, $3, $4, $5)`
	sqlUpdateSettings     = `UPDATE organizations SET settings = $2 WHERE id = $1`
	sqlUpdateForgeApp     = `UPDATE organizations SET forge_app = $2 WHERE id = $1`
)

func scanOrganization(s scanner) (o Organization, err error) {
	return o, s.Scan(&o.ID, &o.Slug, &o.Name, document{&o.Settings}, document{&o.ForgeApp}, instant{&o.CreatedAt})
}

// Organization returns the organization with a slug.
func (r Reader) Organization(ctx context.Context, slug string) (Organization, error) {
	return one(ctx, r.q, scanOrganization, sqlOrganization, slug)
}

// OrganizationByID returns the organization with an id.
func (r Reader) OrganizationByID(ctx context.Context, id string) (Organization, error) {
	return one(ctx, r.q, scanOrganization, sqlOrganizationByID, id)
}

// Organizations yields all organizations by slug, read 100 at a time. An error is the last that it yields.
func (r Reader) Organizations(ctx context.Context) iter.Seq2[Organization, error] {
	return func(yield func(Organization, error) bool) {
		after := ""
		for {
			page, err := list(ctx, r.q, scanOrganization, sqlOrganizations, after)
			if err != nil {
				yield(Organization{}, err)
				return
			}
			for _, o := range page {
				if !yield(o, nil) {
					return
				}
				after = o.Slug
			}
			if len(page) == 0 {
				return
			}
		}
	}
}

// CountOrganizations returns how many organizations there are.
func (r Reader) CountOrganizations(ctx context.Context) (int64, error) {
	return one(ctx, r.q, scanInt, sqlCountOrganizations)
}

// LockOrganization returns an organization and keeps other changes of it out until the transaction ends.
func (tx *Tx) LockOrganization(ctx context.Context, id string) (Organization, error) {
	return one(ctx, tx.q, scanOrganization, sqlOrganizationByID+tx.forUpdate, id)
}

// UpdateOrganizationSettings replaces an organization's settings, a JSON object.
func (tx *Tx) UpdateOrganizationSettings(ctx context.Context, id string, settings json.RawMessage) error {
	return exec(ctx, tx.q, sqlUpdateSettings, id, string(settings))
}

// UpdateForgeApp replaces an organization's app of a forge; nil takes it away.
func (tx *Tx) UpdateForgeApp(ctx context.Context, id string, app *ForgeApp) error {
	return exec(ctx, tx.q, sqlUpdateForgeApp, id, text(app))
}

// InsertOrganization adds an organization.
func (tx *Tx) InsertOrganization(ctx context.Context, o Organization) error {
	return exec(ctx, tx.q, sqlInsertOrganization, o.ID, o.Slug, o.Name, text(o.Settings), micros(o.CreatedAt))
}

// Cluster holds queues and the agents that serve them.
type Cluster struct {
	ID             string
	OrganizationID string
	Name           string
	DefaultQueueID string
	CreatedAt      time.Time
}

// Queue is a routing key: a job of a queue runs on an agent of that queue.
type Queue struct {
	ID            string
	ClusterID     string
	Key           string
	Description   string
	PausedAt      time.Time // zero: dispatches
	PausedBy      string    // user id
	PausedNote    string
	RetryAffinity ci.RetryAffinity
	CreatedAt     time.Time
}

const (
	sqlCluster       = `SELECT id, organization_id, name, default_queue_id, created_at FROM clusters WHERE id = $1`
	sqlClusters      = `SELECT id, organization_id, name, default_queue_id, created_at FROM clusters WHERE organization_id = $1 ORDER BY created_at LIMIT 100`
	sqlInsertCluster = `INSERT INTO clusters (id, organization_id, name, default_queue_id, created_at) VALUES ($1, $2, $3, $4, $5)`
	queueColumns     = `id, cluster_id, key, description, paused_at, paused_by, paused_note, retry_agent_affinity, created_at`
	sqlUpdateQueue   = `UPDATE queues SET description = $2, paused_at = $3, paused_by = $4, paused_note = $5, retry_agent_affinity = $6 WHERE id = $1`
	sqlQueue         = `SELECT ` + queueColumns + ` FROM queues WHERE cluster_id = $1 AND key = $2`
	sqlQueueByID     = `SELECT ` + queueColumns + ` FROM queues WHERE id = $1`
	sqlDefaultQueue  = `SELECT ` + queueColumns + ` FROM queues WHERE id = (SELECT default_queue_id FROM clusters WHERE clusters.id = $1)`
	sqlQueues        = `SELECT ` + queueColumns + ` FROM queues WHERE cluster_id = $1 ORDER BY key LIMIT 500`
	sqlInsertQueue   = `INSERT INTO queues (` + queueColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`
)

func scanCluster(s scanner) (c Cluster, err error) {
	return c, s.Scan(&c.ID, &c.OrganizationID, &c.Name, &c.DefaultQueueID, instant{&c.CreatedAt})
}

func scanQueue(s scanner) (q Queue, err error) {
	return q, s.Scan(&q.ID, &q.ClusterID, &q.Key, &q.Description, instant{&q.PausedAt}, &q.PausedBy, &q.PausedNote,
		&q.RetryAffinity, instant{&q.CreatedAt})
}

// LockCluster returns a cluster and keeps others that lock it out until the transaction ends.
func (tx *Tx) LockCluster(ctx context.Context, id string) (Cluster, error) {
	return one(ctx, tx.q, scanCluster, sqlCluster+tx.forUpdate, id)
}

// Cluster returns the cluster with an id.
func (r Reader) Cluster(ctx context.Context, id string) (Cluster, error) {
	return one(ctx, r.q, scanCluster, sqlCluster, id)
}

// Clusters returns an organization's clusters, oldest first: the first is its default.
func (r Reader) Clusters(ctx context.Context, organizationID string) ([]Cluster, error) {
	return list(ctx, r.q, scanCluster, sqlClusters, organizationID)
}

// InsertCluster adds a cluster.
func (tx *Tx) InsertCluster(ctx context.Context, c Cluster) error {
	return exec(ctx, tx.q, sqlInsertCluster, c.ID, c.OrganizationID, c.Name, c.DefaultQueueID, micros(c.CreatedAt))
}

// Queue returns a cluster's queue by key.
func (r Reader) Queue(ctx context.Context, clusterID, key string) (Queue, error) {
	return one(ctx, r.q, scanQueue, sqlQueue, clusterID, key)
}

// LockQueue is QueueByID that keeps other changes out until the transaction ends.
func (tx *Tx) LockQueue(ctx context.Context, id string) (Queue, error) {
	return one(ctx, tx.q, scanQueue, sqlQueueByID+tx.forUpdate, id)
}

// QueueByID returns the queue with an id.
func (r Reader) QueueByID(ctx context.Context, id string) (Queue, error) {
	return one(ctx, r.q, scanQueue, sqlQueueByID, id)
}

// Queues returns a cluster's queues by key, at most 500.
func (r Reader) Queues(ctx context.Context, clusterID string) ([]Queue, error) {
	return list(ctx, r.q, scanQueue, sqlQueues, clusterID)
}

// InsertQueue adds a queue.
func (tx *Tx) InsertQueue(ctx context.Context, q Queue) error {
	return exec(ctx, tx.q, sqlInsertQueue, q.ID, q.ClusterID, q.Key, q.Description, micros(q.PausedAt), q.PausedBy, q.PausedNote,
		q.RetryAffinity, micros(q.CreatedAt))
}

// UpdateQueue saves what may change of a queue.
func (tx *Tx) UpdateQueue(ctx context.Context, q Queue) error {
	return exec(ctx, tx.q, sqlUpdateQueue, q.ID, q.Description, micros(q.PausedAt), q.PausedBy, q.PausedNote, q.RetryAffinity)
}
