package restapi

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// teamJSON is a team (https://buildkite.com/docs/apis/rest-api/teams).
type teamJSON struct {
	ID              string    `json:"id"`
	GraphQLID       string    `json:"graphql_id"`
	Name            string    `json:"name"`
	Slug            string    `json:"slug"`
	Description     string    `json:"description"`
	Privacy         string    `json:"privacy"`
	Default         bool      `json:"default"`
	DefaultRole     string    `json:"default_member_role"`
	CreatePipelines bool      `json:"members_can_create_pipelines"`
	DeletePipelines bool      `json:"members_can_delete_pipelines"`
	CreatedAt       stamp     `json:"created_at"`
	CreatedBy       *userJSON `json:"created_by"`
}

// teamSettings are what clients set of a team and read back.
type teamSettings struct {
	Privacy         string `json:"privacy,omitempty"`
	Default         bool   `json:"is_default_team,omitempty"`
	DefaultRole     string `json:"default_member_role,omitempty"`
	CreatePipelines bool   `json:"members_can_create_pipelines,omitempty"`
	DeletePipelines bool   `json:"members_can_delete_pipelines,omitempty"`
}

type teamBody struct {
	Name            *string `json:"name"`
	Description     *string `json:"description"`
	Privacy         *string `json:"privacy"`
	Default         *bool   `json:"is_default_team"`
	DefaultRole     *string `json:"default_member_role"`
	CreatePipelines *bool   `json:"members_can_create_pipelines"`
	DeletePipelines *bool   `json:"members_can_delete_pipelines"`
}

type teamMemberJSON struct {
	Role      string `json:"role"`
	CreatedAt stamp  `json:"created_at"`
	UserID    string `json:"user_id"`
	UserName  string `json:"user_name"`
}

type teamPipelineJSON struct {
	Access      string `json:"access_level"`
	CreatedAt   stamp  `json:"created_at"`
	PipelineID  string `json:"pipeline_id"`
	PipelineURL string `json:"pipeline_url"`
}

const (
	atTeams = atOrg + "/teams"
	atTeam  = atTeams + "/{team}"
)

// teamRoutes change teams for administrators alone.
func teamRoutes() []route {
	return []route{
		{"GET " + atTeams, "read_teams", listTeams},
		{"POST " + atTeams, "write_teams", admins(createTeam)},
		{"POST " + atTeams + "/enable", "write_teams", admins(enableTeams)},
		{"GET " + atTeam, "read_teams", getTeam},
		{"PATCH " + atTeam, "write_teams", admins(updateTeam)},
		{"DELETE " + atTeam, "write_teams", admins(deleteTeam)},
		{"GET " + atTeam + "/members", "read_teams", listTeamMembers},
		{"POST " + atTeam + "/members", "write_teams", admins(createTeamMember)},
		{"GET " + atTeam + "/members/{user}", "read_teams", getTeamMember},
		{"PATCH " + atTeam + "/members/{user}", "write_teams", admins(updateTeamMember)},
		{"DELETE " + atTeam + "/members/{user}", "write_teams", admins(deleteTeamMember)},
		{"GET " + atTeam + "/pipelines", "read_teams", listTeamPipelines},
		{"POST " + atTeam + "/pipelines", "write_teams", admins(createTeamPipeline)},
		{"GET " + atTeam + "/pipelines/{uuid}", "read_teams", getTeamPipeline},
		{"PATCH " + atTeam + "/pipelines/{uuid}", "write_teams", admins(updateTeamPipeline)},
		{"DELETE " + atTeam + "/pipelines/{uuid}", "write_teams", admins(deleteTeamPipeline)},
	}
}

// admins is a handler for administrators of the organization.
func admins(serve func(*request) error) func(*request) error {
	return func(q *request) error {
		if err := q.requireAdmin(); err != nil {
			return err
		}
		return serve(q)
	}
}

func (q *request) team() (store.Team, error) {
	t, err := q.Store.Team(q.ctx, q.org.ID, q.r.PathValue("team"))
	return t, found(err, "team")
}

func settingsOfTeam(t store.Team) (s teamSettings) {
	if json.Unmarshal(t.Settings, &s) != nil {
		return teamSettings{} // what is not an object sets nothing
	}
	return s
}

func (q *request) toTeam(t store.Team) teamJSON {
	s := settingsOfTeam(t)
	out := teamJSON{
		ID: t.ID, GraphQLID: graphID("Team", t.ID), Name: t.Name, Slug: t.Slug, Description: t.Description, Privacy: s.Privacy,
		Default: s.Default, DefaultRole: s.DefaultRole, CreatePipelines: s.CreatePipelines, DeletePipelines: s.DeletePipelines,
		CreatedAt: stamp(t.CreatedAt),
	}
	if u, err := q.Store.User(q.ctx, t.CreatedBy); err == nil {
		out.CreatedBy = toUser(u)
	}
	return out
}

func listTeams(q *request) (err error) {
	var all []store.Team
	if id := q.r.URL.Query().Get("user_id"); id != "" {
		all, err = q.Store.TeamsOfUser(q.ctx, q.org.ID, id)
	} else {
		all, err = q.Store.Teams(q.ctx, q.org.ID)
	}
	if err != nil {
		return err
	}
	p, out := q.page(), []teamJSON{}
	for _, t := range slice(all, p) {
		out = append(out, q.toTeam(t))
	}
	q.link(p, len(all))
	return q.reply(http.StatusOK, out)
}

func getTeam(q *request) error {
	t, err := q.team()
	if err != nil {
		return err
	}
	return q.reply(http.StatusOK, q.toTeam(t))
}

// enableTeams is for organizations of the service that have none yet; here all have.
func enableTeams(q *request) error { return q.done() }

func createTeam(q *request) error {
	return q.saveTeam(http.StatusCreated, store.Team{OrganizationID: q.org.ID, CreatedBy: q.actor.User.ID}, teamSettings{
		Privacy: "visible", DefaultRole: "member",
	})
}

func updateTeam(q *request) error {
	t, err := q.team()
	if err != nil {
		return err
	}
	return q.saveTeam(http.StatusOK, t, settingsOfTeam(t))
}

func (q *request) saveTeam(status int, t store.Team, s teamSettings) error {
	var body teamBody
	if err := q.decode(&body); err != nil {
		return err
	}
	set(&t.Name, body.Name)
	set(&t.Description, body.Description)
	set(&s.Privacy, body.Privacy)
	set(&s.Default, body.Default)
	set(&s.DefaultRole, body.DefaultRole)
	set(&s.CreatePipelines, body.CreatePipelines)
	set(&s.DeletePipelines, body.DeletePipelines)
	s.Privacy, s.DefaultRole = strings.ToLower(s.Privacy), strings.ToLower(s.DefaultRole)
	if s.Privacy != "visible" && s.Privacy != "secret" {
		return invalid("privacy", "is neither visible nor secret")
	}
	if s.DefaultRole != "member" && s.DefaultRole != "maintainer" {
		return invalid("default_member_role", "is neither member nor maintainer")
	}
	var err error
	if t.Settings, err = json.Marshal(s); err != nil {
		return err
	}
	if t, err = q.Engine.SaveTeam(q.ctx, t); err != nil {
		return err
	}
	return q.reply(status, q.toTeam(t))
}

func deleteTeam(q *request) error {
	t, err := q.team()
	if err != nil {
		return err
	}
	if err := q.Engine.DeleteTeam(q.ctx, t.ID); err != nil {
		return err
	}
	return q.done()
}

func toTeamMember(m store.TeamMember) teamMemberJSON {
	return teamMemberJSON{m.Role, stamp(m.CreatedAt), m.UserID, m.UserName}
}

func listTeamMembers(q *request) error {
	t, err := q.team()
	if err != nil {
		return err
	}
	all, err := q.Store.TeamMembers(q.ctx, t.ID)
	if err != nil {
		return err
	}
	p, out := q.page(), []teamMemberJSON{}
	for _, m := range slice(all, p) {
		out = append(out, toTeamMember(m))
	}
	q.link(p, len(all))
	return q.reply(http.StatusOK, out)
}

func getTeamMember(q *request) error {
	t, err := q.team()
	if err != nil {
		return err
	}
	return q.replyTeamMember(http.StatusOK, t, q.r.PathValue("user"))
}

func (q *request) replyTeamMember(status int, t store.Team, userID string) error {
	m, err := q.Store.TeamMember(q.ctx, t.ID, userID)
	if err != nil {
		return found(err, "team member")
	}
	return q.reply(status, toTeamMember(m))
}

func createTeamMember(q *request) error {
	t, err := q.team()
	if err != nil {
		return err
	}
	role := settingsOfTeam(t).DefaultRole
	body := struct {
		UserID string  `json:"user_id"`
		Role   *string `json:"role"`
	}{}
	if err := q.decode(&body); err != nil {
		return err
	}
	if body.UserID == "" {
		return invalid("user_id", "is missing")
	}
	set(&role, body.Role)
	return q.saveTeamMember(http.StatusCreated, t, body.UserID, role)
}

func updateTeamMember(q *request) error {
	t, err := q.team()
	if err != nil {
		return err
	}
	m, err := q.Store.TeamMember(q.ctx, t.ID, q.r.PathValue("user"))
	if err != nil {
		return found(err, "team member")
	}
	body := struct {
		Role *string `json:"role"`
	}{}
	if err := q.decode(&body); err != nil {
		return err
	}
	set(&m.Role, body.Role)
	return q.saveTeamMember(http.StatusOK, t, m.UserID, m.Role)
}

func (q *request) saveTeamMember(status int, t store.Team, userID, role string) error {
	if err := q.Engine.SaveTeamMember(q.ctx, t, store.TeamMember{UserID: userID, Role: strings.ToLower(role)}); err != nil {
		return err
	}
	return q.replyTeamMember(status, t, userID)
}

func deleteTeamMember(q *request) error {
	t, err := q.team()
	if err != nil {
		return err
	}
	if err := q.Engine.DeleteTeamMember(q.ctx, t.ID, q.r.PathValue("user")); err != nil {
		return err
	}
	return q.done()
}

func (q *request) toTeamPipeline(p store.TeamPipeline) teamPipelineJSON {
	return teamPipelineJSON{p.Access, stamp(p.CreatedAt), p.PipelineID, q.addresses().pipeline(p.Slug)}
}

func listTeamPipelines(q *request) error {
	t, err := q.team()
	if err != nil {
		return err
	}
	all, err := q.Store.TeamPipelines(q.ctx, t.ID)
	if err != nil {
		return err
	}
	p, out := q.page(), []teamPipelineJSON{}
	for _, v := range slice(all, p) {
		out = append(out, q.toTeamPipeline(v))
	}
	q.link(p, len(all))
	return q.reply(http.StatusOK, out)
}

func getTeamPipeline(q *request) error {
	t, err := q.team()
	if err != nil {
		return err
	}
	return q.replyTeamPipeline(http.StatusOK, t, q.r.PathValue("uuid"))
}

func (q *request) replyTeamPipeline(status int, t store.Team, pipelineID string) error {
	p, err := q.Store.TeamPipeline(q.ctx, t.ID, pipelineID)
	if err != nil {
		return found(err, "team pipeline")
	}
	return q.reply(status, q.toTeamPipeline(p))
}

func createTeamPipeline(q *request) error {
	t, err := q.team()
	if err != nil {
		return err
	}
	body := struct {
		PipelineID string `json:"pipeline_id"`
		Access     string `json:"access_level"`
	}{Access: engine.AccessRead}
	if err := q.decode(&body); err != nil {
		return err
	}
	if body.PipelineID == "" {
		return invalid("pipeline_id", "is missing")
	}
	return q.saveTeamPipeline(http.StatusCreated, t, body.PipelineID, body.Access)
}

func updateTeamPipeline(q *request) error {
	t, err := q.team()
	if err != nil {
		return err
	}
	p, err := q.Store.TeamPipeline(q.ctx, t.ID, q.r.PathValue("uuid"))
	if err != nil {
		return found(err, "team pipeline")
	}
	body := struct {
		Access *string `json:"access_level"`
	}{}
	if err := q.decode(&body); err != nil {
		return err
	}
	set(&p.Access, body.Access)
	return q.saveTeamPipeline(http.StatusOK, t, p.PipelineID, p.Access)
}

func (q *request) saveTeamPipeline(status int, t store.Team, pipelineID, access string) error {
	if err := q.Engine.SaveTeamPipeline(q.ctx, t, store.TeamPipeline{PipelineID: pipelineID, Access: strings.ToLower(access)}); err != nil {
		return err
	}
	return q.replyTeamPipeline(status, t, pipelineID)
}

func deleteTeamPipeline(q *request) error {
	t, err := q.team()
	if err != nil {
		return err
	}
	if err := q.Engine.DeleteTeamPipeline(q.ctx, t.ID, q.r.PathValue("uuid")); err != nil {
		return err
	}
	return q.done()
}
