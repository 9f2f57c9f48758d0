package web

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/joblog"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
)

// buildView is one build with all that its page shows, read at one moment.
type buildView struct {
	now         time.Time
	org         Org
	pipeline    store.Pipeline
	build       store.Build
	steps       []store.StepLine
	stepAt      map[string]int // index in steps by id
	ends        []stepEnd      // of the steps
	manual      map[string]*pipeline.ManualStep
	edgesTo     map[string][]string  // ids of the steps that a step depends on
	tries       []store.JobLine      // all attempts in step order
	known       map[string]int       // index in tries by id
	jobs        []store.JobLine      // latest attempts in step order
	specs       map[string]store.Job // of the jobs whose labels differ from their steps'
	roster      *engine.Roster       // nil where no job waits for an agent
	ahead       map[string]int       // jobs before it in its queue or group's line, by id
	groups      map[string][]string  // builds that hold a concurrency group's slots
	keepers     map[string][]string  // builds that keep places before this one's in a group whose slots are free
	people      map[string]string    // names by user id
	agents      map[string]string    // names by id
	artifacts   []store.Artifact
	annotations []store.Annotation
	labels      map[string]string   // of jobs, by id, once asked for
	waits       map[string][]string // steps that steps wait for, by id, once asked for
	states      map[string]State    // of latest attempts, by job id
	errors      map[string]string   // first error lines, by job id
}

// stepEnd is what a step's latest jobs have come to.
type stepEnd struct {
	jobs, open       int
	failed, canceled bool
}

// path is the build's address.
func (b *buildView) path() string {
	return fmt.Sprintf("%s/%s/builds/%d", b.org.Path(), b.pipeline.Slug, b.build.Number)
}

func (b *buildView) jobPath(id string) string { return b.path() + "/jobs/" + id }

func (b *buildView) agentName(id string) string { return b.agents[id] }

func (b *buildView) userName(id string) string { return b.people[id] }

// loadBuild reads a build and what belongs to it.
func (q *request) loadBuild(p store.Pipeline, build store.Build) (*buildView, error) {
	b := &buildView{
		now: q.now, org: Org{Slug: q.org.Slug, Name: q.org.Name}, pipeline: p, build: build,
		manual: map[string]*pipeline.ManualStep{}, edgesTo: map[string][]string{},
		specs: map[string]store.Job{},
		ahead: map[string]int{}, groups: map[string][]string{}, keepers: map[string][]string{}, people: map[string]string{}, agents: map[string]string{},
		waits: map[string][]string{}, errors: map[string]string{},
	}
	var err error
	if b.steps, err = q.Store.StepLines(q.ctx, build.ID); err != nil {
		return nil, err
	}
	b.stepAt = make(map[string]int, len(b.steps))
	for k, s := range b.steps {
		b.stepAt[s.ID] = k
	}
	jobs, err := q.Store.JobLines(q.ctx, build.ID)
	if err != nil {
		return nil, err
	}
	b.sortJobs(jobs)
	b.end()
	for _, load := range []func(*buildView) error{q.loadEdges, q.loadManual, q.loadWaiting, q.loadNames, q.loadNotes, q.loadErrors} {
		if err := load(b); err != nil {
			return nil, err
		}
	}
	b.look()
	return b, nil
}

// maxErrors is how many failed jobs show the first error of their log.
const maxErrors = 5

// loadErrors reads the first error line of the first few failed jobs.
func (q *request) loadErrors(b *buildView) error {
	for _, j := range b.jobs {
		if len(b.errors) == maxErrors {
			return nil
		}
		if j.State != ci.JobFinished || j.ExitStatus == nil || *j.ExitStatus == 0 || j.SoftFailed {
			continue
		}
		text, err := firstError(q.ctx, q.Logs, j.ID)
		if err != nil {
			return fmt.Errorf("first error of job %s: %w", j.ID, err)
		}
		b.errors[j.ID] = text
	}
	return nil
}

// firstError is the first line of a log that looks like an error, "" if none
// does.
func firstError(ctx context.Context, logs *joblog.Store, jobID string) (string, error) {
	outline, err := logs.Outline(ctx, jobID)
	if errors.Is(err, joblog.ErrNotFound) || err == nil && len(outline.Errors) == 0 {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	w, err := logs.Window(ctx, jobID, outline.Errors[0], 1)
	if err != nil || len(w.Lines) == 0 {
		return "", err
	}
	return clip(strings.TrimSpace(w.Lines[0].Text), 120), nil
}

// clip shortens a text to n characters.
func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return strings.TrimSpace(string(r[:n-1])) + "\u2026"
	}
	return s
}

// sortJobs parts the latest attempts from the ones before them, and leaves out
// the jobs of replaced steps.
func (b *buildView) sortJobs(jobs []store.JobLine) {
	b.tries = slices.DeleteFunc(jobs, func(j store.JobLine) bool {
		_, ok := b.stepAt[j.StepID]
		return !ok
	})
	b.known = make(map[string]int, len(b.tries))
	b.states = make(map[string]State, len(b.tries))
	b.labels = make(map[string]string, len(b.tries))
	b.jobs = make([]store.JobLine, 0, len(b.tries))
	for k, j := range b.tries {
		b.known[j.ID] = k
		if j.RetriedIn == "" {
			b.jobs = append(b.jobs, j)
		}
	}
}

// end sums up the steps by their latest jobs, a group by its members'.
func (b *buildView) end() {
	b.ends = make([]stepEnd, len(b.steps))
	for _, j := range b.jobs {
		k := b.stepAt[j.StepID]
		b.ends[k].add(j)
		if g, ok := b.stepAt[b.steps[k].GroupID]; ok {
			b.ends[g].add(j)
		}
	}
}

func (e *stepEnd) add(j store.JobLine) {
	e.jobs++
	switch j.Class() {
	case ci.ClassHardFailed, ci.ClassErrored:
		e.failed = true
	case ci.ClassCanceled:
		e.canceled = true
	}
	if !j.State.Terminal() {
		e.open++
	}
}

// any reports whether one of the latest jobs is such.
func (b *buildView) any(such func(store.JobLine) bool) bool { return slices.ContainsFunc(b.jobs, such) }

// loadEdges reads what depends on what, where a job waits or did not run for
// that.
func (q *request) loadEdges(b *buildView) error {
	if !b.any(func(j store.JobLine) bool { return j.State == ci.JobWaiting || j.State.NotRun() }) {
		return nil
	}
	edges, err := q.Store.Edges(q.ctx, b.build.ID)
	for _, e := range edges {
		b.edgesTo[e.To] = append(b.edgesTo[e.To], e.From)
	}
	return err
}

// loadManual reads what block steps ask.
func (q *request) loadManual(b *buildView) error {
	if !b.any(func(j store.JobLine) bool { return j.Kind == ci.JobManual }) {
		return nil
	}
	steps, err := q.Store.ManualSteps(q.ctx, b.build.ID)
	for _, s := range steps {
		b.manual[s.ID] = s.Spec.Manual
	}
	return err
}

// loadNames reads the people, the agents and the plans that lines name.
func (q *request) loadNames(b *buildView) error {
	users, agents := []string{b.build.CreatorID}, []string{}
	for _, j := range b.jobs {
		users = append(users, j.UnblockedBy)
		if j.State.Held() || j.Lost {
			agents = append(agents, j.AgentID)
		}
	}
	people, err := q.Store.UsersByID(q.ctx, users)
	if err != nil {
		return err
	}
	for id, u := range people {
		b.people[id] = u.Name
	}
	found, err := q.Store.AgentsByID(q.ctx, agents)
	if err != nil {
		return err
	}
	for id, a := range found {
		b.agents[id] = a.Name
	}
	return q.loadLabels(b, func(k int) bool { return b.ends[k].jobs <= maxParallel })
}

// loadLabels reads the plans of the jobs of some steps whose own labels do not
// say enough.
func (q *request) loadLabels(b *buildView, of func(step int) bool) error {
	var ids []string
	for _, j := range b.jobs {
		if k := b.stepAt[j.StepID]; b.planned(j) && of(k) && b.specs[j.ID].ID == "" {
			ids = append(ids, j.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	specs, err := q.Store.SpecsOfJobs(q.ctx, ids)
	for id, j := range specs {
		b.specs[id] = j
		delete(b.labels, id)
	}
	return err
}

// planned reports whether what a job is called is known from its plan only.
func (b *buildView) planned(j store.JobLine) bool {
	k := b.stepAt[j.StepID]
	label := b.steps[k].Label
	return (j.Kind == ci.JobScript || j.Kind == ci.JobTrigger) && (label == "" || strings.ContainsAny(label, "%{") || b.ends[k].jobs > 1)
}

// loadNotes reads what jobs left on the build.
func (q *request) loadNotes(b *buildView) (err error) {
	if b.artifacts, err = q.Store.Artifacts(q.ctx, b.build.ID); err != nil {
		return err
	}
	if b.annotations, err = q.Store.Annotations(q.ctx, b.build.ID); err != nil {
		return err
	}
	steps := map[int]bool{}
	for _, a := range b.annotations {
		if j, ok := b.find(a.JobID); ok {
			steps[b.stepAt[j.StepID]] = true
		}
	}
	return q.loadLabels(b, func(k int) bool { return steps[k] })
}

// look works out every job's state once.
func (b *buildView) look() {
	for _, j := range b.jobs {
		b.states[j.ID] = b.facts(j).Look()
	}
}

// labelOf is what a job is called: by itself where its label differs from its
// step's, by its key or command where it has none.
func (b *buildView) labelOf(j store.JobLine) string {
	if l, ok := b.labels[j.ID]; ok {
		return l
	}
	step := b.steps[b.stepAt[j.StepID]]
	l := orElse(step.Label, orElse(step.Key, string(step.Kind)))
	if plan, ok := b.specs[j.ID]; ok {
		if spec, err := plan.Spec(); err == nil {
			l = toldApart(orElse(spec.Label, orElse(step.Label, orElse(firstLine(spec.Command), l))), step.Label, spec)
		}
	}
	b.labels[j.ID] = l
	return l
}

// toldApart adds to the label of one of a step's jobs what it needs to differ from the others': the
// values of its matrix that it does not show, or its place among parallel jobs where the step's label
// does not ask for it.
func toldApart(label, ofStep string, j pipeline.Job) string {
	for _, dimension := range slices.Sorted(maps.Keys(j.Matrix)) {
		if value := j.Matrix[dimension]; !strings.Contains(label, value) {
			label += " " + value
		}
	}
	if j.ParallelTotal > 1 && !strings.Contains(ofStep, "%") {
		label += fmt.Sprintf(" %d/%d", j.ParallelIndex+1, j.ParallelTotal)
	}
	return label
}

// nameOf is labelOf by id; "" for a job that is not the build's.
func (b *buildView) nameOf(id string) string {
	if j, ok := b.find(id); ok {
		return b.labelOf(j)
	}
	return ""
}

// jobStates are the looks of the latest attempts in step order.
func (b *buildView) jobStates() []State {
	out := make([]State, len(b.jobs))
	for k, j := range b.jobs {
		out[k] = b.states[j.ID]
	}
	return out
}

// chosen is the job to open: the failed one that ended first, a stuck one, the
// running one that began first, the last that ended, the first of all.
func (b *buildView) chosen() (store.JobLine, bool) {
	best, score := -1, 0
	var when time.Time
	for k, j := range b.jobs {
		n, at := b.urgency(j)
		if best < 0 || n > score || n == score && at.Before(when) {
			best, score, when = k, n, at
		}
	}
	if best < 0 {
		return store.JobLine{}, false
	}
	return b.jobs[best], true
}

// urgency orders jobs for chosen; among equals the earlier time wins.
func (b *buildView) urgency(j store.JobLine) (int, time.Time) {
	switch b.states[j.ID] {
	case Failed, Failing, TimedOut, Lost, Expired:
		if j.FinishedAt.IsZero() {
			return 9, j.StartedAt
		}
		return 9, j.FinishedAt
	case Blocked:
		if b.build.State == ci.BuildBlocked {
			return 8, j.CreatedAt
		}
	case Stuck:
		return 7, j.CreatedAt
	case Running:
		return 6, j.StartedAt
	case Starting:
		return 5, j.CreatedAt
	case Soft, Passed, Canceled:
		return 4, time.Unix(0, -j.FinishedAt.UnixNano())
	}
	return 0, j.CreatedAt
}

func ignoreMissing(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}
