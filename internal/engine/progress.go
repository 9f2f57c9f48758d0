package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/store"
)

// progress carries what happens to jobs through their steps, the steps behind those, and the
// build, within one transaction. What it reads and writes depends on what the event reaches, not
// on the size of the build: an event that ends no step touches one job, its step, its group and the
// build.
type progress struct {
	ctx   context.Context
	tx    *store.Tx
	e     *Engine
	now   time.Time
	hint  func(...string)
	build store.Build
	found store.Build        // build as it was
	of    store.Pipeline     // the build's, once pipeline has read it
	org   store.Organization // the build's, once organization has read it

	agents  map[string]store.Agent  // read with the job that the operation is on
	locked  map[string]store.Agent  // the same, and locked
	jobs    map[string]store.Job    // as they are in the database, of those that were read one by one
	steps   map[string]*store.Step  // loaded or fresh
	stored  map[string]store.Step   // loaded ones as they are in the database
	changed []string                // ids of loaded steps to be saved, in order of first change
	before  map[string]ci.Signal    // of steps whose signal may have changed since it was last told
	told    []string                // keys of before, in order
	states  map[string]ci.StepState // of changed steps, as they were
	fresh   map[string]*freshStep   // steps that this transaction adds
	order   []string                // keys of fresh, in pipeline order
	into    []store.Edge            // from steps that exist to fresh ones
	linked  map[[2]string]bool      // edges of the plan being added
	keys    map[string][]string     // fresh steps by key
	tally   ci.Tally                // the build's, as it will be
	decided *Settings               // of the organization; nil until settings reads them
	lines   lines                   // of concurrency groups
	draft   *draft                  // of the document to be planned
}

// freshStep is a step that is not in the database yet: it and its jobs are inserted in the state
// in which the transaction leaves them.
type freshStep struct {
	step *store.Step
	jobs []store.Job  // by their number
	out  []store.Edge // to any step
}

// onBuild runs fn with a build locked, then carries through and saves what it changed.
func (e *Engine) onBuild(ctx context.Context, buildID string, fn func(p *progress) error) error {
	return e.hinted(func(tx *store.Tx, hint func(...string)) error {
		b, err := tx.LockBuild(ctx, buildID)
		if err != nil {
			return missing(err, "No build found")
		}
		return e.progress(ctx, tx, hint, b).run(fn)
	}, func(fn func(*store.Tx) error) error { return e.Store.UpdateBuild(ctx, buildID, fn) })
}

func (p *progress) run(fn func(p *progress) error) error {
	if err := fn(p); err != nil {
		return err
	}
	return p.finish()
}

// onJob runs fn with a job as it is now and its build locked.
func (e *Engine) onJob(ctx context.Context, jobID string, fn func(p *progress, j store.Job) error) error {
	return e.onJobWith(ctx, jobID, store.AgentToo{}, fn)
}

// onJobWith is onJob for an operation that will ask for an agent.
func (e *Engine) onJobWith(ctx context.Context, jobID string, agent store.AgentToo, fn func(p *progress, j store.Job) error) error {
	return e.hinted(func(tx *store.Tx, hint func(...string)) error {
		v, err := tx.LockJob(ctx, jobID, agent)
		if err != nil {
			return missing(err, "No job found")
		}
		return e.progress(ctx, tx, hint, v.Build).run(func(p *progress) error {
			p.jobs[jobID] = v.Job
			p.steps[v.Step.ID], p.stored[v.Step.ID] = &v.Step, v.Step
			for _, a := range v.Agents {
				p.met(a, agent.Lock)
			}
			return fn(p, v.Job)
		})
	}, func(fn func(*store.Tx) error) error { return e.Store.UpdateBuildOfJob(ctx, jobID, fn) })
}

func (e *Engine) progress(ctx context.Context, tx *store.Tx, hint func(...string), b store.Build) *progress {
	return &progress{
		ctx: ctx, tx: tx, e: e, now: e.Now(), hint: hint, build: b, found: b, tally: b.Jobs,
		jobs: map[string]store.Job{}, steps: map[string]*store.Step{}, stored: map[string]store.Step{}, states: map[string]ci.StepState{}, before: map[string]ci.Signal{}, fresh: map[string]*freshStep{},
	}
}

func (p *progress) met(a store.Agent, locked bool) {
	if locked {
		p.locked = map[string]store.Agent{a.ID: a}
		return
	}
	p.agents = map[string]store.Agent{a.ID: a}
}

// agent returns an agent that the operation does not change.
func (p *progress) agent(id string) (store.Agent, error) {
	if a, ok := p.agents[id]; ok {
		return a, nil
	}
	return p.tx.Agent(p.ctx, id)
}

// lockAgent is LockAgent. What was read with the job counts once: the operation may have changed it then.
func (p *progress) lockAgent(id string) (store.Agent, error) {
	if a, ok := p.locked[id]; ok {
		delete(p.locked, id)
		return a, nil
	}
	return p.tx.LockAgent(p.ctx, id)
}

// job reads a job and remembers it, so that save writes what changes.
func (p *progress) job(id string) (store.Job, error) {
	j, err := p.tx.Job(p.ctx, id)
	if err == nil {
		p.jobs[id] = j
	}
	return j, err
}

func (p *progress) step(id string) (*store.Step, error) {
	if s, ok := p.steps[id]; ok {
		return s, nil
	}
	s, err := p.tx.Step(p.ctx, id)
	if err != nil {
		return nil, fmt.Errorf("step %s: %w", id, err)
	}
	p.steps[id], p.stored[id] = &s, s
	return &s, nil
}

// touch is called before a step changes: it remembers what the step last told its dependants.
func (p *progress) touch(s *store.Step) {
	if _, ok := p.before[s.ID]; ok {
		return
	}
	p.before[s.ID] = s.Signal()
	p.told = append(p.told, s.ID)
	if p.fresh[s.ID] != nil {
		return
	}
	p.changed = append(p.changed, s.ID)
	if _, ok := p.states[s.ID]; !ok {
		p.states[s.ID] = s.State()
	}
}

// apply lets an event happen to a job, saves the job and counts it.
func (p *progress) apply(j store.Job, ev ci.JobEvent) (store.Job, error) {
	next, err := p.moved(j, ev)
	if err != nil {
		return j, err
	}
	if err := p.save(next); err != nil {
		return next, err
	}
	return next, p.follow(j, next)
}

// moved is a job after an event, with its place in line.
func (p *progress) moved(j store.Job, ev ci.JobEvent) (store.Job, error) {
	next, err := j.Job.Apply(ev, p.now)
	if err != nil {
		return j, err
	}
	was := j.State
	j.Job = next
	if next.Lease.State == ci.LeaseOffered {
		j.AgentID = next.Lease.Agent
	}
	if j.State != was {
		p.lineMoved(was, &j)
	}
	return j, nil
}

// follow carries on what happened to a job.
func (p *progress) follow(was, j store.Job) error {
	if j.State != was.State {
		if err := p.jobMoved(j); err != nil {
			return err
		}
	}
	return p.count(j.StepID, was.Class(), j.Class())
}

// jobMoved hints at whoever acts on a job's new state.
func (p *progress) jobMoved(j store.Job) error {
	switch {
	case j.Kind == ci.JobTrigger && (j.State == ci.JobScheduled || j.State == ci.JobCanceling):
		p.hint(live.Child)
	case j.State == ci.JobScheduled:
		p.hint(live.Assign)
	case j.State == ci.JobBlocked:
		s, err := p.step(j.StepID)
		if err != nil {
			return err
		}
		p.build.BlockedState = s.Spec.Manual.BlockedState
	}
	return nil
}

// save writes a job, or keeps it where its step is fresh.
func (p *progress) save(j store.Job) error {
	if f := p.fresh[j.StepID]; f != nil {
		f.jobs[j.Number] = j
		return nil
	}
	was, known := p.jobs[j.ID]
	if !known {
		return p.tx.UpdateJob(p.ctx, j)
	}
	p.jobs[j.ID] = j
	return p.tx.ChangeJob(p.ctx, was, j)
}

// saveStep writes what changed in a step that is in the database.
func (p *progress) saveStep(s store.Step) error {
	if was, known := p.stored[s.ID]; known {
		return p.tx.ChangeStep(p.ctx, was, s)
	}
	return p.tx.UpdateStep(p.ctx, s)
}

// count moves one job of a step from one class to another, in the step, its group and the build.
func (p *progress) count(stepID string, from, to ci.Class) error {
	if from == to {
		return nil
	}
	var d ci.Tally
	return p.add(stepID, d.Move(from, to))
}

// add adds to the tallies of a step, its group and the build.
func (p *progress) add(stepID string, d ci.Tally) error {
	p.tally = p.tally.Add(d)
	for id := stepID; id != ""; {
		s, err := p.step(id)
		if err != nil {
			return err
		}
		p.touch(s)
		s.Jobs = s.Jobs.Add(d)
		id = s.GroupID
	}
	return nil
}

// settle tells dependants what changed until nothing does.
func (p *progress) settle() error {
	for len(p.told) > 0 {
		id := p.told[0]
		p.told = p.told[1:]
		before := p.before[id]
		delete(p.before, id)
		s := p.steps[id]
		if after := s.Signal(); after != before {
			if err := p.tell(s, before, after); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *progress) tell(s *store.Step, before, after ci.Signal) error {
	edges, err := p.edgesFrom(s.ID)
	if err != nil {
		return err
	}
	if err := p.readTargets(edges); err != nil {
		return err
	}
	var decided []*store.Step
	for _, edge := range edges {
		to, err := p.step(edge.To)
		if err != nil {
			return err
		}
		if p.setDeps(to, to.Deps.Count(edge.Edge, to.Step, before, after)) {
			decided = append(decided, to)
		}
	}
	return p.release(decided)
}

// edgesFrom returns the dependencies on a step, those included that are not saved yet.
func (p *progress) edgesFrom(id string) ([]store.Edge, error) {
	if f := p.fresh[id]; f != nil {
		return f.out, nil
	}
	edges, err := p.tx.EdgesFrom(p.ctx, id)
	for _, edge := range p.into {
		if edge.From == id {
			edges = append(edges, edge)
		}
	}
	return edges, err
}

// readTargets reads the steps that edges lead to at once.
func (p *progress) readTargets(edges []store.Edge) error {
	var ids []string
	for _, edge := range edges {
		if _, known := p.steps[edge.To]; !known {
			ids = append(ids, edge.To)
		}
	}
	steps, err := p.tx.StepsByID(p.ctx, ids)
	p.know(steps)
	return err
}

// setDeps changes what a step waits for, and says whether that decides something for its jobs.
func (p *progress) setDeps(s *store.Step, deps ci.Deps) bool {
	if deps == s.Deps {
		return false
	}
	p.touch(s)
	was := s.Deps.Readiness()
	s.Deps = deps
	return deps.Readiness() != was
}

// finish settles, brings the build to the state its jobs amount to, and saves everything.
func (p *progress) finish() error {
	for {
		if err := p.settle(); err != nil {
			return err
		}
		was := p.build.State
		if err := p.advanceBuild(); err != nil {
			return err
		}
		if p.build.State != ci.BuildFailing || was == ci.BuildFailing {
			break
		}
		if err := p.cancelFailing(); err != nil {
			return err
		}
	}
	if err := p.notifySteps(); err != nil {
		return err
	}
	if err := p.lineUp(); err != nil {
		return err
	}
	if err := p.insertFresh(); err != nil {
		return err
	}
	if err := p.admitHere(); err != nil {
		return err
	}
	for _, id := range p.changed {
		if err := p.saveStep(*p.steps[id]); err != nil {
			return err
		}
	}
	p.hint(live.Build(p.build.ID), live.Pipeline(p.build.PipelineID), live.Organization(p.build.OrganizationID))
	return p.tx.ChangeBuild(p.ctx, p.found, p.build)
}

// advanceBuild applies the new tally to the build. A build that is not planned yet, or was ended
// before it was, has no tally to apply.
func (p *progress) advanceBuild() error {
	if p.tally == p.build.Jobs && p.build.State != ci.BuildCanceling {
		return nil
	}
	ev := ci.BuildEvent(ci.BuildProgressed{Jobs: p.tally})
	if p.build.State == ci.BuildCreating {
		ev = ci.BuildPlanned{Jobs: p.tally}
	}
	return p.buildEvent(ev)
}

// buildEvent lets an event happen to the build and notes what follows outside it.
func (p *progress) buildEvent(ev ci.BuildEvent) error {
	was := p.build.State
	next, err := p.build.Build.Apply(ev, p.now)
	if err != nil {
		return err
	}
	p.build.Build = next
	if next.State == was {
		return nil
	}
	return p.buildMoved(was)
}

// cancelFailing ends the jobs that are not worth running in a failing build. Where many are open CancelRest looks for them.
func (p *progress) cancelFailing() error {
	if p.tally.Open() > p.e.CancelTogether {
		p.hint(live.Cancel)
		return p.tx.SetCancels(p.ctx, p.build.ID)
	}
	jobs, err := p.tx.OpenJobs(p.ctx, p.build.ID)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		s, err := p.step(j.StepID)
		if err != nil {
			return err
		}
		if !endsWithFailure(*s) {
			continue
		}
		if err := p.cancelUseless(j); err != nil {
			return err
		}
	}
	return nil
}

// endsWithFailure says whether a step's jobs are not worth running in a failing build.
func endsWithFailure(s store.Step) bool {
	return s.Spec.Command != nil && s.Spec.Command.CancelOnBuildFailing
}

// cancelUseless ends a job that is not worth running because its build is failing, but not one that is failing itself.
func (p *progress) cancelUseless(j store.Job) error {
	if j.Class() == ci.ClassFailing {
		return nil
	}
	_, err := p.cancelJob(j, "cancel_on_build_failing")
	return err
}

// insertFresh writes the steps that the transaction added, then their jobs and edges.
func (p *progress) insertFresh() error {
	var steps []store.Step
	var jobs []store.Job
	edges := p.into
	for _, id := range p.order {
		f := p.fresh[id]
		steps, jobs, edges = append(steps, *f.step), append(jobs, f.jobs...), append(edges, f.out...)
	}
	if err := p.tx.InsertSteps(p.ctx, steps); err != nil {
		return err
	}
	if err := p.tx.InsertJobs(p.ctx, jobs); err != nil {
		return err
	}
	return p.tx.InsertEdges(p.ctx, p.build.ID, edges)
}
