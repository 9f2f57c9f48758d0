package web

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/store"
)

// Bounds of a waterfall. Over foldRows rows, groups are one row each; more than maxRows are counted.
const (
	foldRows = 120
	maxRows  = 300
)

// WaterPane is when each job of a build waited and ran.
type WaterPane struct {
	Version string
	Figures []WaterFigure
	Rows    []WaterRow
	Left    int // rows that are left out
	Jobs    int
	Total   time.Duration // of the axis
	Now     float64       // place of now, in percent; 0: the build has ended
	Path    []string      // labels of the critical path
}

// WaterFigure is a number above the waterfall, with the mark of what it sums up.
type WaterFigure struct{ Key, Value, Small, Mark string }

// WaterRow is one job, or many.
type WaterRow struct {
	Label    string
	State    State
	Href     string
	Text     string
	Sub      bool // one of a step's parallel jobs
	Critical bool
	Bars     []WaterBar
}

// Name is what a row is called by its label alone.
func (r WaterRow) Name() string {
	parts := []string{labelText(r.Label), r.State.Word()}
	for _, b := range r.Bars {
		parts = append(parts, b.Title)
	}
	if len(r.Bars) == 0 {
		parts = append(parts, r.Text)
	}
	return strings.Join(parts, ", ")
}

// WaterBar is a part of a job's life, from and to in percent of the axis.
type WaterBar struct {
	State    State
	Queued   bool
	From, To float64
	Title    string
}

// water makes the waterfall of a build.
func (f *flow) water() *WaterPane {
	w := &WaterPane{Jobs: len(f.jobs)}
	begin, end := f.build.CreatedAt, f.build.FinishedAt
	if end.IsZero() {
		end = f.now
	}
	axis := niceAxis(end.Sub(begin))
	w.Total = axis
	place := func(t time.Time) float64 { return min(100, max(0, 100*float64(t.Sub(begin))/float64(axis))) }
	if f.build.FinishedAt.IsZero() {
		w.Now = place(f.now)
	}
	path := f.criticalJobs()
	crit := map[string]bool{}
	for _, j := range path {
		crit[j.ID] = true
		w.Path = append(w.Path, labelText(f.labelOf(j)))
	}
	w.Figures = waterFigures(path, end.Sub(begin), f.now)
	if w.Now > 0 {
		w.Figures[0].Key = "Elapsed"
	}
	w.Rows = f.waterRows(place, crit, func(store.StepLine) bool { return false })
	if len(w.Rows) > foldRows {
		w.Rows = f.waterRows(place, crit, func(s store.StepLine) bool { return s.GroupID != "" })
	}
	if n := len(w.Rows) - maxRows; n > 0 {
		w.Left, w.Rows = n, w.Rows[:maxRows]
	}
	return w
}

// criticalJobs are the jobs of the critical path.
func (f *flow) criticalJobs() []store.JobLine {
	var out []store.JobLine
	for _, k := range f.critical() {
		if j, ok := f.lastJob(k); ok && f.steps[k].Kind != ci.StepWait {
			out = append(out, j)
		}
	}
	return out
}

// waterFigures say where the time went; they add up to what has passed.
func waterFigures(path []store.JobLine, passed time.Duration, now time.Time) []WaterFigure {
	var queued, ran time.Duration
	for _, j := range path {
		if j.Kind == ci.JobManual {
			continue
		}
		if !j.RunnableAt.IsZero() {
			queued += max(0, orNow(j.StartedAt, now).Sub(j.RunnableAt))
		}
		if !j.StartedAt.IsZero() {
			ran += max(0, ended(j, now).Sub(j.StartedAt))
		}
	}
	share := func(d time.Duration) string {
		if passed <= 0 {
			return ""
		}
		return fmt.Sprintf("%.1f%%", 100*float64(d)/float64(passed))
	}
	rest := max(0, passed-queued-ran)
	return []WaterFigure{
		{Key: "Took", Value: duration(passed), Small: plural(len(path), "job") + " on the critical path"},
		{Key: "Queued on it", Value: duration(queued), Small: share(queued), Mark: "q"},
		{Key: "Running on it", Value: duration(ran), Small: share(ran), Mark: "keyr"},
		{Key: "Neither", Value: duration(rest), Small: share(rest)},
	}
}

// niceSteps are the distances of marks on an axis.
var niceSteps = []time.Duration{
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
}

// niceStep is the least distance with which at most nine marks cover a time.
func niceStep(d time.Duration) time.Duration {
	for _, s := range niceSteps {
		if d <= 9*s {
			return s
		}
	}
	day := 24 * time.Hour
	return day * ((d + 9*day - 1) / (9 * day))
}

// niceAxis is a time rounded up to a mark.
func niceAxis(d time.Duration) time.Duration {
	s := niceStep(d)
	return max(s, (d+s-1)/s*s)
}

// waterRows are the rows in step order; fold says which steps are one row with their group.
func (f *flow) waterRows(place func(time.Time) float64, crit map[string]bool, fold func(store.StepLine) bool) []WaterRow {
	tries := map[string][]store.JobLine{}
	for _, j := range f.tries {
		tries[tryKey(j)] = append(tries[tryKey(j)], j)
	}
	inGroup := map[string][]store.JobLine{}
	for k, s := range f.steps {
		if fold(s) {
			inGroup[s.GroupID] = append(inGroup[s.GroupID], f.jobsOf[k]...)
		}
	}
	var rows []WaterRow
	for k, s := range f.steps {
		jobs := f.jobsOf[k]
		switch {
		case s.Kind == ci.StepGroup && len(inGroup[s.ID]) > 0:
			rows = append(rows, f.foldedRow(s, inGroup[s.ID], place, crit))
		case s.Kind == ci.StepGroup || s.Kind == ci.StepWait || fold(s):
		case len(jobs) > maxParallel:
			rows = append(rows, f.foldedRow(s, jobs, place, crit))
		default:
			for _, j := range jobs {
				rows = append(rows, f.waterRow(j, tries[tryKey(j)], len(jobs) > 1, place, crit))
			}
		}
	}
	return rows
}

func tryKey(j store.JobLine) string { return fmt.Sprint(j.StepID, " ", j.Number) }

func (f *flow) waterRow(j store.JobLine, tries []store.JobLine, sub bool, place func(time.Time) float64, crit map[string]bool) WaterRow {
	r := WaterRow{Label: f.labelOf(j), State: f.states[j.ID], Href: f.jobPath(j.ID), Sub: sub, Critical: crit[j.ID]}
	for n, a := range tries {
		r.Bars = append(r.Bars, f.waterBars(a, n, len(tries), place)...)
	}
	r.Text = f.waterText(j)
	return r
}

// waterBars are how long one attempt was queued, and how long it ran.
func (f *flow) waterBars(j store.JobLine, n, of int, place func(time.Time) float64) []WaterBar {
	if j.Kind == ci.JobManual {
		return nil
	}
	st, try := f.facts(j).Look(), ""
	if of > 1 {
		try = fmt.Sprintf("attempt %d ", n+1)
	}
	var out []WaterBar
	if !j.RunnableAt.IsZero() {
		until := orNow(j.StartedAt, orNow(j.FinishedAt, f.now))
		out = append(out, WaterBar{State: st, Queued: true, From: place(j.RunnableAt), To: place(until), Title: try + "queued " + duration(until.Sub(j.RunnableAt))})
	}
	if !j.StartedAt.IsZero() {
		until := ended(j, f.now)
		title := try + "ran " + duration(until.Sub(j.StartedAt))
		if of > 1 {
			title += ", " + strings.ToLower(st.Word())
		}
		out = append(out, WaterBar{State: st, From: place(j.StartedAt), To: place(until), Title: title})
	}
	return out
}

func orNow(t, now time.Time) time.Time {
	if t.IsZero() {
		return now
	}
	return t
}

func (f *flow) waterText(j store.JobLine) string {
	switch {
	case j.Kind == ci.JobManual && !f.states[j.ID].Over():
		return "a person decides"
	case !j.StartedAt.IsZero() && j.Kind != ci.JobManual:
		return duration(ended(j, f.now).Sub(j.StartedAt))
	case !j.RunnableAt.IsZero() && j.FinishedAt.IsZero():
		return "queued " + duration(f.now.Sub(j.RunnableAt))
	}
	return strings.ToLower(f.states[j.ID].Word())
}

// foldedRow is one row for many jobs, from when the first could start to when the last ended.
func (f *flow) foldedRow(s store.StepLine, jobs []store.JobLine, place func(time.Time) float64, crit map[string]bool) WaterRow {
	r := WaterRow{Label: withoutIndex(orElse(s.Label, s.Key)), State: f.states[jobs[0].ID], Href: f.jobPath(jobs[0].ID), Text: plural(len(jobs), "job")}
	var runnable, began, until time.Time
	for _, j := range jobs {
		if st := f.states[j.ID]; st.Worse(r.State) {
			r.State, r.Href = st, f.jobPath(j.ID)
		}
		r.Critical = r.Critical || crit[j.ID]
		runnable, began = earlier(runnable, j.RunnableAt), earlier(began, j.StartedAt)
		if !j.StartedAt.IsZero() {
			until = later(until, ended(j, f.now))
		}
	}
	if !runnable.IsZero() {
		to := orNow(began, f.now)
		r.Bars = append(r.Bars, WaterBar{State: r.State, Queued: true, From: place(runnable), To: place(to), Title: "first queued " + duration(to.Sub(runnable))})
	}
	if !began.IsZero() {
		r.Bars = append(r.Bars, WaterBar{State: r.State, From: place(began), To: place(until), Title: fmt.Sprintf("%s within %s", plural(len(jobs), "job"), duration(until.Sub(began)))})
	}
	return r
}

// earlier is the earlier of two times; zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Summary is the waterfall in a sentence.
func (w *WaterPane) Summary() string {
	text := fmt.Sprintf("Waterfall of %s over %s.", plural(w.Jobs, "job"), duration(w.Total))
	if len(w.Path) > 0 {
		text += " Critical path: " + listed(slices.Clone(w.Path)) + "."
	}
	return text
}
