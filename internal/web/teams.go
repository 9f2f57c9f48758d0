package web

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// TeamPage is one team: what it is called, who is in it and what they may do.
type TeamPage struct {
	SettingsFrame
	Sheet
	Members   []TeamRow
	Pipelines []TeamRow
	NewMember []Option // who is not in it yet
	NewAccess []Option // pipelines that it has no access to yet
	Roles     []Option
	Access    []Option
}

// TeamRow is a member or a pipeline of a team, with what may be chosen for it.
type TeamRow struct {
	ID, Name, Href string
	Options        []Option
}

// teamChoice is a row's form: where it is posted, and what its fields are called.
type teamChoice struct {
	Action, Key, Name, Label string
	Row                      TeamRow
}

// Choice is the form of a row.
func (r TeamRow) Choice(at, to, key, name, label string) teamChoice {
	return teamChoice{at + "/" + to, key, name, label, r}
}

// Bounds of a team's page.
const (
	maxMembers       = 1000
	maxTeamPipelines = 1000
)

// accessWords are what a team may do with a pipeline, in words.
var accessWords = []Option{
	{Label: "Read", Value: engine.AccessRead}, {Label: "Build and read", Value: engine.AccessBuild}, {Label: "Manage, build and read", Value: engine.AccessManage},
}

var roleWords = []Option{{Label: "Member", Value: "member"}, {Label: "Maintainer", Value: "maintainer"}}

// chosen are options of which one is on.
func chosen(options []Option, value string) []Option {
	out := slices.Clone(options)
	for k := range out {
		out[k].On = out[k].Value == value
	}
	return out
}

func teamsPage(q *request) error {
	all, err := q.Store.Teams(q.ctx, q.org.ID)
	if err != nil {
		return err
	}
	page := ListPage{
		Title: "Teams", Sub: "A pipeline that a team has access to is built by its teams alone. One that no team has is for every member.", Icon: "users",
		Adds: []Link{{Text: "New team", Href: q.settingsPath("teams/new")}}, Columns: []Column{{"Made", true, true}},
		Empty: "No team yet", EmptyText: "Every member builds every pipeline. A team gives a pipeline to some of them.",
	}
	for _, t := range all {
		at := q.settingsPath("teams/" + t.ID)
		page.Rows = append(page.Rows, ListRow{Name: t.Name, Href: at, Note: t.Description, Cells: []Cell{q.when(t.CreatedAt, "")}, Acts: []RowAct{{Text: "Delete", Href: at + "/delete", Stop: true}}})
	}
	return q.list("teams", page)
}

func (q *request) teamSheet(t store.Team) Sheet {
	s := Sheet{
		Title: orElse(t.Name, "New team"), At: q.settingsPath("teams/" + orElse(t.ID, "new")), Back: q.settingsPath("teams"), Do: "Save changes",
		Crumbs: []Crumb{{"Settings", "/" + q.org.Slug + "/settings"}, {"Teams", q.settingsPath("teams")}},
		Sections: []Section{{Wide: true, Inputs: []Input{
			{Name: "name", Label: "Name", Hint: "Block steps name the team by its slug, which is made of it.", Value: t.Name, Required: true},
			{Name: "description", Label: "Description", Value: t.Description},
		}}},
	}
	if t.ID == "" {
		s.Do = "Add team"
		// What a team is given over REST where nothing is said of it.
		t.Settings = json.RawMessage(`{"privacy":"visible","default_member_role":"member"}`)
	} else {
		s.Sections[0].Inputs[0].Hint = "Block steps name the team by its slug, " + t.Slug + ", which is made of it."
	}
	s.save = func(given url.Values) (string, error) {
		t.Name, t.Description = given.Get("name"), strings.TrimSpace(given.Get("description"))
		_, err := q.Engine.SaveTeam(q.ctx, t)
		return "", err
	}
	return s
}

func openNewTeam(q *request) (Sheet, error) {
	return q.teamSheet(store.Team{OrganizationID: q.org.ID, CreatedBy: q.user.ID}), nil
}

// team is the one in the request's path.
func (q *request) team() (store.Team, error) {
	t, err := q.Store.Team(q.ctx, q.org.ID, q.r.PathValue("team"))
	return t, orMissing(err, "There is no such team", Link{Text: "Teams", Href: q.settingsPath("teams")})
}

// teamPage shows a team, and saves its name and description.
func teamPage(q *request) error {
	t, err := q.team()
	if err != nil {
		return err
	}
	s := q.teamSheet(t)
	s.Saved = q.r.URL.Query().Has("saved")
	if q.r.Method != http.MethodPost {
		return q.showTeam(http.StatusOK, t, s)
	}
	given, err := q.form()
	if err != nil {
		return err
	}
	_, err = s.save(given)
	no, err := refusal(err)
	if err != nil {
		return err
	}
	if no != nil {
		s.refill(given)
		s.refuse(no)
		return q.showTeam(refusedStatus(no.Why), t, s)
	}
	return q.seeOther(s.At + "?saved")
}

func (q *request) showTeam(status int, t store.Team, s Sheet) error {
	page := TeamPage{SettingsFrame: q.settingsFrame(t.Name, "teams"), Sheet: s, Roles: chosen(roleWords, "member"), Access: chosen(accessWords, engine.AccessBuild)}
	if err := q.loadTeamMembers(&page, t); err != nil {
		return err
	}
	if err := q.loadTeamPipelines(&page, t); err != nil {
		return err
	}
	return q.html(status, "team", page)
}

func (q *request) loadTeamMembers(page *TeamPage, t store.Team) error {
	members, err := q.Store.TeamMembers(q.ctx, t.ID)
	if err != nil {
		return err
	}
	in := map[string]bool{}
	for _, m := range members {
		in[m.UserID] = true
		page.Members = append(page.Members, TeamRow{ID: m.UserID, Name: m.UserName, Options: chosen(roleWords, m.Role)})
	}
	all, err := q.Store.Members(q.ctx, q.org.ID, maxMembers)
	for _, u := range all {
		if !in[u.ID] {
			page.NewMember = append(page.NewMember, Option{Label: viewer(u).Handle, Value: u.ID})
		}
	}
	return err
}

func (q *request) loadTeamPipelines(page *TeamPage, t store.Team) error {
	given, err := q.Store.TeamPipelines(q.ctx, t.ID)
	if err != nil {
		return err
	}
	has := map[string]bool{}
	for _, p := range given {
		has[p.PipelineID] = true
		page.Pipelines = append(page.Pipelines, TeamRow{ID: p.PipelineID, Name: p.Slug, Href: "/" + q.org.Slug + "/" + p.Slug, Options: chosen(accessWords, p.Access)})
	}
	all, err := q.Store.Pipelines(q.ctx, q.org.ID, "", maxTeamPipelines)
	for _, p := range all {
		if !has[p.ID] && p.ArchivedAt.IsZero() {
			page.NewAccess = append(page.NewAccess, Option{Label: p.Name, Value: p.ID})
		}
	}
	return err
}

// onTeam makes a route of something that a form of a team's page asks.
func onTeam(save func(q *request, t store.Team, given url.Values) error) func(*request) error {
	return func(q *request) error {
		t, err := q.team()
		if err != nil {
			return err
		}
		given, err := q.form()
		if err != nil {
			return err
		}
		if err := save(q, t, given); err != nil {
			return err
		}
		return q.seeOther(q.settingsPath("teams/" + t.ID))
	}
}

func changeTeamMember(q *request, t store.Team, given url.Values) error {
	if given.Get("do") == "remove" {
		return q.Engine.DeleteTeamMember(q.ctx, t.ID, given.Get("user"))
	}
	return q.Engine.SaveTeamMember(q.ctx, t, store.TeamMember{UserID: given.Get("user"), Role: given.Get("role")})
}

func changeTeamPipeline(q *request, t store.Team, given url.Values) error {
	if given.Get("do") == "remove" {
		return q.Engine.DeleteTeamPipeline(q.ctx, t.ID, given.Get("pipeline"))
	}
	return q.Engine.SaveTeamPipeline(q.ctx, t, store.TeamPipeline{PipelineID: given.Get("pipeline"), Access: given.Get("access")})
}

func askDeleteTeam(q *request) (ConfirmForm, func() error, error) {
	t, err := q.team()
	form := ConfirmForm{
		Title: "Delete team " + t.Name + "?", Action: q.settingsPath("teams/" + t.ID + "/delete"), Back: q.settingsPath("teams"), Safe: "Keep it", Do: "Delete team",
		Text: "Its members stay members of the organization. A pipeline that only this team had is for every member then, and a block step that names only this team can be answered by nobody.",
	}
	return form, func() error { return q.Engine.DeleteTeam(q.ctx, t.ID) }, err
}
