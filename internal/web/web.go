package web

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/auth"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/joblog"
	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/store"
)

// Deps is what the pages need of the rest of the program. All fields are
// required but those that say otherwise.
type Deps struct {
	Store  *store.Store
	Engine *engine.Engine
	Auth   *auth.Auth
	Logs   *joblog.Store
	Hub    *live.Hub
	Log    *slog.Logger
	Now    func() time.Time
	Zone   *time.Location // of the times the server writes; browsers rewrite them in theirs
	// SendArtifact answers with a file that the server keeps, so that no browser executes it.
	SendArtifact func(w http.ResponseWriter, r *http.Request, a store.Artifact) error
	BaseURL      string          // where people and forges reach the server, without a trailing slash
	Secure       bool            // the server is reached over HTTPS: cookies say so
	Version      string          // of the program; may be empty
	Stopping     <-chan struct{} // closed before a restart, so that streams say good-bye; may be nil
}

// access says who may use a route.
type access int

const (
	public   access = iota // anybody
	signedIn               // anybody with an account
	member                 // members of the organization in the path
	admin                  // of those, who may manage it
)

// route is one address of the interface.
type route struct {
	pattern string
	access  access
	handle  func(*request) error
}

// server serves the pages.
type server struct {
	Deps
	pages   *Pages
	hashing chan struct{} // a token for each password that is being hashed
	brake   brake         // of guesses at the door
}

// request is one request with what the routes have in common.
type request struct {
	*server
	w    http.ResponseWriter
	r    *http.Request
	ctx  context.Context
	now  time.Time
	user store.User
	org  store.Organization
	role string // in the organization
}

// New returns the interface's handler. It owns every path that no other door
// takes.
func New(d Deps) (http.Handler, error) {
	pages, err := NewPages()
	if err != nil {
		return nil, err
	}
	s := &server{Deps: d, pages: pages, hashing: make(chan struct{}, maxHashing)}
	mux := http.NewServeMux()
	for _, rt := range s.routes() {
		mux.HandleFunc(rt.pattern, func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, rt) })
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.serve(w, r, route{handle: func(*request) error { return missing("There is nothing at this address") }})
	})
	guard := http.NewCrossOriginProtection()
	guard.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.serve(w, r, route{handle: func(*request) error {
			return &problem{status: http.StatusForbidden, title: "This form was sent from another site", text: "Nothing was changed. Open the page here and send it again."}
		}})
	}))
	return withAssets(pages.assets, guard.Handler(mux)), nil
}

// withAssets takes /assets/ out of the routes, whose first segment names an
// organization.
func withAssets(assets, rest http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/assets/") {
			assets.ServeHTTP(w, r)
			return
		}
		rest.ServeHTTP(w, r)
	})
}

// routes lists every address with who may use it.
func (s *server) routes() []route {
	const build = "/{org}/{pipe}/builds/{number}"
	return append(settingsRoutes(), []route{
		{"GET /{$}", public, root},
		{"GET /sign-in", public, signInPage},
		{"POST /sign-in", public, signIn},
		{"GET /setup", signedIn, setupPage},
		{"POST /setup", signedIn, setup},
		{"POST /sign-out", public, signOut},
		{"POST /theme", public, setTheme},
		{"GET /{org}", member, home},
		{"GET /{org}/builds", member, allBuilds},
		{"GET /{org}/live", member, stream},
		{"GET /{org}/agents", member, agentsPage},
		{"GET /{org}/agents/stop/{agent}", admin, confirmStopAgent},
		{"POST /{org}/agents/stop/{agent}", admin, onAgent(stopAgent)},
		{"POST /{org}/agents/pause/{agent}", admin, pauseAgent},
		{"POST /{org}/agents/resume/{agent}", admin, onAgent(resumeAgent)},
		{"GET /{org}/queues", member, toAgents},
		{"POST /{org}/queues/change/{queue}", admin, changeQueue},
		{"POST /{org}/queues/pause/{queue}", admin, pauseQueue},
		{"POST /{org}/queues/resume/{queue}", admin, resumeQueue},
		{"GET /{org}/{kind}/{name}", member, ofOrganization},
		{"GET /{org}/{pipe}", member, pipelinePage},
		{"GET /{org}/{pipe}/builds", member, toPipeline},
		{"POST /{org}/{pipe}/builds", member, createBuild},
		{"GET /{org}/{pipe}/builds/new", member, newBuildPage},
		{"GET /{org}/{pipe}/builds/latest", member, latestBuild},
		{"GET /{org}/{pipe}/settings", member, stepsPage},
		{"POST /{org}/{pipe}/settings", member, saveSteps},
		{"GET /{org}/{pipe}/triggers", member, triggersPage},
		{"POST /{org}/{pipe}/triggers", member, changeTriggers},
		{"GET /{org}/new", member, newPipelinePage},
		{"POST /{org}/new", member, createPipeline},
		{"GET " + build, member, buildPage},
		{"GET " + build + "/cancel", member, confirmCancel},
		{"POST " + build + "/cancel", member, cancelBuild},
		{"POST " + build + "/rebuild", member, rebuild},
		{"GET " + build + "/approve", member, confirmReview("approve")},
		{"POST " + build + "/approve", member, review(false)},
		{"GET " + build + "/reject", member, confirmReview("reject")},
		{"POST " + build + "/reject", member, review(true)},
		{"POST " + build + "/retry", member, retryFailed},
		{"GET " + build + "/graph", member, graphPage},
		{"GET " + build + "/waterfall", member, waterfallPage},
		{"GET " + build + "/artifacts", member, buildPage},
		{"GET " + build + "/artifacts/{artifact}", member, download},
		{"GET " + build + "/jobs/{job}", member, buildPage},
		{"GET " + build + "/jobs/{job}/artifacts", member, buildPage},
		{"GET " + build + "/jobs/{job}/raw", member, rawLog},
		{"GET " + build + "/jobs/{job}/lines", member, logLines},
		{"GET " + build + "/jobs/{job}/search", member, searchLog},
		{"GET " + build + "/jobs/{job}/at", member, logLineAt},
		{"GET " + build + "/jobs/{job}/cancel", member, confirmCancelJob},
		{"POST " + build + "/jobs/{job}/cancel", member, cancelJob},
		{"POST " + build + "/jobs/{job}/retry", member, retryJob},
		{"POST " + build + "/jobs/{job}/unblock", member, unblock},
	}...)
}

// serve finds out who asks, lets the route answer, and turns its error into a
// page. An answer that has begun is aborted instead.
func (s *server) serve(out http.ResponseWriter, r *http.Request, rt route) {
	w := &httperr.Answer{ResponseWriter: out}
	setPolicy(w.Header())
	q := &request{server: s, w: w, r: r, ctx: r.Context(), now: s.Now().In(s.Zone)}
	err := q.admit(rt)
	if err == nil {
		err = rt.handle(q)
	}
	if err == nil || q.ctx.Err() != nil {
		return
	}
	if w.Begun() {
		q.Log.ErrorContext(q.ctx, "page", "path", r.URL.Path, "error", err)
		httperr.Abort()
	}
	q.fail(err)
}

// admit loads the viewer and the organization, and refuses who may not pass.
// An organization somebody is no member of looks like one that does not exist.
func (q *request) admit(rt route) error {
	u, ok, err := q.viewer()
	if err != nil {
		return fmt.Errorf("session: %w", err)
	}
	q.user = u
	if rt.access == public || rt.access == signedIn && ok {
		return nil
	}
	if !ok {
		return errSignIn
	}
	org, err := q.Store.Organization(q.ctx, q.r.PathValue("org"))
	if err == nil {
		q.role, err = q.Store.Role(q.ctx, org.ID, u.ID)
	}
	if errors.Is(err, store.ErrNotFound) {
		return missing("There is nothing at this address")
	}
	q.org = org
	if err == nil && rt.access == admin && q.role != "admin" {
		return &problem{status: http.StatusForbidden, title: "Only an administrator may do this", text: "Nothing was changed."}
	}
	return err
}

// errSignIn sends a browser to the sign-in page and back.
var errSignIn = errors.New("signing in comes first")

// problem is an answer of no, with what to do about it.
type problem struct {
	status int
	title  string
	text   string
	links  []Link
}

func (p *problem) Error() string { return p.title }

func missing(title string, links ...Link) error {
	return &problem{status: http.StatusNotFound, title: title, text: "It may have been renamed or removed, or the address may be mistyped.", links: links}
}

func (q *request) fail(err error) {
	if errors.Is(err, errSignIn) {
		q.askWho()
		return
	}
	p := q.explain(err)
	f := Frame{Title: p.title, Theme: theme(q.r), Now: q.now}
	if q.org.ID != "" {
		f = q.frame(p.title, "")
		p.links = append(p.links, Link{Text: "Pipelines", Href: f.Org.Path()})
	} else if len(p.links) == 0 {
		p.links = []Link{{Text: "Start page", Href: "/"}}
	}
	page := ErrorPage{Frame: f, Status: p.status, State: NotRun, Title: p.title, Text: p.text, Links: p.links}
	if p.status >= http.StatusInternalServerError {
		page.State, page.Reference = Lost, reference()
		q.Log.ErrorContext(q.ctx, "page", "path", q.r.URL.Path, "reference", page.Reference, "error", err)
	}
	if err := q.html(p.status, "error", page); err != nil {
		q.Log.ErrorContext(q.ctx, "error page", "error", err)
	}
}

func (q *request) explain(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	if no, ok := errors.AsType[*engine.Refused](err); ok {
		return &problem{status: refusedStatus(no.Why), title: no.Message, text: "Nothing was changed."}
	}
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, joblog.ErrNotFound) {
		return missing("There is nothing at this address").(*problem)
	}
	return &problem{
		status: http.StatusInternalServerError, title: "This page could not be made",
		text: "Builds and agents are not affected. Try again; if it stays, give the reference to whoever runs this server.",
	}
}

func refusedStatus(why engine.Why) int {
	switch why {
	case engine.Missing:
		return http.StatusNotFound
	case engine.Conflict:
		return http.StatusConflict
	case engine.Forbidden:
		return http.StatusForbidden
	}
	return http.StatusUnprocessableEntity
}

// askWho redirects a page to the sign-in form, and answers 401 to what is not
// a page.
func (q *request) askWho() {
	if q.r.Method != http.MethodGet || strings.Contains(q.r.Header.Get("Accept"), "text/event-stream") {
		http.Error(q.w, "signing in comes first", http.StatusUnauthorized)
		return
	}
	http.Redirect(q.w, q.r, "/sign-in?next="+urlQuery(q.r.URL.RequestURI()), http.StatusSeeOther)
}

func reference() string {
	b := make([]byte, 4)
	rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}

// html renders a page, compressed when the browser takes that.
func (q *request) html(status int, name string, data any) error {
	h := q.w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Accept-Encoding")
	return q.send(status, func(w io.Writer) error { return q.pages.Write(w, name, data) })
}
