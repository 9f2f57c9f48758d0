package ci

// StepKind is the kind of a step.
type StepKind string

// The step kinds.
const (
	StepCommand StepKind = "command"
	StepWait    StepKind = "wait"
	StepBlock   StepKind = "block"
	StepInput   StepKind = "input"
	StepTrigger StepKind = "trigger"
	StepGroup   StepKind = "group"
)

// StepState is where a step is, in the words of the conditional language's step.state
// (https://buildkite.com/docs/pipelines/configure/conditionals).
type StepState string

// The step states.
const (
	StepIgnored     StepState = "ignored"
	StepWaiting     StepState = "waiting_for_dependencies"
	StepReady       StepState = "ready"
	StepNeedsPerson StepState = "waiting_for_input"
	StepRunning     StepState = "running"
	StepFailing     StepState = "failing"
	StepFinished    StepState = "finished"
	StepCanceled    StepState = "canceled"
)

// StepStates lists every step state.
var StepStates = []StepState{
	StepIgnored, StepWaiting, StepReady, StepNeedsPerson,
	StepRunning, StepFailing, StepFinished, StepCanceled,
}

// Outcome is how a step went, in the words of step.outcome.
type Outcome string

// The outcomes, best first.
const (
	OutcomeNeutral    Outcome = "neutral"
	OutcomePassed     Outcome = "passed"
	OutcomeSoftFailed Outcome = "soft_failed"
	OutcomeHardFailed Outcome = "hard_failed"
	OutcomeErrored    Outcome = "errored"
)

// Outcomes lists every outcome.
var Outcomes = []Outcome{OutcomeNeutral, OutcomePassed, OutcomeSoftFailed, OutcomeHardFailed, OutcomeErrored}

// Step is one step of a build: what it waits for and what its jobs amount to. A group is a step
// whose jobs are those of its members.
type Step struct {
	ID                string
	Kind              StepKind
	GroupID           string // the group it is a member of, or ""
	ContinueOnFailure bool   // waits: pass over failures
	Deps              Deps
	Jobs              Tally
}

// Deps counts a step's dependencies by what they allow.
type Deps struct {
	Open    int // have not ended
	Failed  int // ended so that the step must not run
	Tainted int // ended in a failure that the step tolerates
}

// Readiness is what a step's dependencies amount to.
type Readiness string

// The readinesses.
const (
	DepsOpen   Readiness = "open"
	DepsMet    Readiness = "met"
	DepsFailed Readiness = "failed"
)

// Readiness says whether the step may run. One failed dependency decides, whatever is still open.
func (d Deps) Readiness() Readiness {
	switch {
	case d.Failed > 0:
		return DepsFailed
	case d.Open > 0:
		return DepsOpen
	}
	return DepsMet
}

// Edge is a dependency between two steps of a build. A gate edge leads from a group to a member
// and carries what the group itself depends on; a plain edge carries how its source ended.
type Edge struct {
	From, To     string
	AllowFailure bool
	Gate         bool
}

// Add returns d with a new edge counted, whose source tells s. to is the dependant.
func (d Deps) Add(e Edge, to Step, s Signal) Deps { return d.add(e.weigh(to, s), 1) }

// Remove returns d without an edge whose source tells s.
func (d Deps) Remove(e Edge, to Step, s Signal) Deps { return d.add(e.weigh(to, s), -1) }

// Count returns d with an edge's end counted from before to after. to is the dependant.
func (d Deps) Count(e Edge, to Step, before, after Signal) Deps {
	d = d.add(e.weigh(to, before), -1)
	return d.add(e.weigh(to, after), 1)
}

func (d Deps) add(w weight, n int) Deps {
	switch w {
	case weighOpen:
		d.Open += n
	case weighFailed:
		d.Failed += n
	case weighTainted:
		d.Tainted += n
	}
	return d
}

// Signal is what a step tells the steps behind its edges.
type Signal struct {
	End  End       // for plain edges
	Gate Readiness // for gate edges: a group's own readiness; "" of other steps
	Wait bool      // the source is a wait step
}

// Signal is what s tells its dependants now.
func (s Step) Signal() Signal {
	tells := Signal{End: s.End(), Wait: s.Kind == StepWait}
	if s.Kind == StepGroup {
		tells.Gate = s.Deps.Readiness()
	}
	return tells
}

type weight int

const (
	weighNothing weight = iota
	weighOpen
	weighFailed
	weighTainted
)

// weigh is the satisfaction table (https://buildkite.com/docs/pipelines/configure/dependencies):
// what an edge counts as for its dependant, given what its source tells.
func (e Edge) weigh(to Step, s Signal) weight {
	if e.Gate {
		return weighGate(s.Gate)
	}
	switch s.End {
	case NotEnded:
		return weighOpen
	case EndPassed, EndSoft, EndSkipped:
		return weighNothing
	case EndCanceled:
		return weighFailed
	case EndTainted:
		return to.weighTaint(e)
	}
	// A wait that stopped ends everything behind it, a later continue_on_failure wait included.
	passesOver := to.ContinueOnFailure && (!s.Wait || s.End != EndNotRun)
	if e.AllowFailure || passesOver {
		return weighTainted
	}
	return weighFailed
}

func weighGate(r Readiness) weight {
	switch r {
	case DepsOpen:
		return weighOpen
	case DepsFailed:
		return weighFailed
	}
	return weighNothing
}

func (s Step) weighTaint(e Edge) weight {
	switch {
	case s.Kind != StepWait && s.Kind != StepBlock:
		return weighNothing
	case s.ContinueOnFailure || e.AllowFailure:
		return weighTainted
	}
	return weighFailed
}

// End is how the step ended for the steps that depend on it; NotEnded while a job is open.
func (s Step) End() End {
	end := s.Jobs.End()
	if s.Kind == StepWait && end == EndPassed && s.Deps.Tainted > 0 {
		return EndTainted
	}
	return end
}

// State is where the step is.
func (s Step) State() StepState {
	switch s.End() {
	case NotEnded:
		return s.openState()
	case EndCanceled:
		return StepCanceled
	case EndSkipped, EndNotRun:
		return StepIgnored
	}
	return StepFinished
}

func (s Step) openState() StepState {
	ended := s.Jobs.Total() - s.Jobs.Open() - s.Jobs[ClassSkipped]
	switch {
	case s.Jobs.Failed() > 0:
		return StepFailing
	case s.Jobs.Running() > 0, ended > 0:
		return StepRunning
	case s.Jobs[ClassReady] > 0:
		return StepReady
	case s.Jobs[ClassBlocked] > 0:
		return StepNeedsPerson
	}
	return StepWaiting
}

// Outcome is how the step went; neutral until it has ended and where nothing ran.
func (s Step) Outcome() Outcome {
	t := s.Jobs
	switch {
	case t.Open() > 0:
		return OutcomeNeutral
	case t[ClassErrored]+t[ClassCanceled] > 0:
		return OutcomeErrored
	case t[ClassHardFailed] > 0:
		return OutcomeHardFailed
	case t[ClassSoftFailed] > 0:
		return OutcomeSoftFailed
	case t[ClassPassed] > 0:
		return OutcomePassed
	}
	return OutcomeNeutral
}
