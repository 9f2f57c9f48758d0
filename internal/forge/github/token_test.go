package github_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/forge"
	"github.com/slipway-ci/slipway/internal/forge/github"
	"github.com/slipway-ci/slipway/internal/forge/github/githubtest"
)

// clocks are that of GitHub and ours, which may be off.
type clocks struct{ theirs, off atomic.Int64 }

func (c *clocks) github() time.Time { return time.Unix(c.theirs.Load(), 0).UTC() }
func (c *clocks) ours() time.Time   { return c.github().Add(time.Duration(c.off.Load()) * time.Second) }

// newApp is a GitHub, its app and who asks in the app's name.
func newApp(t *testing.T) (*githubtest.Server, forge.App, *github.Tokens, *clocks) {
	t.Helper()
	c := &clocks{}
	c.theirs.Store(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).Unix())
	g := githubtest.New(t, c.github)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return g, forge.App{APIURL: g.URL, ID: githubtest.AppID, Key: g.DER}, &github.Tokens{Client: client, Now: c.ours}, c
}

func TestATokenIsForOneRepositoryAndKeptUntilShortlyBeforeItsEnd(t *testing.T) {
	t.Parallel()
	g, app, tokens, c := newApp(t)
	ask := func(repository string, p github.Permission) string {
		t.Helper()
		token, err := tokens.Token(t.Context(), app, repository, p)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	first := ask("acme/app", github.ReadContents)
	c.theirs.Add(49 * 60)
	if again := ask("Acme/App", github.ReadContents); again != first {
		t.Errorf("after 49 minutes of 60 another token was asked for")
	}
	if other := ask("acme/app", github.WriteStatuses); other == first {
		t.Errorf("a token that reads was given for writing statuses")
	}
	c.theirs.Add(2 * 60)
	if late := ask("acme/app", github.ReadContents); late == first {
		t.Errorf("a token with nine minutes left was given away")
	}
	want := []string{"app contents:read", "app statuses:write", "app contents:read"}
	if diff := cmp.Diff(want, g.Tokens); diff != "" {
		t.Errorf("tokens that were given (-want +got):\n%s", diff)
	}
}

func TestManyWhoAskAtOnceShareAToken(t *testing.T) {
	t.Parallel()
	g, app, tokens, _ := newApp(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if token, err := tokens.Token(t.Context(), app, "acme/app", github.ReadContents); err != nil || token != "ghs_1" {
				t.Errorf("%q, %v", token, err)
			}
		})
	}
	wg.Wait()
	if len(g.Tokens) != 1 {
		t.Errorf("%d tokens were asked for", len(g.Tokens))
	}
}

func TestAClockThatIsALittleOffIsGoodEnough(t *testing.T) {
	t.Parallel()
	for off, good := range map[time.Duration]bool{
		0: true, 55 * time.Second: true, -4 * time.Minute: true, 2 * time.Minute: false, -6 * time.Minute: false,
	} {
		_, app, tokens, c := newApp(t)
		c.off.Store(int64(off / time.Second))
		_, err := tokens.Token(t.Context(), app, "acme/app", github.ReadContents)
		switch {
		case good && err != nil:
			t.Errorf("off by %s: %v", off, err)
		case !good && (err == nil || !strings.Contains(err.Error(), "clock is "+off.Abs().String()+" off")):
			t.Errorf("off by %s: %v does not name the clock", off, err)
		}
	}
}

func TestARefusalSaysWhatToDo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, repository, want string
		change                 func(*githubtest.Server, *forge.App)
	}{
		{"not installed", "acme/other", "not installed on the repository", nil},
		{"renamed", "acme/renamed", "has another name now", nil},
		{"another app", "acme/app", "does not know the app", func(_ *githubtest.Server, a *forge.App) { a.ID = "1" }},
		{"another key", "acme/app", "does not know the app", func(_ *githubtest.Server, a *forge.App) { a.Key = githubtest.New(t, time.Now).DER }},
		{"no permission", "acme/app", `does not have the permission "contents:read"`, func(g *githubtest.Server, _ *forge.App) { g.Granted = nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, app, tokens, _ := newApp(t)
			if c.change != nil {
				c.change(g, &app)
			}
			_, err := tokens.Token(t.Context(), app, c.repository, github.ReadContents)
			if !errors.Is(err, github.ErrNoToken) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want one that says %q", err, c.want)
			}
		})
	}
}

func TestAGitHubThatFailsOnceIsAskedAgain(t *testing.T) {
	t.Parallel()
	g, app, tokens, _ := newApp(t)
	g.Fail = 1
	if _, err := tokens.Token(t.Context(), app, "acme/app", github.ReadContents); err != nil {
		t.Error(err)
	}
	g.Fail = 2
	_, err := tokens.Token(t.Context(), app, "acme/app", github.WriteStatuses)
	if err == nil || errors.Is(err, github.ErrNoToken) {
		t.Errorf("%v, want one that may pass", err)
	}
}
