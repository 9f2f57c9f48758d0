package web

import (
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/store"
)

// stepRows is the step list in the pipeline's order. current is the id of the
// job in view.
func (b *buildView) stepRows(current, version string) []StepRow {
	inGroup := map[string][]State{}
	for _, j := range b.jobs {
		if g := b.steps[b.stepAt[j.StepID]].GroupID; g != "" {
			inGroup[g] = append(inGroup[g], b.states[j.ID])
		}
	}
	rows := make([]StepRow, 0, len(b.steps))
	jobs := b.jobs // those of the steps still to come
	for _, s := range b.steps {
		n := 0
		for n < len(jobs) && jobs[n].StepID == s.ID {
			n++
		}
		switch s.Kind {
		case ci.StepGroup:
			rows = append(rows, groupRow(s, inGroup[s.ID], version))
		case ci.StepWait:
			rows = append(rows, StepRow{Kind: RowWait, ID: s.ID, Version: version, Label: orElse(s.Label, "wait"), State: Waiting})
		default:
			rows = append(rows, b.jobRows(s, jobs[:n], current, version)...)
		}
		jobs = jobs[n:]
	}
	return rows
}

func groupRow(s store.StepLine, states []State, version string) StepRow {
	r := StepRow{Kind: RowGroup, ID: s.ID, Version: version, Label: orElse(s.Label, s.Key), Total: len(states), State: Waiting}
	for _, st := range states {
		if endedWell(st) {
			r.Done++
		}
	}
	return r
}

func endedWell(s State) bool { return s == Passed || s == Soft || s == Unblocked }

// jobRows is one row a job, or one row for all where a step has many; the rows
// of those are made only if the job in view is among them.
func (b *buildView) jobRows(s store.StepLine, jobs []store.JobLine, current, version string) []StepRow {
	fold := len(jobs) > maxParallel
	if fold && !slices.ContainsFunc(jobs, func(j store.JobLine) bool { return j.ID == current }) {
		return []StepRow{b.foldRow(s, jobs, version)}
	}
	rows := make([]StepRow, 0, len(jobs))
	for _, j := range jobs {
		r := b.jobRow(j, current, version)
		r.Sub = fold
		rows = append(rows, r)
	}
	if !fold {
		return rows
	}
	head := b.foldRow(s, jobs, version)
	head.Open, head.Rows = true, rows
	return []StepRow{head}
}

// foldRow stands for all jobs of a step and leads to the worst of them.
func (b *buildView) foldRow(s store.StepLine, jobs []store.JobLine, version string) StepRow {
	r := StepRow{Kind: RowFold, ID: s.ID, Version: version, Label: withoutIndex(orElse(s.Label, s.Key)), Total: len(jobs), State: b.states[jobs[0].ID], Href: b.jobPath(jobs[0].ID)}
	for _, j := range jobs {
		st := b.states[j.ID]
		r.Jobs = append(r.Jobs, st)
		if endedWell(st) {
			r.Done++
		}
		if st.Worse(r.State) {
			r.State, r.Href = st, b.jobPath(j.ID)
		}
	}
	return r
}

func (b *buildView) jobRow(j store.JobLine, current, version string) StepRow {
	r := StepRow{
		Kind: RowJob, ID: j.ID, Version: version, State: b.states[j.ID], Label: b.labelOf(j), Href: b.jobPath(j.ID),
		Why: b.explained(j).Why(), Current: j.ID == current,
	}
	if !j.StartedAt.IsZero() && j.Kind != ci.JobManual {
		r.Took = Span{Start: j.StartedAt, End: j.FinishedAt, Now: b.now}
	}
	return r
}

// matrixToken stands for a value that each job of a matrix has of its own.
var matrixToken = regexp.MustCompile(`\{\{[^}]*\}\}`)

// withoutIndex takes out of a step's label what its jobs fill in: their place among parallel ones and
// the values of a matrix.
func withoutIndex(label string) string {
	short := strings.NewReplacer("%n", "", "%N", "", "%t", "", "%T", "").Replace(matrixToken.ReplaceAllString(label, ""))
	return orElse(strings.TrimRight(strings.Join(strings.Fields(short), " "), " /-#,"), label)
}
