package engine

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
)

// joined returns the group that the first step of an upload joins, or nil: the uploading step's, if
// the first step is a group of that name (https://buildkite.com/docs/pipelines/configure/step-types/group-step).
// Groups without a name are not the same. The group of the build keeps its label and key; it takes the
// key of the one that joins if it has none, and tells whom that one tells as well. What the joining
// group depends on holds back the members that it brings.
func (p *progress) joined(plan pipeline.Plan, uploader *store.Step) (*store.Step, error) {
	if uploader.GroupID == "" || len(plan.Steps) == 0 || plan.Steps[0].Kind != pipeline.Group {
		return nil, nil
	}
	group, err := p.step(uploader.GroupID)
	if err != nil || group.Label == "" || group.Label != plan.Steps[0].Label {
		return nil, err
	}
	if key := plan.Steps[0].Key; group.Key == "" && key != "" {
		p.touch(group)
		group.Key = key
	}
	return group, p.tellToo(group, plan.Steps[0].Notify)
}

// tellToo adds notifications to those of a step. Who uploads the same group again does not want them twice.
func (p *progress) tellToo(s *store.Step, notify []json.RawMessage) error {
	before := len(s.Spec.Notify)
	for _, n := range notify {
		if !slices.ContainsFunc(s.Spec.Notify, func(have json.RawMessage) bool { return bytes.Equal(have, n) }) {
			s.Spec.Notify = append(s.Spec.Notify, n)
		}
	}
	if len(s.Spec.Notify) == before {
		return nil
	}
	return p.tx.UpdateStepSpec(p.ctx, *s)
}

// joins says whether a step of the plan is the group that joins one of the build.
func (at placement) joins(i int) bool { return at.group != nil && i == 0 }

// standsFor returns the steps to wait for in place of a step of the plan: itself or, where it joins a
// group, the members that it brings. Steps of that group cannot wait for the whole of it.
func (at placement) standsFor(plan pipeline.Plan, ids []string, i int) []string {
	if !at.joins(i) {
		return ids[i : i+1]
	}
	var members []string
	for m, ps := range plan.Steps {
		if ps.Group == i {
			members = append(members, ids[m])
		}
	}
	return members
}

// outermost returns the steps of the plan that whoever waits for the uploading step waits for too:
// those that are in no group of the plan's own, besides inputs.
func (at placement) outermost(plan pipeline.Plan, ids []string) []string {
	var out []string
	for i, ps := range plan.Steps {
		if at.joins(i) || ps.Kind == pipeline.Input || ps.Group >= 0 && !at.joins(ps.Group) {
			continue
		}
		out = append(out, ids[i])
	}
	return out
}
