// Package restapi serves version 2 of the REST API, as its clients know it
// (https://buildkite.com/docs/apis/rest-api): the same routes, shapes, scopes and errors. Where a
// build or job has more to tell than that API, it has fields of its own: verdict, plan_error, reason.
//
// Every answer is JSON but logs, also to a path or method that does not exist; an error is
// {"message"}, with {"errors": [{"field", "code"}]} where single fields are wrong. A body is read as
// JSON whatever its Content-Type, and unknown members and query keys are ignored, because clients
// send both. What belongs to another organization than the token's does not exist.
//
// A route names the scope that it asks for in the table of routes.go, and nothing is looked up before
// the token has it. A page of any list costs a fixed number of statements, however many rows are on it; a page of builds with
// megabytes of meta-data and thousands of jobs is read and sent in portions, each of which costs as many.
// All state is the engine's: a handler that fails has changed nothing, and one whose answer is lost
// may be asked again as far as the operation allows it.
package restapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/auth"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/joblog"
	"github.com/slipway-ci/slipway/internal/store"
)

// Deps are what the API works with. All fields are required unless they say otherwise.
type Deps struct {
	Engine *engine.Engine
	Store  *store.Store
	Auth   *auth.Auth
	Logs   *joblog.Store
	Log    *slog.Logger
	Now    func() time.Time
	// BaseURL is where people and clients reach the server, without a trailing slash.
	BaseURL string
	// SignDownload makes a URL under base that gives an artifact of the server's own storage to
	// whoever has it.
	SignDownload func(base string, a store.Artifact) string
	Version      string // of the program; may be empty
}

// server serves the API.
type server struct {
	Deps
	loads loads
}

// request is one call of a route, with who calls.
type request struct {
	*server
	w     http.ResponseWriter
	r     *http.Request
	ctx   context.Context
	actor auth.Actor
	org   store.Organization // the one that the path names, otherwise the token's
}

// New returns the handler of /v2 and all below it.
func New(d Deps) http.Handler {
	s := &server{Deps: d}
	mux := http.NewServeMux()
	for _, rt := range routes {
		mux.Handle(rt.pattern, s.handler(rt))
	}
	mux.Handle("/", s.handler(route{scope: public, serve: func(*request) error {
		return httperr.New(http.StatusNotFound, "Not Found")
	}}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		setHeaders(w.Header())
		if r.Method == http.MethodOptions {
			preflight(w)
			return
		}
		mux.ServeHTTP(w, tidied(r))
	})
}

// setHeaders says that pages of any origin may read the answer, and that no rate limit is enforced:
// clients read the headers of one all the same.
func setHeaders(h http.Header) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "Link, Location, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset")
	for prefix, scope := range map[string]string{"RateLimit-": "rest", "RateLimit-User-": "rest_user"} {
		h.Set(prefix+"Scope", scope)
		h.Set(prefix+"Limit", rateLimit)
		h.Set(prefix+"Remaining", rateLimit)
		h.Set(prefix+"Reset", "60")
	}
}

// rateLimit stands for no limit, in requests a minute.
const rateLimit = "1000000"

func preflight(w http.ResponseWriter) {
	w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Range")
	w.Header().Set("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE")
	w.WriteHeader(http.StatusNoContent)
}

// tidied takes the slash off the end of a path: some clients put one there.
func tidied(r *http.Request) *http.Request {
	if !strings.HasSuffix(r.URL.Path, "/") || r.URL.Path == "/" {
		return r
	}
	next := r.Clone(r.Context())
	next.URL.Path = strings.TrimRight(r.URL.Path, "/")
	next.URL.RawPath = strings.TrimRight(r.URL.RawPath, "/")
	return next
}

// handler serves one route: who asks is found out first.
func (s *server) handler(rt route) http.Handler {
	return httperr.Handler(s.Log, renderError, func(w http.ResponseWriter, r *http.Request) error {
		q := &request{server: s, w: w, r: r, ctx: r.Context()}
		if err := q.admit(rt.scope); err != nil {
			return err
		}
		return rt.serve(q)
	})
}

// admit refuses who may not use a route.
func (q *request) admit(scope string) (err error) {
	if scope == public {
		return nil
	}
	q.actor, err = q.Auth.APIToken(q.ctx, q.r)
	switch {
	case errors.Is(err, auth.ErrUnauthorized):
		return httperr.New(http.StatusUnauthorized, "Authentication required. Please supply a valid API Access Token: https://buildkite.com/docs/apis/rest-api#authentication")
	case err != nil:
		return fmt.Errorf("API token: %w", err)
	case scope != anyScope && !q.actor.May(scope):
		return httperr.New(http.StatusForbidden, "Forbidden: the token has no scope %s", scope)
	}
	return q.findOrganization()
}

func (q *request) findOrganization() (err error) {
	slug := q.r.PathValue("org")
	if slug == "" {
		q.org, err = q.Store.OrganizationByID(q.ctx, q.actor.OrganizationID)
		return err
	}
	q.org, err = q.Store.Organization(q.ctx, slug)
	if errors.Is(err, store.ErrNotFound) || err == nil && q.org.ID != q.actor.OrganizationID {
		return missing("organization")
	}
	return err
}

// missing is the answer about something that is not there. Clients look for this sentence.
func missing(what string) error {
	return httperr.New(http.StatusNotFound, "No %s found", what)
}

// found turns a row that is not there into an answer.
func found(err error, what string) error {
	if errors.Is(err, store.ErrNotFound) {
		return missing(what)
	}
	return err
}

// invalid refuses a field.
func invalid(field, why string) error {
	return &httperr.Error{Status: http.StatusUnprocessableEntity, Message: "Validation Failed", Fields: map[string]string{field: why}}
}

type errorJSON struct {
	Message string       `json:"message"`
	Errors  []fieldError `json:"errors,omitempty"`
}

type fieldError struct {
	Field string `json:"field"`
	Code  string `json:"code"`
}

func renderError(w http.ResponseWriter, _ *http.Request, e *httperr.Error) {
	out := errorJSON{Message: e.Message}
	for field, code := range e.Fields {
		out.Errors = append(out.Errors, fieldError{field, code})
	}
	slices.SortFunc(out.Errors, func(a, b fieldError) int { return strings.Compare(a.Field, b.Field) })
	status := e.Status
	if status == 499 {
		status = http.StatusServiceUnavailable
	}
	_ = httperr.JSON(w, status, out) // a caller who has gone is told nothing
}

// reply answers with a value.
func (q *request) reply(status int, v any) error { return httperr.JSON(q.w, status, v) }

// done answers that there is nothing to say.
func (q *request) done() error {
	q.w.WriteHeader(http.StatusNoContent)
	return nil
}

// maxBody is the size in bytes above which a body is refused unread; a pipeline's configuration is
// the largest thing sent.
const maxBody = 20 << 20

// decode reads the body, which may be absent.
func (q *request) decode(v any) error { return httperr.Decode(q.w, q.r, maxBody, v) }
