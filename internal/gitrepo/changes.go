package gitrepo

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
)

// ChangesRequest names a commit and what its changes are counted from.
type ChangesRequest struct {
	Repository string
	Commit     string // full hash
	Base       string // a branch, also as origin/branch, or a full hash
}

// Changes are the files that a commit changes, those of a rename under both names.
type Changes struct {
	Since string // full hash that the files were compared with
	Files []string
}

// maxChanges bounds the names of changed files, in bytes.
const maxChanges = 4 << 20

// depths are how much history is fetched to find where a branch left its base: first what nearly
// every branch needs, then what a patient reader would look at.
var depths = []string{"--depth=50", "--depth=2000"}

// Changes compares a commit with where its branch left the base, or, on the base itself, with its
// first parent, as buildkite-agent v3.138.1 does for if_changed (clicommand/if_changed.go). It takes
// FetchLimit at most.
func (m *Mirrors) Changes(ctx context.Context, r ChangesRequest) (Changes, error) {
	ctx, cancel := context.WithTimeout(ctx, FetchLimit)
	defer cancel()
	base := strings.TrimPrefix(r.Base, "origin/")
	if err := m.check(Request{Repository: r.Repository, Commit: r.Commit, Branch: base}); err != nil {
		return Changes{}, err
	}
	if base == "" || !fullHash.MatchString(r.Commit) {
		return Changes{}, fmt.Errorf("changes of %q since %q: want a full hash and a base", r.Commit, r.Base)
	}
	dir := filepath.Join(m.dir, name(r.Repository))
	unlock := m.lock(dir)
	defer unlock()
	if err := m.init(ctx, dir, r.Repository); err != nil {
		return Changes{}, err
	}
	var err error
	for _, depth := range depths {
		var fork string
		if fork, err = forkPoint(ctx, dir, r.Commit, base, depth); err != nil {
			continue
		}
		return compare(ctx, dir, fork, r.Commit)
	}
	return Changes{}, err
}

// baseRef is where a mirror keeps the base of the comparison at hand.
const baseRef = "refs/slipway/base"

// forkPoint fetches history and finds the commit to compare with.
func forkPoint(ctx context.Context, dir, commit, base, depth string) (string, error) {
	_, err := git(ctx, dir, "fetch", "--quiet", "--no-tags", "--force", depth, "--filter=blob:none", "origin", commit, base+":"+baseRef)
	if err != nil {
		return "", fmt.Errorf("fetching the history of %s and %s: %w", base, commit, err)
	}
	tip, err := git(ctx, dir, "rev-parse", "--verify", "--quiet", baseRef+"^{commit}")
	if err != nil {
		return "", err
	}
	args := []string{"merge-base", baseRef, commit}
	if strings.TrimSpace(string(tip)) == commit {
		args = []string{"rev-parse", "--verify", "--quiet", commit + "^1"}
	}
	out, err := git(ctx, dir, args...)
	if err != nil {
		return "", fmt.Errorf("no commit in reach is in both %s and %s", base, commit)
	}
	return strings.TrimSpace(string(out)), nil
}

func compare(ctx context.Context, dir, fork, commit string) (Changes, error) {
	out, err := git(ctx, dir, "diff", "--name-only", "--no-renames", "-z", fork, commit)
	if err != nil {
		return Changes{}, err
	}
	if len(out) > maxChanges {
		return Changes{}, fmt.Errorf("the names of the changed files are more than %d MiB", maxChanges>>20)
	}
	c := Changes{Since: fork}
	for _, file := range bytes.Split(bytes.Trim(out, "\x00"), []byte{0}) {
		if len(file) > 0 {
			c.Files = append(c.Files, string(file))
		}
	}
	return c, nil
}
