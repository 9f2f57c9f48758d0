package worker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/forge"
	"github.com/slipway-ci/slipway/internal/forge/github"
	"github.com/slipway-ci/slipway/internal/store"
)

// Statuses write commit statuses to GitHub, each as the build or step is when it is written.
type Statuses struct {
	Engine  *engine.Engine
	Client  *http.Client
	Apps    *github.Tokens // of the organizations' apps, where there is no token that was given
	BaseURL string
}

// errUnresolved says that it is not known yet which commit a name such as HEAD means.
var errUnresolved = errors.New("the build's commit is not known in full yet")

// Deliver writes one status. Without a token for the repository's forge there is nobody to tell.
func (s *Statuses) Deliver(ctx context.Context, e store.Effect) error {
	status, err := engine.ReadStatus(e)
	if err != nil {
		return permanent{err}
	}
	b, err := s.Engine.Store.Build(ctx, status.BuildID)
	if err != nil {
		return err
	}
	pl, err := s.Engine.Store.PipelineByID(ctx, b.PipelineID)
	if err != nil {
		return err
	}
	api, token, err := s.token(ctx, pl)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if errors.Is(err, github.ErrNoToken) {
		return permanent{err}
	}
	if err != nil {
		return err
	}
	sha, err := s.commit(ctx, b)
	if err != nil || sha == "" {
		return err
	}
	out, err := s.status(ctx, pl, status)
	if err != nil {
		return err
	}
	// Another deliverer may write a later state at the same time: whoever writes last looks again, so that
	// the forge is not left with an earlier one.
	for range maxRewrites {
		err := github.PostStatus(ctx, s.Client, api, token, forge.NameOf(pl.Repository), sha, out)
		if errors.Is(err, github.ErrRefused) {
			return permanent{err}
		}
		if err != nil {
			return err
		}
		next, err := s.status(ctx, pl, status)
		if err != nil || next == out {
			return err
		}
		out = next
	}
	return nil // it changes faster than it is written, and every change has an effect of its own
}

// token is where and with what statuses of a pipeline's builds are written; store.ErrNotFound if nothing
// was given for that.
func (s *Statuses) token(ctx context.Context, pl store.Pipeline) (api, token string, err error) {
	api, token, err = s.Engine.ForgeToken(ctx, pl)
	if !errors.Is(err, store.ErrNotFound) {
		return api, token, err
	}
	app, repository, err := s.Engine.ForgeApp(ctx, pl)
	if err != nil {
		return "", "", err
	}
	token, err = s.Apps.Token(ctx, app, repository, github.WriteStatuses)
	return app.APIURL, token, err
}

// maxRewrites is how often one effect writes a status that keeps changing.
const maxRewrites = 3

var fullHash = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// commit is the full hash of a build's commit: its own, or what its first job's agent found a name to mean
// (agent v3.138.1, internal/job/checkout.go, meta-data buildkite:git:commit). "" if nobody will find out.
func (s *Statuses) commit(ctx context.Context, b store.Build) (string, error) {
	if fullHash.MatchString(b.Commit) {
		return b.Commit, nil
	}
	text, err := s.Engine.Store.MetaData(ctx, b.ID, engine.CommitKey)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return "", err
	}
	if commit := engine.ToldCommit(text); commit != "" {
		return commit, nil
	}
	if b.State.Finished() {
		return "", nil
	}
	return "", errUnresolved
}

// status is what is so now.
func (s *Statuses) status(ctx context.Context, pl store.Pipeline, want engine.CommitStatus) (github.Status, error) {
	b, err := s.Engine.Store.Build(ctx, want.BuildID)
	if err != nil {
		return github.Status{}, err
	}
	org, err := s.Engine.Store.OrganizationByID(ctx, b.OrganizationID)
	if err != nil {
		return github.Status{}, err
	}
	out := github.Status{Context: want.Context, TargetURL: fmt.Sprintf("%s/%s/%s/builds/%d", s.BaseURL, org.Slug, pl.Slug, b.Number)}
	if want.StepID == "" {
		out.State = buildStatus(b, want.BlockedAsPending)
		out.Description = fmt.Sprintf("Build #%d %s", b.Number, buildWords[b.State])
		if b.State == ci.BuildCreating && b.Verdict.Decision == "hold" {
			out.Description = fmt.Sprintf("Build #%d waits for a member to approve the commit", b.Number)
		}
		return out, nil
	}
	step, err := s.Engine.Store.Step(ctx, want.StepID)
	if err != nil {
		return out, err
	}
	out.State, out.Description = stepStatus(step)
	out.Description = fmt.Sprintf("Build #%d: %s", b.Number, out.Description)
	return out, nil
}

// buildWords say how a build is, behind its number.
var buildWords = map[ci.BuildState]string{
	ci.BuildCreating: "is being made", ci.BuildScheduled: "is waiting for an agent", ci.BuildRunning: "is running", ci.BuildPassed: "passed",
	ci.BuildFailing: "is failing", ci.BuildFailed: "failed", ci.BuildBlocked: "is blocked", ci.BuildCanceling: "is being canceled",
	ci.BuildCanceled: "was canceled", ci.BuildSkipped: "was skipped", ci.BuildNotRun: "had nothing to run",
}

// buildStatus is a build's state in GitHub's four words. A blocked build is as good as what ran of it, or
// pending where that is wanted.
func buildStatus(b store.Build, blockedAsPending bool) string {
	switch b.State {
	case ci.BuildPassed, ci.BuildNotRun:
		return "success"
	case ci.BuildFailing, ci.BuildFailed, ci.BuildCanceled, ci.BuildSkipped:
		return "failure"
	case ci.BuildBlocked:
		switch {
		case b.BlockedState == "failed":
			return "failure"
		case b.BlockedState == "running" || blockedAsPending:
			return "pending"
		}
		return "success"
	}
	return "pending"
}

func stepStatus(s store.Step) (state, words string) {
	outcome := s.Outcome()
	switch {
	case s.State() == ci.StepCanceled:
		return "failure", "canceled"
	case s.State() == ci.StepFailing || s.State() == ci.StepFinished && (outcome == ci.OutcomeHardFailed || outcome == ci.OutcomeErrored):
		return "failure", "failed"
	case s.State() == ci.StepFinished && outcome == ci.OutcomeSoftFailed:
		return "success", "failed softly"
	case s.State() == ci.StepFinished || s.State() == ci.StepIgnored:
		return "success", "passed"
	}
	return "pending", "not finished"
}
