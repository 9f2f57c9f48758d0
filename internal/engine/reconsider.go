package engine

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

// maxAsks is how often a repository is asked about a held build that could not be read; what is read after
// that is for a member to see.
const maxAsks = 5

// judge gives a build the verdict that follows from what is known of it now, and says whether its
// repository should be asked for more: whether a branch of its own has the commit, and what the commit changes.
func (e *Engine) judge(ctx context.Context, r store.Reader, pl store.Pipeline, b *store.Build) error {
	f, err := facts(ctx, r, pl, b)
	if err != nil {
		return err
	}
	b.Verdict = e.decide(f)
	o := b.Detail.Origin
	b.AskAt = time.Time{}
	if b.Verdict.Decision == string(trust.Hold) && f.Code != trust.CodeOrigin && !o.Looked && o.Tries < maxAsks {
		b.AskAt = e.Now().Add(time.Duration(o.Tries*o.Tries) * 10 * time.Second)
	}
	return nil
}

// Reconsider is what a held build's repository was found to say of its commit.
type Reconsider struct {
	BuildID string
	Commit  string // full hash of what the build names; "" if it was not found
	Branch  string // of the repository, that has the commit; "" if none was found to
	Err     string // why the repository could not be read, as a sentence
	// Changed are the files that the commit changes, for whoever reviews it; nil: ChangedErr says why they are
	// not known.
	Changed    *Changed
	ChangedErr string
}

// Reconsider decides again about a held build whose repository was asked. It may be repeated.
func (e *Engine) Reconsider(ctx context.Context, op Reconsider) error {
	return e.onBuild(ctx, op.BuildID, func(p *progress) error {
		if p.build.State != ci.BuildCreating || p.build.AskAt.IsZero() {
			return nil
		}
		pl, err := p.tx.PipelineByID(ctx, p.build.PipelineID)
		if err != nil {
			return err
		}
		if err := p.learn(op, pl); err != nil {
			return err
		}
		return p.judgeAgain(pl)
	})
}

// learn notes what a repository said. A name that turned out to be a commit may be one that was heard of.
func (p *progress) learn(op Reconsider, pl store.Pipeline) error {
	o := deref(p.build.Detail.Origin)
	if op.Commit != "" && !isFullHash(p.build.Commit) {
		p.build.Commit = op.Commit
		heard, err := hearsay{ctx: p.ctx, r: p.tx.Reader, pl: pl}.ofCommit(&p.build.Commit)
		if err != nil {
			return err
		}
		if heard != nil {
			o = *heard
		}
	}
	o.LookFail = op.Err
	if op.Err != "" {
		o.Tries++
	} else {
		o.Looked = true
	}
	if trust.Source(p.build.Source) != trust.SourceWebhook { // which said whose it is
		o.Branch = op.Branch
	}
	o.Changes, o.ChangesFail = reviewed(op.Changed, pl), op.ChangedErr
	p.build.Detail.Origin = &o
	return nil
}

// reviewed are the changes to be read, those first that decide what builds execute.
func reviewed(c *Changed, pl store.Pipeline) *store.Changes {
	if c == nil {
		return nil
	}
	files := slices.Clone(c.Files)
	slices.SortStableFunc(files, func(a, b string) int {
		return cmp.Compare(rank(a, pl), rank(b, pl))
	})
	return &store.Changes{Base: c.Base, Since: c.Since, Count: len(files), Files: files[:min(maxReviewed, len(files))]}
}

// maxReviewed is how many changed files a held build names.
const maxReviewed = 100

func rank(file string, pl store.Pipeline) int {
	if trust.Decisive(file, pl.Path) {
		return 0
	}
	return 1
}

// judgeAgain is judge for a build that was made before. Where it may run now, it goes on as if it had been
// allowed when it was made.
func (p *progress) judgeAgain(pl store.Pipeline) error {
	if err := p.e.judge(p.ctx, p.tx.Reader, pl, &p.build); err != nil {
		return err
	}
	if requireAllow(p.build) != nil {
		return nil
	}
	if err := p.outdate(pl); err != nil {
		return err
	}
	if pl.Configuration == "" {
		p.hint(live.Plan)
		return nil
	}
	return p.planAllowed(pl)
}

// planAllowed plans a build that may run now. What would have been refused when it was made, had it been allowed then, ends it.
func (p *progress) planAllowed(pl store.Pipeline) error {
	detail := p.build.Detail
	err := p.planConfiguration(pl)
	if err == nil {
		err = p.answerLeading()
	}
	detail.Answers = nil
	return p.orFailPlan(detail, err)
}
