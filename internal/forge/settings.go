package forge

import (
	"encoding/json"
	"fmt"

	"github.com/slipway-ci/slipway/internal/condition"
)

// Settings are those of a pipeline that decide about events.
type Settings struct {
	DefaultBranch string
	BranchFilter  string // of the pipeline; "" lets all through
	Provider
}

// Provider is a pipeline's provider_settings, as far as they decide about builds. What a client sends
// beside these is kept elsewhere.
type Provider struct {
	TriggerMode          string `json:"trigger_mode"` // code, deployment, fork, none
	FilterEnabled        bool   `json:"filter_enabled"`
	FilterCondition      string `json:"filter_condition"`
	Branches             bool   `json:"build_branches"`
	Tags                 bool   `json:"build_tags"`
	Pulls                bool   `json:"build_pull_requests"`
	Forks                bool   `json:"build_pull_request_forks"`
	PrefixForks          bool   `json:"prefix_pull_request_fork_branch_names"`
	PullFilterEnabled    bool   `json:"pull_request_branch_filter_enabled"`
	PullFilter           string `json:"pull_request_branch_filter_configuration"`
	SkipBuiltPulls       bool   `json:"skip_pull_request_builds_for_existing_commits"`
	SkipBuilt            bool   `json:"skip_builds_for_existing_commits"`
	SkipClosed           bool   `json:"skip_builds_for_closed_pull_requests"`
	IgnoreDefaultBranch  bool   `json:"ignore_default_branch_pull_requests"`
	OnReady              bool   `json:"build_pull_request_ready_for_review"`
	OnLabels             bool   `json:"build_pull_request_labels_changed"`
	OnBaseChanged        bool   `json:"build_pull_request_base_branch_changed"`
	OnEdited             bool   `json:"build_pull_request_edited"`
	OnReopened           bool   `json:"build_pull_request_reopened"`
	OnDrafted            bool   `json:"build_pull_request_converted_to_draft"`
	OnReviewRequested    bool   `json:"build_pull_request_review_requested"`
	OnDequeued           bool   `json:"build_pull_request_dequeued"`
	OnReviewSubmitted    bool   `json:"build_pull_request_review_submitted"`
	OnReviewDismissed    bool   `json:"build_pull_request_review_dismissed"`
	OnReviewComment      bool   `json:"build_pull_request_review_comment_created"`
	ReviewCommandWord    string `json:"review_comment_command_word"`
	ReviewMatchMode      string `json:"review_comment_match_mode"`
	OnComment            bool   `json:"build_issue_comment_created"`
	CommandWord          string `json:"issue_comment_command_word"`
	MatchMode            string `json:"issue_comment_match_mode"`
	OnCheckRun           bool   `json:"build_check_run_completed"`
	OnReleasePublished   bool   `json:"build_release_published"`
	OnReleaseCreated     bool   `json:"build_release_created"`
	OnReleaseReleased    bool   `json:"build_release_released"`
	OnCreate             bool   `json:"build_create_event"`
	OnDeploymentStatus   bool   `json:"build_deployment_status_created"`
	MergeGroups          bool   `json:"build_merge_group_checks_requested"`
	CancelGoneGroups     bool   `json:"cancel_when_merge_group_destroyed"`
	DiffMergeBase        bool   `json:"use_merge_group_base_commit_for_git_diff_base"`
	MergeCommits         bool   `json:"build_pull_request_merge_commits"`
	CancelDeletedBranch  bool   `json:"cancel_deleted_branch_builds"`
	PublishStatus        bool   `json:"publish_commit_status"`
	PublishEachStep      bool   `json:"publish_commit_status_per_step"`
	SeparatePullStatuses bool   `json:"separate_pull_request_statuses"`
	BlockedAsPending     bool   `json:"publish_blocked_as_pending"`
	StepKeyAsStatus      bool   `json:"use_step_key_as_commit_status"`
}

// DefaultProvider is what holds where a pipeline says nothing.
func DefaultProvider() Provider {
	return Provider{
		TriggerMode: "code", Branches: true, Pulls: true, PrefixForks: true, SkipBuiltPulls: true, SkipClosed: true,
		CommandWord: "/bk", MatchMode: "exact", ReviewCommandWord: "/bk", ReviewMatchMode: "exact", PublishStatus: true,
	}
}

// ParseSettings reads a pipeline's settings. A member of the wrong type is an error that names it.
func ParseSettings(raw json.RawMessage, defaultBranch string) (Settings, error) {
	var doc struct {
		Branches *string         `json:"branch_configuration"`
		Provider json.RawMessage `json:"provider_settings"`
	}
	s := Settings{DefaultBranch: defaultBranch, Provider: DefaultProvider()}
	if len(raw) == 0 {
		return s, nil
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return s, fmt.Errorf("the pipeline's settings: %w", err)
	}
	if doc.Branches != nil {
		s.BranchFilter = *doc.Branches
	}
	if len(doc.Provider) == 0 {
		return s, nil
	}
	if err := json.Unmarshal(doc.Provider, &s.Provider); err != nil {
		return s, fmt.Errorf("the pipeline's provider_settings: %w", err)
	}
	return s, nil
}

// Check refuses settings that could never decide: a condition that does not parse, a word that is not
// one of those known. The key is the setting's.
func (p Provider) Check() map[string]string {
	wrong := map[string]string{}
	oneOf := func(key, value string, known ...string) {
		for _, k := range known {
			if value == k || value == "" {
				return
			}
		}
		wrong[key] = fmt.Sprintf("must be one of %v", known)
	}
	oneOf("trigger_mode", p.TriggerMode, "code", "deployment", "fork", "none")
	oneOf("issue_comment_match_mode", p.MatchMode, "exact", "contains")
	oneOf("review_comment_match_mode", p.ReviewMatchMode, "exact", "contains")
	if p.FilterEnabled && p.FilterCondition != "" {
		x, err := condition.Parse(p.FilterCondition)
		if err == nil {
			err = x.Check(condition.StepIf)
		}
		if err != nil {
			wrong["filter_condition"] = err.Error()
		}
	}
	return wrong
}
