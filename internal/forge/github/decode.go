package github

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/slipway-ci/slipway/internal/forge"
)

var fullHash = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// Decode reads an event. name is that of the header X-GitHub-Event.
func Decode(name string, body []byte) (forge.Event, error) {
	var p payload
	if err := json.Unmarshal(body, &p); err != nil {
		return forge.Event{}, fmt.Errorf("the body is not the JSON of a %s event: %w", name, err)
	}
	ev := forge.Event{Kind: forge.Other, Name: name, Action: p.Action, Values: map[string]string{}}
	if p.Repository != nil {
		ev.Repositories = p.Repository.addresses()
	}
	if p.Sender != nil {
		ev.Sender = p.Sender.account()
	}
	read, ok := readers[name]
	if !ok {
		return ev, nil
	}
	if err := read(&p, &ev); err != nil {
		return ev, fmt.Errorf("a %s event: %w", name, err)
	}
	return ev, ev.Check()
}

type reader func(*payload, *forge.Event) error

// readers fill in the facts of an event, by its name.
var readers = map[string]reader{
	"ping":   func(_ *payload, ev *forge.Event) error { ev.Kind = forge.Ping; return nil },
	"push":   push,
	"delete": deleted,
	"create": created,
	"fork":   func(_ *payload, ev *forge.Event) error { ev.Kind = forge.Forked; return nil },

	"pull_request":                pullRequest,
	"pull_request_review":         review,
	"pull_request_review_comment": reviewComment,
	"issue_comment":               issueComment,
	"merge_group":                 mergeGroup,
	"release":                     release,
	"check_run":                   checkRun,
	"deployment":                  deployment,
	"deployment_status":           deployment,
}

var errLacks = errors.New("the body lacks")

func lacks(member string) error { return fmt.Errorf("%w %s", errLacks, member) }

func push(p *payload, ev *forge.Event) error {
	branch, onBranch := strings.CutPrefix(p.Ref, "refs/heads/")
	tag, onTag := strings.CutPrefix(p.Ref, "refs/tags/")
	switch {
	case !onBranch && !onTag:
		return nil // notes and other refs, which nobody builds
	case p.Deleted || strings.Trim(p.After, "0") == "" && p.After != "":
		ev.Kind = forge.Deleted
	case !fullHash.MatchString(p.After):
		return lacks("a full commit hash in after")
	case onBranch:
		ev.Kind = forge.Push
	default:
		ev.Kind = forge.TagPush
	}
	ev.Branch, ev.Tag = branch, tag
	if !onBranch {
		ev.Branch = ""
	}
	if !onTag {
		ev.Tag = ""
	}
	if ev.Kind == forge.Deleted {
		return nil
	}
	// The hash of an annotated tag is the tag's; its commit is the head commit.
	ev.Commit = p.After
	if onTag && p.HeadCommit != nil && fullHash.MatchString(p.HeadCommit.ID) {
		ev.Commit = p.HeadCommit.ID
	}
	p.HeadCommit.describe(ev)
	return nil
}

// deleted is what follows a push that deletes, which has said so already.
func deleted(p *payload, ev *forge.Event) error {
	ev.Kind = forge.Deleted
	if p.RefType == "tag" {
		ev.Tag = p.Ref
		return nil
	}
	ev.Branch = p.Ref
	return nil
}

func created(p *payload, ev *forge.Event) error {
	ev.Kind = forge.Ref
	if p.RefType == "tag" {
		ev.Tag = p.Ref
		return nil
	}
	ev.Branch = p.Ref
	return nil
}

func pullRequest(p *payload, ev *forge.Event) error {
	if p.Pull == nil || p.Pull.Number == 0 || !fullHash.MatchString(p.Pull.Head.SHA) {
		return lacks("a pull_request with a number and a head commit")
	}
	ev.Kind, ev.Pull, ev.Change = forge.PullMoved, p.Pull.facts(), forge.Change(p.Action)
	if ev.Change == forge.Edited && p.Changes.Base != nil {
		ev.Change = forge.BaseChanged
	}
	if p.Label != nil && (ev.Change == forge.Labeled || ev.Change == forge.Unlabeled) {
		ev.Pull.Label = p.Label.Name
	}
	return nil
}

func review(p *payload, ev *forge.Event) error {
	if err := pullRequest(p, ev); err != nil {
		return err
	}
	ev.Kind, ev.Change = forge.Review, ""
	if p.Review != nil {
		ev.Values["REVIEW_ID"], ev.Values["REVIEW_STATE"] = strconv.FormatInt(p.Review.ID, 10), p.Review.State
	}
	return nil
}

func reviewComment(p *payload, ev *forge.Event) error {
	if err := pullRequest(p, ev); err != nil {
		return err
	}
	ev.Kind, ev.Change = forge.Other, ""
	return remark(p, ev, ev.Pull.Closed, true)
}

func issueComment(p *payload, ev *forge.Event) error {
	if p.Issue == nil {
		return lacks("an issue")
	}
	if p.Issue.Pull == nil {
		return nil // on an issue that is no pull request
	}
	ev.Pull = &forge.Pull{Number: strconv.FormatInt(p.Issue.Number, 10)}
	return remark(p, ev, p.Issue.State == "closed", false)
}

// remark is a new comment; one that was edited or deleted commands nothing.
func remark(p *payload, ev *forge.Event, closed, onReview bool) error {
	if p.Action != "created" {
		return nil
	}
	if p.Comment == nil {
		return lacks("a comment")
	}
	ev.Kind = forge.Comment
	ev.Comment = &forge.Remark{Body: p.Comment.Body, Association: p.Comment.Association, OnReview: onReview, Closed: closed}
	ev.Values["COMMENT_ID"] = strconv.FormatInt(p.Comment.ID, 10)
	return nil
}

func mergeGroup(p *payload, ev *forge.Event) error {
	g := p.MergeGroup
	if g == nil || !fullHash.MatchString(g.HeadSHA) || g.HeadRef == "" {
		return lacks("a merge_group with head_sha and head_ref")
	}
	ev.Commit, ev.Branch = g.HeadSHA, strings.TrimPrefix(g.HeadRef, "refs/heads/")
	ev.Queue = &forge.Queue{BaseBranch: strings.TrimPrefix(g.BaseRef, "refs/heads/"), BaseCommit: g.BaseSHA}
	g.HeadCommit.describe(ev)
	switch p.Action {
	case "checks_requested":
		ev.Kind = forge.Queued
	case "destroyed":
		ev.Kind = forge.Unqueued
	}
	return nil
}

func release(p *payload, ev *forge.Event) error {
	if p.Release == nil || p.Release.TagName == "" {
		return lacks("a release with a tag_name")
	}
	ev.Kind, ev.Tag, ev.Message = forge.Ref, p.Release.TagName, p.Release.Name
	ev.Values["RELEASE_TAG"] = p.Release.TagName
	ev.Values["RELEASE_DRAFT"], ev.Values["RELEASE_PRERELEASE"] = strconv.FormatBool(p.Release.Draft), strconv.FormatBool(p.Release.Prerelease)
	return nil
}

func checkRun(p *payload, ev *forge.Event) error {
	c := p.CheckRun
	if c == nil || !fullHash.MatchString(c.HeadSHA) {
		return lacks("a check_run with head_sha")
	}
	ev.Commit, ev.Branch = c.HeadSHA, c.Suite.HeadBranch
	ev.Values["CHECK_RUN_NAME"], ev.Values["CHECK_RUN_CONCLUSION"] = c.Name, c.Conclusion
	if c.Suite.HeadBranch != "" { // a fork's commit has no branch here
		ev.Kind = forge.Ref
	}
	return nil
}

func deployment(p *payload, ev *forge.Event) error {
	d := p.Deployment
	if d == nil || !fullHash.MatchString(d.SHA) {
		return lacks("a deployment with a sha")
	}
	ev.Kind, ev.Commit, ev.Message = forge.Ref, d.SHA, d.Description
	if d.Ref != d.SHA {
		ev.Branch = d.Ref
	}
	ev.Values["DEPLOYMENT_ID"], ev.Values["DEPLOYMENT_TASK"] = strconv.FormatInt(d.ID, 10), d.Task
	ev.Values["DEPLOYMENT_ENVIRONMENT"], ev.Values["DEPLOYMENT_PAYLOAD"] = d.Environment, string(d.Payload)
	if s := p.DeploymentStatus; s != nil {
		ev.Values["DEPLOYMENT_STATUS_STATE"], ev.Values["DEPLOYMENT_STATUS_ENVIRONMENT"] = s.State, s.Environment
	}
	return nil
}
