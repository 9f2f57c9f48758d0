package web

import (
	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/store"
)

// stepRows is the step list in the pipeline's order. current is the id of the
// job in view.
func (b *buildView) stepRows(current, version string) []StepRow {
	byStep := map[string][]store.Job{}
	inGroup := map[string][]State{}
	for _, j := range b.jobs {
		byStep[j.StepID] = append(byStep[j.StepID], j)
		if g := b.steps[b.stepAt[j.StepID]].GroupID; g != "" {
			inGroup[g] = append(inGroup[g], b.states[j.ID])
		}
	}
	var rows []StepRow
	for _, s := range b.steps {
		switch s.Kind {
		case ci.StepGroup:
			rows = append(rows, groupRow(s, inGroup[s.ID], version))
		case ci.StepWait:
			rows = append(rows, StepRow{Kind: RowWait, ID: s.ID, Version: version, Label: orElse(s.Label, "wait"), State: Waiting})
		default:
			rows = append(rows, b.jobRows(s, byStep[s.ID], current, version)...)
		}
	}
	return rows
}

func groupRow(s store.Step, states []State, version string) StepRow {
	r := StepRow{Kind: RowGroup, ID: s.ID, Version: version, Label: orElse(s.Label, s.Key), Total: len(states), State: Waiting}
	for _, st := range states {
		if endedWell(st) {
			r.Done++
		}
	}
	return r
}

func endedWell(s State) bool { return s == Passed || s == Soft || s == Unblocked }

// jobRows is one row a job, or a row that opens where a step has many.
func (b *buildView) jobRows(s store.Step, jobs []store.Job, current, version string) []StepRow {
	rows := make([]StepRow, 0, len(jobs))
	for _, j := range jobs {
		rows = append(rows, b.jobRow(j, current, version))
	}
	if len(rows) <= maxParallel {
		return rows
	}
	fold := StepRow{Kind: RowFold, ID: s.ID, Version: version, Label: orElse(s.Label, s.Key), Total: len(rows), State: Passed, Rows: rows}
	for k := range rows {
		rows[k].Sub = true
		st := rows[k].State
		fold.Jobs = append(fold.Jobs, st)
		fold.Open = fold.Open || rows[k].Current
		if endedWell(st) {
			fold.Done++
		}
		if st.Worse(fold.State) {
			fold.State = st
		}
	}
	return []StepRow{fold}
}

func (b *buildView) jobRow(j store.Job, current, version string) StepRow {
	r := StepRow{
		Kind: RowJob, ID: j.ID, Version: version, State: b.states[j.ID], Label: b.labels[j.ID], Href: b.jobPath(j.ID),
		Why: b.whys[j.ID], Current: j.ID == current,
	}
	if !j.StartedAt.IsZero() && j.Kind != ci.JobManual {
		r.Took = Span{Start: j.StartedAt, End: j.FinishedAt, Now: b.now}
	}
	return r
}
