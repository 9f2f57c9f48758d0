package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/dispatch"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
)

// placement says where a plan's steps go.
type placement struct {
	pipeline    store.Pipeline
	position    string      // what their positions begin with; sorts right behind the uploading step's
	uploader    *store.Step // nil: the build's first steps
	scheduledAt time.Time   // inherited; orders dispatch
	group       *store.Step // the group of the build that the plan's first step joins; nil: none
}

// addPlan adds the steps of a plan to the build, with their jobs and dependencies, and lets those
// jobs go that wait for nothing.
func (p *progress) addPlan(plan pipeline.Plan, at placement) error {
	p.attach(plan, at)
	if err := errors.Join(p.warnUnsent(plan), p.warnTeams(plan)); err != nil {
		return err
	}
	ids, err := p.makeSteps(plan, at)
	if err != nil {
		return err
	}
	made := ids
	if at.joins(0) {
		made = ids[1:]
	}
	jobs := 0
	for _, id := range made {
		jobs += len(p.fresh[id].jobs)
	}
	if err := p.checkSize(jobs); err != nil {
		return err
	}
	if err := p.linkSteps(plan, ids, at); err != nil {
		return err
	}
	if err := p.warnUnserved(plan, ids, at); err != nil {
		return err
	}
	p.forget(made)
	return p.release(p.stepsByID(made))
}

func (p *progress) stepsByID(ids []string) []*store.Step {
	steps := make([]*store.Step, len(ids))
	for i, id := range ids {
		steps[i] = p.steps[id]
	}
	return steps
}

// forget drops what fresh steps would have told while they were being linked: their edges were
// counted with what they tell now.
func (p *progress) forget(ids []string) {
	for _, id := range ids {
		delete(p.before, id)
	}
	p.told = slices.DeleteFunc(p.told, func(id string) bool { return p.fresh[id] != nil })
}

// attach puts what a document says about the whole build onto it.
func (p *progress) attach(plan pipeline.Plan, at placement) {
	d := &p.build.Detail
	if len(plan.Env) > 0 {
		env := &d.Env
		if at.uploader == nil {
			env = &d.PipelineEnv
		}
		merged := maps.Clone(*env)
		if merged == nil {
			merged = map[string]string{}
		}
		maps.Copy(merged, plan.Env)
		*env = merged
	}
	if plan.Agents != nil {
		d.Agents = plan.Agents
	}
	d.Notify = append(d.Notify, plan.Notify...)
	for _, w := range plan.Warnings {
		d.Warnings = append(d.Warnings, w.String())
	}
}

// makeSteps makes the plan's steps and their jobs, counted but unlinked, and returns their ids. A
// group that joins one of the build is that group.
func (p *progress) makeSteps(plan pipeline.Plan, at placement) ([]string, error) {
	ids := make([]string, len(plan.Steps))
	maker := jobMaker{p: p, at: at, queues: map[string]string{}}
	for i, ps := range plan.Steps {
		if at.joins(i) {
			ids[i] = at.group.ID
			continue
		}
		s := &store.Step{
			Step: ci.Step{
				ID: p.e.NewID(), Kind: ci.StepKind(ps.Kind), ContinueOnFailure: ps.Wait != nil && ps.Wait.ContinueOnFailure,
			},
			BuildID: p.build.ID, Position: at.position + fmt.Sprintf("%06d", i+1), Key: ps.Key, Label: ps.Label,
			Implicit: ps.Implicit, Definition: ps.Definition,
			Spec: store.StepSpec{
				Command: ps.Command, Wait: ps.Wait, Manual: ps.Manual, Trigger: ps.Trigger, Notify: ps.Notify,
				DependsOn: ps.DependsOn, AllowDependencyFailure: ps.AllowDependencyFailure,
			},
		}
		if s.Definition == nil {
			s.Definition = json.RawMessage("null")
		}
		switch {
		case ps.Group >= 0:
			s.GroupID = ids[ps.Group]
		case at.uploader != nil && ps.Kind != pipeline.Group:
			s.GroupID = at.uploader.GroupID
		}
		if at.uploader != nil {
			s.UploaderID = at.uploader.ID
		}
		ids[i] = s.ID
		p.steps[s.ID], p.fresh[s.ID] = s, &freshStep{step: s}
		p.order = append(p.order, s.ID)
		if err := maker.jobs(s, ps); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// checkSize refuses more jobs, retries included, than the organization lets a build have.
func (p *progress) checkSize(more int) error {
	s, err := p.settings()
	if err != nil || s.MaxJobsPerBuild == 0 {
		return err
	}
	n := 0
	if p.build.State != ci.BuildCreating {
		if n, err = p.tx.CountRetried(p.ctx, p.build.ID); err != nil {
			return err
		}
		n += p.found.Jobs.Total()
	}
	if n+more > s.MaxJobsPerBuild {
		return refuse(Invalid, "The build would have %d jobs; your organization's limit is %d.", n+more, s.MaxJobsPerBuild)
	}
	return nil
}

// jobMaker makes the jobs of planned steps.
type jobMaker struct {
	p      *progress
	at     placement
	queues map[string]string // key to id
}

var jobKinds = map[ci.StepKind]ci.JobKind{
	ci.StepCommand: ci.JobScript, ci.StepWait: ci.JobWaiter, ci.StepBlock: ci.JobManual,
	ci.StepInput: ci.JobManual, ci.StepTrigger: ci.JobTrigger,
}

// jobs makes the jobs of a step, and counts them into it, its group and the build.
func (m *jobMaker) jobs(s *store.Step, ps pipeline.Step) error {
	like, err := m.like(s, ps)
	if err != nil {
		return err
	}
	f := m.p.fresh[s.ID]
	f.jobs = make([]store.Job, 0, len(ps.Jobs))
	var tally ci.Tally
	for n, pj := range ps.Jobs {
		j := like
		j.ID, j.Number = m.p.e.NewID(), n
		if j.SpecJSON, err = json.Marshal(pj); err != nil {
			return fmt.Errorf("storing job %d of step %q: %w", n, s.Label, err)
		}
		if ps.Command != nil && pj.Agents != nil {
			if err := m.route(&j, ps, pj.Agents); err != nil {
				return err
			}
		}
		if j.Job, err = m.begun(j.Job, ps, pj); err != nil {
			return err
		}
		tally[j.Class()]++
		f.jobs = append(f.jobs, j)
	}
	return m.p.add(s.ID, tally)
}

// like is what the jobs of a step have in common.
func (m *jobMaker) like(s *store.Step, ps pipeline.Step) (store.Job, error) {
	j := store.Job{
		Job: ci.Job{
			Kind: jobKinds[s.Kind], State: ci.JobPending, CreatedAt: m.p.now, ScheduledAt: m.at.scheduledAt,
		},
		BuildID: s.BuildID, StepID: s.ID, PipelineID: m.p.build.PipelineID, Position: s.Position,
		RetryRule: -1, Rules: []string{},
	}
	c := ps.Command
	if c == nil {
		return j, nil
	}
	decided, err := m.p.settings()
	if err != nil {
		return j, err
	}
	j.Priority, j.TimeoutMinutes = c.Priority, effectiveTimeout(c.TimeoutMinutes, m.at.pipeline, decided)
	j.Concurrency, j.ConcurrencyGroup, j.ConcurrencyMethod = c.Concurrency, c.ConcurrencyGroup, c.ConcurrencyMethod
	j.GroupID = store.GroupID(m.p.build.OrganizationID, c.ConcurrencyGroup)
	if slices.ContainsFunc(ps.Jobs, func(pj pipeline.Job) bool { return pj.Agents == nil }) { // or each has its own
		err = m.route(&j, ps, firstOf(c.Agents, m.p.build.Detail.Agents))
	}
	return j, err
}

// route says which agents may run a job.
func (m *jobMaker) route(j *store.Job, ps pipeline.Step, rules []string) (err error) {
	key := ""
	j.Rules = make([]string, 0, len(rules))
	for _, r := range rules {
		k, v, _ := strings.Cut(r, "=")
		if k == "queue" {
			key = v
			continue
		}
		j.Rules = append(j.Rules, r)
	}
	j.QueueID, err = m.queue(key, ps)
	return err
}

func firstOf(lists ...[]string) []string {
	for _, l := range lists {
		if l != nil {
			return l
		}
	}
	return nil
}

// queue returns the id of the queue with a key, "" for the cluster's default.
func (m *jobMaker) queue(key string, ps pipeline.Step) (string, error) {
	if id, ok := m.queues[key]; ok {
		return id, nil
	}
	id, err := m.findQueue(key)
	if errors.Is(err, store.ErrNotFound) {
		return "", m.unknownQueue(key, ps)
	}
	m.queues[key] = id
	return id, err
}

func (m *jobMaker) findQueue(key string) (string, error) {
	if key == "" || key == "*" {
		c, err := m.p.tx.Cluster(m.p.ctx, m.at.pipeline.ClusterID)
		return c.DefaultQueueID, err
	}
	q, err := m.p.tx.Queue(m.p.ctx, m.at.pipeline.ClusterID, key)
	return q.ID, err
}

func (m *jobMaker) unknownQueue(key string, ps pipeline.Step) error {
	queues, err := m.p.tx.Queues(m.p.ctx, m.at.pipeline.ClusterID)
	if err != nil {
		return err
	}
	var known dispatch.Snapshot
	for _, q := range queues {
		known.Queues = append(known.Queues, dispatch.Queue{ID: q.ID, Key: q.Key})
	}
	name := ps.Label
	if name == "" {
		name = ps.Key
	}
	if name == "" && len(ps.Jobs) > 0 {
		name = firstLine(ps.Jobs[0].Command)
	}
	msg := fmt.Sprintf("step %q wants queue=%s, which does not exist; %s", name, key, dispatch.QueueHint(key, known))
	if ps.Pos.Line > 0 {
		msg = fmt.Sprintf("line %d, column %d: %s", ps.Pos.Line, ps.Pos.Column, msg)
	}
	return &Refused{Why: Invalid, Message: msg}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// begun is a new job, ended already if its step or itself is not to run.
func (m *jobMaker) begun(j ci.Job, ps pipeline.Step, pj pipeline.Job) (ci.Job, error) {
	switch {
	case ps.Broken != "":
		return j.Apply(ci.JobBreak{Reason: ps.Broken}, m.p.now)
	case ps.Skip != "":
		return j.Apply(ci.JobSkip{Reason: ps.Skip}, m.p.now)
	case pj.Skip != "":
		return j.Apply(ci.JobSkip{Reason: pj.Skip}, m.p.now)
	}
	return j, nil
}

// linkSteps makes the plan's dependencies and counts them. Plain edges come first: what a gate
// carries follows from its group's.
func (p *progress) linkSteps(plan pipeline.Plan, ids []string, at placement) error {
	implicit := implicitEdges(plan)
	p.linked, p.keys = map[[2]string]bool{}, map[string][]string{}
	for i, ps := range plan.Steps {
		if ps.Key != "" {
			p.keys[ps.Key] = at.standsFor(plan, ids, i)
		}
	}
	gates := map[int]bool{}
	for i, ps := range plan.Steps {
		if at.joins(i) {
			continue
		}
		n, err := p.linkStep(plan, ids, i, implicit[i], at)
		if err != nil {
			return err
		}
		gates[i] = ps.Kind == pipeline.Group && n > 0
	}
	for i, ps := range plan.Steps {
		if ps.Group >= 0 && gates[ps.Group] {
			p.link(store.Edge{Edge: ci.Edge{From: ids[ps.Group], To: ids[i], Gate: true}})
		}
	}
	if at.uploader == nil {
		return nil
	}
	return p.relink(at.outermost(plan, ids), at.uploader)
}

// implicitEdges returns, for each step, the indices of the steps it implicitly depends on in its
// own scope: the top level of the document, or its group.
func implicitEdges(plan pipeline.Plan) [][]int {
	scopes := map[int][]int{}
	for i, s := range plan.Steps {
		scopes[s.Group] = append(scopes[s.Group], i)
	}
	out := make([][]int, len(plan.Steps))
	for _, members := range scopes {
		steps := make([]pipeline.ScopeStep, len(members))
		for n, i := range members {
			steps[n] = plan.Steps[i].Scope()
		}
		for n, deps := range pipeline.ImplicitDependencies(steps) {
			for _, d := range deps {
				out[members[n]] = append(out[members[n]], members[d])
			}
		}
	}
	return out
}

// linkStep makes the plain edges of one step and returns how many it has.
func (p *progress) linkStep(plan pipeline.Plan, ids []string, i int, implicit []int, at placement) (int, error) {
	ps, to := plan.Steps[i], ids[i]
	if ps.Broken != "" || ps.Skip != "" {
		return 0, nil
	}
	for _, from := range implicit {
		for _, id := range at.standsFor(plan, ids, from) {
			p.link(store.Edge{Edge: ci.Edge{From: id, To: to, AllowFailure: ps.AllowDependencyFailure}, Implicit: true})
		}
	}
	behindUploader := at.uploader != nil && ps.Group < 0 && len(implicit) == 0
	n, err := p.linkOwn(ps, to, behindUploader, at)
	if err == nil && at.joins(ps.Group) {
		_, err = p.linkOwn(plan.Steps[ps.Group], to, true, at)
	}
	return len(implicit) + n, err
}

// linkOwn makes the edges to a step that follow from what it says alone: the explicit ones and, for
// one that comes first in its upload, that from the uploading step. It returns how many entries they
// stand for.
func (p *progress) linkOwn(ps pipeline.Step, to string, behindUploader bool, at placement) (int, error) {
	n := 0
	for _, d := range ps.DependsOn {
		from, err := p.dependency(d)
		if err != nil {
			return n, err
		}
		allow := ps.AllowDependencyFailure
		if d.Explicit {
			allow = d.AllowFailure
		}
		for _, id := range from {
			p.link(store.Edge{Edge: ci.Edge{From: id, To: to, AllowFailure: allow}})
		}
		n++
	}
	if behindUploader && ps.Implicit {
		p.link(store.Edge{Edge: ci.Edge{From: at.uploader.ID, To: to, AllowFailure: ps.AllowDependencyFailure}, Implicit: true})
		n++
	}
	return n, nil
}

// dependency finds what a depends_on entry names, in the plan or in the build.
func (p *progress) dependency(d pipeline.Dependency) ([]string, error) {
	if ids, ok := p.keys[d.Step]; ok {
		return ids, nil
	}
	s, err := p.tx.StepByKey(p.ctx, p.build.ID, d.Step)
	if errors.Is(err, store.ErrNotFound) {
		return nil, refuse(Invalid, "step dependencies not found: %q", d.Step)
	}
	if err != nil {
		return nil, err
	}
	if _, ok := p.steps[s.ID]; !ok {
		p.steps[s.ID] = &s
	}
	return []string{s.ID}, nil
}

// link adds an edge to a fresh step and counts what its source tells now.
func (p *progress) link(edge store.Edge) {
	to, from := p.steps[edge.To], p.steps[edge.From]
	f := p.fresh[edge.From]
	if p.linked[[2]string{edge.From, edge.To}] {
		return
	}
	p.linked[[2]string{edge.From, edge.To}] = true
	if f != nil {
		f.out = append(f.out, edge)
	} else {
		p.into = append(p.into, edge)
	}
	p.touch(to)
	to.Deps = to.Deps.Add(edge.Edge, to.Step, from.Signal())
}

// relink makes whoever waits for the uploading step wait for the steps that it uploaded as well.
// Dependants that have been let go already are left alone, and a dependant that an uploaded step
// waits for does not wait for that step. Steps of earlier uploads of the same step run beside those of
// this one; their waits and blocks come behind this upload, and so wait for it.
func (p *progress) relink(uploaded []string, uploader *store.Step) error {
	w := waits{}
	if p.dependsOnOpen(uploader) {
		var err error
		if w, err = p.waits(); err != nil {
			return err
		}
		if err := p.refuseCycles(w); err != nil {
			return err
		}
	}
	edges, err := p.tx.EdgesFromOthers(p.ctx, uploader.ID)
	if err != nil {
		return err
	}
	for _, edge := range edges {
		to, err := p.step(edge.To)
		if err != nil {
			return err
		}
		p.relinkTo(to, edge.AllowFailure, uploaded, w)
	}
	return p.relinkGates(uploaded, uploader, w)
}

func (p *progress) relinkGates(uploaded []string, uploader *store.Step, w waits) error {
	gates, err := p.tx.UploadedGates(p.ctx, uploader.ID)
	for _, gate := range gates {
		if !gate.Implicit || gate.GroupID != uploader.GroupID {
			continue
		}
		if _, ok := p.steps[gate.ID]; !ok {
			p.steps[gate.ID], p.stored[gate.ID] = &gate, gate
		}
		p.relinkTo(p.steps[gate.ID], gate.Spec.AllowDependencyFailure, uploaded, w)
	}
	return err
}

func (p *progress) relinkTo(to *store.Step, allowFailure bool, uploaded []string, w waits) {
	if to.Gone || to.Deps.Readiness() == ci.DepsMet {
		return
	}
	behind := w.behind(to.ID)
	if to.Kind == ci.StepGroup {
		behind = w.behind(begun(to.ID))
	}
	for _, id := range uploaded {
		if behind[id] {
			continue
		}
		edge := store.Edge{Edge: ci.Edge{From: id, To: to.ID, AllowFailure: allowFailure}, Implicit: true}
		p.link(edge)
		w.edge(edge, to.Kind == ci.StepGroup)
	}
}
