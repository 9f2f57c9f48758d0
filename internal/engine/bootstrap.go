package engine

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/secret"
	"github.com/slipway-ci/slipway/internal/store"
)

// Bootstrap is what a new server begins with.
type Bootstrap struct {
	Organization string // slug
	APIToken     string // "": made
	AgentToken   string // "": made
}

// WithTokens makes the tokens that are not given.
func (b Bootstrap) WithTokens() Bootstrap {
	b.APIToken = firstNonEmpty(b.APIToken, secret.NewToken("bkua_"))
	b.AgentToken = firstNonEmpty(b.AgentToken, secret.NewToken("bkct_"))
	return b
}

// Scopes are what an API token may be allowed
// (https://buildkite.com/docs/apis/managing-api-tokens#token-scopes).
var Scopes = []string{
	"read_agents", "write_agents", "read_artifacts", "write_artifacts", "read_builds", "write_builds",
	"read_build_logs", "write_build_logs", "read_job_env", "read_clusters", "write_clusters", "read_organizations",
	"read_organization_settings", "write_organization_settings", "read_pipelines", "write_pipelines", "read_user",
	"read_notification_services", "write_notification_services", "read_teams", "write_teams",
	"read_secrets_details", "write_secrets", "graphql",
}

// ErrBootstrapped says that the database is not empty.
var ErrBootstrapped = errors.New("the server has been set up before")

// Bootstrap makes the first organization, its cluster with the queue "default", the owner's account
// and the first tokens, if the database is empty; otherwise it is ErrBootstrapped.
func (e *Engine) Bootstrap(ctx context.Context, op Bootstrap) (Bootstrap, error) {
	if !slugPattern.MatchString(op.Organization) || slices.Contains(Reserved, op.Organization) {
		return op, refuse(Invalid, "%q cannot be an organization's slug: use lower-case letters, digits and dashes, and not the first part of a route.", op.Organization)
	}
	op = op.WithTokens()
	err := e.Store.Update(ctx, func(tx *store.Tx) error {
		n, err := tx.CountOrganizations(ctx)
		if err != nil {
			return err
		}
		if n > 0 {
			return ErrBootstrapped
		}
		return e.bootstrap(ctx, tx, op)
	})
	return op, err
}

func (e *Engine) bootstrap(ctx context.Context, tx *store.Tx, op Bootstrap) error {
	now := e.Now()
	org := store.Organization{ID: e.NewID(), Slug: op.Organization, Name: op.Organization, Settings: json.RawMessage("{}"), CreatedAt: now}
	cluster := store.Cluster{ID: e.NewID(), OrganizationID: org.ID, Name: "Default cluster", DefaultQueueID: e.NewID(), CreatedAt: now}
	owner := store.User{ID: e.NewID(), Name: "Owner", Email: "owner@localhost", CreatedAt: now}
	return errors.Join(
		tx.InsertOrganization(ctx, org),
		tx.InsertCluster(ctx, cluster),
		tx.InsertQueue(ctx, store.Queue{ID: cluster.DefaultQueueID, ClusterID: cluster.ID, Key: "default", RetryAffinity: ci.PreferWarmest, CreatedAt: now}),
		tx.InsertUser(ctx, owner),
		tx.InsertMember(ctx, org.ID, owner.ID, "admin"),
		tx.InsertAPIToken(ctx, store.APIToken{
			ID: e.NewID(), OrganizationID: org.ID, UserID: owner.ID, TokenHash: secret.HashToken(op.APIToken),
			Description: "First token", Scopes: Scopes, CreatedAt: now,
		}),
		tx.InsertAgentToken(ctx, store.AgentToken{
			ID: e.NewID(), ClusterID: cluster.ID, TokenHash: secret.HashToken(op.AgentToken), Description: "First token", CreatedAt: now,
		}),
	)
}

// NewSignInLink makes a token that signs a user in once, before a time.
func (e *Engine) NewSignInLink(ctx context.Context, userID string, expires time.Time) (string, error) {
	token := secret.NewToken("")
	return token, e.Store.Update(ctx, func(tx *store.Tx) error {
		return tx.InsertSignInLink(ctx, secret.HashToken(token), userID, expires)
	})
}

// UseSignInLink uses a link up and begins a session. A link that is unknown, used or expired is
// refused.
func (e *Engine) UseSignInLink(ctx context.Context, link string) (session string, err error) {
	err = e.update(ctx, func(tx *store.Tx, hint func(...string)) error {
		user, err := tx.UseSignInLink(ctx, secret.HashToken(link), e.Now())
		if err != nil {
			return missing(err, "This sign-in link has been used or has expired. Run `slipway sign-in` on the server's machine for a new one.")
		}
		hint(live.SignIn)
		session, err = e.newSession(ctx, tx, user)
		return err
	})
	return session, err
}

// SignIn begins a session of a user who proved who they are.
func (e *Engine) SignIn(ctx context.Context, userID string) (session string, err error) {
	err = e.Store.Update(ctx, func(tx *store.Tx) error {
		session, err = e.newSession(ctx, tx, userID)
		return err
	})
	return session, err
}

func (e *Engine) newSession(ctx context.Context, tx *store.Tx, userID string) (string, error) {
	token, now := secret.NewToken(""), e.Now()
	if err := tx.ExpireSessions(ctx, now); err != nil {
		return "", err
	}
	return token, tx.InsertSession(ctx, store.Session{
		TokenHash: secret.HashToken(token), UserID: userID, CreatedAt: now, ExpiresAt: now.Add(SignInTerm),
	})
}

// SignOut ends a session.
func (e *Engine) SignOut(ctx context.Context, session string) error {
	return e.Store.Update(ctx, func(tx *store.Tx) error { return tx.DeleteSession(ctx, secret.HashToken(session)) })
}

// UpdateUser saves a user's name, address and password hash.
func (e *Engine) UpdateUser(ctx context.Context, u store.User) error {
	err := e.Store.Update(ctx, func(tx *store.Tx) error { return tx.UpdateUser(ctx, u) })
	if errors.Is(err, store.ErrConflict) {
		return invalidField("email", "has already been taken")
	}
	return err
}

// RevokeAPIToken makes an API token invalid.
func (e *Engine) RevokeAPIToken(ctx context.Context, id string) error {
	return e.Store.Update(ctx, func(tx *store.Tx) error { return tx.RevokeAPIToken(ctx, id, e.Now()) })
}
