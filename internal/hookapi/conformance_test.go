package hookapi_test

import (
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/trust"
)

func TestP164_AMessageThatSaysToSkipMakesNoBuildOfAPush(t *testing.T) {
	w := newWorld(t, "")
	for _, token := range []string{"[skip ci]", "[ci skip]", "[skip-ci]", "[ci-skip]"} {
		w.ignores(t, "push", push("refs/heads/main", sha1, "Fix\n\nnothing else "+token+"\n"), "says "+token)
	}
	w.builds(t, "push", push("refs/heads/main", sha1, "Fix [skip  ci]"))
	b := must(w.CreateBuild(t.Context(), engine.CreateBuild{PipelineID: w.pipeline.ID, Source: trust.SourceAPI, Message: "[skip ci]"}))(t)
	if b.Message != "[skip ci]" {
		t.Errorf("%+v", b)
	}
}

func TestP165_ATitleThatSaysToSkipMakesNoBuildOfAPullRequest(t *testing.T) {
	w := newWorld(t, "")
	w.ignores(t, "pull_request", pull("opened", func(pr, _ object) { pr["title"] = "Docs [ci skip]" }), "its title says [ci skip]")
}

const queueBranch = "gh-readonly-queue/main/pr-7-2222"

func mergeGroup(action string) string {
	return encode(object{"action": action, "merge_group": object{
		"head_sha": sha2, "head_ref": "refs/heads/" + queueBranch, "base_sha": sha3, "base_ref": "refs/heads/main",
		"head_commit": object{"id": sha2, "message": "Merge it [skip ci]"},
	}})
}

func TestP166_AMergeQueueHeedsNoSkipTokens(t *testing.T) {
	w := newWorld(t, `{"build_merge_group_checks_requested": true, "cancel_when_merge_group_destroyed": true,
		"use_merge_group_base_commit_for_git_diff_base": true}`, `"branch_configuration": "main"`)
	b := w.builds(t, "merge_group", mergeGroup("checks_requested"))
	if q := b.Detail.MergeQueue; b.Branch != queueBranch || b.Commit != sha2 || q == nil || q.BaseBranch != "main" || q.BaseCommit != sha3 || !q.DiffBase {
		t.Errorf("%+v", b)
	}
	w.ignores(t, "push", push("refs/heads/"+queueBranch, sha2, "Merge it"), "when the queue asks")
	got := w.deliver(t, "merge_group", mergeGroup("destroyed"))
	if got.Outcome != "canceled" || len(got.Builds) != 1 || got.Builds[0] != b.Number {
		t.Errorf("destroyed: %+v", got)
	}
	if b = must(w.Store.Build(t.Context(), b.ID))(t); b.State != "canceled" || !strings.Contains(string(b.CanceledBy), "gave "+queueBranch+" up") {
		t.Errorf("the build is %s by %q", b.State, b.CanceledBy)
	}
}

func TestP234_AFilterConditionThatIsFalseMakesNoBuild(t *testing.T) {
	w := newWorld(t, `{"filter_enabled": true, "filter_condition": "build.branch == 'main' && build.message !~ /^wip/ && build.source_event == 'push'"}`)
	w.ignores(t, "push", push("refs/heads/topic", sha1, "Fix"), "The filter condition of the pipeline does not hold: build.branch == 'main'")
	w.ignores(t, "push", push("refs/heads/main", sha1, "wip: fix"), "does not hold")
	w.ignores(t, "pull_request", pull("opened", func(_, head object) { head["ref"] = "main" }), "does not hold")
	w.builds(t, "push", push("refs/heads/main", sha1, "Fix"))
}

func TestP279_PushesAndOpenedPullRequestsMakeBuilds(t *testing.T) {
	w := newWorld(t, "")
	b := w.builds(t, "push", push("refs/heads/main", sha1, "Fix\n\nmore"))
	if b.Source != "webhook" || b.Commit != sha1 || b.Branch != "main" || b.Message != "Fix\n\nmore" || b.Detail.Author.Email != "ann@example.test" || b.Verdict.Rule != "origin-branch" || b.Detail.PullRequest != nil {
		t.Errorf("the build of the push: %+v", b)
	}
	b = w.builds(t, "pull_request", pull("opened"))
	pr := b.Detail.PullRequest
	if b.Commit != sha1 || b.Branch != "topic" || b.Message != "Make it better" || pr == nil || pr.Number != "7" || pr.BaseBranch != "main" || pr.Labels[0] != "big" || pr.Fork {
		t.Errorf("the build of the pull request: %+v %+v", b, pr)
	}
	w.ignores(t, "pull_request", pull("synchronize", func(_, head object) { head["sha"] = sha2 }), "the push that brought them makes the build")
	b = w.builds(t, "push", push("refs/heads/topic", sha2, "More"))
	if pr := b.Detail.PullRequest; b.Commit != sha2 || pr == nil || pr.Number != "7" {
		t.Errorf("a push to the branch of a pull request knows nothing of it: %+v", b)
	}
	w.ignores(t, "pull_request", pull("closed", func(pr, _ object) { pr["state"] = "closed" }), "nothing is built when it is closed")
	if b = w.builds(t, "push", push("refs/heads/topic", sha3, "Later")); b.Detail.PullRequest != nil {
		t.Error("a push still carries a pull request that is closed")
	}
	payload := must(w.Store.MetaData(t.Context(), b.ID, "buildkite:webhook"))(t)
	if !strings.Contains(payload, `"after":"`+sha3) {
		t.Errorf("the build keeps %q of the event", payload)
	}
}

func TestP280_PullRequestsOfForksMakeBuildsWhereThatIsEnabled(t *testing.T) {
	w := newWorld(t, "")
	w.ignores(t, "pull_request", pull("opened", fromFork), "it comes from a fork")
	w = another(t, `{"build_pull_request_forks": true}`)
	b := w.builds(t, "pull_request", pull("opened", fromFork))
	if b.Branch != "eve:topic" || !b.Detail.PullRequest.Fork || b.Detail.PullRequest.Repository != "https://github.com/eve/app.git" {
		t.Errorf("%+v", b)
	}
	if b.Verdict.Decision != "hold" || b.Verdict.Rule != "untrusted-fork" || !strings.Contains(b.Verdict.Reason, "eve, who is not trusted and has not contributed") {
		t.Errorf("the verdict: %+v", b.Verdict)
	}
	if jobs := must(w.Store.Jobs(t.Context(), b.ID))(t); len(jobs) != 0 {
		t.Errorf("a stranger's build has %d jobs", len(jobs))
	}
	if b = w.builds(t, "pull_request", pull("synchronize", fromFork, func(_, head object) { head["sha"] = sha2 })); b.Commit != sha2 {
		t.Errorf("%+v", b)
	}
	w = another(t, `{"build_pull_request_forks": true, "prefix_pull_request_fork_branch_names": false}`)
	if b = w.builds(t, "pull_request", pull("opened", fromFork, func(_, head object) { head["ref"] = "main" })); b.Branch != "main" || b.Verdict.Decision != "hold" {
		t.Errorf("a fork's branch named as the default one: %+v", b)
	}
}

func TestP281_ACommitThatHasABuildMakesNoSecondOne(t *testing.T) {
	w := newWorld(t, "")
	w.builds(t, "push", push("refs/heads/topic", sha1, "Fix"))
	w.ignores(t, "pull_request", pull("opened"), "Build 1 is of the same commit")
	w.builds(t, "push", push("refs/heads/other", sha1, "Fix"))
	w = another(t, `{"skip_pull_request_builds_for_existing_commits": false}`)
	w.builds(t, "push", push("refs/heads/topic", sha1, "Fix"))
	w.builds(t, "pull_request", pull("opened"))
	w = another(t, `{"skip_builds_for_existing_commits": true}`)
	w.builds(t, "push", push("refs/heads/topic", sha1, "Fix"))
	w.ignores(t, "push", push("refs/heads/other", sha1, "Fix"), "Build 1 is of the same commit (skip_builds_for_existing_commits)")
	w.builds(t, "push", push("refs/heads/other", sha2, "Fix"))
}

func TestP282_TagsMakeBuildsWhereThatIsEnabled(t *testing.T) {
	w := newWorld(t, "")
	w.ignores(t, "push", push("refs/tags/v1", sha1, "Release"), "build_tags")
	w = another(t, `{"build_tags": true}`)
	b := w.builds(t, "push", push("refs/tags/v1", sha1, "Release"))
	if b.Tag != "v1" || b.Branch != "v1" || b.Commit != sha1 {
		t.Errorf("%+v", b)
	}
	// The hash of an annotated tag is that of the tag itself.
	annotated := strings.Replace(push("refs/tags/v2", sha2, "Release"), `"after":"`+sha2, `"after":"`+sha3, 1)
	if b = w.builds(t, "push", annotated); b.Commit != sha2 {
		t.Errorf("the annotated tag's build is of %s", b.Commit)
	}
}

// remark is a comment on pull request 7.
func remark(body, association string) string {
	return encode(object{
		"action": "created", "issue": object{"number": 7, "state": "open", "pull_request": object{}},
		"comment": object{"id": 99, "body": body, "author_association": association},
	})
}

func TestP283_ACommentMakesABuildIfItsAuthorIsTrusted(t *testing.T) {
	w := newWorld(t, `{"build_issue_comment_created": true}`)
	w.ignores(t, "issue_comment", remark("/bk", "MEMBER"), "has not heard of yet")
	first := w.builds(t, "pull_request", pull("opened"))
	for _, who := range []string{"OWNER", "MEMBER", "COLLABORATOR"} {
		b := w.builds(t, "issue_comment", remark(" /BK\n", who))
		if b.Commit != first.Commit || b.Branch != "topic" || b.Detail.PullRequest.Number != "7" || b.Detail.Event.Values["COMMENT_ID"] != "99" {
			t.Errorf("%+v", b)
		}
	}
	for _, who := range []string{"CONTRIBUTOR", "FIRST_TIME_CONTRIBUTOR", "NONE", ""} {
		w.ignores(t, "issue_comment", remark("/bk", who), "may not start builds")
	}
	w.ignores(t, "issue_comment", remark("please /bk", "OWNER"), "does not say /bk")
	w.ignores(t, "issue_comment", strings.Replace(remark("/bk", "OWNER"), "created", "edited", 1), "build nothing")
	w.ignores(t, "issue_comment", strings.Replace(remark("/bk", "OWNER"), `"open"`, `"closed"`, 1), "it is closed")
	w = another(t, `{"build_issue_comment_created": true, "issue_comment_command_word": "Go", "issue_comment_match_mode": "contains"}`)
	w.builds(t, "pull_request", pull("opened"))
	w.builds(t, "issue_comment", remark("let it gO now", "OWNER"))
	w = another(t, "")
	w.builds(t, "pull_request", pull("opened"))
	w.ignores(t, "issue_comment", remark("/bk", "OWNER"), "does not build on comments")
}

func TestAPullRequestOfABranchThatTheFilterKeepsOut(t *testing.T) {
	w := newWorld(t, "", `"branch_configuration": "main"`)
	w.ignores(t, "push", push("refs/heads/topic", sha1, "Fix"), `topic does not pass the branch filter of the pipeline, "main"`)
	b := w.builds(t, "pull_request", pull("opened"))
	for key, want := range map[string]string{"m": "broken", "t": "scheduled"} {
		s := must(w.Store.StepByKey(t.Context(), b.ID, key))(t)
		if j := must(w.Store.JobsOfStep(t.Context(), s.ID))(t)[0]; string(j.State) != want {
			t.Errorf("the job of %s is %s, want %s", key, j.State, want)
		}
	}
	// From then on pushes to it are builds of the pull request.
	w.builds(t, "push", push("refs/heads/topic", sha2, "More"))
}
