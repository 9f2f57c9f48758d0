package forge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/internal/condition"
	"github.com/slipway-ci/slipway/internal/trust"
)

// pullMoved decides about a pull request that something happened to.
func pullMoved(ev Event, s Settings) Decision {
	p := *ev.Pull
	if reason := unwantedChange(ev.Change, p, s); reason != "" {
		return Decision{Reason: reason}
	}
	return pullBuild(p, s, ev.pusher(), fmt.Sprintf("Pull request %s: %s.", p.Number, strings.ReplaceAll(string(ev.Change), "_", " ")))
}

// pusher is who put a pull request's commits there, as far as an event about it tells: who pushed them, or offered them by opening it.
// Of other changes the sender need not have had a hand in the commits. Somebody else may have pushed to the branch of a pull request
// while it was closed, of which no event tells but that of its being reopened.
func (ev Event) pusher() trust.Account {
	if ev.Kind == PullMoved && (ev.Change == Opened || ev.Change == Synchronized) {
		return ev.Sender
	}
	return trust.Account{}
}

// Hands are the accounts whose code an event's pull request brings: the owner of the repository that it
// comes from, and who pushed, the zero Account where the event does not tell.
func (ev Event) Hands() (owner, pusher trust.Account) {
	owner, pusher = account(ev.Pull.Owner, ev.Pull.Author), ev.pusher()
	if pusher.ID == owner.ID {
		pusher = owner
	}
	return owner, pusher
}

// unwantedChange says why a change makes no build, "" if it may.
func unwantedChange(c Change, p Pull, s Settings) string {
	setting := map[Change]struct {
		on   bool
		name string
	}{
		Reopened: {s.OnReopened, "reopened"}, Ready: {s.OnReady, "ready_for_review"}, Drafted: {s.OnDrafted, "converted_to_draft"},
		Labeled: {s.OnLabels, "labels_changed"}, Unlabeled: {s.OnLabels, "labels_changed"}, Edited: {s.OnEdited, "edited"},
		BaseChanged: {s.OnBaseChanged, "base_branch_changed"}, ReviewRequested: {s.OnReviewRequested, "review_requested"},
		Dequeued: {s.OnDequeued, "dequeued"},
	}
	wants, ok := setting[c]
	switch {
	case c == Synchronized && p.Origin == Own:
		return fmt.Sprintf("Pull request %s has other commits; the push that brought them makes the build.", p.Number)
	case c == Opened || c == Synchronized:
		return ""
	case !ok:
		return fmt.Sprintf("Pull request %s: nothing is built when it is %s.", p.Number, firstOf(string(c), "changed so"))
	case !wants.on:
		return fmt.Sprintf("Pull request %s: the pipeline does not build this change (build_pull_request_%s).", p.Number, wants.name)
	}
	return ""
}

// pullBuild is the build of a pull request, or the reason why there is none.
func pullBuild(p Pull, s Settings, pusher trust.Account, why string) Decision {
	if reason := unwantedPull(p, s); reason != "" {
		return no("Pull request %s: %s", p.Number, reason)
	}
	b := &Build{
		Commit: p.Commit, Branch: p.Branch, Message: p.Title, Author: Person{Name: p.Author.Name}, Pull: &p, MergeRef: s.MergeCommits,
		Code: trust.CodeOrigin, Pusher: pusher, Skip: skip(s, true),
	}
	if p.Origin == Fork {
		b.Code, b.ForkOwner = trust.CodeFork, account(p.Owner, p.Author)
		if pusher.ID == b.ForkOwner.ID {
			b.Pusher = b.ForkOwner
		}
		if s.PrefixForks {
			b.Branch = p.Owner.Name + ":" + p.Branch
		}
	}
	return Decision{Build: b, Reason: why}
}

// unwantedPull says why a pull request is not built whatever happens to it, "" if it is.
func unwantedPull(p Pull, s Settings) string {
	token := SkipToken(p.Title)
	switch {
	case !s.Pulls:
		return "the pipeline does not build pull requests (build_pull_requests)."
	case p.Closed && s.SkipClosed:
		return "it is closed (skip_builds_for_closed_pull_requests)."
	case p.Origin == "":
		return "the repository that it comes from is gone, or is not known."
	case p.Origin == Fork && !s.Forks:
		return "it comes from a fork, and the pipeline does not build those (build_pull_request_forks)."
	case token != "":
		return fmt.Sprintf("its title says %s.", token)
	case s.IgnoreDefaultBranch && p.Origin == Own && p.Branch == s.DefaultBranch:
		return "it comes from the default branch (ignore_default_branch_pull_requests)."
	}
	return pullFilter(p.Branch, s)
}

// pullFilter says why the filter for pull requests keeps a branch out, "" if it does not.
func pullFilter(branch string, s Settings) string {
	if !s.PullFilterEnabled || condition.MatchBranch(s.PullFilter, branch) {
		return ""
	}
	return fmt.Sprintf("its branch %s does not pass the filter for pull requests, %q.", branch, s.PullFilter)
}

// account is the owner of a fork as the rules of trust see them. What the forge says of the author holds
// for the owner only if they are one.
func account(owner, author Owner) trust.Account {
	a := trust.Account{ID: owner.ID, Name: owner.Name, LookupFail: "no account of the forge is connected that could be asked"}
	switch {
	case owner.Organization:
		a.Kind = trust.AccountOrganization
		return a
	case owner.Person:
		a.Kind = trust.AccountUser
	}
	if owner.ID == author.ID && owner.ID != "" {
		a.Association = author.Association
	}
	if slices.Contains(strangers, a.Association) {
		a.Membership, a.LookupFail = trust.NotMember, ""
	}
	return a
}

// strangers are what GitHub calls people who can be in no team of the repository
// (https://docs.github.com/en/graphql/reference/enums#commentauthorassociation).
var strangers = []string{"NONE", "FIRST_TIMER", "FIRST_TIME_CONTRIBUTOR", "MANNEQUIN"}

// trustedAuthors are those whose comments are commands.
var trustedAuthors = []string{"OWNER", "MEMBER", "COLLABORATOR"}

// comment decides about a remark on a pull request.
func comment(ev Event, s Settings, k Known) Decision {
	on, word, mode := s.OnComment, s.CommandWord, s.MatchMode
	if ev.Comment.OnReview {
		on, word, mode = s.OnReviewComment, s.ReviewCommandWord, s.ReviewMatchMode
	}
	p := ev.Pull
	if p == nil || p.Commit == "" { // GitHub tells no commit with a comment
		p = k.Pull
	}
	switch {
	case !on:
		return no("The pipeline does not build on comments.")
	case !commands(ev.Comment.Body, firstOf(word, "/bk"), mode):
		return no("The comment does not say %s.", firstOf(word, "/bk"))
	case !slices.Contains(trustedAuthors, ev.Comment.Association):
		return no("The comment's author may not start builds: their association with the repository is %s.", firstOf(ev.Comment.Association, "not known"))
	case p == nil:
		return no("The comment is about a pull request that the server has not heard of yet; push to it, or close and reopen it.")
	case ev.Comment.Closed && s.SkipClosed:
		return no("Pull request %s: it is closed (skip_builds_for_closed_pull_requests).", p.Number)
	}
	d := pullBuild(*p, s, trust.Account{}, fmt.Sprintf("A comment on pull request %s.", p.Number))
	if d.Build != nil {
		d.Build.Skip = SkipNever // it was asked for
	}
	return d
}

// commands says whether a comment is, or has in it, the word of command; case and space around count for
// nothing.
func commands(body, word, mode string) bool {
	body, word = strings.ToLower(strings.TrimSpace(body)), strings.ToLower(strings.TrimSpace(word))
	if mode == "contains" {
		return strings.Contains(body, word)
	}
	return body == word
}

func review(ev Event, s Settings) Decision {
	on := map[string]bool{"submitted": s.OnReviewSubmitted, "dismissed": s.OnReviewDismissed}[ev.Action]
	if !on {
		return no("The pipeline does not build on reviews that are %s.", firstOf(ev.Action, "changed so"))
	}
	d := pullBuild(*ev.Pull, s, trust.Account{}, fmt.Sprintf("A review of pull request %s was %s.", ev.Pull.Number, ev.Action))
	if d.Build != nil {
		d.Build.Skip = SkipNever
	}
	return d
}
