// Package agentapi is the server side of the agent protocol: what buildkite-agent v3 and v4 and our
// own agent call to register, to get jobs and to run them. The names and meanings of endpoints and
// fields are those of the official agent's api package (v3.138.1); there is no other specification.
//
// Statuses are the protocol (api/retryable.go of v3.138.1). An agent retries 429 and 5xx and takes
// every other 4xx for final: on a ping or a heartbeat it ends the agent, on a log chunk it loses the
// chunk. So a 4xx is answered only where repeating cannot help, and overload is a 503. Every answer
// has a JSON body, an error {"message"}: an empty 2xx is taken for a proxy's.
//
// Tokens: a registration token registers, a session token (of the registration) speaks for the
// agent, a job token (of the acceptance) for one job, from its acceptance to its end. After that it is
// good for nothing: the state poll answers 401, which stops the job, and finish 422. Only what was printed is taken for another
// second, as long as the log is open; a log that is deleted meanwhile does not begin anew. Storage URLs of
// artifacts authorise themselves, because agents send no token with them.
//
// Ordering and loss: everything that an agent may repeat is idempotent, by the keys that it sends.
// Streaming pings carry what a GET ping answers; hints wake them and a timer stands in for lost
// hints. Only heartbeats are kept in memory first: FlushSeen writes them, and losing a batch makes
// agents look silent for longer and nothing else.
package agentapi

import (
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/artifact"
	"github.com/slipway-ci/slipway/internal/auth"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/forge/github"
	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/joblog"
	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/store"
)

// Deps are what the API works with. All fields are required unless they say otherwise.
type Deps struct {
	Engine    *engine.Engine
	Store     *store.Store
	Auth      *auth.Auth
	Hub       *live.Hub
	Logs      *joblog.Store
	Artifacts *artifact.Store
	Apps      *github.Tokens
	Log       *slog.Logger
	Now       func() time.Time
	// BaseURL is where people and agents reach the server, without a trailing slash.
	BaseURL string
	// Hosts are values of the Host (with port) of requests that reach the server without a proxy, over plain HTTP: URLs for
	// agents may be made of them. A request with any other gets URLs under BaseURL, or under AgentEndpoint if it came there.
	Hosts []string
	// AgentEndpoint is where agents are sent, ending in /v3; "": they stay where they are. A polling agent
	// tries it before it moves.
	AgentEndpoint string
	// RequestHeaders are what agents add to every request from then on, for a proxy to route by. Agents
	// keep names that begin with Buildkite- only.
	RequestHeaders map[string]string
	// Reread is how long a streaming ping waits for a hint before it looks all the same; 0: 5 s.
	Reread time.Duration
}

// Server serves the agent protocol. It is safe for concurrent use.
type Server struct {
	Deps
	mux     *http.ServeMux
	seen    seen
	strays  strays
	rates   rates
	limits  recent[int64]          // by pipeline, in bytes of a log
	printed recent[readJob]        // by the hash of a job's token
	bearers recent[store.TokenJob] // the same, without the job's state
	bodies  bodies
	streams *streams
	turns   turns
}

// New returns a server.
func New(d Deps) *Server {
	if d.Reread == 0 {
		d.Reread = 5 * time.Second
	}
	a := &Server{Deps: d, mux: http.NewServeMux(), turns: make(turns, turnsAtOnce)}
	a.streams = newStreams(a)
	for _, rt := range routes {
		a.mux.Handle(rt.pattern, a.handler(rt))
	}
	a.mux.Handle(a.pingRoute())
	return a
}

// ServeHTTP serves /v3/, /agentedge.v1.AgentEdgeService/ and /artifacts/.
// Slashes that are doubled or trail mean nothing: the mux would answer them with a redirect, which is
// not JSON and loses the body.
func (a *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Only what separates counts: an encoded dot or slash belongs to a name, such as that of an annotation.
	escaped := twiceEscaped.Replace(tidied(r.URL.EscapedPath()))
	decoded, err := url.PathUnescape(escaped)
	if err != nil || path.Clean(escaped) != strings.TrimSuffix(escaped, "/") {
		renderError(w, r, httperr.New(http.StatusNotFound, "Not Found")) // "." and ".." name nothing
		return
	}
	r.URL.Path, r.URL.RawPath = decoded, escaped
	a.mux.ServeHTTP(w, r)
}

// twiceEscaped hides slashes within names from the mux, which takes a name that is one slash for the end of the path.
var twiceEscaped = strings.NewReplacer("%2F", "%252F", "%2f", "%252F", "%25", "%2525")

// wildcard is a part of a route's pattern that stands for a name.
var wildcard = regexp.MustCompile(`\{([a-z]+)\}`)

// decodeNames takes back, in the names of a request's path, what twiceEscaped did.
func decodeNames(r *http.Request) error {
	for _, m := range wildcard.FindAllStringSubmatch(r.Pattern, -1) {
		name, err := url.PathUnescape(r.PathValue(m[1]))
		if err != nil {
			return httperr.New(http.StatusNotFound, "Not Found")
		}
		r.SetPathValue(m[1], name)
	}
	return nil
}

// tidied is a path with single slashes and none at its end. Those that separate nothing but the door's
// prefix stay.
func tidied(p string) string {
	for strings.Contains(p, "//") {
		p = strings.ReplaceAll(p, "//", "/")
	}
	if strings.Count(p, "/") > 2 {
		p = strings.TrimSuffix(p, "/")
	}
	return p
}

// EndStreams ends the streaming pings, also those that come later, so that agents reconnect to the
// server's successor instead of counting a broken stream. Call it before shutting the server down.
func (a *Server) EndStreams() { a.streams.end() }

// handler serves one route: who asks is found out first.
func (a *Server) handler(rt route) http.Handler {
	return httperr.Handler(a.Log, renderError, func(w http.ResponseWriter, r *http.Request) error {
		if err := decodeNames(r); err != nil {
			return err
		}
		c, err := a.authorise(rt.permission, r)
		if err == nil {
			err = rt.serve(a, w, r, c)
		}
		if errors.Is(err, auth.ErrUnauthorized) {
			return a.unauthorized(w, r)
		}
		return err
	})
}

// Calls a second beyond which an agent is asked to come again. What is refused for good is not lost by that, and
// a fleet whose token was revoked, and whose supervisor starts it again and again, calms down: an agent
// that is told 401 ends at once, one that is told 503 asks again in ten seconds. A whole fleet may be behind one
// address, so registrations with a good token are counted by the token: ten thousand agents come in half a minute. Refusals are
// counted by address and token: what others try from behind the same proxy changes nothing for an agent that is to be told 401.
const (
	refusals           = 20
	registrationsToken = 300
	comeAgain          = "10" // seconds
)

func (a *Server) unauthorized(w http.ResponseWriter, r *http.Request) error {
	hash, _ := auth.SessionHash(r)
	if a.rates.use("refused "+remoteIP(r)+" "+hash, a.Now()) > refusals {
		return busyNow(w)
	}
	return httperr.New(http.StatusUnauthorized, "The access token is not valid for this.")
}

func busyNow(w http.ResponseWriter) error {
	w.Header().Set("Retry-After", comeAgain)
	return httperr.New(http.StatusServiceUnavailable, "Too many requests of this kind at the moment; come again in %s seconds.", comeAgain)
}

// renderError answers with {"message"}.
func renderError(w http.ResponseWriter, _ *http.Request, e *httperr.Error) {
	status := e.Status
	if status == 499 || status == http.StatusRequestTimeout {
		// The server's own end cancels requests too; as a 4xx that would end the agent, and a slow network lose it a chunk of a log.
		status = http.StatusServiceUnavailable
	}
	message := e.Message
	for _, field := range slices.Sorted(maps.Keys(e.Fields)) {
		message += ": " + field + " " + e.Fields[field]
	}
	// The error is the client's: there is nobody left to tell.
	_ = httperr.JSON(w, status, struct {
		Message string `json:"message"`
	}{message})
}

// ok answers 200 with an empty object, where agents ignore the body or only want one.
func ok(w http.ResponseWriter) error {
	return httperr.JSON(w, http.StatusOK, json.RawMessage("{}"))
}

// base is the URL that answers to a request build on: one that the agent reaches.
func (a *Server) base(r *http.Request) string {
	if agents := strings.TrimSuffix(a.AgentEndpoint, "/v3"); agents != "" && hostOf(agents) == r.Host {
		return agents
	}
	if hostOf(a.BaseURL) != r.Host && slices.Contains(a.Hosts, r.Host) && !forwarded(r.Header) {
		return "http://" + r.Host
	}
	return a.BaseURL
}

// forwarded says whether a proxy passed a request on. Many put the address by which they reach the server into Host (nginx, unless
// told otherwise), and no agent elsewhere reaches that.
func forwarded(h http.Header) bool {
	for _, name := range []string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip"} {
		if h.Get(name) != "" {
			return true
		}
	}
	return false
}

func hostOf(base string) string {
	u, err := url.Parse(base)
	if err != nil {
		return ""
	}
	return u.Host
}
