package store

import (
	"context"
	"encoding/json"
	"time"
)

// Team is some of an organization's members.
type Team struct {
	ID             string
	OrganizationID string
	Slug           string
	Name           string
	Description    string
	Settings       json.RawMessage // what clients set and read back
	CreatedBy      string          // user id
	CreatedAt      time.Time
}

// TeamMember is a member of a team.
type TeamMember struct {
	TeamID    string
	UserID    string
	UserName  string // of the user, read alone
	Role      string // member or maintainer
	CreatedAt time.Time
}

// TeamPipeline is what a team may do with a pipeline.
type TeamPipeline struct {
	TeamID     string
	PipelineID string
	Slug       string // of the pipeline, read alone
	Access     string // read_only, build_and_read or manage_build_and_read
	CreatedAt  time.Time
}

const (
	teamColumns    = `id, organization_id, slug, name, description, settings, created_by, created_at`
	sqlTeam        = `SELECT ` + teamColumns + ` FROM teams WHERE organization_id = $1 AND (id = $2 OR slug = $2)`
	sqlTeamByID    = `SELECT ` + teamColumns + ` FROM teams WHERE id = $1`
	sqlTeams       = `SELECT ` + teamColumns + ` FROM teams WHERE organization_id = $1 ORDER BY name, id LIMIT 1000`
	sqlTeamsOfUser = `SELECT ` + teamColumns + ` FROM teams WHERE organization_id = $1 AND id IN
		(SELECT team_id FROM team_members WHERE user_id = $2) ORDER BY slug LIMIT 1000`
	sqlTeamSlugs = `SELECT slug FROM teams WHERE organization_id = $1 AND id IN
		(SELECT team_id FROM team_members WHERE user_id = $2) ORDER BY slug LIMIT 1000`
	sqlTeamsWith = `SELECT slug FROM teams WHERE id IN
		(SELECT team_id FROM team_pipelines WHERE pipeline_id = $1) ORDER BY slug LIMIT 1000`
	sqlPutTeam = `INSERT INTO teams (` + teamColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (id) DO UPDATE SET slug = excluded.slug, name = excluded.name, description = excluded.description,
		settings = excluded.settings`
	sqlDropTeam          = `DELETE FROM teams WHERE id = $1`
	sqlDropTeamMembers   = `DELETE FROM team_members WHERE team_id = $1`
	sqlDropTeamPipelines = `DELETE FROM team_pipelines WHERE team_id = $1`

	sqlTeamMembers = `SELECT team_id, user_id, users.name, role, team_members.created_at FROM team_members
		JOIN users ON users.id = team_members.user_id WHERE team_id = $1 ORDER BY team_members.created_at, user_id LIMIT 10000`
	sqlTeamMember = `SELECT team_id, user_id, users.name, role, team_members.created_at FROM team_members
		JOIN users ON users.id = team_members.user_id WHERE team_id = $1 AND user_id = $2`
	sqlPutTeamMember = `INSERT INTO team_members (team_id, user_id, role, created_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (team_id, user_id) DO UPDATE SET role = excluded.role`
	sqlDropTeamMember = `DELETE FROM team_members WHERE team_id = $1 AND user_id = $2`

	sqlTeamPipelines = `SELECT team_id, pipeline_id, pipelines.slug, access, team_pipelines.created_at FROM team_pipelines
		JOIN pipelines ON pipelines.id = team_pipelines.pipeline_id WHERE team_id = $1 ORDER BY team_pipelines.created_at, pipeline_id LIMIT 10000`
	sqlTeamPipeline = `SELECT team_id, pipeline_id, pipelines.slug, access, team_pipelines.created_at FROM team_pipelines
		JOIN pipelines ON pipelines.id = team_pipelines.pipeline_id WHERE team_id = $1 AND pipeline_id = $2`
	sqlPutTeamPipeline = `INSERT INTO team_pipelines (team_id, pipeline_id, access, created_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (team_id, pipeline_id) DO UPDATE SET access = excluded.access`
	sqlDropTeamPipeline = `DELETE FROM team_pipelines WHERE team_id = $1 AND pipeline_id = $2`
	sqlPipelineAccess   = `SELECT access FROM team_pipelines WHERE pipeline_id = $1 LIMIT 1000`
	sqlPipelineAccessOf = `SELECT access FROM team_pipelines WHERE pipeline_id = $1 AND team_id IN
		(SELECT team_id FROM team_members WHERE user_id = $2) LIMIT 1000`
)

func scanTeam(s scanner) (t Team, err error) {
	return t, s.Scan(&t.ID, &t.OrganizationID, &t.Slug, &t.Name, &t.Description, rawDocument{&t.Settings}, &t.CreatedBy,
		instant{&t.CreatedAt})
}

func scanTeamMember(s scanner) (m TeamMember, err error) {
	return m, s.Scan(&m.TeamID, &m.UserID, &m.UserName, &m.Role, instant{&m.CreatedAt})
}

func scanTeamPipeline(s scanner) (p TeamPipeline, err error) {
	return p, s.Scan(&p.TeamID, &p.PipelineID, &p.Slug, &p.Access, instant{&p.CreatedAt})
}

// Team returns an organization's team by its id or slug.
func (r Reader) Team(ctx context.Context, organizationID, name string) (Team, error) {
	return one(ctx, r.q, scanTeam, sqlTeam, organizationID, name)
}

// Teams returns an organization's teams by name, at most 1,000.
func (r Reader) Teams(ctx context.Context, organizationID string) ([]Team, error) {
	return list(ctx, r.q, scanTeam, sqlTeams, organizationID)
}

// TeamsOfUser returns the teams that a user is a member of, by slug.
func (r Reader) TeamsOfUser(ctx context.Context, organizationID, userID string) ([]Team, error) {
	return list(ctx, r.q, scanTeam, sqlTeamsOfUser, organizationID, userID)
}

// TeamSlugs returns the slugs of the teams that a user is a member of, in order; none for "".
func (r Reader) TeamSlugs(ctx context.Context, organizationID, userID string) ([]string, error) {
	if userID == "" {
		return nil, nil
	}
	return list(ctx, r.q, scanString, sqlTeamSlugs, organizationID, userID)
}

// TeamsWith returns the slugs of the teams that have access to a pipeline, in order, at most 1,000.
func (r Reader) TeamsWith(ctx context.Context, pipelineID string) ([]string, error) {
	return list(ctx, r.q, scanString, sqlTeamsWith, pipelineID)
}

// TeamMembers returns a team's members, the earliest first, at most 10,000.
func (r Reader) TeamMembers(ctx context.Context, teamID string) ([]TeamMember, error) {
	return list(ctx, r.q, scanTeamMember, sqlTeamMembers, teamID)
}

// TeamMember returns one member of a team.
func (r Reader) TeamMember(ctx context.Context, teamID, userID string) (TeamMember, error) {
	return one(ctx, r.q, scanTeamMember, sqlTeamMember, teamID, userID)
}

// TeamPipelines returns what a team has access to, the earliest first, at most 10,000.
func (r Reader) TeamPipelines(ctx context.Context, teamID string) ([]TeamPipeline, error) {
	return list(ctx, r.q, scanTeamPipeline, sqlTeamPipelines, teamID)
}

// TeamPipeline returns a team's access to a pipeline.
func (r Reader) TeamPipeline(ctx context.Context, teamID, pipelineID string) (TeamPipeline, error) {
	return one(ctx, r.q, scanTeamPipeline, sqlTeamPipeline, teamID, pipelineID)
}

// PipelineAccess returns the access that teams have to a pipeline; none: it is nobody's in particular.
func (r Reader) PipelineAccess(ctx context.Context, pipelineID string) ([]string, error) {
	return list(ctx, r.q, scanString, sqlPipelineAccess, pipelineID)
}

// PipelineAccessOf returns the access that a user has to a pipeline through teams.
func (r Reader) PipelineAccessOf(ctx context.Context, pipelineID, userID string) ([]string, error) {
	return list(ctx, r.q, scanString, sqlPipelineAccessOf, pipelineID, userID)
}

// LockTeam returns a team and keeps others from changing or leaving it until the transaction ends.
func (tx *Tx) LockTeam(ctx context.Context, id string) (Team, error) {
	return one(ctx, tx.q, scanTeam, sqlTeamByID+tx.forUpdate, id)
}

// PutTeam adds a team, or saves what may change of one; ErrConflict if its slug is taken.
func (tx *Tx) PutTeam(ctx context.Context, t Team) error {
	return exec(ctx, tx.q, sqlPutTeam, t.ID, t.OrganizationID, t.Slug, t.Name, t.Description, string(t.Settings), t.CreatedBy,
		micros(t.CreatedAt))
}

// DeleteTeam removes a team with its members and its access.
func (tx *Tx) DeleteTeam(ctx context.Context, id string) error {
	for _, q := range []string{sqlDropTeamMembers, sqlDropTeamPipelines} {
		if _, err := count(ctx, tx.q, q, id); err != nil {
			return err
		}
	}
	return exec(ctx, tx.q, sqlDropTeam, id)
}

// PutTeamMember adds a member to a team, or changes the role of one.
func (tx *Tx) PutTeamMember(ctx context.Context, m TeamMember) error {
	return exec(ctx, tx.q, sqlPutTeamMember, m.TeamID, m.UserID, m.Role, micros(m.CreatedAt))
}

// DeleteTeamMember takes a member out of a team; ErrNotFound if there is none.
func (tx *Tx) DeleteTeamMember(ctx context.Context, teamID, userID string) error {
	return exec(ctx, tx.q, sqlDropTeamMember, teamID, userID)
}

// PutTeamPipeline gives a team access to a pipeline, or changes it.
func (tx *Tx) PutTeamPipeline(ctx context.Context, p TeamPipeline) error {
	return exec(ctx, tx.q, sqlPutTeamPipeline, p.TeamID, p.PipelineID, p.Access, micros(p.CreatedAt))
}

// DeleteTeamPipeline takes a team's access to a pipeline; ErrNotFound if it has none.
func (tx *Tx) DeleteTeamPipeline(ctx context.Context, teamID, pipelineID string) error {
	return exec(ctx, tx.q, sqlDropTeamPipeline, teamID, pipelineID)
}
