package web

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/auth"
)

func TestGuessesRunOutAndComeBack(t *testing.T) {
	t.Parallel()
	var b brake
	a, other := guess{"a", 3}, guess{"b", 3}
	for n := range 3 {
		if w := b.take(noon, a); w != 0 {
			t.Fatalf("guess %d waits %s", n, w)
		}
	}
	if w := b.take(noon, a, other); w != tryEvery {
		t.Errorf("waits %s, want %s", w, tryEvery)
	}
	if w := b.take(noon, other); w != 0 {
		t.Errorf("another waits %s", w)
	}
	if w := b.take(noon.Add(tryEvery), a); w != 0 {
		t.Errorf("after a while it waits %s", w)
	}
	b.giveBack(a)
	if w := b.take(noon.Add(tryEvery), a); w != 0 {
		t.Errorf("after a right guess it waits %s", w)
	}
	if w := b.take(noon.Add(time.Hour), a); w != 0 {
		t.Errorf("after an hour it waits %s", w)
	}
}

func TestTheMemoryOfGuessesIsBounded(t *testing.T) {
	t.Parallel()
	var b brake
	for n := range maxGuessers + 100 {
		b.take(noon, guess{fmt.Sprint(n), 1})
	}
	if len(b.clear) > maxGuessers {
		t.Errorf("%d are remembered", len(b.clear))
	}
	b.take(noon.Add(time.Hour), guess{"x", 1})
	if len(b.clear) != 1 {
		t.Errorf("%d are remembered after an hour", len(b.clear))
	}
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	for remote, want := range map[string]string{
		"192.0.2.7:4000": "192.0.2.7", "[2001:db8:1:2:3::4]:5": "2001:db8:1:2::/64", "[::ffff:192.0.2.7]:4": "192.0.2.7", "pipe": "pipe",
	} {
		if got := network(remote); got != want {
			t.Errorf("%s is %s, want %s", remote, got, want)
		}
	}
}

// Wrong links use up what a network may try, for passwords too.
func TestGuessingAtTheDoorIsSlowedDown(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for range addressTries {
		s.post("/sign-in", url.Values{"code": {"wrong"}}, http.StatusUnprocessableEntity)
	}
	s.post("/sign-in", url.Values{"code": {"wrong"}}, http.StatusTooManyRequests)
	s.post("/sign-in", url.Values{"email": {"ana@example.com"}, "password": {"long enough"}}, http.StatusTooManyRequests)
}

// Signing in ends the session that the browser had, and signing out the one it
// has.
func TestASessionEndsWithTheNextAndAtSignOut(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	session := func() *http.Cookie {
		for _, c := range s.client.Jar.Cookies(must(url.Parse(s.url))(t)) {
			if c.Name == auth.SessionCookie {
				return c
			}
		}
		return nil
	}
	status := func(c *http.Cookie) int {
		r := must(http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/main/live", nil))(t)
		r.Header.Set("Accept", "text/event-stream")
		r.AddCookie(c)
		client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		res := must(client.Do(r))(t)
		res.Body.Close()
		return res.StatusCode
	}
	s.signIn()
	first := session()
	s.signIn()
	second := session()
	if first.Value == second.Value || status(first) != http.StatusUnauthorized || status(second) != http.StatusOK {
		t.Errorf("the first session answers %d, the second %d", status(first), status(second))
	}
	s.post("/sign-out", nil, http.StatusOK)
	if session() != nil || status(second) != http.StatusUnauthorized {
		t.Errorf("after signing out the session answers %d", status(second))
	}
}
