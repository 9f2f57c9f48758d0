package pipeline

import (
	"slices"
	"strings"

	"github.com/buildkite/interpolate"
)

// Interpolate expands variables in a document that Parse read, with the rules of
// github.com/buildkite/interpolate v0.1.5 and in the order of go-pipeline: top-level `env` first,
// entry by entry, its results visible to everything after them. lookup answers for the variables
// that the server knows before the build exists. `$$` and `\$` stand for a dollar sign.
//
// It returns *AgentAttribute if a step has if_changed, *UnknownVariable for a reference without a
// default to any other variable, and *Error for a malformed reference. After an error the document
// must not be used. A document from ParseJSON is left untouched: the agent has interpolated it.
func (d *Document) Interpolate(lookup func(name string) (string, bool)) error {
	if d.source == nil {
		return nil
	}
	if err := d.agentAttribute(); err != nil {
		return err
	}
	env := &recorder{lookup: lookup, set: map[string]string{}}
	err := d.source.Interpolate(env, false)
	if unknown := d.unknownVariable(env.missed); unknown != nil {
		return unknown
	}
	found := &problems{file: d.file}
	if err != nil {
		d.malformed(err, found)
		return found.err()
	}
	return d.normalise(found)
}

// editorVariables are what the service interpolates into steps kept with the pipeline, before the
// build exists (https://buildkite.com/docs/pipelines/configure/environment-variables).
var editorVariables = set("BRANCH TAG MESSAGE COMMIT PIPELINE_SLUG PIPELINE_NAME PIPELINE_ID ORGANIZATION_SLUG " +
	"TRIGGERED_FROM_BUILD_PIPELINE_SLUG REPO PULL_REQUEST PULL_REQUEST_BASE_BRANCH PULL_REQUEST_REPO " +
	"MERGE_QUEUE_BASE_BRANCH MERGE_QUEUE_BASE_COMMIT")

// EditorVariable says whether a variable may be interpolated into a pipeline's own configuration.
func EditorVariable(name string) bool {
	rest, ok := strings.CutPrefix(name, "BUILDKITE_")
	return ok && editorVariables[rest]
}

// recorder is the environment of one interpolation. It remembers what was asked for in vain.
type recorder struct {
	lookup func(string) (string, bool)
	set    map[string]string
	missed []string
}

func (r *recorder) Get(name string) (string, bool) {
	if v, ok := r.set[name]; ok {
		return v, true
	}
	if r.lookup != nil {
		if v, ok := r.lookup(name); ok {
			return v, true
		}
	}
	r.missed = append(r.missed, name)
	return "", false
}

// Set is called for each entry of the top-level env, directly after the library has asked whether
// the environment has it already: that question is no reference.
func (r *recorder) Set(name, v string) {
	if n := len(r.missed); n > 0 && r.missed[n-1] == name {
		r.missed = r.missed[:n-1]
	}
	r.set[name] = v
}

// unknownVariable finds the first reference, in document order, that has no default. The library
// asks for a variable whether its reference has a default or not, and visits maps in random order,
// so the text decides. A missed name that the text does not show is reported without a place.
func (d *Document) unknownVariable(missed []string) error {
	if len(missed) == 0 {
		return nil
	}
	defaulted := map[string]bool{}
	for _, s := range d.tree.strings() {
		refs := references(s.text)
		for _, r := range refs {
			if slices.Contains(missed, r.name) && !r.defaulted {
				return &UnknownVariable{Name: r.name, File: d.file, Pos: s.pos}
			}
			defaulted[r.name] = true
		}
	}
	slices.Sort(missed)
	for _, name := range missed {
		if !defaulted[name] {
			return &UnknownVariable{Name: name, File: d.file}
		}
	}
	return nil
}

type reference struct {
	name      string
	defaulted bool
}

// references are the variables that a text refers to, those inside defaults included.
func references(text string) []reference {
	expr, err := interpolate.NewParser(text).Parse()
	if err != nil {
		return nil
	}
	return appendReferences(nil, expr)
}

func appendReferences(list []reference, expr interpolate.Expression) []reference {
	for _, item := range expr {
		switch e := item.Expansion.(type) {
		case interpolate.VariableExpansion:
			list = append(list, reference{e.Identifier, false})
		case interpolate.SubstringExpansion:
			list = append(list, reference{e.Identifier, false})
		case interpolate.RequiredExpansion:
			list = appendReferences(append(list, reference{e.Identifier, false}), e.Message)
		case interpolate.EmptyValueExpansion:
			list = appendReferences(append(list, reference{e.Identifier, true}), e.Content)
		case interpolate.UnsetValueExpansion:
			list = appendReferences(append(list, reference{e.Identifier, true}), e.Content)
		}
	}
	return list
}

// malformed reports every text that cannot be interpolated; the library stops at one of them.
func (d *Document) malformed(err error, found *problems) {
	for _, s := range d.tree.strings() {
		if _, fault := interpolate.NewParser(s.text).Parse(); fault != nil {
			found.add(s.pos, "a variable reference is malformed: %s; write $$ for a dollar sign", lowerFirst(fault.Error()))
		}
	}
	if len(found.list) == 0 {
		found.add(Position{}, "a variable reference is malformed: %s", lastClause(err.Error()))
	}
}

// agentAttribute finds if_changed on a step or in a group.
func (d *Document) agentAttribute() error {
	for _, step := range d.steps().items() {
		if err := d.ifChanged(step); err != nil {
			return err
		}
		for _, inner := range step.object().get("steps").items() {
			if err := d.ifChanged(inner); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *Document) ifChanged(step value) error {
	o, _ := bodyOf(step)
	if o.get("if_changed").unset() {
		return nil
	}
	return &AgentAttribute{Name: "if_changed", File: d.file, Pos: o.at.keyPosition("if_changed")}
}

// lowerFirst makes a library's capitalised message part of a sentence.
func lowerFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}
