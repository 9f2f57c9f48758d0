package forge

import (
	"fmt"
	"strings"

	"github.com/slipway-ci/slipway/internal/condition"
	"github.com/slipway-ci/slipway/internal/trust"
)

// Known is what the server remembers that a decision depends on.
type Known struct {
	// Pull is the open pull request of the pushed branch, or the one that was commented on; nil if the
	// server has heard of none.
	Pull *Pull
}

// Decision is what becomes of an event. At most one of Build and Cancel is set.
type Decision struct {
	Build  *Build
	Cancel string // cancel the open builds of this branch
	Reason string // a sentence
}

// Build is what to build. A name for Commit is resolved later.
type Build struct {
	Commit, Branch, Tag, Message string
	Author                       Person
	Pull                         *Pull
	MergeRef                     bool
	Queue                        *Queue
	DiffBase                     bool // changed files are those since the queue's base
	Code                         trust.Code
	ForkOwner, Pusher            trust.Account
	Skip                         Skip
}

// Skip says which earlier builds make one unnecessary.
type Skip int

// Which builds of the same commit count.
const (
	SkipNever Skip = iota
	SkipSameBranch
	SkipAnyBranch
)

func no(reason string, args ...any) Decision { return Decision{Reason: fmt.Sprintf(reason, args...)} }

// Decide answers an event. Whether the pipeline's filter condition holds, and whether the commit was built
// before, is for the caller to find out about the Build.
func Decide(ev Event, s Settings, k Known) Decision {
	switch {
	case ev.Kind == Ping:
		return no("The address works; a ping builds nothing.")
	case ev.Kind == Other:
		return no("Events of this kind build nothing.")
	case s.TriggerMode == "none":
		return no("The pipeline builds nothing of itself: its trigger mode is none.")
	case s.TriggerMode == "deployment" && ev.Name != "deployment" && ev.Name != "deployment_status":
		return no("The pipeline builds deployments alone: its trigger mode is deployment.")
	case s.TriggerMode == "fork" && ev.Kind != Forked:
		return no("The pipeline builds forks alone: its trigger mode is fork.")
	}
	return decide(ev, s, k)
}

func decide(ev Event, s Settings, k Known) Decision {
	switch ev.Kind {
	case Push:
		return push(ev, s, k)
	case TagPush:
		return tag(ev, s)
	case Deleted:
		return deleted(ev, s)
	case PullMoved:
		return pullMoved(ev, s)
	case Comment:
		return comment(ev, s, k)
	case Review:
		return review(ev, s)
	case Queued:
		return queued(ev, s)
	case Unqueued:
		return unqueued(ev, s)
	case Ref:
		return ref(ev, s)
	case Forked:
		return forked(ev, s)
	}
	return no("Events of this kind build nothing.")
}

// queueBranches are where GitHub's merge queue keeps its commits.
const queueBranches = "gh-readonly-queue/"

// push decides about commits on a branch. If the branch has an open pull request and those are built, it
// is a build of the pull request, which passes the pipeline's branch filter: the forge's own event about
// the pull request's new commits makes none.
func push(ev Event, s Settings, k Known) Decision {
	if token := SkipToken(ev.Message); token != "" && !strings.HasPrefix(ev.Branch, queueBranches) {
		return no("The message of commit %.12s says %s.", ev.Commit, token)
	}
	if s.MergeGroups && strings.HasPrefix(ev.Branch, queueBranches) {
		return no("Branches of the merge queue are built when the queue asks for it, not on pushes.")
	}
	b := build(ev)
	b.Skip = skip(s, false)
	pull := openPull(k.Pull, s)
	if pull != nil {
		moved := *pull
		moved.Commit = ev.Commit
		b.Pull, b.MergeRef = &moved, s.MergeCommits
	}
	asPull := pull != nil && pullFilter(ev.Branch, s) == ""
	switch {
	case asPull:
		return Decision{Build: b, Reason: fmt.Sprintf("A push to %s, the branch of pull request %s.", ev.Branch, pull.Number)}
	case !s.Branches:
		return no("The pipeline does not build pushes to branches (build_branches).")
	case !condition.MatchBranch(s.BranchFilter, ev.Branch):
		return no("The branch %s does not pass the branch filter of the pipeline, %q.", ev.Branch, s.BranchFilter)
	}
	return Decision{Build: b, Reason: fmt.Sprintf("A push to %s.", ev.Branch)}
}

// openPull is the pull request that a push belongs to, as far as the pipeline builds those.
func openPull(p *Pull, s Settings) *Pull {
	if p == nil || p.Closed || p.Origin != Own || !s.Pulls {
		return nil
	}
	return p
}

// build is what an event about the pipeline's own repository asks for. Only members can push there.
func build(ev Event) *Build {
	return &Build{
		Commit: ev.Commit, Branch: ev.Branch, Tag: ev.Tag, Message: ev.Message, Author: ev.Author,
		Code: trust.CodeOrigin, Pusher: ev.Sender,
	}
}

func skip(s Settings, pull bool) Skip {
	switch {
	case s.SkipBuilt:
		return SkipAnyBranch
	case pull && s.SkipBuiltPulls:
		return SkipSameBranch
	}
	return SkipNever
}

func tag(ev Event, s Settings) Decision {
	switch token := SkipToken(ev.Message); {
	case !s.Tags:
		return no("The pipeline does not build tags (build_tags).")
	case token != "":
		return no("The message of commit %.12s says %s.", ev.Commit, token)
	case !condition.MatchBranch(s.BranchFilter, ev.Tag):
		return no("The tag %s does not pass the branch filter of the pipeline, %q.", ev.Tag, s.BranchFilter)
	}
	b := build(ev)
	b.Branch, b.Skip = ev.Tag, skip(s, false)
	return Decision{Build: b, Reason: fmt.Sprintf("A push of the tag %s.", ev.Tag)}
}

func deleted(ev Event, s Settings) Decision {
	if !s.CancelDeletedBranch || ev.Branch == "" {
		return no("%s was deleted; there is nothing to build.", firstOf(ev.Branch, ev.Tag, "Something"))
	}
	return Decision{Cancel: ev.Branch, Reason: fmt.Sprintf("The branch %s was deleted.", ev.Branch)}
}

// queued decides about a commit of a merge queue, which heeds neither branch filters nor skip tokens.
func queued(ev Event, s Settings) Decision {
	if !s.MergeGroups {
		return no("The pipeline does not build merge queues (build_merge_group_checks_requested).")
	}
	b := build(ev)
	b.Queue, b.DiffBase = ev.Queue, s.DiffMergeBase
	return Decision{Build: b, Reason: fmt.Sprintf("The merge queue of %s wants a commit checked.", ev.Queue.BaseBranch)}
}

func unqueued(ev Event, s Settings) Decision {
	if !s.CancelGoneGroups {
		return no("The merge queue gave %s up; its builds go on (cancel_when_merge_group_destroyed).", ev.Branch)
	}
	return Decision{Cancel: ev.Branch, Reason: fmt.Sprintf("The merge queue gave %s up.", ev.Branch)}
}

// ref decides about the events that have a setting of their own and name a commit, a branch or a tag.
func ref(ev Event, s Settings) Decision {
	on := map[string]bool{
		"release.published": s.OnReleasePublished, "release.created": s.OnReleaseCreated, "release.released": s.OnReleaseReleased,
		"create": s.OnCreate, "check_run.completed": s.OnCheckRun,
		"deployment": s.TriggerMode == "deployment", "deployment.created": s.TriggerMode == "deployment",
		"deployment_status": s.OnDeploymentStatus, "deployment_status.created": s.OnDeploymentStatus,
	}
	name := strings.TrimSuffix(ev.Name+"."+ev.Action, ".")
	known, handled := on[name]
	if !handled {
		return no("Events %s build nothing.", name)
	}
	if !known {
		return no("The pipeline does not build on %s.", name)
	}
	branch := firstOf(ev.Branch, ev.Tag, s.DefaultBranch)
	if !condition.MatchBranch(s.BranchFilter, branch) {
		return no("%s does not pass the branch filter of the pipeline, %q.", branch, s.BranchFilter)
	}
	b := build(ev)
	b.Branch, b.Commit, b.Skip = branch, firstOf(ev.Commit, "HEAD"), skip(s, false)
	return Decision{Build: b, Reason: fmt.Sprintf("The event %s.", name)}
}

func forked(ev Event, s Settings) Decision {
	if s.TriggerMode != "fork" {
		return no("The pipeline does not build when its repository is forked (trigger_mode).")
	}
	b := build(ev)
	b.Commit, b.Branch = "HEAD", s.DefaultBranch
	return Decision{Build: b, Reason: "The repository was forked."}
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
