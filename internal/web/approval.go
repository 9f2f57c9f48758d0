package web

import (
	"fmt"
	"strings"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

// ApprovalPane is a build that may not run, with what a member must know to say whether it may.
type ApprovalPane struct {
	State   State
	Title   string
	Text    string
	Approve *ConfirmForm // nil: it cannot be approved, and Text says why
	Reject  *ConfirmForm
	Reasons []Reason
	Files   *ReviewFiles
	Grants  []Given
}

// Reason is something that the verdict rests on.
type Reason struct {
	Icon string // x, check, alert, info
	Name string
	Text string
}

// ReviewFiles are the files that a commit changes, those first that decide what builds execute.
type ReviewFiles struct {
	Count    int // of all
	Decisive int // of those named
	Since    string
	Files    []ReviewFile
	Unknown  string // why they are not known
}

// More is how many files are not named.
func (f ReviewFiles) More() int { return f.Count - len(f.Files) }

// ReviewFile is a changed file.
type ReviewFile struct {
	Path     string
	Decisive bool
}

// approval asks about a build that was not allowed; nil for any other, and for one that has ended.
func (b *buildView) approval() *ApprovalPane {
	v := b.build.Verdict
	if b.build.State != ci.BuildCreating || v.Decision == string(trust.Allow) || b.build.PlanError != "" {
		return nil
	}
	p := &ApprovalPane{State: Approval, Title: "Nothing has run. This commit needs a member's approval.", Text: v.Reason, Reasons: b.reasons(), Files: b.reviewFiles(), Grants: b.grants()}
	if v.Decision == string(trust.Deny) {
		p.State, p.Title = NotRun, "Nothing has run. This commit was rejected."
	}
	if len(b.build.Commit) < 40 {
		p.Text += fmt.Sprintf(" The server does not know which commit %q is, so it cannot be approved: start a build of the commit's full hash.", b.build.Commit)
		return p
	}
	approve, reject := b.reviewForm("approve"), b.reviewForm("reject")
	p.Approve = &approve
	if v.Decision == string(trust.Hold) {
		p.Reject = &reject
	}
	return p
}

// reviewForm asks once more, and takes a note. It names the commit that is on the page, so that nothing
// else is approved.
func (b *buildView) reviewForm(do string) ConfirmForm {
	short := shortCommit(b.build.Commit)
	form := ConfirmForm{
		ID: do, Action: b.path() + "/" + do, Back: b.path(), Safe: "Not now", Commit: b.build.Commit, Note: true,
		Title: "Approve commit " + short + "?", Do: "Approve this commit", Good: true,
		Text: "Its jobs run on your agents, without secrets and identity tokens. The approval is for this commit alone; the next one is held again.",
	}
	if do == "reject" {
		form.Title, form.Do, form.Good = "Reject commit "+short+"?", "Reject this commit", false
		form.Text = "The build ends and nothing of it runs. Other builds of this commit are rejected too, until somebody approves one."
		return form
	}
	if o := b.build.Detail.Origin; o != nil && o.Changes != nil {
		if n := b.reviewFiles().Decisive; n > 0 {
			form.Text += fmt.Sprintf(" It changes %s that decide what builds execute: read those first.", plural(n, "file"))
		}
	}
	return form
}

// reasons are what is known of where the commit comes from.
func (b *buildView) reasons() []Reason {
	o := b.build.Detail.Origin
	if o == nil {
		return nil
	}
	var all []Reason
	switch o.Code {
	case store.OriginFork:
		all = append(all, Reason{"x", "Not a branch of the pipeline's repository", orElse(ifSet("It comes from ", o.Repository)+". ", "") + o.Known})
	case store.OriginOwn:
		all = append(all, Reason{"check", "Of the pipeline's own repository", o.Known})
	default:
		all = append(all, Reason{"alert", "Whose code this is, is not known", strings.TrimSpace(sentence(o.Doubt) + ". " + o.Known)})
	}
	if o.Code == store.OriginFork {
		all = append(all, accountReason("The fork's owner", o.Owner))
		if o.Pusher.ID != o.Owner.ID {
			all = append(all, accountReason("Who pushed", o.Pusher))
		}
	}
	switch trust.Source(b.build.Source) {
	case trust.SourceWebhook:
	default:
		all = append(all, Reason{"info", "Started " + why(b.build) + ifSet(", by ", author(b.build)), "Who starts a build need not have read its code."})
	}
	switch {
	case o.LookFail != "":
		all = append(all, Reason{"alert", "The repository could not be read", o.LookFail})
	case o.Looked && o.Branch == "" && b.build.Source != string(trust.SourceWebhook):
		all = append(all, Reason{"x", "No branch has this commit", "The newest 2,000 commits of each branch were looked through."})
	}
	return all
}

func accountReason(what string, a store.OriginAccount) Reason {
	name := orElse(a.Name, ifSet("account ", a.ID))
	switch {
	case name == "":
		return Reason{"alert", what + " is not known", ""}
	case trust.AccountKind(a.Kind) == trust.AccountOrganization:
		return Reason{"x", what + " is the organization " + name, "Forks of organizations wait for approval unless they are listed as trusted."}
	case trust.Membership(a.Membership) == trust.Member:
		return Reason{"check", what + " is " + name + ", a member", ""}
	case trust.Membership(a.Membership) == trust.NotMember:
		return Reason{"x", what + " is " + name + ", who is not trusted", standing(a.Association)}
	}
	return Reason{"alert", what + " is " + name, "Whether they are trusted is not known" + ifSet(": ", a.LookupFail) + "."}
}

// standing is the forge's word about a stranger, for people.
func standing(association string) string {
	return map[string]string{
		"NONE": "They have no part in this repository.", "FIRST_TIMER": "They have never contributed to anything.",
		"FIRST_TIME_CONTRIBUTOR": "They have not contributed to this repository before.", "CONTRIBUTOR": "They have contributed to this repository before.",
	}[association]
}

func (b *buildView) reviewFiles() *ReviewFiles {
	o := b.build.Detail.Origin
	if o == nil || o.Changes == nil {
		reason := "The server looks for them when it can read the repository."
		if o != nil && o.ChangesFail != "" {
			reason = o.ChangesFail
		}
		return &ReviewFiles{Unknown: reason}
	}
	f := &ReviewFiles{Count: o.Changes.Count, Since: o.Changes.Base}
	for _, path := range o.Changes.Files {
		file := ReviewFile{path, trust.Decisive(path, b.pipeline.Path)}
		if file.Decisive {
			f.Decisive++
		}
		f.Files = append(f.Files, file)
	}
	return f
}

func (b *buildView) grants() []Given {
	return []Given{
		{"Commit", shortCommit(b.build.Commit) + " only. A new commit is held again."},
		{"Agents", "Those that serve the steps' queues. Code runs there with the rights of the agent's user."},
		{"Secrets", "None, except those whose policy names approved builds"},
		{"Identity", "No identity token, no credentials of the repository"},
		{"Retries", "Jobs of this commit may be retried."},
	}
}

func confirmReview(do string) func(*request) error {
	return func(q *request) error {
		b, err := q.view()
		if err != nil {
			return err
		}
		if b.approval() == nil {
			return q.seeOther(b.path())
		}
		return q.confirm(b, b.reviewForm(do))
	}
}

func review(refused bool) func(*request) error {
	return func(q *request) error {
		b, err := q.view()
		if err != nil {
			return err
		}
		_, err = q.Engine.ReviewBuild(q.ctx, engine.ReviewBuild{
			BuildID: b.build.ID, Commit: q.r.PostFormValue("commit"), Refused: refused, By: q.person(), Note: q.r.PostFormValue("note"),
		})
		if err != nil {
			return err
		}
		return q.seeOther(b.path())
	}
}
