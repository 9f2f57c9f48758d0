package store

import (
	"context"
	"time"
)

// Service is somebody whom an organization tells of its builds, at an address that is sealed.
type Service struct {
	ID             string
	OrganizationID string
	Provider       string // webhook or slack
	Description    string
	Enabled        bool
	Spec           ServiceSpec
	CreatedBy      string // user id
	CreatedAt      time.Time
}

// ServiceSpec says what a service is told of.
type ServiceSpec struct {
	Scope      string   `json:"scope"` // all, some_projects, some_clusters, some_teams
	ScopeIDs   []string `json:"scope_uuids,omitempty"`
	Branches   string   `json:"branches,omitempty"` // patterns; "": all
	Events     []string `json:"events,omitempty"`   // of webhooks, as in build.finished
	States     []string `json:"states,omitempty"`   // of Slack, as in build_failed
	TokenMode  string   `json:"token_mode,omitempty"`
	SkipVerify bool     `json:"skip_verify,omitempty"` // does not check the certificate of the other side
}

const (
	serviceColumns = `id, organization_id, provider, description, enabled, spec, created_by, created_at`
	sqlService     = `SELECT ` + serviceColumns + ` FROM services WHERE organization_id = $1 AND id = $2`
	sqlServices    = `SELECT ` + serviceColumns + ` FROM services WHERE organization_id = $1 ORDER BY created_at, id LIMIT 200`
	sqlPutService  = `INSERT INTO services (` + serviceColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (id) DO UPDATE SET description = excluded.description, enabled = excluded.enabled, spec = excluded.spec`
	sqlDropService  = `DELETE FROM services WHERE id = $1`
	sqlCountService = `SELECT COUNT(*) FROM services WHERE organization_id = $1`
)

func scanService(s scanner) (v Service, err error) {
	return v, s.Scan(&v.ID, &v.OrganizationID, &v.Provider, &v.Description, &v.Enabled, document{&v.Spec}, &v.CreatedBy,
		instant{&v.CreatedAt})
}

// Service returns an organization's service.
func (r Reader) Service(ctx context.Context, organizationID, id string) (Service, error) {
	return one(ctx, r.q, scanService, sqlService, organizationID, id)
}

// Services returns an organization's services, at most 200, the oldest first.
func (r Reader) Services(ctx context.Context, organizationID string) ([]Service, error) {
	return list(ctx, r.q, scanService, sqlServices, organizationID)
}

// CountServices returns how many services an organization has.
func (r Reader) CountServices(ctx context.Context, organizationID string) (int, error) {
	n, err := one(ctx, r.q, scanInt, sqlCountService, organizationID)
	return int(n), err
}

// PutService adds a service, or saves what may change of one.
func (tx *Tx) PutService(ctx context.Context, v Service) error {
	return exec(ctx, tx.q, sqlPutService, v.ID, v.OrganizationID, v.Provider, v.Description, v.Enabled, text(v.Spec),
		v.CreatedBy, micros(v.CreatedAt))
}

// DeleteService removes a service.
func (tx *Tx) DeleteService(ctx context.Context, id string) error {
	return exec(ctx, tx.q, sqlDropService, id)
}
