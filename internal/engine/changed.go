package engine

import (
	"cmp"

	"github.com/slipway-ci/slipway/internal/store"
)

// Changed are the files that a build changes.
type Changed struct {
	Base  string // what was asked for, such as origin/main
	Since string // full hash of the commit they were compared with
	Files []string
}

// maxKeptChanges is how many changed files a build names to people; it counts them all.
const maxKeptChanges = 20

// DiffBase is what the changes of a build are counted from, as an agent chooses it: the base that
// the build names, that of its merge queue or its pull request, or the default branch
// (https://buildkite.com/docs/pipelines/configure/dynamic-pipelines/if-changed).
func DiffBase(b store.Build, pl store.Pipeline) string {
	if v := b.Detail.Env["BUILDKITE_GIT_DIFF_BASE"]; v != "" {
		return v
	}
	if q := b.Detail.MergeQueue; q != nil && q.DiffBase && q.BaseCommit != "" {
		return q.BaseCommit
	}
	base := ""
	if pr := b.Detail.PullRequest; pr != nil {
		base = pr.BaseBranch
	}
	return "origin/" + cmp.Or(base, pl.DefaultBranch, "main")
}
