package pipeline

import (
	"errors"
	"fmt"

	"github.com/slipway-ci/slipway/internal/condition"
)

// Facts are what planning needs to know about the build.
type Facts struct {
	Condition condition.Env // what a step's `if` may read
	Branch    string        // what `branches` is held against
	// UsedKeys says whether a step that the build already has bears the key: such a key cannot be
	// given again and can be depended on. Nil: the build has no steps yet.
	UsedKeys func(key string) bool

	// undecided is a check's: what an agent resolves while it uploads is accepted, and what depends
	// on the build is not decided.
	undecided bool
	anyKey    bool // keys that nobody has are warned of: they may be in another upload
}

// Limits bound a plan. Zero means no limit, save that no plan exceeds MaxJobs.
type Limits struct {
	Jobs              int // jobs of one document, a group counting as one
	MatrixDimensions  int
	MatrixValues      int // values of one dimension
	MatrixBytes       int // bytes of a dimension's name or of a value
	MatrixAdjustments int
	MatrixJobs        int // jobs of one matrix step
}

// MaxJobs is the number of jobs that no plan exceeds, whatever the limits say.
const MaxJobs = 100_000

// DefaultLimits are the limits of the service
// (https://buildkite.com/docs/platform/limits, https://buildkite.com/docs/pipelines/configure/workflows/build-matrix).
func DefaultLimits() Limits {
	return Limits{
		Jobs: 500, MatrixDimensions: 6, MatrixValues: 25, MatrixBytes: 128, MatrixAdjustments: 12, MatrixJobs: 50,
	}
}

// Plan works out the steps and jobs of the document. The error, if any, is an *Error that lists
// every problem found. The document does not change, and equal arguments give equal plans.
func (d *Document) Plan(facts Facts, limits Limits) (Plan, error) {
	p := d.planned(facts, limits)
	if err := p.err(); err != nil {
		if e, ok := errors.AsType[*Error](err); ok {
			e.Warnings = p.plan.Warnings
		}
		return Plan{}, err
	}
	return p.plan, nil
}

// planned is Plan before it is given up for what is wrong.
func (d *Document) planned(facts Facts, limits Limits) *planner {
	p := &planner{
		doc: d, facts: facts, limits: limits,
		problems: problems{file: d.file},
		keys:     map[string]int{},
	}
	if d.unplaced {
		p.warn(Position{}, "the document has no line numbers in messages, and keys that stand in it twice go unnoticed; "+
			"split it if it is very large")
	}
	p.top()
	steps := d.steps()
	switch {
	case steps.unset() || steps.isList() && len(steps.items()) == 0:
		p.add(steps.position(), "the document has no steps; add at least one to `steps`")
	case !steps.isList():
		p.add(steps.position(), "`steps` must be a list")
	default:
		p.scope(steps.items(), -1, inherited{})
	}
	if !p.overflow && len(p.list) <= maxProblems {
		p.dependencies()
		p.cycles()
	}
	return p
}

// planner holds one call of Plan.
type planner struct {
	problems
	doc      *Document
	facts    Facts
	limits   Limits
	defaults defaults
	plan     Plan
	keys     map[string]int // step by key
	refs     []dependencyRef
	jobs     int
	overflow bool   // the limit on jobs is reported already
	before   int    // problems before the step at hand
	where    string // the step at hand, for messages that have no position
}

// inherited is what a group passes to its members.
type inherited struct {
	broken string
	skip   string
}

// scope plans the steps of the top level (group -1) or of a group.
func (p *planner) scope(steps []value, group int, from inherited) {
	outer := p.where
	defer func() { p.where = outer }()
	for i, v := range steps {
		if p.overflow || len(p.list) > maxProblems {
			return
		}
		p.where = fmt.Sprintf("step %d", i+1)
		if outer != "" {
			p.where += " of the group in " + outer
		}
		src, ok := p.classify(v)
		if !ok {
			continue
		}
		if src.kind == Group {
			p.group(src, group)
			continue
		}
		s := p.step(src, from)
		s.Group = group
		switch src.kind {
		case Command:
			p.command(&s, src.object)
		case Wait:
			p.wait(&s, src.object)
		case Block, Input:
			p.manual(&s, src.object)
		case Trigger:
			p.trigger(&s, src.object)
		}
		p.plan.Steps = append(p.plan.Steps, s)
	}
}

// step reads the attributes that every kind has.
func (p *planner) step(src source, from inherited) Step {
	p.before = len(p.list)
	p.properties(src.object, src.kind)
	s := Step{
		Kind:                   src.kind,
		Label:                  p.label(src.object, src.kind),
		Key:                    p.key(src.object),
		Broken:                 p.broken(src.object, from.broken),
		Skip:                   p.skip(src.object, from.skip),
		AllowDependencyFailure: p.flag(src.object, "allow_dependency_failure"),
		Definition:             src.definition,
		Notify:                 p.notify(src.get("notify"), condition.StepNotify),
		Pos:                    src.at.position(),
	}
	p.dependsOn(&s, src.object)
	return s
}

func (p *planner) group(src source, outer int) {
	if outer >= 0 {
		p.add(src.at.position(), "Group steps can't be nested within groups")
		return
	}
	s := p.step(src, inherited{})
	s.Group = -1
	p.count(src.object, 1)
	index := len(p.plan.Steps)
	p.plan.Steps = append(p.plan.Steps, s)
	steps := src.get("steps")
	if len(steps.items()) == 0 {
		p.add(steps.position(), "a group needs a list of at least one step in `steps`")
		return
	}
	p.scope(steps.items(), index, inherited{broken: s.Broken, skip: s.Skip})
}

func (p *planner) wait(s *Step, body object) {
	p.count(body, 1)
	nested := body.get("wait", "waiter").object()
	if !nested.has("continue_on_failure") {
		nested = body
	}
	s.Wait = &WaitStep{ContinueOnFailure: p.flag(nested, "continue_on_failure")}
	s.Jobs = []Job{{Label: s.Label, Skip: s.Skip}}
}

// add reports a problem. Where a document has no positions, the message says which step it is about.
func (p *planner) add(pos Position, format string, args ...any) {
	p.problems.add(pos, format, args...)
	if last := &p.list[len(p.list)-1]; pos.Line == 0 && p.where != "" {
		last.Message += " (" + p.where + ")"
	}
}

// warn notes what does not stop the plan, the first hundred times.
func (p *planner) warn(pos Position, format string, args ...any) {
	if len(p.plan.Warnings) >= maxProblems {
		return
	}
	w := problems{file: p.file}
	w.add(pos, format, args...)
	if last := &w.list[0]; pos.Line == 0 && p.where != "" {
		last.Message += " (" + p.where + ")"
	}
	p.plan.Warnings = append(p.plan.Warnings, w.list...)
}

// count adds jobs and reports, once, that they are too many. False: do not make them.
func (p *planner) count(body object, n int) bool {
	limit := p.limits.Jobs
	if limit <= 0 || limit > MaxJobs {
		limit = MaxJobs
	}
	if n > limit || p.jobs > limit-n {
		if !p.overflow {
			p.add(body.at.position(), "The number of jobs in this upload exceeds your organization limit of %d", limit)
		}
		p.overflow = true
		return false
	}
	p.jobs += n
	return true
}
