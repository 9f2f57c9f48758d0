package pipeline

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error says what is wrong with a document, in document order: at least one problem, at most about a
// hundred.
// Its text has one line per problem, then one per warning, and is shown to people as it is.
type Error struct {
	Problems []Problem
	Warnings []Problem // found before planning was given up
}

func (e *Error) Error() string {
	lines := make([]string, 0, len(e.Problems)+len(e.Warnings))
	for _, p := range e.Problems {
		lines = append(lines, p.String())
	}
	for _, w := range e.Warnings {
		lines = append(lines, "warning: "+w.String())
	}
	return strings.Join(lines, "\n")
}

// String reads `file:line:column: message`, without the parts that are unknown.
func (p Problem) String() string {
	switch {
	case p.File == "" && p.Pos.Line == 0:
		return p.Message
	case p.Pos.Line == 0:
		return p.File + ": " + p.Message
	case p.File == "":
		return fmt.Sprintf("line %d, column %d: %s", p.Pos.Line, p.Pos.Column, p.Message)
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Pos.Line, p.Pos.Column, p.Message)
}

// maxProblems is how many problems one error lists.
const maxProblems = 100

// problems collects what is wrong with one document.
type problems struct {
	file string
	list []Problem
}

func (p *problems) add(pos Position, format string, args ...any) {
	message := format
	if len(args) > 0 {
		message = fmt.Sprintf(format, args...)
	}
	p.list = append(p.list, Problem{File: p.file, Pos: pos, Message: message})
}

// err is nil if there are no problems. Problems without a position keep the order they were found in.
func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	list := slices.Clone(p.list)
	slices.SortStableFunc(list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Column, b.Pos.Column))
	})
	list = slices.Compact(list)
	if len(list) > maxProblems {
		list = append(list[:maxProblems], Problem{File: p.file, Message: "there are more problems; these are the first"})
	}
	return &Error{Problems: list}
}

// UnknownVariable is a reference without a default to a variable that the server does not know
// before a job runs. The document itself may be fine: a job that uploads it has more variables.
type UnknownVariable struct {
	Name string
	File string
	Pos  Position // zero if the place could not be found
}

func (e *UnknownVariable) Error() string {
	return Problem{File: e.File, Pos: e.Pos, Message: fmt.Sprintf(
		"$%s is known only to a running job; give it a default as in ${%s:-value}, "+
			"or write $$%s to leave it to the job's shell", e.Name, e.Name, e.Name)}.String()
}

// AgentAttribute is an attribute that an agent resolves while it uploads a document, because it
// needs a checkout, and which the server therefore cannot plan.
type AgentAttribute struct {
	Name string // "if_changed"
	File string
	Pos  Position
}

func (e *AgentAttribute) Error() string { return e.problem().String() }

func (e *AgentAttribute) problem() Problem {
	return Problem{File: e.File, Pos: e.Pos, Message: fmt.Sprintf(
		"`%s` is applied by the agent; upload this document from a step with `pipeline upload`", e.Name)}
}
