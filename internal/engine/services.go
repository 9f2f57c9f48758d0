package engine

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/internal/store"
)

// maxServices bounds the services of an organization: each costs something at every build.
const maxServices = 100

// Providers of services.
const (
	ProviderWebhook = "webhook"
	ProviderSlack   = "slack"
)

// WebhookEvents are what a webhook service may be told of
// (https://buildkite.com/docs/apis/webhooks/pipelines#events). The last three are ours: a build waits for
// a member's approval, or got a member's word.
var WebhookEvents = []string{
	"build.scheduled", "build.running", "build.failing", "build.finished", "build.skipped", "build.held", "build.approved", "build.rejected",
}

// UnsentEvents are accepted of a webhook service and not sent by this server.
var UnsentEvents = []string{
	"ping", "job.scheduled", "job.started", "job.finished", "job.activated", "job.promised_exit_status", "agent.connected",
	"agent.lost", "agent.disconnected", "agent.stopping", "agent.stopped", "agent.blocked", "cluster_token.registration_blocked",
	"package.created",
}

// SlackStates are what a Slack service may be told of
// (https://buildkite.com/docs/apis/rest-api/organizations/notification-services).
var SlackStates = []string{"build_passed", "build_fixed", "build_failed", "build_blocked", "build_canceled", "build_failing"}

// ServiceSecret is what of a service the database alone cannot tell.
type ServiceSecret struct {
	URL   string `json:"url"`
	Token string `json:"token,omitempty"` // of webhooks: sent, or signs what is sent
}

func servicePlace(id string) string { return "service/" + id }

// SaveService makes a service, or changes one that has an id.
type SaveService struct {
	Service store.Service // ID "": made
	Secret  ServiceSecret
}

// SaveService saves a service and its secret.
func (e *Engine) SaveService(ctx context.Context, op SaveService) (store.Service, error) {
	s := op.Service
	if err := checkService(s, op.Secret); err != nil {
		return s, err
	}
	err := e.Store.Update(ctx, func(tx *store.Tx) error {
		s = op.Service
		if s.ID == "" {
			if _, err := tx.LockOrganization(ctx, s.OrganizationID); err != nil {
				return err
			}
			n, err := tx.CountServices(ctx, s.OrganizationID)
			if err != nil {
				return err
			}
			if n >= maxServices {
				return refuse(Invalid, "An organization may have %d notification services; remove one first.", maxServices)
			}
			s.ID, s.CreatedAt = e.NewID(), e.Now()
		} else if _, err := tx.Service(ctx, s.OrganizationID, s.ID); err != nil {
			return missing(err, "No service found")
		}
		raw, err := json.Marshal(op.Secret)
		if err != nil {
			return err
		}
		if err := tx.PutService(ctx, s); err != nil {
			return err
		}
		return e.seal(ctx, tx, servicePlace(s.ID), raw)
	})
	return s, err
}

func checkService(s store.Service, secret ServiceSecret) error {
	fields := map[string]string{}
	u, err := url.Parse(secret.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		fields["url"] = "must be a URL that begins with http:// or https://"
	}
	if len(secret.URL)+len(secret.Token) > 4096 || len(s.Description) > 1000 || len(s.Spec.Branches) > 4096 || len(s.Spec.ScopeIDs) > 1000 {
		fields["settings"] = "is too long"
	}
	if !slices.Contains([]string{"all", "some_projects", "some_clusters", "some_teams"}, s.Spec.Scope) {
		fields["scope"] = "is none of all, some_projects, some_clusters, some_teams"
	}
	for _, ev := range s.Spec.Events {
		if !slices.Contains(WebhookEvents, ev) && !slices.Contains(UnsentEvents, ev) {
			fields["events"] = "has the unknown event " + ev + "; known are " + strings.Join(WebhookEvents, ", ")
		}
	}
	for _, state := range s.Spec.States {
		if !slices.Contains(SlackStates, state) && state != "job_activated" {
			fields["build_states"] = "has the unknown state " + state
		}
	}
	if !slices.Contains([]string{"", "token", "signature"}, s.Spec.TokenMode) {
		fields["token_mode"] = "is neither token nor signature"
	}
	switch s.Provider {
	case ProviderWebhook, ProviderSlack:
	default:
		fields["provider"] = "is not one that this server delivers to: webhook or slack"
	}
	if len(fields) > 0 {
		return &Refused{Why: Invalid, Message: "Validation Failed", Fields: fields}
	}
	return nil
}

// DeleteService removes an organization's service. What is on its way to it is dropped.
func (e *Engine) DeleteService(ctx context.Context, organizationID, id string) error {
	return e.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.Service(ctx, organizationID, id); err != nil {
			return missing(err, "No service found")
		}
		if err := tx.DeleteSealed(ctx, servicePlace(id)); err != nil {
			return err
		}
		return tx.DeleteService(ctx, id)
	})
}

// ServiceSecret returns where a service is and by what it knows us.
func (e *Engine) ServiceSecret(ctx context.Context, id string) (s ServiceSecret, err error) {
	raw, err := e.Unseal(ctx, servicePlace(id))
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(raw, &s)
}
