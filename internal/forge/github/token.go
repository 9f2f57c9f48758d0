package github

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/slipway-ci/slipway/internal/forge"
	"github.com/slipway-ci/slipway/internal/secret"
)

// Permission is one thing that a token may do, as in "contents:read".
type Permission string

// The permissions that this program asks for
// (https://docs.github.com/en/rest/apps/apps#create-an-installation-access-token-for-an-app).
const (
	ReadContents  Permission = "contents:read"
	WriteStatuses Permission = "statuses:write"
)

// ErrNoToken says that GitHub gives an app no token for a repository, however often it is asked. The error
// around it says why, and what to do.
var ErrNoToken = errors.New("GitHub gives no token")

const (
	// An assertion may end 10 minutes from now at most, by GitHub's clock, and may not begin in its future:
	// one that begins a minute ago and ends in five lets our clock be wrong by as much
	// (https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app).
	assertedBefore = time.Minute
	assertedFor    = 5 * time.Minute
	// keepMargin is how long a token must still be good when it is given away: a clone of a large repository
	// takes minutes, and asks more than once. GitHub's are good for an hour.
	keepMargin = 10 * time.Minute
	// askLimit bounds all of one exchange. Agents give up after 60 seconds.
	askLimit = 20 * time.Second
)

// Tokens asks for the tokens with which an app reaches one repository, and keeps each until shortly before
// its end, in memory alone. It is safe for concurrent use; who asks for the same at once shares one answer.
type Tokens struct {
	Client *http.Client // may not follow redirects
	Now    func() time.Time

	flights singleflight.Group
	mu      sync.Mutex
	kept    map[string]grant // by wanted
}

// grant is what GitHub answers.
type grant struct {
	Token     string    `json:"token"`
	ExpiresAt time.Time `json:"expires_at"`
}

// wanted names a grant. An app with another key is another app.
func wanted(app forge.App, repository string, p Permission) string {
	return fmt.Sprintf("%s %s %x %s %s", app.APIURL, app.ID, sha256.Sum256(app.Key), strings.ToLower(repository), p)
}

// Token is good for one repository (owner/name) and one permission. An error that is not ErrNoToken may
// pass.
func (t *Tokens) Token(ctx context.Context, app forge.App, repository string, p Permission) (string, error) {
	key := wanted(app, repository, p)
	if g, ok := t.keeps(key); ok {
		return g.Token, nil
	}
	v, err, _ := t.flights.Do(key, func() (any, error) {
		if g, ok := t.keeps(key); ok {
			return g.Token, nil
		}
		// Others wait for the answer too: it is not given up with the first of them.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askLimit)
		defer cancel()
		g, err := t.grant(ctx, app, repository, p)
		if err == nil {
			t.keep(key, g)
		}
		return g.Token, err
	})
	if err != nil {
		return "", err
	}
	return v.(string), nil
}

func (t *Tokens) keeps(key string) (grant, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	g, ok := t.kept[key]
	return g, ok && g.ExpiresAt.Sub(t.Now()) > keepMargin
}

// keep forgets what has ended: the number of tokens is that of the repositories in use.
func (t *Tokens) keep(key string, g grant) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.kept, func(_ string, g grant) bool { return !g.ExpiresAt.After(t.Now()) })
	if t.kept == nil {
		t.kept = map[string]grant{}
	}
	t.kept[key] = g
}

// grant finds the app's installation that has the repository, and asks for a token of it.
func (t *Tokens) grant(ctx context.Context, app forge.App, repository string, p Permission) (g grant, err error) {
	assertion, err := t.assertion(app)
	if err != nil {
		return g, err
	}
	var installation struct {
		ID int64 `json:"id"`
	}
	err = t.ask(ctx, http.MethodGet, app.APIURL+"/repos/"+repository+"/installation", assertion, nil, &installation)
	if err != nil {
		return g, explain(err, repository, p)
	}
	_, name, _ := strings.Cut(repository, "/")
	what, level, _ := strings.Cut(string(p), ":")
	body := map[string]any{"repositories": []string{name}, "permissions": map[string]string{what: level}}
	err = t.ask(ctx, http.MethodPost, fmt.Sprintf("%s/app/installations/%d/access_tokens", app.APIURL, installation.ID), assertion, body, &g)
	if err == nil && g.Token == "" {
		err = errors.New("GitHub's answer has no token in it")
	}
	return g, explain(err, repository, p)
}

// assertion says, for a few minutes, that whoever has it is the app.
func (t *Tokens) assertion(app forge.App) (string, error) {
	key, err := secret.ParseRSA(app.Key)
	if err != nil {
		return "", err
	}
	now := t.Now()
	return secret.SignJWT(key, "", map[string]any{
		"iss": app.ID, "iat": now.Add(-assertedBefore).Unix(), "exp": now.Add(assertedFor).Unix(),
	})
}

// ask asks twice where the first failure may pass: agents cannot repeat the request that waits for this
// (repositoryToken of internal/agentapi says why).
func (t *Tokens) ask(ctx context.Context, method, address, assertion string, body, answer any) error {
	var err error
	for range 2 {
		res, text, failed := call(ctx, t.Client, method, address, assertion, body)
		if err = failed; err == nil {
			return json.Unmarshal(text, answer)
		}
		if r, ok := errors.AsType[*refusal](err); ok {
			return t.refused(r, res)
		}
	}
	return err
}

// refused adds to a refusal that the clocks differ, if they do.
func (t *Tokens) refused(r *refusal, res *http.Response) error {
	theirs, err := http.ParseTime(res.Header.Get("Date"))
	if off := t.Now().Sub(theirs); err == nil && r.status == http.StatusUnauthorized && off.Abs() >= assertedBefore {
		r.message += fmt.Sprintf(" (this server's clock is %s off GitHub's: set it right)", off.Abs().Round(time.Second))
	}
	return r
}

// explain says in the words of whoever set the app up what a refusal means.
func explain(err error, repository string, p Permission) error {
	r, ok := errors.AsType[*refusal](err)
	if !ok {
		return err
	}
	why := "it refuses"
	switch {
	case r.status == http.StatusUnauthorized:
		why = "it does not know the app by this id and private key"
	case r.status == http.StatusNotFound:
		why = "the app is not installed on the repository; install it there, in the app's settings on GitHub"
	case r.status == http.StatusForbidden:
		why = "the app's installation is suspended or may not do this"
	case r.status == http.StatusUnprocessableEntity:
		why = fmt.Sprintf("the installation does not have the permission %q, or does not include the repository", p)
	case r.status < http.StatusBadRequest:
		why = "the repository has another name now; change the pipeline's repository"
	}
	return fmt.Errorf("%w for %s: %s (%w)", ErrNoToken, repository, why, r)
}
