package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/slipway-ci/slipway/internal/forge"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

// Origin says whose code a webhook asks to build, as the forge told: never concluded from names.
type Origin struct {
	Code      trust.Code
	ForkOwner trust.Account // if Code is trust.CodeFork
	Pusher    trust.Account
}

// maxHeard is how many pull requests are looked at that had a commit, or commits that one had.
const maxHeard = 100

// whence finds out where a new build's commit comes from, as far as forges told and the request says. It
// gives the build the full hash where a fork's pull request is named without one.
func (e *Engine) whence(ctx context.Context, r store.Reader, pl store.Pipeline, b *store.Build, from *Origin) (store.Origin, error) {
	heard := hearsay{ctx: ctx, r: r, pl: pl}
	if trust.Source(b.Source) == trust.SourceWebhook {
		return heard.withPusher(told(*b, from), *b)
	}
	if o, err := heard.ofCommit(&b.Commit); err != nil || o != nil {
		return deref(o), err
	}
	if o, err := ofOriginal(ctx, r, *b); err != nil || o != nil {
		return deref(o), err
	}
	known := store.Origin{Code: store.OriginOwn, Known: "Nothing that was heard of the commit, and nothing in the request, says that it comes from elsewhere."}
	for _, n := range named(*b) {
		o, err := heard.ofPull(n, b)
		if err != nil || o.Code != store.OriginOwn {
			return o, err
		}
		known = o
	}
	return known, nil
}

func deref(o *store.Origin) store.Origin {
	if o == nil {
		return store.Origin{}
	}
	return *o
}

// ofOriginal is what was known of the commit of the build that is rebuilt; nil if it is no rebuild.
func ofOriginal(ctx context.Context, r store.Reader, b store.Build) (*store.Origin, error) {
	if b.Detail.RebuiltFrom == nil {
		return nil, nil
	}
	old, err := r.Build(ctx, b.Detail.RebuiltFrom.ID)
	if err != nil || old.Commit != b.Commit {
		return nil, err
	}
	return old.Detail.Origin, nil
}

// told is what a webhook said.
func told(b store.Build, from *Origin) store.Origin {
	o := store.Origin{Code: store.OriginUnknown, Known: "The webhook did not say."}
	if from == nil {
		return o
	}
	o.Owner, o.Pusher = toAccount(from.ForkOwner), toAccount(from.Pusher)
	if p := b.Detail.PullRequest; p != nil {
		o.PullRequest, o.Repository = p.Number, p.Repository
	}
	switch from.Code {
	case trust.CodeOrigin:
		o.Code, o.Known = store.OriginOwn, "The webhook said that it is in the pipeline's own repository."
	case trust.CodeFork:
		o.Code, o.Known = store.OriginFork, "The webhook said that it comes from a fork."
	case trust.CodeUnknown:
	}
	return o
}

// hearsay is what forges told of a repository.
type hearsay struct {
	ctx context.Context
	r   store.Reader
	pl  store.Pipeline
}

var (
	hexadecimal = regexp.MustCompile(`^[0-9a-f]{4,64}$`)
	described   = regexp.MustCompile(`-g([0-9a-f]{4,64})$`) // git-describe(1)
)

// hashOf is the hash, or the beginning of one, that a revision names; "" if it names none.
func hashOf(revision string) string {
	base := strings.ToLower(baseOf(revision))
	if m := described.FindStringSubmatch(base); m != nil {
		return m[1]
	}
	if hexadecimal.MatchString(base) {
		return base
	}
	return ""
}

// baseOf is a revision without what goes on from it, as in name~2 (gitrevisions(7)), and the source of a refspec.
func baseOf(revision string) string {
	base, _, _ := strings.Cut(strings.TrimPrefix(revision, "+"), "@{")
	if i := strings.IndexAny(base, "~^:"); i >= 0 {
		base = base[:i]
	}
	return base
}

// ofCommit is what was told of a commit; nil for nothing. What was on a branch of the repository itself
// was put there by somebody who may push to it, whoever offers it again. The beginning of a hash becomes
// the whole where it is a fork's.
func (h hearsay) ofCommit(commit *string) (*store.Origin, error) {
	hash := hashOf(*commit)
	if hash == "" {
		return nil, nil
	}
	if n, err := h.r.PushedBuild(h.ctx, h.pl.ID, hash); err == nil {
		return &store.Origin{Code: store.OriginOwn, Known: fmt.Sprintf("A push to the pipeline's own repository brought it (build %d).", n)}, nil
	} else if !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	rows, err := h.r.PullCommits(h.ctx, h.pl, forge.Site(h.pl.Repository), hash, maxHeard)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	for _, row := range rows {
		if row.Own && row.Commit == hash && h.toldUs(row) {
			o := ofRow(row)
			return &o, nil
		}
	}
	for _, row := range rows {
		if !row.Own {
			if strings.EqualFold(*commit, hash) {
				*commit = row.Commit
			}
			o := h.ofFork(row)
			return &o, nil
		}
	}
	return nil, nil // the beginning of an own one's hash: a name like any other
}

// withPusher adds who pushed a fork's commit, where an earlier event about its pull request told of that.
func (h hearsay) withPusher(o store.Origin, b store.Build) (store.Origin, error) {
	if o.Code != store.OriginFork || o.Pusher != (store.OriginAccount{}) || !isFullHash(b.Commit) {
		return o, nil
	}
	rows, err := h.r.PullCommits(h.ctx, h.pl, forge.Site(h.pl.Repository), b.Commit, maxHeard)
	for _, row := range rows {
		if h.toldUs(row) && row.Number == o.PullRequest && row.Facts.Owner.ID == o.Owner.ID {
			o.Pusher = row.Facts.Pusher
		}
	}
	return o, err
}

// toldUs says whether the pipeline's own webhook told of a commit of its repository. Whoever knows the key of another pipeline's
// can make it say of this repository what they like.
func (h hearsay) toldUs(row store.PullCommit) bool {
	return row.PipelineID == h.pl.ID && row.Facts.Place == forge.Place(h.pl.Repository)
}

// ofFork is what was told of a fork's commit. Of what the webhook of another pipeline told nothing counts by which it could be trusted.
func (h hearsay) ofFork(row store.PullCommit) store.Origin {
	o := ofRow(row)
	if !h.toldUs(row) {
		o.Owner, o.Pusher = store.OriginAccount{Name: o.Owner.Name}, store.OriginAccount{}
		o.Known = fmt.Sprintf("The webhook of another pipeline said that it belongs to pull request %s, which comes from a fork.", row.Number)
	}
	return o
}

func ofRow(row store.PullCommit) store.Origin {
	o := store.Origin{
		Code: store.OriginFork, PullRequest: row.Number, Repository: row.Facts.Repository, Owner: row.Facts.Owner, Pusher: row.Facts.Pusher,
		Known: fmt.Sprintf("The forge said that it belongs to pull request %s, which comes from a fork.", row.Number),
	}
	if row.Own {
		o.Code, o.Known = store.OriginOwn, fmt.Sprintf("The forge said that it belongs to pull request %s, of the pipeline's own repository.", row.Number)
	}
	return o
}

// pullRef is a ref under which forges keep pull requests, with the number, or any other that is neither a
// branch nor a tag.
type pullRef struct {
	number string // "": it is not told
	ref    string // "": named by number alone
	aside  bool   // in a variable
}

var pullNamespace = regexp.MustCompile(`^(?:refs/)?(?:pull|merge-requests|pull-requests)/([0-9]+)(?:/|$)`)

// named are the pull requests and strange refs that a build names: in its own fields, and in the variables
// by which agents can be told to fetch others.
func named(b store.Build) (all []pullRef) {
	for _, ref := range []string{b.Commit, b.Branch, b.Tag, b.Detail.Env["BUILDKITE_REFSPEC"]} {
		for _, one := range strings.Fields(ref) {
			if n, strange := strangeRef(one); strange {
				all = append(all, n)
			}
		}
	}
	if n := b.Detail.Env["BUILDKITE_PULL_REQUEST"]; n != "" && n != "false" {
		all = append(all, pullRef{number: n, aside: true})
	}
	if p := b.Detail.PullRequest; p != nil && p.Number != "" {
		all = append(all, pullRef{number: p.Number})
	}
	return all
}

func strangeRef(revision string) (pullRef, bool) {
	base := baseOf(revision)
	if m := pullNamespace.FindStringSubmatch(base); m != nil {
		return pullRef{number: m[1], ref: base}, true
	}
	own := strings.HasPrefix(base, "refs/heads/") || strings.HasPrefix(base, "refs/tags/")
	return pullRef{ref: base}, revision != "" && (base == "" || strings.HasPrefix(base, "refs/") && !own)
}

// ofPull is what was told of a pull request, or what the request says of it.
func (h hearsay) ofPull(n pullRef, b *store.Build) (store.Origin, error) {
	if n.number == "" {
		return doubt("", "%s is neither a branch nor a tag of the pipeline's repository", cmp.Or(n.ref, "what the build names")), nil
	}
	rows, err := h.r.CommitsOfPull(h.ctx, h.pl, forge.Site(h.pl.Repository), n.number, maxHeard)
	if err != nil {
		return store.Origin{}, err
	}
	for _, row := range rows {
		if row.Own {
			continue
		}
		o := h.ofFork(row)
		switch {
		case hashOf(b.Commit) == "" && h.toldUs(row): // the pull request's own code, as it was last heard of
			b.Commit = row.Commit
		case b.Commit != row.Commit:
			o.Pusher = store.OriginAccount{} // of another commit
		}
		return o, nil
	}
	if len(rows) > 0 && h.toldUs(rows[0]) {
		return ofRow(rows[0]), nil
	}
	return h.asked(n, *b), nil
}

// asked is what a request says of a pull request that no forge told of. Its word is taken; a variable that
// nothing fits is none, as steps hand it on to builds of other repositories.
func (h hearsay) asked(n pullRef, b store.Build) store.Origin {
	var repository string
	if n.aside {
		return store.Origin{Code: store.OriginOwn, Known: "Nothing was heard of the pull request that a variable names."}
	}
	if p := b.Detail.PullRequest; p != nil && p.Number == n.number {
		repository = p.Repository
	}
	switch {
	case repository == "":
		return doubt(n.number, "nothing was heard of pull request %s, which may come from a fork", n.number)
	case !forge.SameRepository(repository, h.pl.Repository):
		return store.Origin{
			Code: store.OriginFork, PullRequest: n.number, Repository: repository,
			Known: fmt.Sprintf("The request says that pull request %s comes from %s.", n.number, repository),
		}
	}
	return store.Origin{
		Code: store.OriginOwn, PullRequest: n.number, Repository: repository,
		Known: fmt.Sprintf("The request says that pull request %s comes from the pipeline's own repository.", n.number),
	}
}

func doubt(number, why string, args ...any) store.Origin {
	return store.Origin{Code: store.OriginUnknown, PullRequest: number, Doubt: fmt.Sprintf(why, args...), Known: "Nothing that was heard says whose it is."}
}

func isFullHash(s string) bool {
	return (len(s) == 40 || len(s) == 64) && hexadecimal.MatchString(s)
}

// rememberCommit keeps whose commit a pull request has, whatever becomes of the event.
func (e *Engine) rememberCommit(ctx context.Context, tx *store.Tx, pl store.Pipeline, ev forge.Event) error {
	p := ev.Pull
	if p == nil || !isFullHash(p.Commit) || elsewhere(pl, ev) != "" {
		return nil
	}
	owner, pusher := ev.Hands()
	return tx.PutPullCommit(ctx, store.PullCommit{
		OrganizationID: pl.OrganizationID, Repository: forge.Site(pl.Repository), Number: p.Number, Commit: p.Commit,
		PipelineID: pl.ID, Own: p.Origin == forge.Own, HeardAt: e.Now(),
		Facts: store.PullCommitFacts{Place: forge.Place(pl.Repository), Repository: p.Repository, Owner: toAccount(owner), Pusher: toAccount(pusher)},
	})
}

func toAccount(a trust.Account) store.OriginAccount {
	return store.OriginAccount{
		ID: a.ID, Name: a.Name, Kind: uint8(a.Kind), Membership: uint8(a.Membership), LookupFail: a.LookupFail, Association: a.Association,
	}
}

func ofAccount(a store.OriginAccount) trust.Account {
	return trust.Account{
		ID: a.ID, Name: a.Name, Kind: trust.AccountKind(a.Kind), Membership: trust.Membership(a.Membership), LookupFail: a.LookupFail, Association: a.Association,
	}
}
