package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/condition"
	"github.com/slipway-ci/slipway/internal/forge"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

// PayloadKey is the meta-data key under which a build keeps what a webhook sent.
const PayloadKey = "buildkite:webhook"

const (
	// MaxPayload is the largest body that a build keeps, in bytes.
	MaxPayload = 5 << 20
	// keepDeliveries is how many deliveries of a pipeline are remembered. A forge delivers again what is a
	// few days old at most.
	keepDeliveries = 500
	// maxCancel is how many builds of a deleted branch are canceled at once.
	maxCancel = 200
)

// Outcomes of a delivery.
const (
	Built    = "built"
	Canceled = "canceled"
	Ignored  = "ignored" // the pipeline's settings ask for nothing
	Declined = "refused" // a build was asked for and could not be made
)

// Deliver hands an event of a forge to a pipeline. Key is the forge's id of the delivery: what was delivered
// before is answered as it was then and makes no second build.
type Deliver struct {
	PipelineID string
	Key        string
	Event      forge.Event
	Payload    []byte // as it came; kept with the build

	draft *draft
}

// Deliver makes the build that an event asks for, or cancels builds, and records what became of it.
func (e *Engine) Deliver(ctx context.Context, op Deliver) (store.Delivery, error) {
	d, err := e.Store.Delivery(ctx, op.PipelineID, op.Key)
	if !errors.Is(err, store.ErrNotFound) {
		return d, err
	}
	canceled, err := e.cancelFor(ctx, op)
	if err != nil {
		return d, err
	}
	err = e.drafting(ctx, func(of *draft) error {
		op.draft = of
		d, err = e.receive(ctx, op, canceled)
		return err
	})
	return d, err
}

// receive records an event and does what it asks for, unless that was done already.
func (e *Engine) receive(ctx context.Context, op Deliver, canceled []int64) (d store.Delivery, err error) {
	err = e.update(ctx, func(tx *store.Tx, hint func(...string)) error {
		pl, err := tx.LockPipeline(ctx, op.PipelineID)
		if err != nil {
			return missing(err, "No pipeline found")
		}
		d, err = tx.Delivery(ctx, op.PipelineID, op.Key)
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		d = e.delivery(pl.ID, op.Key, "webhook", op.Event)
		if canceled != nil {
			d.Outcome, d.Builds = Canceled, canceled
		}
		if err := e.deliver(ctx, tx, hint, pl, op, &d); err != nil {
			return err
		}
		return tx.InsertDelivery(ctx, d, keepDeliveries)
	})
	return d, err
}

func (e *Engine) delivery(pipelineID, key, source string, ev forge.Event) store.Delivery {
	d := store.Delivery{
		ID: e.NewID(), PipelineID: pipelineID, Key: key, Source: source, Event: ev.Name, Outcome: Ignored, CreatedAt: e.Now(),
		Subject: firstNonEmpty(ev.Tag, ev.Branch),
	}
	if ev.Action != "" {
		d.Event += "." + ev.Action
	}
	if ev.Pull != nil {
		d.Subject = "pull request " + ev.Pull.Number
	}
	return d
}

// deliver decides about an event and does what it asks for. A refusal is an outcome, not an error.
func (e *Engine) deliver(ctx context.Context, tx *store.Tx, hint func(...string), pl store.Pipeline, op Deliver, d *store.Delivery) error {
	decision, settings, err := e.weigh(ctx, tx.Reader, pl, op.Event)
	if err != nil {
		return err
	}
	d.Reason = decision.Reason
	if err := errors.Join(rememberPull(ctx, tx, pl.ID, op.Event), e.rememberCommit(ctx, tx, pl, op.Event)); err != nil {
		return err
	}
	if decision.Build == nil {
		return nil
	}
	create := deliveredBuild(pl, op, *decision.Build)
	create.draft = op.draft
	reason, err := e.unwanted(ctx, tx, pl, settings, *decision.Build, create)
	if err != nil || reason != "" {
		d.Reason = firstNonEmpty(reason, d.Reason)
		return err
	}
	b, err := e.createBuild(ctx, tx, hint, create)
	if refused, ok := errors.AsType[*Refused](err); ok {
		d.Outcome, d.Reason = Declined, refusalText(refused)
		return nil
	}
	if err != nil {
		return err
	}
	d.Outcome, d.Builds = Built, []int64{b.Number}
	if b.Verdict.Decision != string(trust.Allow) {
		d.Reason += " The build waits: " + b.Verdict.Reason
	}
	return nil
}

// refusalText is a refusal as one sentence, with the fields that it is about.
func refusalText(r *Refused) string {
	text := r.Message
	for field, why := range r.Fields {
		text += fmt.Sprintf(" %s %s.", field, why)
	}
	return text
}

// weigh decides what an event asks of a pipeline.
func (e *Engine) weigh(ctx context.Context, r store.Reader, pl store.Pipeline, ev forge.Event) (forge.Decision, forge.Settings, error) {
	settings, err := forge.ParseSettings(pl.Settings, pl.DefaultBranch)
	if err != nil {
		return forge.Decision{Reason: "The pipeline's settings cannot be read: " + err.Error()}, settings, nil
	}
	if w, err := r.Webhook(ctx, pl.ID); err == nil && !w.DisabledAt.IsZero() {
		return forge.Decision{Reason: fmt.Sprintf("Deliveries are disabled since %s, by %s.", w.DisabledAt.Format(time.RFC3339), firstNonEmpty(w.DisabledBy, "somebody"))}, settings, nil
	}
	if reason := elsewhere(pl, ev); reason != "" {
		return forge.Decision{Reason: reason}, settings, nil
	}
	known, err := knownPull(ctx, r, pl.ID, ev)
	return forge.Decide(ev, settings, forge.Known{Pull: known}), settings, err
}

// elsewhere says why an event is not about the pipeline's repository, "" if it is.
func elsewhere(pl store.Pipeline, ev forge.Event) string {
	if ev.Kind == forge.Ping || ev.Kind == forge.Other {
		return ""
	}
	if slices.ContainsFunc(ev.Repositories, func(address string) bool { return forge.SameRepository(address, pl.Repository) }) {
		return ""
	}
	about := "a repository that it does not name"
	if len(ev.Repositories) > 0 {
		about = ev.Repositories[0]
	}
	return fmt.Sprintf("The event is about %s; the pipeline builds %s.", about, pl.Repository)
}

// knownPull is what was heard of the pull request that an event is about.
func knownPull(ctx context.Context, r store.Reader, pipelineID string, ev forge.Event) (*forge.Pull, error) {
	var row store.PullRequestFacts
	var err error
	switch {
	case ev.Kind == forge.Push:
		row, err = r.PullRequestOf(ctx, pipelineID, ev.Branch)
	case ev.Kind == forge.Comment && ev.Pull != nil:
		row, err = r.PullRequest(ctx, pipelineID, ev.Pull.Number)
	default:
		return nil, nil
	}
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var p forge.Pull
	if err := json.Unmarshal(row.Facts, &p); err != nil {
		return nil, fmt.Errorf("pull request %s of pipeline %s: %w", row.Number, pipelineID, err)
	}
	return &p, nil
}

// rememberPull keeps what an event says of a pull request, for the pushes and comments to come.
func rememberPull(ctx context.Context, tx *store.Tx, pipelineID string, ev forge.Event) error {
	if ev.Kind != forge.PullMoved {
		return nil
	}
	p := *ev.Pull
	if p.Closed {
		return tx.DropPullRequest(ctx, pipelineID, p.Number)
	}
	p.Label = ""
	facts, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return tx.PutPullRequest(ctx, store.PullRequestFacts{
		PipelineID: pipelineID, Number: p.Number, Branch: p.Branch, Own: p.Origin == forge.Own, Facts: facts, UpdatedAt: p.UpdatedAt,
	})
}

// deliveredBuild is the build that an event asks for. Its branch was held against the filters that apply.
func deliveredBuild(pl store.Pipeline, op Deliver, b forge.Build) CreateBuild {
	create := CreateBuild{
		PipelineID: pl.ID, Source: trust.SourceWebhook, Commit: b.Commit, Branch: b.Branch, Tag: b.Tag, Message: b.Message,
		Author: store.Person{Name: b.Author.Name, Email: b.Author.Email}, IgnoreBranchFilter: true,
		Origin: &Origin{Code: b.Code, ForkOwner: b.ForkOwner, Pusher: b.Pusher},
		Event:  &store.SourceEvent{Name: op.Event.Name, Action: op.Event.Action, Values: op.Event.Values},
	}
	if len(op.Payload) > 0 && len(op.Payload) <= MaxPayload {
		create.MetaData = map[string]string{PayloadKey: string(op.Payload)}
	}
	if q := b.Queue; q != nil {
		create.MergeQueue = &store.MergeQueue{BaseBranch: q.BaseBranch, BaseCommit: q.BaseCommit, DiffBase: b.DiffBase}
	}
	if p := b.Pull; p != nil {
		create.PullRequest = &store.PullRequest{
			Number: p.Number, BaseBranch: p.BaseBranch, Repository: p.Repository, Labels: p.Labels, Draft: p.Draft, Label: p.Label,
			Fork: p.Origin == forge.Fork, MergeRef: b.MergeRef,
		}
	}
	return create
}

// unwanted says why a build that an event asks for is not made after all: the pipeline's filter condition
// does not hold, or the commit has a build. "" if it is made.
func (e *Engine) unwanted(ctx context.Context, tx *store.Tx, pl store.Pipeline, s forge.Settings, b forge.Build, op CreateBuild) (string, error) {
	if s.FilterEnabled && s.FilterCondition != "" {
		org, err := tx.OrganizationByID(ctx, pl.OrganizationID)
		if err != nil {
			return "", err
		}
		if reason := filterReason(s.FilterCondition, conditionEnv(org, pl, e.buildOf(pl, op))); reason != "" {
			return reason, nil
		}
	}
	if b.Skip == forge.SkipNever {
		return "", nil
	}
	branch, setting := op.Branch, "skip_pull_request_builds_for_existing_commits"
	if b.Skip == forge.SkipAnyBranch {
		branch, setting = "", "skip_builds_for_existing_commits"
	}
	number, err := tx.BuiltCommit(ctx, pl.ID, op.Commit, branch)
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	return fmt.Sprintf("Build %d is of the same commit (%s).", number, setting), err
}

// filterReason says why a pipeline's filter condition keeps a build out, "" if it lets it through. One that
// cannot be decided keeps it out.
func filterReason(src string, env condition.Env) string {
	x, err := condition.Parse(src)
	if err == nil {
		err = x.Check(condition.StepIf)
	}
	if err != nil {
		return "The filter condition of the pipeline cannot be read: " + err.Error()
	}
	holds, err := x.Eval(env)
	switch {
	case err != nil:
		return "The filter condition of the pipeline cannot be decided: " + err.Error()
	case !holds:
		return fmt.Sprintf("The filter condition of the pipeline does not hold: %s", src)
	}
	return ""
}

// cancelFor cancels the builds that an event says are of no use, and returns their numbers; nil for an
// event that asks for nothing like it. It may be repeated.
func (e *Engine) cancelFor(ctx context.Context, op Deliver) ([]int64, error) {
	if op.Event.Kind != forge.Deleted && op.Event.Kind != forge.Unqueued {
		return nil, nil
	}
	pl, err := e.Store.PipelineByID(ctx, op.PipelineID)
	if err != nil {
		return nil, missing(err, "No pipeline found")
	}
	decision, _, err := e.weigh(ctx, e.Store.Reader, pl, op.Event)
	if err != nil || decision.Cancel == "" {
		return nil, err
	}
	builds, err := e.Store.OpenBuildsOfBranch(ctx, pl.ID, decision.Cancel, maxCancel)
	numbers := []int64{}
	for _, b := range builds {
		_, cancelErr := e.CancelBuild(ctx, b.ID, ci.Canceler(decision.Reason))
		if _, ended := errors.AsType[*Refused](cancelErr); ended {
			continue
		}
		err = errors.Join(err, cancelErr)
		numbers = append(numbers, b.Number)
	}
	return numbers, err
}
