package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/forge"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
)

// EffectStatus is the kind of the effects by which a forge is told of a build's or step's state. Their
// payload is a CommitStatus, and their target the build and the context: what is told is the state at that
// time, so a forge that was away is told the last one alone.
const EffectStatus = "commit_status"

// CommitStatus asks for a status of a build's commit.
type CommitStatus struct {
	BuildID          string `json:"build_id"`
	StepID           string `json:"step_id,omitempty"` // "": of the build itself
	Context          string `json:"context"`
	BlockedAsPending bool   `json:"blocked_as_pending,omitempty"`
}

// statusPlan says which statuses a new build sends of itself: none where the server could not write to the
// forge (https://buildkite.com/docs/pipelines/source-control/github#customizing-commit-statuses).
func (e *Engine) statusPlan(ctx context.Context, r store.Reader, pl store.Pipeline, b store.Build) (*store.StatusPlan, error) {
	settings, err := forge.ParseSettings(pl.Settings, pl.DefaultBranch)
	if err != nil || !settings.PublishStatus {
		return nil, nil // settings that cannot be read publish nothing
	}
	writes, err := writesStatuses(ctx, r, pl)
	if err != nil || !writes {
		return nil, err
	}
	plan := &store.StatusPlan{
		Context: "buildkite/" + pl.Slug, Steps: settings.PublishEachStep, StepKeys: settings.StepKeyAsStatus,
		BlockedAsPending: settings.BlockedAsPending,
	}
	if settings.SeparatePullStatuses && b.Detail.PullRequest != nil {
		plan.Context += "/pr"
	}
	return plan, nil
}

// writesStatuses says whether there is a token or an app for the forge of a pipeline's repository.
func writesStatuses(ctx context.Context, r store.Reader, pl store.Pipeline) (bool, error) {
	token, err := r.ForgeToken(ctx, pl.ID, pl.OrganizationID)
	if err == nil && forge.ServesAPI(token.APIURL, pl.Repository) {
		return true, nil
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return false, err
	}
	org, err := r.OrganizationByID(ctx, pl.OrganizationID)
	return err == nil && appServes(org.ForgeApp, pl.Repository), err
}

// statusOfBuild tells the forge that the build's state is another.
func (p *progress) statusOfBuild() error {
	plan := p.build.Detail.Statuses
	if plan == nil {
		return nil
	}
	return p.status(CommitStatus{BuildID: p.build.ID, Context: plan.Context, BlockedAsPending: plan.BlockedAsPending})
}

// statusOfStep tells the forge that a command step's state is another, where the pipeline wants that.
func (p *progress) statusOfStep(s *store.Step) error {
	plan := p.build.Detail.Statuses
	if plan == nil || !plan.Steps || s.Kind != ci.StepCommand {
		return nil
	}
	return p.status(CommitStatus{BuildID: p.build.ID, StepID: s.ID, Context: plan.Context + "/" + stepContext(s, plan.StepKeys)})
}

var emojiCode = regexp.MustCompile(`:[a-z0-9_+-]+:`)

// stepContext names a step in a status.
func stepContext(s *store.Step, byKey bool) string {
	label := strings.TrimSpace(emojiCode.ReplaceAllString(s.Label, ""))
	name := firstNonEmpty(Slug(label), s.Key, s.ID)
	if byKey {
		name = firstNonEmpty(s.Key, name)
	}
	return name
}

// notifiedStatus is a status that the pipeline's own document asks for, of a step if one is given.
func (p *progress) notifiedStatus(n pipeline.Notification, s *store.Step) error {
	status := CommitStatus{BuildID: p.build.ID, Context: n.Context, BlockedAsPending: n.BlockedAsPending}
	if s != nil {
		status.StepID = s.ID
	}
	if status.Context == "" {
		pl, err := p.tx.PipelineByID(p.ctx, p.build.PipelineID)
		if err != nil {
			return err
		}
		status.Context = "buildkite/" + pl.Slug
		if s != nil {
			status.Context += "/" + stepContext(s, false)
		}
	}
	return p.status(status)
}

func (p *progress) status(s CommitStatus) error {
	return p.effect(EffectStatus, s.BuildID+"/"+s.Context, s)
}

// ReadStatus decodes the payload of a status's effect.
func ReadStatus(e store.Effect) (s CommitStatus, err error) {
	if err := json.Unmarshal(e.Payload, &s); err != nil {
		return s, fmt.Errorf("effect %s %s: %w", e.Kind, e.Target, err)
	}
	return s, nil
}

// SetForgeToken gives the server what it writes to a forge with: commit statuses, for all pipelines of an
// organization or for one.
type SetForgeToken struct {
	OrganizationID string
	PipelineID     string // "": for the organization
	APIURL         string // "": GitHub's own
	Token          string
	By             string
}

func forgePlace(ownerID string) string { return "forge-token/" + ownerID }

// DefaultAPI is where GitHub's API is.
const DefaultAPI = "https://api.github.com"

// SetForgeToken keeps a token, sealed.
func (e *Engine) SetForgeToken(ctx context.Context, op SetForgeToken) (store.ForgeToken, error) {
	v := store.ForgeToken{
		OwnerID: firstNonEmpty(op.PipelineID, op.OrganizationID), OrganizationID: op.OrganizationID, UpdatedBy: op.By, UpdatedAt: e.Now(),
		APIURL: strings.TrimRight(firstNonEmpty(strings.TrimSpace(op.APIURL), DefaultAPI), "/"),
	}
	token := strings.TrimSpace(op.Token)
	fields := map[string]string{}
	if token == "" || len(token) > maxWebhookSecret || strings.ContainsAny(token, "\r\n\x00 ") {
		fields["token"] = "is not a token of the forge"
	}
	if !forge.ValidAPI(v.APIURL) {
		fields["api_url"] = "is not an http or https URL without a user"
	}
	if len(fields) > 0 {
		return v, &Refused{Why: Invalid, Message: "Validation Failed", Fields: fields}
	}
	return v, e.Store.Update(ctx, func(tx *store.Tx) error {
		if err := tx.PutForgeToken(ctx, v); err != nil {
			return err
		}
		return e.seal(ctx, tx, forgePlace(v.OwnerID), []byte(token))
	})
}

// DeleteForgeToken forgets the token of an organization or a pipeline.
func (e *Engine) DeleteForgeToken(ctx context.Context, ownerID string) error {
	return e.Store.Update(ctx, func(tx *store.Tx) error {
		if err := tx.DeleteForgeToken(ctx, ownerID); err != nil {
			return err
		}
		return tx.DeleteSealed(ctx, forgePlace(ownerID))
	})
}

// ForgeToken returns where and with what the server writes to the forge of a pipeline's repository;
// store.ErrNotFound if it cannot.
func (e *Engine) ForgeToken(ctx context.Context, pl store.Pipeline) (apiURL, token string, err error) {
	v, err := e.Store.ForgeToken(ctx, pl.ID, pl.OrganizationID)
	if err != nil {
		return "", "", err
	}
	if !forge.ServesAPI(v.APIURL, pl.Repository) {
		return "", "", store.ErrNotFound
	}
	raw, err := e.Unseal(ctx, forgePlace(v.OwnerID))
	return v.APIURL, string(raw), err
}
