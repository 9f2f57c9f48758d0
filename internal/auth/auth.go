// Package auth finds out who is asking and what they may do.
//
// Every credential is looked up by its hash. One that is unknown, revoked or expired is
// ErrUnauthorized; the caller is told no more. An Actor is bound to one organization, and what it
// may do is asked with May.
package auth

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/secret"
	"github.com/slipway-ci/slipway/internal/store"
)

// ErrUnauthorized says that a request bears no valid credential.
var ErrUnauthorized = errors.New("no valid credential")

// SessionCookie is the name of the cookie that holds a browser's session. On a server with https it
// should be sent with the Secure attribute; the name has no prefix because plain http works too.
const SessionCookie = "slipway_session"

// Actor is a person who asks, through a browser or a token.
type Actor struct {
	User           store.User
	OrganizationID string          // "" for a browser: its pages name one
	Token          *store.APIToken // nil for a browser
	Session        string          // hash of the session's token, "" for a token
}

// May says whether the actor's token has a scope. A browser has all of its member's.
func (a Actor) May(scope string) bool {
	return a.Token == nil || slices.Contains(a.Token.Scopes, scope)
}

// Auth looks credentials up.
type Auth struct {
	Store *store.Store
	Now   func() time.Time
}

// APIToken returns who bears the token of an Authorization header of the form "Bearer TOKEN".
func (a *Auth) APIToken(ctx context.Context, r *http.Request) (Actor, error) {
	token, ok := credential(r, "bearer")
	if !ok {
		return Actor{}, ErrUnauthorized
	}
	t, err := a.Store.APIToken(ctx, secret.HashToken(token))
	if err != nil {
		return Actor{}, unknown(err)
	}
	if !t.RevokedAt.IsZero() || over(t.ExpiresAt, a.Now()) {
		return Actor{}, ErrUnauthorized
	}
	u, err := a.Store.User(ctx, t.UserID)
	return Actor{User: u, OrganizationID: t.OrganizationID, Token: &t}, unknown(err)
}

// Session returns whose browser it is.
func (a *Auth) Session(ctx context.Context, r *http.Request) (Actor, error) {
	c, err := r.Cookie(SessionCookie)
	if err != nil || c.Value == "" {
		return Actor{}, ErrUnauthorized
	}
	s, err := a.Store.Session(ctx, secret.HashToken(c.Value))
	if err != nil {
		return Actor{}, unknown(err)
	}
	if over(s.ExpiresAt, a.Now()) {
		return Actor{}, ErrUnauthorized
	}
	u, err := a.Store.User(ctx, s.UserID)
	return Actor{User: u, Session: s.TokenHash}, unknown(err)
}

// AgentToken returns the token that an agent registers with.
func (a *Auth) AgentToken(ctx context.Context, r *http.Request) (store.AgentToken, error) {
	token, ok := credential(r, "token")
	if !ok {
		return store.AgentToken{}, ErrUnauthorized
	}
	t, err := a.Store.AgentToken(ctx, secret.HashToken(token))
	if err != nil {
		return t, unknown(err)
	}
	if !t.RevokedAt.IsZero() || over(t.ExpiresAt, a.Now()) {
		return t, ErrUnauthorized
	}
	return t, nil
}

// Agent returns what the agent that bears a session token is to do. A session that has ended is not valid.
func (a *Auth) Agent(ctx context.Context, r *http.Request) (store.Errand, error) {
	hash, ok := SessionHash(r)
	if !ok {
		return store.Errand{}, ErrUnauthorized
	}
	agent, err := a.Store.AgentByToken(ctx, hash)
	if err != nil {
		return agent, unknown(err)
	}
	if !agent.Live() {
		return agent, ErrUnauthorized
	}
	return agent, nil
}

// SessionHash is the hash of the token that a request of an agent bears, of whatever kind; false: it bears none.
func SessionHash(r *http.Request) (string, bool) {
	token, ok := credential(r, "token")
	return secret.HashToken(token), ok
}

// Job returns the job whose token the request bears, also one that has ended: what a late caller is
// told depends on the call. A job that was lost has a token that is no longer valid for anything.
func (a *Auth) Job(ctx context.Context, r *http.Request) (store.TokenJob, error) {
	token, ok := credential(r, "token")
	if !ok {
		return store.TokenJob{}, ErrUnauthorized
	}
	j, err := a.Store.JobByToken(ctx, secret.HashToken(token))
	return j, unknown(err)
}

// Holds says whether a job's token still lets its bearer act: the job has not ended.
func Holds(j store.TokenJob) bool {
	return j.State == ci.JobAccepted || j.State == ci.JobRunning || j.State == ci.JobCanceling || j.State == ci.JobTimingOut
}

// credential is the value of an Authorization header with a scheme.
func credential(r *http.Request, scheme string) (string, bool) {
	got, token, ok := strings.Cut(strings.TrimSpace(r.Header.Get("Authorization")), " ")
	token = strings.Trim(strings.TrimSpace(token), `"`)
	return token, ok && strings.EqualFold(got, scheme) && token != ""
}

func unknown(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return ErrUnauthorized
	}
	return err
}

func over(end, now time.Time) bool { return !end.IsZero() && !end.After(now) }
