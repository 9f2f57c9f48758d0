package web

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/internal/store"
)

// frame is what stands around a page of the request's organization. A count
// that cannot be read is left at zero: the page itself matters more.
func (q *request) frame(title, current string, topics ...string) Frame {
	f := Frame{
		Title: title, Theme: theme(q.r), Org: Org{Slug: q.org.Slug, Name: orElse(q.org.Name, q.org.Slug)}, Current: current,
		Viewer: viewer(q.user), Now: q.now, Scripts: []string{"keys.js", "ui.js"}, Fleet: q.fleetCounts(),
	}
	f.listen(topics...)
	pipelines, err := q.Store.Pipelines(q.ctx, q.org.ID, "", 20)
	if err != nil {
		q.Log.WarnContext(q.ctx, "palette", "error", err)
	}
	for _, p := range pipelines {
		f.Jump = append(f.Jump, Link{Text: p.Name, Href: f.Org.Path() + "/" + p.Slug})
	}
	return f
}

// listen adds topics to what the page wants from the stream.
func (f *Frame) listen(topics ...string) {
	f.Topics = append(f.Topics, topics...)
	if len(f.Topics) > 0 && !slices.Contains(f.Scripts, "live.js") {
		f.Scripts = append(f.Scripts, "live.js")
	}
}

func (q *request) fleetCounts() Fleet {
	agents, busy, err := q.Store.CountAgents(q.ctx)
	if err != nil {
		q.Log.WarnContext(q.ctx, "fleet counts", "error", err)
	}
	waiting, err := q.Store.CountScheduledJobs(q.ctx, "")
	if err != nil {
		q.Log.WarnContext(q.ctx, "fleet counts", "error", err)
	}
	return Fleet{Running: busy, Waiting: waiting, Agents: agents}
}

func viewer(u store.User) Viewer {
	return Viewer{Handle: orElse(u.Name, u.Email), Name: u.Name, Email: u.Email}
}

// root leads to the viewer's organization.
func root(q *request) error {
	if q.user.ID == "" {
		return q.seeOther("/sign-in")
	}
	orgs, err := q.Store.OrganizationsOf(q.ctx, q.user.ID)
	if err != nil {
		return err
	}
	if len(orgs) == 0 {
		return &problem{status: http.StatusForbidden, title: "You are in no organization yet", text: "Somebody who is must add you."}
	}
	return q.seeOther("/" + orgs[0].Slug)
}

// pipeline is the one in the request's path.
func (q *request) pipeline() (store.Pipeline, error) {
	slug := q.r.PathValue("pipe")
	p, err := q.Store.Pipeline(q.ctx, q.org.ID, slug)
	if errors.Is(err, store.ErrNotFound) {
		return p, missing("There is no pipeline " + slug)
	}
	return p, err
}

// setTheme keeps the reader's choice in a cookie, so that the first paint is
// already right.
func setTheme(q *request) error {
	value := q.r.FormValue("theme")
	if !slices.Contains([]string{"light", "dark", "system"}, value) {
		return &problem{status: http.StatusUnprocessableEntity, title: "The themes are light, dark and system"}
	}
	c := &http.Cookie{Name: "slipway_theme", Value: value, Path: "/", MaxAge: 365 * 24 * 3600, SameSite: http.SameSiteLaxMode, HttpOnly: true}
	if value == "system" {
		c.MaxAge = -1
	}
	http.SetCookie(q.w, c)
	if strings.Contains(q.r.Header.Get("Accept"), "application/json") {
		q.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return q.seeOther(sameSite(q.r))
}

// sameSite is the page a form was sent from, or the start page.
func sameSite(r *http.Request) string {
	_, rest, ok := strings.Cut(r.Header.Get("Referer"), "://")
	if !ok {
		return "/"
	}
	host, path, _ := strings.Cut(rest, "/")
	if host != r.Host {
		return "/"
	}
	return local("/" + path)
}
