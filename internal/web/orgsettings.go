package web

import (
	"net/http"
	"time"

	"github.com/slipway-ci/slipway/internal/store"
)

// SettingsFrame is what stands around a page of an organization's settings.
type SettingsFrame struct {
	Frame
	Side []SideGroup
}

// SideGroup is a heading of the settings' navigation with the pages below it.
type SideGroup struct {
	Title   string
	Entries []Entry
}

// settingsPages are the pages of the settings in the order of their navigation. An administrator sees
// all of them, a member those that are his own.
var settingsPages = []struct {
	key, text string
	own       bool
}{
	{"limits", "Limits and retention", false},
	{"secrets", "Secrets", false},
	{"teams", "Teams", false},
	{"notifications", "Notifications", false},
	{"agent-tokens", "Agent tokens", false},
	{"tokens", "API tokens", true},
}

// settingsRoutes are the addresses of the settings.
func settingsRoutes() []route {
	const at = "/{org}/settings"
	routes := []route{
		{"GET " + at, member, settingsHome},
		{"GET " + at + "/secrets", admin, secretsPage},
		{"GET " + at + "/agent-tokens", admin, agentTokensPage},
		{"GET " + at + "/teams", admin, teamsPage},
		{"POST " + at + "/teams/{team}/members", admin, onTeam(changeTeamMember)},
		{"POST " + at + "/teams/{team}/pipelines", admin, onTeam(changeTeamPipeline)},
		{"GET " + at + "/notifications", admin, servicesPage},
		{"POST " + at + "/notifications/{service}/switch", admin, switchService},
		{"GET " + at + "/tokens", member, apiTokensPage},
	}
	for _, form := range []route{
		{"/limits", admin, onSheet("limits", openLimits)},
		{"/secrets/new", admin, onSheet("secrets", openNewSecret)},
		{"/secrets/{secret}", admin, onSheet("secrets", openSecret)},
		{"/secrets/{secret}/value", admin, onSheet("secrets", openSecretValue)},
		{"/secrets/{secret}/delete", admin, asking("secrets", askDeleteSecret)},
		{"/teams/new", admin, onSheet("teams", openNewTeam)},
		{"/teams/{team}", admin, teamPage},
		{"/teams/{team}/delete", admin, asking("teams", askDeleteTeam)},
		{"/notifications/new-webhook", admin, onSheet("notifications", openNewWebhook)},
		{"/notifications/new-slack", admin, onSheet("notifications", openNewSlack)},
		{"/notifications/{service}", admin, onSheet("notifications", openService)},
		{"/notifications/{service}/delete", admin, asking("notifications", askDeleteService)},
		{"/agent-tokens/new", admin, onSheet("agent-tokens", openNewAgentToken)},
		{"/agent-tokens/{token}", admin, onSheet("agent-tokens", openAgentToken)},
		{"/agent-tokens/{token}/revoke", admin, asking("agent-tokens", askRevokeAgentToken)},
		{"/tokens/new", member, onSheet("tokens", openNewAPIToken)},
		{"/tokens/{token}/revoke", member, asking("tokens", askRevokeAPIToken)},
	} {
		routes = append(routes, route{"GET " + at + form.pattern, form.access, form.handle}, route{"POST " + at + form.pattern, form.access, form.handle})
	}
	return routes
}

// settingsFrame is the frame of a page that belongs to a section.
func (q *request) settingsFrame(title, section string) SettingsFrame {
	f := SettingsFrame{Frame: q.frame(title, "settings")}
	groups := []SideGroup{{Title: f.Org.Name}, {Title: orElse(f.Viewer.Handle, "You")}}
	for _, p := range settingsPages {
		k := 0
		if p.own {
			k = 1
		} else if q.role != "admin" {
			continue
		}
		groups[k].Entries = append(groups[k].Entries, Entry{Key: p.key, Text: p.text, Href: f.Org.Path() + "/settings/" + p.key, Current: p.key == section})
	}
	for _, g := range groups {
		if len(g.Entries) > 0 {
			f.Side = append(f.Side, g)
		}
	}
	return f
}

// settingsHome leads to the first page of the settings that the viewer may see.
func settingsHome(q *request) error {
	for _, p := range settingsPages {
		if p.own || q.role == "admin" {
			return q.seeOther("/" + q.org.Slug + "/settings/" + p.key)
		}
	}
	return missing("There is nothing at this address")
}

// settingsPath is the address of a page of the settings.
func (q *request) settingsPath(page string) string { return "/" + q.org.Slug + "/settings/" + page }

// cluster is the organization's default cluster, whose secrets and tokens the settings show.
func (q *request) cluster() (store.Cluster, error) {
	clusters, err := q.Store.Clusters(q.ctx, q.org.ID)
	if err == nil && len(clusters) == 0 {
		err = missing("This organization has no cluster")
	}
	if err != nil {
		return store.Cluster{}, err
	}
	return clusters[0], nil
}

// when is a cell with a time, or with what stands for none.
func (q *request) when(t time.Time, none string) Cell {
	if t.IsZero() {
		return Cell{Text: none}
	}
	return Cell{At: Moment{At: t.In(q.now.Location()), Now: q.now}}
}

// ListPage is a list of the settings: one row for each thing, with what can be done to it.
type ListPage struct {
	SettingsFrame
	Title, Sub string
	Adds       []Link // what makes another; the last is the page's main button
	Columns    []Column
	Rows       []ListRow
	Empty      string // instead of rows
	EmptyText  string
	Icon       string
	Foot       string
}

// Column is the head of a column after the first.
type Column struct {
	Text   string
	Number bool
	Wide   bool // left out where the window is narrow
}

// ListRow is one thing.
type ListRow struct {
	Name, Note, Href string
	Mono             bool
	Tags             []string
	Cells            []Cell
	Acts             []RowAct
}

// Cell is what stands in a column: a time, or a text.
type Cell struct {
	Text string
	At   Moment
}

// RowAct is a button of a row: it leads to a page, or is posted.
type RowAct struct {
	Text, Href string
	Post, Stop bool
}

func (q *request) list(section string, page ListPage) error {
	page.SettingsFrame = q.settingsFrame(page.Title, section)
	return q.html(http.StatusOK, "listing", page)
}
