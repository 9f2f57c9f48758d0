package forge

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/trust"
)

// Kind says what an event is about.
type Kind string

// The kinds of events. A forge's package maps its own to these; what it has no use for is Other.
const (
	Ping      Kind = "ping"
	Push      Kind = "push"           // commits on a branch
	TagPush   Kind = "tag"            // a new or moved tag
	Deleted   Kind = "deleted"        // a branch or tag is gone
	PullMoved Kind = "pull_request"   // something happened to a pull request; see Change
	Comment   Kind = "comment"        // on a pull request
	Review    Kind = "review"         // of a pull request
	Queued    Kind = "merge_group"    // a merge queue wants its commit checked
	Unqueued  Kind = "merge_group_no" // a merge queue gave a commit up
	Ref       Kind = "ref"            // a release, a new branch or tag, a deployment, a finished check: build a commit or a name
	Forked    Kind = "fork"
	Other     Kind = "other"
)

// Change is what happened to a pull request, in GitHub's words.
type Change string

// The changes that a setting may answer with a build, and Closed.
const (
	Opened          Change = "opened"
	Synchronized    Change = "synchronize" // it has other commits
	Reopened        Change = "reopened"
	Closed          Change = "closed"
	Ready           Change = "ready_for_review"
	Drafted         Change = "converted_to_draft"
	Labeled         Change = "labeled"
	Unlabeled       Change = "unlabeled"
	Edited          Change = "edited"
	BaseChanged     Change = "base_changed" // an edit of the branch that it is to be merged into
	ReviewRequested Change = "review_requested"
	Dequeued        Change = "dequeued"
)

// Event is what a forge told.
type Event struct {
	Kind   Kind
	Name   string            // of the event, as the forge names it, e.g. "pull_request"
	Action string            // as the forge names it, "" for none
	Values map[string]string // what jobs and conditions may read of it, by the name behind BUILDKITE_GITHUB_

	Repositories []string // URLs of the repository that the event is about, all that the forge gave
	Sender       trust.Account

	Branch  string // without refs/heads/
	Tag     string
	Commit  string // full hash, or a name for Ref
	Message string
	Author  Person

	Change  Change // of a PullMoved
	Pull    *Pull
	Queue   *Queue
	Comment *Remark
}

// maxName is the longest name of a branch or tag that is taken, in bytes; git itself allows paths of 4096.
const maxName = 1000

// Check refuses an event without the name that its kind must have, and names that git would not have or
// would take for options.
func (ev Event) Check() error {
	must := map[Kind]string{Push: ev.Branch, TagPush: ev.Tag, Queued: ev.Branch, Unqueued: ev.Branch}
	if name, ok := must[ev.Kind]; ok && name == "" {
		return errors.New("the event names no branch or tag")
	}
	names := []string{ev.Branch, ev.Tag}
	if p := ev.Pull; p != nil {
		if p.Commit != "" && p.Branch == "" { // a comment tells neither
			return errors.New("the pull request names no branch")
		}
		names = append(names, p.Branch, p.BaseBranch, p.Owner.Name)
	}
	for _, name := range names {
		if len(name) > maxName || strings.HasPrefix(name, "-") || strings.ContainsFunc(name, notInNames) {
			return fmt.Errorf("%.100q is not the name of a branch or tag", name)
		}
	}
	return nil
}

// notInNames are what git has in no name of a branch (git-check-ref-format(1)).
func notInNames(r rune) bool {
	return r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:?*[\`, r)
}

// Person is the author of a commit.
type Person struct{ Name, Email string }

// Pull is a pull request (or merge request) as the forge describes it.
type Pull struct {
	Number     string    `json:"number"`
	Title      string    `json:"title"`
	Branch     string    `json:"branch"` // in the repository that it comes from
	Commit     string    `json:"commit"`
	BaseBranch string    `json:"base_branch"`
	Repository string    `json:"repository"` // URL of the one that it comes from; "" if that is gone
	Origin     Whose     `json:"origin"`
	Owner      Owner     `json:"owner"` // of the repository that it comes from
	Author     Owner     `json:"author"`
	Draft      bool      `json:"draft,omitempty"`
	Labels     []string  `json:"labels,omitempty"`
	Label      string    `json:"label,omitempty"` // that was added or removed just now
	Closed     bool      `json:"closed,omitempty"`
	UpdatedAt  time.Time `json:"updated_at"`
}

// Whose says whether a pull request comes from the pipeline's own repository.
type Whose string

// The zero Whose is the absence of knowledge.
const (
	Own  Whose = "own"
	Fork Whose = "fork"
)

// Owner is an account with what it is to the repository.
type Owner struct {
	ID           string `json:"id"`
	Name         string `json:"name"`
	Person       bool   `json:"person,omitempty"`
	Organization bool   `json:"organization,omitempty"`
	Association  string `json:"association,omitempty"` // the forge's word, "" if it said none
}

// Queue is what a merge queue would merge into.
type Queue struct{ BaseBranch, BaseCommit string }

// Remark is a comment on a pull request.
type Remark struct {
	Body        string
	Association string // of its author with the repository
	OnReview    bool   // about a line of the change
	Closed      bool   // the pull request is
}
