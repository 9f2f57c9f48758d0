package engine

import (
	"encoding/json"

	"github.com/slipway-ci/slipway/internal/condition"
	"github.com/slipway-ci/slipway/internal/store"
)

// checkBranch refuses a build of a branch that its pipeline's filter does not let through. Builds of pull
// requests and of merge queues are not held against it
// (https://buildkite.com/docs/pipelines/configure/workflows/branch-configuration).
func checkBranch(pl store.Pipeline, op CreateBuild, branch string) error {
	if op.IgnoreBranchFilter || op.PullRequest != nil || op.MergeQueue != nil {
		return nil
	}
	filter := branchFilter(pl)
	if condition.MatchBranch(filter, branch) {
		return nil
	}
	return refuse(Invalid, "The branch %q does not pass the branch filter of the pipeline, %q.", branch, filter)
}

// branchFilter is the pipeline's own filter; "" lets every branch through.
func branchFilter(pl store.Pipeline) string {
	var s struct {
		Branches string `json:"branch_configuration"`
	}
	if json.Unmarshal(pl.Settings, &s) != nil {
		return ""
	}
	return s.Branches
}
