package engine

import (
	"encoding/json"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/store"
)

// buildMoved follows up a change of the build's state.
func (p *progress) buildMoved(was ci.BuildState) error {
	if p.found.StartedAt.IsZero() && !p.build.StartedAt.IsZero() {
		if err := p.outdateOnStart(); err != nil {
			return err
		}
	}
	if err := p.notifyBuild(was); err != nil {
		return err
	}
	if p.build.State.Finished() != was.Finished() && p.build.Detail.TriggeredFrom != nil {
		p.hint(live.Child)
	}
	return nil
}

// effect puts something to be done outside into the outbox. Effects of one kind are delivered a few
// at a time.
func (p *progress) effect(kind, target string, payload any) error {
	return p.effectVia(kind, kind, target, payload)
}

// effectVia is effect for what shares a lane with others: those that fail, or hang, together.
func (p *progress) effectVia(lane, kind, target string, payload any) error {
	raw, err := json.Marshal(payload)
	if err != nil {
		return err
	}
	p.hint(live.Relay)
	return p.tx.PutEffect(p.ctx, store.Effect{
		ID: p.e.NewID(), Kind: kind, Target: target, Lane: lane, Payload: raw, CreatedAt: p.now, NextAt: p.now,
	})
}
