package web

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/joblog"
	"github.com/slipway-ci/slipway/internal/store"
)

// buildView is one build with all that its page shows, read at one moment.
type buildView struct {
	now         time.Time
	org         Org
	pipeline    store.Pipeline
	build       store.Build
	steps       []store.Step
	stepAt      map[string]int      // index in steps by id
	edgesTo     map[string][]string // ids of the steps that a step depends on
	jobs        []store.Job         // latest attempts in step order
	attempts    map[string][]store.Job
	fleet       fleet
	people      map[string]string // names by user id
	agents      map[string]string // names by id
	artifacts   []store.Artifact
	annotations []store.Annotation
	labels      map[string]string   // of jobs, by id, once asked for
	waits       map[string][]string // what steps wait for, by id, once asked for
	states      map[string]State    // of latest attempts, by job id
	errors      map[string]string   // first error lines, by job id
}

// path is the build's address.
func (b *buildView) path() string {
	return fmt.Sprintf("%s/%s/builds/%d", b.org.Path(), b.pipeline.Slug, b.build.Number)
}

func (b *buildView) jobPath(id string) string { return b.path() + "/jobs/" + id }

func (b *buildView) agentName(id string) string { return b.agents[id] }

func (b *buildView) userName(id string) string { return b.people[id] }

// loadBuild reads a build and what belongs to it.
func loadBuild(ctx context.Context, r store.Reader, logs *joblog.Store, org Org, p store.Pipeline, build store.Build, now time.Time) (*buildView, error) {
	b := &buildView{
		now: now, org: org, pipeline: p, build: build, stepAt: map[string]int{}, edgesTo: map[string][]string{},
		attempts: map[string][]store.Job{}, people: map[string]string{}, agents: map[string]string{},
		labels: map[string]string{}, waits: map[string][]string{}, states: map[string]State{}, errors: map[string]string{},
	}
	var err error
	if b.steps, err = r.Steps(ctx, build.ID); err != nil {
		return nil, err
	}
	for k, s := range b.steps {
		b.stepAt[s.ID] = k
	}
	jobs, err := r.Jobs(ctx, build.ID)
	if err != nil {
		return nil, err
	}
	b.sortJobs(jobs)
	if err := b.loadAround(ctx, r); err != nil {
		return nil, err
	}
	if err := b.loadErrors(ctx, logs); err != nil {
		return nil, err
	}
	b.look()
	return b, nil
}

// maxErrors is how many failed jobs show the first error of their log.
const maxErrors = 5

// loadErrors reads the first error line of the first few failed jobs.
func (b *buildView) loadErrors(ctx context.Context, logs *joblog.Store) error {
	for _, j := range b.jobs {
		if len(b.errors) == maxErrors {
			return nil
		}
		if j.State != ci.JobFinished || j.ExitStatus == nil || *j.ExitStatus == 0 || j.SoftFailed {
			continue
		}
		text, err := firstError(ctx, logs, j.ID)
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
// waits and the jobs of replaced steps.
func (b *buildView) sortJobs(jobs []store.Job) {
	for _, j := range jobs {
		if _, ok := b.stepAt[j.StepID]; !ok || j.Kind == ci.JobWaiter {
			continue
		}
		key := j.StepID + "/" + strconv.Itoa(j.Number)
		b.attempts[key] = append(b.attempts[key], j)
		if j.RetriedIn == "" {
			b.jobs = append(b.jobs, j)
		}
	}
	slices.SortStableFunc(b.jobs, func(x, y store.Job) int { return b.stepAt[x.StepID] - b.stepAt[y.StepID] })
}

// loadAround reads what only some builds need: dependencies where a job waits,
// agents where one is queued or runs, people where one was unblocked.
func (b *buildView) loadAround(ctx context.Context, r store.Reader) (err error) {
	has := func(yes func(store.Job) bool) bool { return slices.ContainsFunc(b.jobs, yes) }
	if has(func(j store.Job) bool { return j.State == ci.JobWaiting || j.State.NotRun() }) {
		if err := b.loadEdges(ctx, r); err != nil {
			return err
		}
	}
	if has(func(j store.Job) bool { return j.State == ci.JobScheduled || j.State.Held() }) {
		if b.fleet, err = loadFleet(ctx, r, b.pipeline.ClusterID); err != nil {
			return err
		}
		for _, a := range b.fleet.agents {
			b.agents[a.ID] = a.Name
		}
	}
	for _, j := range b.jobs {
		if err := b.loadPerson(ctx, r, j.UnblockedBy); err != nil {
			return err
		}
	}
	if err := b.loadPerson(ctx, r, b.build.CreatorID); err != nil {
		return err
	}
	if b.artifacts, err = r.Artifacts(ctx, b.build.ID); err != nil {
		return err
	}
	b.annotations, err = r.Annotations(ctx, b.build.ID)
	return err
}

func (b *buildView) loadEdges(ctx context.Context, r store.Reader) error {
	edges, err := r.Edges(ctx, b.build.ID)
	for _, e := range edges {
		b.edgesTo[e.To] = append(b.edgesTo[e.To], e.From)
	}
	return err
}

func (b *buildView) loadPerson(ctx context.Context, r store.Reader, id string) error {
	if id == "" || b.people[id] != "" {
		return nil
	}
	u, err := r.User(ctx, id)
	if ignoreMissing(err) != nil {
		return err
	}
	b.people[id] = u.Name
	return nil
}

// maxFleet is how many agents a page looks at.
const maxFleet = 1000

func loadFleet(ctx context.Context, r store.Reader, clusterID string) (fleet, error) {
	f := fleet{queues: map[string]store.Queue{}}
	queues, err := r.Queues(ctx, clusterID)
	if err != nil {
		return f, err
	}
	for _, q := range queues {
		f.queues[q.ID] = q
	}
	f.agents, err = r.LiveAgents(ctx, clusterID, "", "", maxFleet)
	return f, err
}

// look works out every job's state once.
func (b *buildView) look() {
	for _, j := range b.jobs {
		b.states[j.ID] = b.facts(j).Look()
	}
}

// labelOf is what a job is called: by itself where its label differs from its
// step's, by its key or command where it has none.
func (b *buildView) labelOf(j store.Job) string {
	if l, ok := b.labels[j.ID]; ok {
		return l
	}
	step := b.steps[b.stepAt[j.StepID]]
	l := orElse(step.Label, orElse(step.Key, string(step.Kind)))
	if (j.Kind == ci.JobScript || j.Kind == ci.JobTrigger) && (step.Label == "" || strings.ContainsAny(step.Label, "%{")) {
		if spec, err := j.Spec(); err == nil {
			l = orElse(spec.Label, orElse(step.Label, orElse(firstLine(spec.Command), l)))
		}
	}
	b.labels[j.ID] = l
	return l
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
func (b *buildView) chosen() (store.Job, bool) {
	best, score := -1, 0
	var when time.Time
	for k, j := range b.jobs {
		n, at := b.urgency(j)
		if best < 0 || n > score || n == score && at.Before(when) {
			best, score, when = k, n, at
		}
	}
	if best < 0 {
		return store.Job{}, false
	}
	return b.jobs[best], true
}

// urgency orders jobs for chosen; among equals the earlier time wins.
func (b *buildView) urgency(j store.Job) (int, time.Time) {
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
