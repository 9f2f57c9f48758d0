package web

import (
	"fmt"
	"slices"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/store"
)

// maxLine is how many jobs of a queue, or of a concurrency group's line, are
// counted; a job behind them is only known to be further back.
const maxLine = 200

// loadWaiting reads what jobs wait for outside their build: agents, and slots
// of concurrency groups.
func (q *request) loadWaiting(b *buildView) error {
	queues, groups := map[string]bool{}, map[string]bool{}
	for _, j := range b.jobs {
		switch {
		case j.State == ci.JobScheduled && j.Kind == ci.JobScript:
			queues[j.QueueID] = true
			b.ahead[j.ID] = maxLine
		case j.State == ci.JobLimiting || j.State == ci.JobLimited:
			groups[j.ConcurrencyGroup] = true
			b.ahead[j.ID] = maxLine
		}
	}
	for group := range groups {
		if err := q.loadGroup(b, group); err != nil {
			return err
		}
	}
	if len(queues) == 0 && (len(b.build.Detail.Unserved) == 0 || b.build.State.Finished()) {
		return nil
	}
	var err error
	if b.roster, err = q.Engine.Roster(q.ctx, b.pipeline.ClusterID); err != nil {
		return err
	}
	for id := range queues {
		if err := b.lineUp(q.Store.QueueHead(q.ctx, id, maxLine)); err != nil {
			return err
		}
	}
	return nil
}

// lineUp notes how many stand before each.
func (b *buildView) lineUp(ids []string, err error) error {
	for k, id := range ids {
		b.ahead[id] = k
	}
	return err
}

// loadGroup reads who holds a concurrency group's slots and who is next.
func (q *request) loadGroup(b *buildView, group string) error {
	id := store.GroupID(b.build.OrganizationID, group)
	users, err := q.Store.GroupUsers(q.ctx, id, maxLine)
	if err != nil {
		return err
	}
	for _, u := range users {
		b.groups[group] = append(b.groups[group], b.refName(u))
	}
	line, err := q.Store.Line(q.ctx, id, maxLine)
	first := ""
	for k, j := range line {
		if _, ours := b.ahead[j.ID]; ours && first == "" {
			first = j.ID
		}
		b.ahead[j.ID] = k
	}
	if err != nil || len(users) > 0 || first == "" {
		return err
	}
	return q.loadKeepers(b, group, first)
}

// loadKeepers reads which builds have a place before a job's in a group of which nobody holds a slot:
// steps of theirs that still wait keep it.
func (q *request) loadKeepers(b *buildView, group, jobID string) error {
	j, err := q.Store.Job(q.ctx, jobID)
	if err != nil {
		return err
	}
	before, err := q.Store.LineBefore(q.ctx, j, maxLine)
	for _, u := range before {
		b.keepers[group] = append(b.keepers[group], b.refName(u))
	}
	return err
}

// refName is what a build is called on this build's page.
func (b *buildView) refName(r store.BuildRef) string {
	name := fmt.Sprintf("#%d", r.Number)
	if r.Pipeline != b.pipeline.Slug {
		name = r.Pipeline + " " + name
	}
	return name
}

// stepName is what a step is called in a sentence.
func (b *buildView) stepName(id string) string {
	s := b.steps[b.stepAt[id]]
	if s.Label != "" {
		return labelText(withoutIndex(s.Label))
	}
	if j, ok := b.firstJob(id); ok && s.Key == "" {
		return labelText(b.labelOf(j))
	}
	return orElse(s.Key, string(s.Kind))
}

// firstJob is the first of a step's latest jobs, or of a group's.
func (b *buildView) firstJob(step string) (store.JobLine, bool) {
	k := slices.IndexFunc(b.jobs, func(j store.JobLine) bool {
		return j.StepID == step || b.steps[b.stepAt[j.StepID]].GroupID == step
	})
	if k < 0 {
		return store.JobLine{}, false
	}
	return b.jobs[k], true
}

// waitsFor lists the unfinished steps that a step depends on, by id; a wait
// stands for what it waits for itself.
func (b *buildView) waitsFor(stepID string) []string {
	if ids, ok := b.waits[stepID]; ok {
		return ids
	}
	var ids []string
	seen := map[string]bool{}
	var walk func(id string)
	walk = func(id string) {
		for _, from := range b.edgesTo[id] {
			k, ok := b.stepAt[from]
			if !ok || seen[from] {
				continue
			}
			seen[from] = true
			switch {
			case b.steps[k].Kind == ci.StepWait:
				walk(from)
			case b.ends[k].open > 0:
				ids = append(ids, from)
			}
		}
	}
	walk(stepID)
	slices.SortFunc(ids, func(x, y string) int { return b.stepAt[x] - b.stepAt[y] })
	b.waits[stepID] = ids
	return ids
}

// failedDep names the step that kept a step from running, through waits and
// steps that did not run for the same reason, and says whether it was canceled.
func (b *buildView) failedDep(stepID string) (name string, canceled bool) {
	k := b.failedStep(stepID, map[string]bool{})
	if k < 0 {
		return "", false
	}
	return b.stepName(b.steps[k].ID), !b.ends[k].failed
}

func (b *buildView) failedStep(id string, seen map[string]bool) int {
	for _, from := range b.edgesTo[id] {
		k, ok := b.stepAt[from]
		if !ok || seen[from] {
			continue
		}
		seen[from] = true
		if b.steps[k].Kind != ci.StepGroup && (b.ends[k].failed || b.ends[k].canceled) {
			return k
		}
		if deep := b.failedStep(from, seen); deep >= 0 {
			return deep
		}
	}
	return -1
}
