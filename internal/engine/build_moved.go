package engine

import (
	"encoding/json"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/store"
)

// EffectBuildChanged tells the outside (commit statuses, webhooks, mail) what a build is now. Its
// target is the build; its payload is a BuildChanged.
const EffectBuildChanged = "build_changed"

// BuildChanged is the payload of EffectBuildChanged.
type BuildChanged struct {
	BuildID string        `json:"build_id"`
	State   ci.BuildState `json:"state"`
}

// buildMoved follows up a change of the build's state.
func (p *progress) buildMoved(was ci.BuildState) error {
	if len(p.build.Detail.Notify) > 0 {
		if err := p.effect(EffectBuildChanged, p.build.ID, BuildChanged{p.build.ID, p.build.State}); err != nil {
			return err
		}
	}
	if p.build.State.Finished() != was.Finished() && p.build.Detail.TriggeredFrom != nil {
		p.hint(live.Child)
	}
	return nil
}

// effect puts something to be done outside into the outbox.
func (p *progress) effect(kind, target string, payload any) error {
	raw, err := json.Marshal(payload)
	if err != nil {
		return err
	}
	p.hint(live.Relay)
	return p.tx.PutEffect(p.ctx, store.Effect{
		ID: p.e.NewID(), Kind: kind, Target: target, Payload: raw, CreatedAt: p.now, NextAt: p.now,
	})
}
