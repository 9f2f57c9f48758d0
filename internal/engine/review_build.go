package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/forge"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

// maxNote is the longest note of a review, in bytes.
const maxNote = 2000

// ReviewBuild is a member's word about the commit of a held build.
type ReviewBuild struct {
	BuildID string
	Commit  string // full hash that the member looked at: another than the build's is refused
	Refused bool
	By      store.Person // must be signed in: ID is not empty
	Note    string       // kept with the build
}

// ReviewBuild lets a held build run, or ends it. Approved code runs with the profile approved, whoever
// approved it, and the word stands for every build of the pipeline with that very commit. Who may build the
// pipeline may review. Saying the same again changes nothing.
func (e *Engine) ReviewBuild(ctx context.Context, op ReviewBuild) (store.Build, error) {
	if len(op.Note) > maxNote {
		return store.Build{}, invalidField("note", fmt.Sprintf("is longer than %d bytes", maxNote))
	}
	err := e.onBuild(ctx, op.BuildID, func(p *progress) error {
		pl, err := p.tx.PipelineByID(ctx, p.build.PipelineID)
		if err != nil {
			return err
		}
		if op.By.ID == "" {
			return refuse(Forbidden, "Only a member who is signed in may approve or reject a build.")
		}
		if err := hasBuildAccess(ctx, p.tx, pl, op.By.ID); err != nil {
			return err
		}
		if said := p.build.Detail.Review; said != nil && said.Commit == op.Commit && said.Refused == op.Refused && p.build.Commit == op.Commit {
			return nil
		}
		if err := p.mayReview(op); err != nil {
			return err
		}
		return p.review(op, pl)
	})
	if err != nil {
		return store.Build{}, err
	}
	return e.Store.Build(ctx, op.BuildID)
}

// mayReview refuses a review that has come too late, or is about other code than the build's.
func (p *progress) mayReview(op ReviewBuild) error {
	b, d := p.build, p.build.Detail
	switch {
	case op.Commit != b.Commit:
		return refuse(Conflict, "The build is of commit %s, not of %q: look at that commit and review it.", b.Commit, op.Commit)
	case d.SupersededBy != nil:
		return refuse(Conflict, "The build was ended for the newer build #%d of its branch: review that one.", d.SupersededBy.Number)
	case b.State != ci.BuildCreating && b.Verdict.Decision != string(trust.Allow):
		return refuse(Conflict, "The build has ended (%s): rebuild the commit and review that build.", b.State)
	case b.Verdict.Decision == string(trust.Allow) && op.Refused:
		return refuse(Conflict, "The build is allowed already: cancel it to stop it.")
	case b.Verdict.Decision == string(trust.Allow):
		return refuse(Conflict, "The build is allowed already and waits for no approval.")
	case !isFullHash(b.Commit):
		return refuse(Conflict, "The build names %q, and the server does not know which commit that is: start a build of the commit's full hash and review it.", b.Commit)
	case op.Refused:
		return nil
	}
	return p.notMoved()
}

// notMoved refuses to approve a commit that its pull request has moved on from: what was looked at is no
// longer what would be merged.
func (p *progress) notMoved() error {
	o := deref(p.build.Detail.Origin)
	if o.PullRequest == "" {
		return nil
	}
	row, err := p.tx.PullRequest(p.ctx, p.build.PipelineID, o.PullRequest)
	if errors.Is(err, store.ErrNotFound) {
		return nil // closed, or never heard of
	}
	if err != nil {
		return err
	}
	var now forge.Pull
	if err := json.Unmarshal(row.Facts, &now); err != nil {
		return fmt.Errorf("pull request %s of pipeline %s: %w", row.Number, row.PipelineID, err)
	}
	if now.Commit == "" || now.Commit == p.build.Commit {
		return nil
	}
	return refuse(Conflict, "Pull request %s has moved on to commit %.12s, so commit %.12s is not approved: review the build of the new one.", row.Number, now.Commit, p.build.Commit)
}

func (p *progress) review(op ReviewBuild, pl store.Pipeline) error {
	r := store.Review{
		ID: p.e.NewID(), PipelineID: pl.ID, BuildID: p.build.ID, Commit: op.Commit, Refused: op.Refused, By: op.By,
		Note: strings.TrimSpace(op.Note), At: p.now,
	}
	if err := p.tx.InsertReview(p.ctx, r); err != nil {
		return err
	}
	p.build.Detail.Review = &r
	if err := p.judgeAgain(pl); err != nil {
		return err
	}
	if op.Refused {
		if err := p.cancelBuild(ci.Canceler(fmt.Sprintf("%s, who rejected its commit", firstNonEmpty(op.By.Name, op.By.Email, "a member")))); err != nil {
			return err
		}
		return p.notifyServices(pipeline.EventRejected)
	}
	if err := requireAllow(p.build); err != nil {
		return refuse(Conflict, "An approval does not let the build run: %s", p.build.Verdict.Reason)
	}
	return p.notifyServices(pipeline.EventApproved)
}
