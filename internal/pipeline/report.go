package pipeline

import (
	"cmp"
	"errors"
	"slices"
)

// maxListed is how many jobs of a step a report lists.
const maxListed = 100

// Report is what a check found. Its JSON form is an answer of the server's and what
// `slipway pipeline check --json` prints.
type Report struct {
	Problems []Problem `json:"problems"` // for which the document is refused, in its order
	Warnings []Problem `json:"warnings"` // what will likely not go as meant
	// Variables are those that only a job knows; what depends on them is not judged.
	Variables []string `json:"variables,omitempty"`

	// Without problems, the steps in pipeline order, and what command steps need of agents.
	Steps []ReportStep `json:"steps,omitempty"`
	Jobs  int          `json:"jobs"` // a group counts as one
	Needs []Need       `json:"needs,omitempty"`
}

// ReportStep is one step of a report.
type ReportStep struct {
	Kind   Kind   `json:"kind"`
	Key    string `json:"key,omitempty"`
	Name   string `json:"name"` // label, key or command
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	Group  int    `json:"group"` // index of the group it is in, or -1
	// After are the indices of the steps that it waits for, those left out that another of them
	// waits for.
	After []int `json:"after,omitempty"`
	// Stage is the length of the longest chain of steps before it.
	Stage   int         `json:"stage"`
	Never   string      `json:"never,omitempty"` // why it does not run
	Jobs    int         `json:"jobs"`
	Listed  []ReportJob `json:"listed,omitempty"` // the first jobs of a step that has several which differ
	Trigger string      `json:"trigger,omitempty"`
}

// ReportJob is one of several jobs of a step.
type ReportJob struct {
	Label  string            `json:"label"`
	Matrix map[string]string `json:"matrix,omitempty"`
	Skip   string            `json:"skip,omitempty"`
}

// Need is a queue with further rules that jobs ask for.
type Need struct {
	Queue   string   `json:"queue"` // "": the cluster's default
	Rules   []string `json:"rules,omitempty"`
	Steps   []int    `json:"steps"` // indices of the steps that need it
	Jobs    int      `json:"jobs"`
	Service *Serving `json:"service,omitempty"` // nil: nobody knows
}

// OK says that the document can be planned.
func (r Report) OK() bool { return len(r.Problems) == 0 }

// Err is what makes the document unusable, as an *Error with the warnings, or nil.
func (r Report) Err() error {
	if r.OK() {
		return nil
	}
	return &Error{Problems: r.Problems, Warnings: r.Warnings}
}

func problemsOf(err error) []Problem {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Problems
	}
	if e, ok := errors.AsType[*AgentAttribute](err); ok {
		return []Problem{e.problem()}
	}
	return []Problem{{Message: err.Error()}}
}

func sorted(list []Problem) []Problem {
	slices.SortStableFunc(list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Column, b.Pos.Column))
	})
	return slices.Compact(list)
}

// fill describes a plan's steps.
func (r *Report) fill(plan Plan) {
	r.Jobs = plan.JobCount()
	o := orderOf(plan.Steps)
	dropped := droppedIn(plan.Steps)
	for i, s := range plan.Steps {
		step := ReportStep{
			Kind: s.Kind, Key: s.Key, Name: shortName(s), Line: s.Pos.Line, Column: s.Pos.Column, Group: s.Group,
			After: o.after[i], Stage: o.stage[i], Never: neverReason(s), Jobs: len(s.Jobs),
		}
		if dropped[i] {
			step.Never = "the block beside it gates in its place"
		}
		if s.Trigger != nil {
			step.Trigger = s.Trigger.Pipeline
		}
		if len(s.Jobs) > 1 && (s.Jobs[0].Matrix != nil || s.Jobs[0].Label != s.Jobs[1].Label) {
			for _, j := range s.Jobs[:min(maxListed, len(s.Jobs))] {
				step.Listed = append(step.Listed, ReportJob{Label: j.Label, Matrix: j.Matrix, Skip: j.Skip})
			}
		}
		r.Steps = append(r.Steps, step)
	}
}

// droppedIn are the waits of a plan that touch a block and gate nothing.
func droppedIn(steps []Step) map[int]bool {
	out := map[int]bool{}
	for _, members := range scopes(steps) {
		for k, dropped := range droppedWaits(scopeSteps(steps, members)) {
			out[members[k]] = dropped
		}
	}
	return out
}

// neverReason is why a step does not run, as far as the document alone says so.
func neverReason(s Step) string {
	switch {
	case s.Skip == SkipFlag:
		return "it is skipped"
	case s.Skip != "":
		return "it is skipped: " + s.Skip
	}
	return s.Broken
}

// shortName is what people call a step.
func shortName(s Step) string {
	for _, name := range []string{s.Label, s.Key} {
		if name != "" {
			return name
		}
	}
	if s.Trigger != nil {
		return s.Trigger.Pipeline
	}
	if len(s.Jobs) > 0 {
		if line := firstLine(s.Jobs[0].Command); line != "" {
			return line
		}
	}
	return string(s.Kind)
}
