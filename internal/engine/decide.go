package engine

import (
	"context"
	"errors"

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

// facts are what is known about a build whose origin was found out. A build that a trigger step made stands
// on the verdict of the build at the start of the chain. The build keeps what a member said of its commit.
func facts(ctx context.Context, r store.Reader, pl store.Pipeline, b *store.Build) (trust.Facts, error) {
	f := factsOf(*b, pl)
	review, err := r.Review(ctx, pl.ID, b.Commit)
	if err == nil {
		b.Detail.Review = &review
		f.Review = &trust.Review{Commit: review.Commit, By: firstNonEmpty(review.By.Name, review.By.ID), Refused: review.Refused}
	} else if !errors.Is(err, store.ErrNotFound) {
		return f, err
	}
	for _, on := range []struct {
		ref *store.BuildRef
		to  **trust.Verdict
	}{{b.Detail.RebuiltFrom, &f.Original}, {b.Detail.TriggeredFrom, &f.Root}} {
		if on.ref == nil {
			continue
		}
		other, err := r.Build(ctx, on.ref.ID)
		if err != nil {
			return f, err
		}
		v := verdictOf(other)
		*on.to = &v
	}
	return f, nil
}

func factsOf(b store.Build, pl store.Pipeline) trust.Facts {
	o := deref(b.Detail.Origin)
	f := trust.Facts{
		Source: trust.Source(b.Source), Commit: b.Commit, DefaultBranch: b.Branch == pl.DefaultBranch, Doubt: o.Doubt,
		ForkOwner: ofAccount(o.Owner), Pusher: ofAccount(o.Pusher),
	}
	switch {
	case o.Code == store.OriginOwn, o.Branch != "":
		f.Code = trust.CodeOrigin
	case o.Code == store.OriginFork:
		f.Code = trust.CodeFork
	}
	return f
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
