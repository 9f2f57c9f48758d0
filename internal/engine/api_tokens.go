package engine

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/secret"
	"github.com/slipway-ci/slipway/internal/store"
)

// maxAPITokens bounds the tokens that a person has in an organization.
const maxAPITokens = 500

// adminScopes let a token change or read what only administrators may.
var adminScopes = []string{
	"write_agents", "write_clusters", "write_organization_settings", "read_notification_services",
	"write_notification_services", "write_teams", "read_secrets_details", "write_secrets", "graphql",
}

// ScopesFor are the scopes that a token of somebody with a role may have.
func ScopesFor(role string) []string {
	if role == "admin" {
		return slices.Clone(Scopes)
	}
	return slices.DeleteFunc(slices.Clone(Scopes), func(s string) bool { return slices.Contains(adminScopes, s) })
}

// CreateAPIToken asks for a token that acts for a person.
type CreateAPIToken struct {
	OrganizationID string
	UserID         string
	Description    string
	Scopes         []string
	ExpiresAt      time.Time // zero: never
}

// CreateAPIToken adds a token and returns it with its text, which is not kept. It may do no more than
// the role of who it is for allows now.
func (e *Engine) CreateAPIToken(ctx context.Context, op CreateAPIToken) (store.APIToken, string, error) {
	token := secret.NewToken("bkua_")
	t := store.APIToken{
		ID: e.NewID(), OrganizationID: op.OrganizationID, UserID: op.UserID, TokenHash: secret.HashToken(token),
		Description: op.Description, Scopes: op.Scopes, CreatedAt: e.Now(), ExpiresAt: op.ExpiresAt,
	}
	err := e.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.LockOrganization(ctx, op.OrganizationID); err != nil {
			return err
		}
		role, err := tx.Role(ctx, op.OrganizationID, op.UserID)
		if errors.Is(err, store.ErrNotFound) {
			return refuse(Forbidden, "Only members of the organization may have tokens for it.")
		}
		if err != nil {
			return err
		}
		if fields := checkAPIToken(t, role); len(fields) > 0 {
			return &Refused{Why: Invalid, Message: "Validation Failed", Fields: fields}
		}
		own, err := tx.APITokensOf(ctx, op.OrganizationID, op.UserID, maxAPITokens)
		if err != nil {
			return err
		}
		if len(own) >= maxAPITokens {
			return refuse(Conflict, "You have %d API tokens, and may have no more; revoke one first.", len(own))
		}
		return tx.InsertAPIToken(ctx, t)
	})
	if err != nil {
		return t, "", err
	}
	return t, token, nil
}

func checkAPIToken(t store.APIToken, role string) map[string]string {
	fields := map[string]string{}
	if strings.TrimSpace(t.Description) == "" || len(t.Description) > maxDescriptionBytes {
		fields["description"] = "must be 1 to 1000 bytes"
	}
	if !t.ExpiresAt.IsZero() && !t.ExpiresAt.After(t.CreatedAt) {
		fields["expires_at"] = "must be in the future"
	}
	if len(t.Scopes) == 0 {
		fields["scopes"] = "must name at least one: a token without a scope can do nothing"
	}
	for _, s := range t.Scopes {
		switch {
		case !slices.Contains(Scopes, s):
			fields["scopes"] = "has the unknown scope " + s
		case !slices.Contains(ScopesFor(role), s):
			fields["scopes"] = "has " + s + ", which is for administrators"
		}
	}
	return fields
}
