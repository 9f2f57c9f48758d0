// Package githubtest is a GitHub for tests: as much of its API as an app needs to get a token, and to write
// a status with it. It checks an app's assertions against the app's public key and GitHub's rules.
package githubtest

import (
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwt"

	"github.com/slipway-ci/slipway/internal/secret"
)

// AppID is the app's.
const AppID = "4711"

// Server is one GitHub with one app, which is installed on some repositories. It is safe for concurrent use.
type Server struct {
	URL        string
	PrivateKey string // the app's, in PEM
	DER        []byte // the same
	public     *rsa.PublicKey
	now        func() time.Time

	mu        sync.Mutex
	Granted   []string // permissions of the installation, as in contents:read
	Installed []string // repositories, as in acme/app
	Fail      int      // how many of the next requests get a 502
	Asked     []string // methods and paths
	Tokens    []string // repository and permission of each token that was given
	Statuses  []string // as in "acme/app context=state"
}

// New starts a server that ends with the test. now is its clock.
func New(t testing.TB, now func() time.Time) *Server {
	t.Helper()
	der, err := secret.NewSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := secret.ParseRSA(der)
	if err != nil {
		t.Fatal(err)
	}
	g := &Server{
		PrivateKey: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), DER: der, public: &key.PublicKey, now: now,
		Granted: []string{"contents:read", "statuses:write"}, Installed: []string{"acme/app"},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /repos/{owner}/{name}/installation", g.asApp(g.installation))
	mux.HandleFunc("POST /app/installations/{id}/access_tokens", g.asApp(g.token))
	mux.HandleFunc("POST /repos/{owner}/{name}/statuses/{sha}", g.status)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.Asked = append(g.Asked, r.Method+" "+r.URL.Path)
		w.Header().Set("Date", g.now().UTC().Format(http.TimeFormat))
		if g.Fail > 0 {
			g.Fail--
			answer(w, http.StatusBadGateway, "Server Error")
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	g.URL = server.URL
	return g
}

// Do changes or reads the server between two requests.
func (g *Server) Do(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
}

func answer(w http.ResponseWriter, status int, message string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"message": %q}`, message)
}

// asApp lets in who asserts to be the app.
func (g *Server) asApp(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		token, err := jwt.ParseString(bearer, jwt.WithKey(jwa.RS256(), g.public), jwt.WithIssuer(AppID), jwt.WithClock(jwt.ClockFunc(g.now)))
		if err != nil {
			answer(w, http.StatusUnauthorized, "A JSON web token could not be decoded")
			return
		}
		if end, ok := token.Expiration(); !ok || end.Sub(g.now()) > 10*time.Minute {
			answer(w, http.StatusUnauthorized, "'Expiration time' claim ('exp') is too far in the future")
			return
		}
		next(w, r)
	}
}

func repository(r *http.Request) string {
	return strings.ToLower(r.PathValue("owner") + "/" + r.PathValue("name"))
}

func (g *Server) installation(w http.ResponseWriter, r *http.Request) {
	if repository(r) == "acme/renamed" {
		answer(w, http.StatusMovedPermanently, "Moved Permanently")
		return
	}
	for i, name := range g.Installed {
		if name == repository(r) {
			fmt.Fprintf(w, `{"id": %d}`, i+1)
			return
		}
	}
	answer(w, http.StatusNotFound, "Not Found")
}

func (g *Server) token(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Repositories []string
		Permissions  map[string]string
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || len(body.Repositories) != 1 || len(body.Permissions) != 1 {
		answer(w, http.StatusBadRequest, "a token for one repository and one permission is wanted")
		return
	}
	for what, level := range body.Permissions {
		permission := what + ":" + level
		if !slices.Contains(g.Granted, permission) {
			answer(w, http.StatusUnprocessableEntity, "The permissions requested are not granted to this installation.")
			return
		}
		g.Tokens = append(g.Tokens, body.Repositories[0]+" "+permission)
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"token": "ghs_%d", "expires_at": %q}`, len(g.Tokens), g.now().Add(time.Hour).UTC().Format(time.RFC3339))
	}
}

// status takes a status from who bears a token that may write one.
func (g *Server) status(w http.ResponseWriter, r *http.Request) {
	for i, given := range g.Tokens {
		if r.Header.Get("Authorization") == fmt.Sprintf("Bearer ghs_%d", i+1) && given == r.PathValue("name")+" statuses:write" {
			var s struct{ State, Context string }
			if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
				answer(w, http.StatusBadRequest, err.Error())
				return
			}
			g.Statuses = append(g.Statuses, repository(r)+" "+s.Context+"="+s.State)
			w.WriteHeader(http.StatusCreated)
			return
		}
	}
	answer(w, http.StatusForbidden, "Resource not accessible by integration")
}
