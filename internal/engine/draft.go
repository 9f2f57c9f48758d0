package engine

import (
	"context"
	"errors"
	"reflect"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
)

// draft keeps the plan of a large document from one attempt of a transaction for the next: to plan one takes
// milliseconds for which nobody else could write. The first attempt ends where it would plan, and nothing is left
// of it; the plan is made outside; the second attempt uses it if all that it depends on is as it was, and plans
// itself otherwise. To look at all agents of a large fleet is done so too. The nil draft does all at once.
type draft struct {
	in     *planInput // what the first attempt would have planned
	made   bool       // the plan is; until then an attempt is a first one, of which there may be several
	plan   pipeline.Plan
	err    error // of the plan
	number bool  // the plan depends on the build's number

	cluster string            // whose agents an attempt asked for
	wants   []want            // what it asked of them
	unmet   map[string]string // of those the ones that no agent meets, and why; nil until it is known
}

// errDraft ends an attempt for something that takes long and is done outside of the transaction.
var errDraft = errors.New("the document is to be planned, or the agents to be looked at, outside of the transaction")

// draftFrom is the length in bytes from which on a document takes longer to plan than a second attempt.
const draftFrom = 4 << 10

// drafting calls fn, which runs a transaction, until it is done with the draft or without one.
func (e *Engine) drafting(ctx context.Context, fn func(d *draft) error) error {
	d := &draft{}
	for {
		err := fn(d)
		switch {
		case errors.Is(err, errDraft) && d.in != nil && !d.made:
			e.makePlan(ctx, d)
		case errors.Is(err, errDraft):
			r, err := e.Roster(ctx, d.cluster)
			if err != nil {
				return err
			}
			d.unmet = r.unmet(d.wants)
		case errors.Is(err, store.ErrConflict) && d.made:
			return fn(nil) // another upload has given a step a key that was free
		default:
			return err
		}
	}
}

// makePlan makes the plan that an attempt asked for.
func (e *Engine) makePlan(ctx context.Context, d *draft) {
	in := *d.in
	in.numbered = func() { d.number = true }
	if in.used != nil {
		in.used = func(key string) (bool, error) { return hasKey(ctx, e.Store.Reader, in.build.ID, key) }
	}
	d.plan, d.err = e.plan(in)
	d.made = true
}

// standings are those that were found outside, or errDraft. What an attempt wants that the one before did not is not known, and taken for
// met: to warn of a step is a courtesy.
func (d *draft) standings(clusterID string, wants []want) (map[string]string, error) {
	if d.unmet == nil {
		d.cluster, d.wants = clusterID, wants
		return nil, errDraft
	}
	return d.unmet, nil
}

// planned is the plan of a document, or errDraft.
func (e *Engine) planned(d *draft, in planInput) (pipeline.Plan, error) {
	if d == nil || len(in.source) < draftFrom {
		return e.plan(in)
	}
	if !d.made {
		d.in = &in
		return pipeline.Plan{}, errDraft
	}
	if d.fits(in) {
		return d.plan, d.err
	}
	return e.plan(in)
}

// fits says whether the draft is what planning would make now. The keys of a build's steps may have changed: one
// that was free cannot be inserted a second time, and one that is depended on is looked for again. What was refused
// for keys is planned again.
func (d *draft) fits(in planInput) bool {
	if d.err != nil && in.used != nil {
		return false
	}
	return reflect.DeepEqual(d.in.essence(d.number), in.essence(d.number))
}

// essence leaves out what no plan depends on, and the build's number for those that do not ask for it: builds of one
// pipeline that are made at the same time take each other's.
func (in planInput) essence(number bool) planInput {
	in.used, in.numbered = nil, nil
	b := &in.build
	b.Build, b.Version, b.BlockedState, b.NextPosition = ci.Build{}, 0, "", 0
	if !number {
		b.Number = 0
	}
	return in
}

// buildID is the id of a build that is to be made: the one that its draft was planned with, or a new one.
func (e *Engine) buildID(d *draft) string {
	if d == nil || d.in == nil {
		return e.NewID()
	}
	return d.in.build.ID
}
