package store

import (
	"context"
	"time"
)

// User is a person.
type User struct {
	ID           string
	Name         string
	Email        string
	PasswordHash string
	CreatedAt    time.Time
}

// APIToken lets a person's scripts use the REST API. Only its hash is kept.
type APIToken struct {
	ID             string
	OrganizationID string
	UserID         string
	TokenHash      string
	Description    string
	Scopes         []string
	CreatedAt      time.Time
	ExpiresAt      time.Time // zero: never
	RevokedAt      time.Time // zero: valid
}

// AgentToken lets agents register with a cluster. Only its hash is kept.
type AgentToken struct {
	ID          string
	ClusterID   string
	TokenHash   string
	Description string
	CreatedAt   time.Time
	ExpiresAt   time.Time
	RevokedAt   time.Time
	CreatedBy   string // user id, or ""
	AllowedIPs  string // networks that agents may register from, apart by spaces; "": any
}

// Session is a browser that is signed in.
type Session struct {
	TokenHash string
	UserID    string
	CreatedAt time.Time
	ExpiresAt time.Time
}

const (
	userColumns     = `id, name, email, password_hash, created_at`
	sqlUser         = `SELECT ` + userColumns + ` FROM users WHERE id = $1`
	sqlUserByEmail  = `SELECT ` + userColumns + ` FROM users WHERE email = $1`
	sqlFirstUser    = `SELECT ` + userColumns + ` FROM users ORDER BY created_at LIMIT 1`
	sqlInsertUser   = `INSERT INTO users (` + userColumns + `) VALUES ($1, $2, $3, $4, $5)`
	sqlUpdateUser   = `UPDATE users SET name = $2, email = $3, password_hash = $4 WHERE id = $1`
	sqlInsertMember = `INSERT INTO members (organization_id, user_id, role) VALUES ($1, $2, $3)`
	sqlMembers      = `SELECT ` + userColumns + ` FROM users WHERE id IN (SELECT user_id FROM members WHERE organization_id = $1)
		ORDER BY name, id LIMIT $2`
	sqlRole            = `SELECT role FROM members WHERE organization_id = $1 AND user_id = $2`
	sqlOrganizationsOf = `SELECT o.id, o.slug, o.name, o.settings, o.forge_app, o.created_at FROM organizations o
		JOIN members m ON m.organization_id = o.id WHERE m.user_id = $1 ORDER BY o.slug LIMIT 100`

	sqlSession        = `SELECT token_hash, user_id, created_at, expires_at FROM sessions WHERE token_hash = $1`
	sqlInsertSession  = `INSERT INTO sessions (token_hash, user_id, created_at, expires_at) VALUES ($1, $2, $3, $4)`
	sqlDeleteSession  = `DELETE FROM sessions WHERE token_hash = $1`
	sqlExpireSessions = `DELETE FROM sessions WHERE expires_at < $1`
	sqlInsertLink     = `INSERT INTO sign_in_links (token_hash, user_id, expires_at) VALUES ($1, $2, $3)`
	sqlCountLinks     = `SELECT COUNT(*) FROM sign_in_links WHERE token_hash = $1 AND used_at = 0 AND expires_at > $2`
	sqlUseLink        = `UPDATE sign_in_links SET used_at = $2 WHERE token_hash = $1 AND used_at = 0 AND expires_at > $2 RETURNING user_id`

	apiTokenColumns   = `id, organization_id, user_id, token_hash, description, scopes, created_at, expires_at, revoked_at`
	sqlAPIToken       = `SELECT ` + apiTokenColumns + ` FROM api_tokens WHERE token_hash = $1`
	sqlInsertAPIToken = `INSERT INTO api_tokens (` + apiTokenColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`
	sqlAPITokensOf    = `SELECT ` + apiTokenColumns + ` FROM api_tokens WHERE organization_id = $1 AND user_id = $2 AND revoked_at = 0
		ORDER BY created_at, id LIMIT $3`
	sqlRevokeAPIToken = `UPDATE api_tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at = 0`

	agentTokenColumns   = `id, cluster_id, token_hash, description, created_at, expires_at, revoked_at, created_by, allowed_ips`
	sqlAgentToken       = `SELECT ` + agentTokenColumns + ` FROM agent_tokens WHERE token_hash = $1`
	sqlInsertAgentToken = `INSERT INTO agent_tokens (` + agentTokenColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`
)

func scanUser(s scanner) (u User, err error) {
	return u, s.Scan(&u.ID, &u.Name, &u.Email, &u.PasswordHash, instant{&u.CreatedAt})
}

func scanSession(s scanner) (v Session, err error) {
	return v, s.Scan(&v.TokenHash, &v.UserID, instant{&v.CreatedAt}, instant{&v.ExpiresAt})
}

func scanAPIToken(s scanner) (t APIToken, err error) {
	return t, s.Scan(&t.ID, &t.OrganizationID, &t.UserID, &t.TokenHash, &t.Description, document{&t.Scopes},
		instant{&t.CreatedAt}, instant{&t.ExpiresAt}, instant{&t.RevokedAt})
}

func scanAgentToken(s scanner) (t AgentToken, err error) {
	return t, s.Scan(&t.ID, &t.ClusterID, &t.TokenHash, &t.Description,
		instant{&t.CreatedAt}, instant{&t.ExpiresAt}, instant{&t.RevokedAt}, &t.CreatedBy, &t.AllowedIPs)
}

// User returns the user with an id.
func (r Reader) User(ctx context.Context, id string) (User, error) {
	return one(ctx, r.q, scanUser, sqlUser, id)
}

// UserByEmail returns the user with an e-mail address.
func (r Reader) UserByEmail(ctx context.Context, email string) (User, error) {
	return one(ctx, r.q, scanUser, sqlUserByEmail, email)
}

// FirstUser returns the account that was made first: the server's owner.
func (r Reader) FirstUser(ctx context.Context) (User, error) {
	return one(ctx, r.q, scanUser, sqlFirstUser)
}

// Members returns up to limit members of an organization, by name.
func (r Reader) Members(ctx context.Context, organizationID string, limit int) ([]User, error) {
	return list(ctx, r.q, scanUser, sqlMembers, organizationID, limit)
}

// Role returns a member's role in an organization; ErrNotFound for others.
func (r Reader) Role(ctx context.Context, organizationID, userID string) (string, error) {
	return one(ctx, r.q, scanString, sqlRole, organizationID, userID)
}

// OrganizationsOf returns the organizations that a user is a member of.
func (r Reader) OrganizationsOf(ctx context.Context, userID string) ([]Organization, error) {
	return list(ctx, r.q, scanOrganization, sqlOrganizationsOf, userID)
}

// Session returns the session with a token's hash, expired or not.
func (r Reader) Session(ctx context.Context, tokenHash string) (Session, error) {
	return one(ctx, r.q, scanSession, sqlSession, tokenHash)
}

// APIToken returns the API token with a hash, revoked or not.
func (r Reader) APIToken(ctx context.Context, tokenHash string) (APIToken, error) {
	return one(ctx, r.q, scanAPIToken, sqlAPIToken, tokenHash)
}

// APITokensOf returns up to limit of a person's API tokens for an organization that are not revoked,
// the oldest first.
func (r Reader) APITokensOf(ctx context.Context, organizationID, userID string, limit int) ([]APIToken, error) {
	return list(ctx, r.q, scanAPIToken, sqlAPITokensOf, organizationID, userID, limit)
}

// AgentToken returns the agent token with a hash, revoked or not.
func (r Reader) AgentToken(ctx context.Context, tokenHash string) (AgentToken, error) {
	return one(ctx, r.q, scanAgentToken, sqlAgentToken, tokenHash)
}

// InsertUser adds a user.
func (tx *Tx) InsertUser(ctx context.Context, u User) error {
	return exec(ctx, tx.q, sqlInsertUser, u.ID, u.Name, u.Email, u.PasswordHash, micros(u.CreatedAt))
}

// UpdateUser saves a user's name, address and password.
func (tx *Tx) UpdateUser(ctx context.Context, u User) error {
	return exec(ctx, tx.q, sqlUpdateUser, u.ID, u.Name, u.Email, u.PasswordHash)
}

// InsertMember makes a user a member of an organization.
func (tx *Tx) InsertMember(ctx context.Context, organizationID, userID, role string) error {
	return exec(ctx, tx.q, sqlInsertMember, organizationID, userID, role)
}

// InsertSession adds a session.
func (tx *Tx) InsertSession(ctx context.Context, s Session) error {
	return exec(ctx, tx.q, sqlInsertSession, s.TokenHash, s.UserID, micros(s.CreatedAt), micros(s.ExpiresAt))
}

// DeleteSession ends a session; an unknown one is none the less ended.
func (tx *Tx) DeleteSession(ctx context.Context, tokenHash string) error {
	_, err := count(ctx, tx.q, sqlDeleteSession, tokenHash)
	return err
}

// ExpireSessions deletes the sessions that ended before now.
func (tx *Tx) ExpireSessions(ctx context.Context, now time.Time) error {
	_, err := count(ctx, tx.q, sqlExpireSessions, micros(now))
	return err
}

// SignInLinkGood says whether a link can be used still, up to a time.
func (r Reader) SignInLinkGood(ctx context.Context, tokenHash string, until time.Time) (bool, error) {
	n, err := one(ctx, r.q, scanInt, sqlCountLinks, tokenHash, micros(until))
	return n > 0, err
}

// InsertSignInLink adds a link that signs a user in once.
func (tx *Tx) InsertSignInLink(ctx context.Context, tokenHash, userID string, expires time.Time) error {
	return exec(ctx, tx.q, sqlInsertLink, tokenHash, userID, micros(expires))
}

// UseSignInLink uses a link up and returns whom it signs in. A link that is unknown, used or
// expired is ErrNotFound.
func (tx *Tx) UseSignInLink(ctx context.Context, tokenHash string, now time.Time) (string, error) {
	return one(ctx, tx.q, scanString, sqlUseLink, tokenHash, micros(now))
}

// InsertAPIToken adds an API token.
func (tx *Tx) InsertAPIToken(ctx context.Context, t APIToken) error {
	return exec(ctx, tx.q, sqlInsertAPIToken, t.ID, t.OrganizationID, t.UserID, t.TokenHash, t.Description,
		text(t.Scopes), micros(t.CreatedAt), micros(t.ExpiresAt), micros(t.RevokedAt))
}

// RevokeAPIToken makes a token invalid.
func (tx *Tx) RevokeAPIToken(ctx context.Context, id string, now time.Time) error {
	return exec(ctx, tx.q, sqlRevokeAPIToken, id, micros(now))
}

// InsertAgentToken adds an agent token.
func (tx *Tx) InsertAgentToken(ctx context.Context, t AgentToken) error {
	return exec(ctx, tx.q, sqlInsertAgentToken, t.ID, t.ClusterID, t.TokenHash, t.Description,
		micros(t.CreatedAt), micros(t.ExpiresAt), micros(t.RevokedAt), t.CreatedBy, t.AllowedIPs)
}
