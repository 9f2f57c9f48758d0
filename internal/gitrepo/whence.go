package gitrepo

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
)

// WhenceRequest names a commit of which it is asked whether a branch has it.
type WhenceRequest struct {
	Repository string
	Commit     string // full hash, or a name
	Pull       string // number of the pull request whose code is meant where Commit is HEAD; "" for none
	Branch     string // what is meant where Commit is HEAD and Pull is not set
}

// Whence is a commit and the branch that has it.
type Whence struct {
	Commit string // full hash; "" if the repository has nothing of that name
	Branch string // "": none was found within historyDepth
}

// historyDepth is how far back branches are looked through, in commits.
const historyDepth = "--depth=2000"

// pullRefs are where forges keep the head of a pull request: GitHub and Gitea, GitLab, Bitbucket's server.
var pullRefs = []string{"refs/pull/%s/head", "refs/merge-requests/%s/head", "refs/pull-requests/%s/from"}

// Whence asks a repository for a branch that has a commit. A repository hands out commits of forks too, so
// that it has one proves nothing. It takes FetchLimit at most.
func (m *Mirrors) Whence(ctx context.Context, r WhenceRequest) (Whence, error) {
	ctx, cancel := context.WithTimeout(ctx, FetchLimit)
	defer cancel()
	if err := m.check(Request{Repository: r.Repository, Commit: r.Commit, Branch: r.Branch}); err != nil {
		return Whence{}, err
	}
	// Apart from the other mirror, which must not come to have holes that reading a document would fill.
	dir := filepath.Join(m.dir, "history", name(r.Repository))
	unlock := m.lock(dir)
	defer unlock()
	if err := m.init(ctx, dir, r.Repository); err != nil {
		return Whence{}, err
	}
	refs, err := remoteRefs(ctx, dir)
	if err != nil {
		return Whence{}, fmt.Errorf("listing the branches: %w", err)
	}
	w := Whence{Commit: r.resolve(refs)}
	if w.Commit == "" {
		return w, nil
	}
	if w.Branch = tip(refs, w.Commit, r.Branch); w.Branch != "" {
		return w, nil
	}
	w.Branch, err = branchWith(ctx, dir, w.Commit)
	return w, err
}

type remoteRef struct{ name, commit string }

func remoteRefs(ctx context.Context, dir string) (refs []remoteRef, err error) {
	out, err := git(ctx, dir, "ls-remote", "--quiet", "origin")
	for line := range strings.Lines(string(out)) {
		if commit, ref, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			refs = append(refs, remoteRef{ref, commit})
		}
	}
	return refs, err
}

// resolve finds what is named, by the rules of git (gitrevisions(7)); an annotated tag is what it is about.
func (r WhenceRequest) resolve(refs []remoteRef) string {
	if fullHash.MatchString(r.Commit) {
		return r.Commit
	}
	var names []string
	switch {
	case r.Commit != "" && r.Commit != "HEAD":
		names = []string{r.Commit, "refs/" + r.Commit, "refs/tags/" + r.Commit, "refs/heads/" + r.Commit}
	case r.Pull != "":
		for _, pattern := range pullRefs {
			names = append(names, fmt.Sprintf(pattern, r.Pull))
		}
	default:
		names = []string{r.Branch, "refs/" + r.Branch, "refs/heads/" + r.Branch}
	}
	for _, n := range names {
		for _, suffix := range []string{"^{}", ""} {
			for _, ref := range refs {
				if ref.name == n+suffix {
					return ref.commit
				}
			}
		}
	}
	return ""
}

// tip is a branch whose newest commit is the one asked for, best the one that is preferred.
func tip(refs []remoteRef, commit, preferred string) (found string) {
	for _, ref := range refs {
		branch, ok := strings.CutPrefix(ref.name, "refs/heads/")
		if ok && ref.commit == commit && (found == "" || branch == preferred) {
			found = branch
		}
	}
	return found
}

// branchWith fetches the history of all branches, without files, and looks for the commit in it.
func branchWith(ctx context.Context, dir, commit string) (string, error) {
	const kept = "refs/slipway/heads/"
	_, err := git(ctx, dir, "fetch", "--quiet", "--no-tags", "--force", "--prune", historyDepth, "--filter=tree:0", "origin", "+refs/heads/*:"+kept+"*")
	if err != nil {
		return "", fmt.Errorf("fetching the history of the branches: %w", err)
	}
	// Of a commit that is in no branch git may fetch the object itself: it is then contained in none.
	out, err := git(ctx, dir, "for-each-ref", "--count=1", "--contains="+commit, "--format=%(refname)", kept)
	if err != nil && ctx.Err() == nil {
		return "", nil // there is no such commit
	}
	return strings.TrimPrefix(strings.TrimSpace(string(out)), kept), err
}
