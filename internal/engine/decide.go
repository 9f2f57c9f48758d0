package engine

import (
	"context"

	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

// decide is the only caller of trust.Decide: every verdict of a build is made here.
func (e *Engine) decide(f trust.Facts) store.Verdict {
	v := trust.Decide(f, e.Policy)
	return store.Verdict{
		Decision: string(v.Decision), Rule: string(v.Rule), Reason: v.Reason, Commit: v.Commit, Profile: string(v.Profile),
	}
}

// Origin says whose code a webhook asks to build, as the forge told: never concluded from names.
type Origin struct {
	Code      trust.Code
	ForkOwner trust.Account // if Code is trust.CodeFork
	Pusher    trust.Account
}

// facts are what is known about a new build. A build that a trigger step made stands on the
// verdict of the build at the start of the chain.
func (e *Engine) facts(ctx context.Context, tx *store.Tx, pl store.Pipeline, b store.Build, from *Origin) (trust.Facts, error) {
	f := trust.Facts{
		Source: trust.Source(b.Source), Commit: b.Commit, Code: trust.CodeOrigin,
		DefaultBranch: b.Branch == pl.DefaultBranch,
	}
	if f.Source == trust.SourceWebhook {
		f.Code = trust.CodeUnknown
	}
	if from != nil {
		f.Code, f.ForkOwner, f.Pusher = from.Code, from.ForkOwner, from.Pusher
	}
	if b.Detail.RebuiltFrom != nil {
		old, err := tx.Build(ctx, b.Detail.RebuiltFrom.ID)
		if err != nil {
			return f, err
		}
		original := verdictOf(old)
		f.Original = &original
	}
	if b.Detail.TriggeredFrom == nil {
		return f, nil
	}
	parent, err := tx.Build(ctx, b.Detail.TriggeredFrom.ID)
	if err != nil {
		return f, err
	}
	root := verdictOf(parent)
	f.Root = &root
	return f, nil
}

// verdictOf is the stored verdict of a build.
func verdictOf(b store.Build) trust.Verdict {
	return trust.Verdict{
		Decision: trust.Decision(b.Verdict.Decision), Rule: trust.Rule(b.Verdict.Rule),
		Reason: b.Verdict.Reason, Commit: b.Verdict.Commit, Profile: trust.Profile(b.Verdict.Profile),
	}
}

// requireAllow refuses to go on with a build whose stored verdict does not allow its commit.
func requireAllow(b store.Build) error {
	v := verdictOf(b)
	if v.Allows(b.Commit) {
		return nil
	}
	if v.Decision == trust.Allow {
		return refuse(Forbidden, "The build was allowed for commit %s, not for %s.", v.Commit, b.Commit)
	}
	return refuse(Forbidden, "The build is not trusted: %s", v.Reason)
}

// resolveCommit moves a build, and the verdict about it, from a name to the commit it means.
func resolveCommit(b *store.Build, commit string) error {
	v, err := verdictOf(*b).Resolved(commit)
	if err != nil {
		return err
	}
	b.Commit, b.Verdict.Commit = commit, v.Commit
	return nil
}
