package engine

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

// What a team may do with a pipeline
// (https://buildkite.com/docs/platform/team-management/permissions).
const (
	AccessRead   = "read_only"
	AccessBuild  = "build_and_read"
	AccessManage = "manage_build_and_read"
)

// maxTeams bounds the teams of an organization.
const maxTeams = 1000

// mayUnblock refuses who may not unblock a step. Where the step names teams, their members may,
// whatever else they may do, and nobody else; otherwise who may build the pipeline
// (https://buildkite.com/docs/pipelines/configure/step-types/block-step#permissions).
func (p *progress) mayUnblock(s *store.Step, userID string) error {
	allowed := s.Spec.Manual.AllowedTeams
	if len(allowed) == 0 {
		pl, err := p.tx.PipelineByID(p.ctx, p.build.PipelineID)
		if err != nil {
			return err
		}
		return hasBuildAccess(p.ctx, p.tx, pl, userID)
	}
	if userID != "" {
		teams, err := p.tx.TeamsOfUser(p.ctx, p.build.OrganizationID, userID)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(teams, func(t store.Team) bool { return slices.Contains(allowed, t.Slug) || slices.Contains(allowed, t.ID) }) {
			return nil
		}
	}
	return refuse(Forbidden, "Only members of the teams that the step names may unblock it: %s", strings.Join(allowed, ", "))
}

// mayBuild refuses a person who may not build a pipeline. Machines that make builds (webhooks,
// schedules, trigger steps) have rules of their own.
func mayBuild(ctx context.Context, tx *store.Tx, pl store.Pipeline, op CreateBuild) error {
	person := []trust.Source{trust.SourceUI, trust.SourceAPI, trust.SourceCLI}
	if op.CreatorID == "" || !slices.Contains(person, op.Source) {
		return nil
	}
	return hasBuildAccess(ctx, tx, pl, op.CreatorID)
}

// hasBuildAccess refuses who has no access to build a pipeline that teams have access to. One that no
// team has is for every member; administrators may build all.
func hasBuildAccess(ctx context.Context, tx *store.Tx, pl store.Pipeline, userID string) error {
	all, err := tx.PipelineAccess(ctx, pl.ID)
	if err != nil || len(all) == 0 {
		return err
	}
	role, err := tx.Role(ctx, pl.OrganizationID, userID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if role == "admin" {
		return nil
	}
	own, err := tx.PipelineAccessOf(ctx, pl.ID, userID)
	if err != nil {
		return err
	}
	if slices.Contains(own, AccessBuild) || slices.Contains(own, AccessManage) {
		return nil
	}
	return refuse(Forbidden, "Only members of teams with access to build %s may do this.", pl.Slug)
}

// SaveTeam makes a team, or changes one that has an id. A slug is made of the name.
func (e *Engine) SaveTeam(ctx context.Context, t store.Team) (store.Team, error) {
	t.Name = strings.TrimSpace(t.Name)
	t.Slug = teamSlug(t.Name)
	if !slugPattern.MatchString(t.Slug) || len(t.Name) > 200 || len(t.Description) > 2000 {
		return t, &Refused{Why: Invalid, Message: "Validation Failed", Fields: map[string]string{"name": "needs letters or digits, and at most 200 characters"}}
	}
	fresh := t.ID == ""
	if fresh {
		t.ID, t.CreatedAt = e.NewID(), e.Now()
	}
	err := e.Store.Update(ctx, func(tx *store.Tx) error {
		if fresh {
			if err := roomForTeam(ctx, tx, t.OrganizationID); err != nil {
				return err
			}
			return tx.PutTeam(ctx, t)
		}
		return onTeam(ctx, tx, t.ID, func() error { return tx.PutTeam(ctx, t) })
	})
	if errors.Is(err, store.ErrConflict) {
		return t, &Refused{Why: Invalid, Message: "Validation Failed", Fields: map[string]string{"name": "has already been taken"}}
	}
	return t, err
}

func roomForTeam(ctx context.Context, tx *store.Tx, organizationID string) error {
	if _, err := tx.LockOrganization(ctx, organizationID); err != nil {
		return err
	}
	all, err := tx.Teams(ctx, organizationID)
	if err == nil && len(all) >= maxTeams {
		err = refuse(Invalid, "An organization may have %d teams.", maxTeams)
	}
	return err
}

// onTeam does something with a team that is there and stays until it is done.
func onTeam(ctx context.Context, tx *store.Tx, id string, do func() error) error {
	if _, err := tx.LockTeam(ctx, id); err != nil {
		return missing(err, "No team found")
	}
	return do()
}

// teamSlug is a name in lower case with dashes between its words.
func teamSlug(name string) string {
	words := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
	return strings.Join(words, "-")
}

// DeleteTeam removes a team with its members' places and its access to pipelines.
func (e *Engine) DeleteTeam(ctx context.Context, id string) error {
	return e.Store.Update(ctx, func(tx *store.Tx) error {
		return onTeam(ctx, tx, id, func() error { return tx.DeleteTeam(ctx, id) })
	})
}

// SaveTeamMember adds a member of the organization to a team, or changes the role of one.
func (e *Engine) SaveTeamMember(ctx context.Context, t store.Team, m store.TeamMember) error {
	if m.Role != "member" && m.Role != "maintainer" {
		return &Refused{Why: Invalid, Message: "Validation Failed", Fields: map[string]string{"role": "is neither member nor maintainer"}}
	}
	m.TeamID, m.CreatedAt = t.ID, e.Now()
	return e.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.Role(ctx, t.OrganizationID, m.UserID); err != nil {
			return missing(err, "No user found")
		}
		return onTeam(ctx, tx, t.ID, func() error { return tx.PutTeamMember(ctx, m) })
	})
}

// DeleteTeamMember takes a member out of a team.
func (e *Engine) DeleteTeamMember(ctx context.Context, teamID, userID string) error {
	return e.Store.Update(ctx, func(tx *store.Tx) error {
		return missing(tx.DeleteTeamMember(ctx, teamID, userID), "No team member found")
	})
}

// SaveTeamPipeline gives a team access to a pipeline of its organization, or changes it.
func (e *Engine) SaveTeamPipeline(ctx context.Context, t store.Team, p store.TeamPipeline) error {
	if !slices.Contains([]string{AccessRead, AccessBuild, AccessManage}, p.Access) {
		return &Refused{Why: Invalid, Message: "Validation Failed", Fields: map[string]string{
			"access_level": "is none of read_only, build_and_read, manage_build_and_read",
		}}
	}
	p.TeamID, p.CreatedAt = t.ID, e.Now()
	return e.Store.Update(ctx, func(tx *store.Tx) error {
		pl, err := tx.PipelineByID(ctx, p.PipelineID)
		if err == nil && pl.OrganizationID != t.OrganizationID {
			err = store.ErrNotFound
		}
		if err != nil {
			return missing(err, "No pipeline found")
		}
		return onTeam(ctx, tx, t.ID, func() error { return tx.PutTeamPipeline(ctx, p) })
	})
}

// DeleteTeamPipeline takes a team's access to a pipeline.
func (e *Engine) DeleteTeamPipeline(ctx context.Context, teamID, pipelineID string) error {
	return e.Store.Update(ctx, func(tx *store.Tx) error {
		return missing(tx.DeleteTeamPipeline(ctx, teamID, pipelineID), "No team pipeline found")
	})
}
