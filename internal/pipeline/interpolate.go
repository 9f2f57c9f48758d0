package pipeline

import (
	"maps"
	"slices"
	"strings"

	"github.com/buildkite/go-pipeline/ordered"
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
	if unknown := d.unknownVariable(&environment{lookup: lookup, set: map[string]string{}}); unknown != nil {
		return unknown
	}
	return d.expand(lookup)
}

// InterpolateEditor is Interpolate for a document that is kept with its pipeline. It looks up
// nothing but what EditorVariable allows. Any other variable is unset, unless the document sets it:
// it expands to its default or to nothing, and `${X?why}` is an *Error. The names of those that
// expanded to nothing are returned, sorted.
func (d *Document) InterpolateEditor(lookup func(name string) (string, bool)) ([]string, error) {
	if d.source == nil {
		return nil, nil
	}
	if err := d.agentAttribute(); err != nil {
		return nil, err
	}
	allowed := func(name string) (string, bool) {
		if !EditorVariable(name) {
			return "", false
		}
		return lookup(name)
	}
	unset := map[string]bool{}
	if err := d.unknownVariable(&environment{lookup: allowed, set: map[string]string{}, unset: unset}); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(unset)), d.expand(allowed)
}

func (d *Document) expand(lookup func(name string) (string, bool)) error {
	found := &problems{file: d.file}
	if err := d.source.Interpolate(&environment{lookup: lookup, set: map[string]string{}}, false); err != nil {
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

// environment is what one interpolation sees: the document's env so far, over the server's variables.
type environment struct {
	lookup func(string) (string, bool)
	set    map[string]string
	// unset, if not nil, gathers the variables that a text needs and the environment lacks.
	unset map[string]bool
}

func (e *environment) Get(name string) (string, bool) {
	if v, ok := e.set[name]; ok {
		return v, true
	}
	if e.lookup != nil {
		return e.lookup(name)
	}
	return "", false
}

func (e *environment) Set(name, v string) { e.set[name] = v }

// unknownVariable finds a reference that nothing resolves: first in the top-level env, where an
// entry sees only those before it, then in document order. Texts that cannot be parsed are left to
// the library.
func (d *Document) unknownVariable(env *environment) error {
	for k, v := range d.source.Env.All {
		for _, text := range []string{k, v} {
			if name := unresolved(text, env); name != "" {
				return &UnknownVariable{Name: name, File: d.file, Pos: d.firstUse(name)}
			}
		}
		name, nameErr := interpolate.Interpolate(env, k)
		value, valueErr := interpolate.Interpolate(env, v)
		if nameErr == nil && valueErr == nil {
			env.Set(name, value)
		}
	}
	for _, s := range d.texts() {
		if name := unresolved(s.text, env); name != "" {
			return &UnknownVariable{Name: name, File: d.file, Pos: s.pos}
		}
	}
	return nil
}

// firstUse is the first text that refers to a variable without giving a default.
func (d *Document) firstUse(name string) Position {
	for _, s := range d.texts() {
		if unresolved(s.text, &environment{lookup: func(n string) (string, bool) { return "", n != name }}) != "" {
			return s.pos
		}
	}
	return Position{}
}

// texts are the strings of the document, with their places if it has any.
func (d *Document) texts() []placedText {
	if d.tree != nil {
		return d.tree.strings()
	}
	o, err := ordered.DecodeJSON(d.root.raw)
	if err != nil {
		return nil
	}
	return appendTexts(nil, o)
}

func appendTexts(list []placedText, o any) []placedText {
	switch o := o.(type) {
	case string:
		list = append(list, placedText{text: o})
	case []any:
		for _, v := range o {
			list = appendTexts(list, v)
		}
	case *ordered.MapSA:
		for k, v := range o.All {
			list = appendTexts(append(list, placedText{text: k}), v)
		}
	}
	return list
}

// unresolved is the first variable that a text needs and the environment lacks, or "".
func unresolved(text string, env *environment) string {
	expr, err := interpolate.NewParser(text).Parse()
	if err != nil {
		return ""
	}
	return unresolvedIn(expr, env)
}

func unresolvedIn(expr interpolate.Expression, env *environment) string {
	for _, item := range expr {
		name := ""
		switch e := item.Expansion.(type) {
		case interpolate.VariableExpansion:
			name = missing(e.Identifier, env)
		case interpolate.SubstringExpansion:
			name = missing(e.Identifier, env)
		case interpolate.RequiredExpansion:
			name = missing(e.Identifier, env)
		case interpolate.EmptyValueExpansion:
			if v, _ := env.Get(e.Identifier); v == "" {
				name = unresolvedIn(e.Content, env)
			}
		case interpolate.UnsetValueExpansion:
			if _, ok := env.Get(e.Identifier); !ok {
				name = unresolvedIn(e.Content, env)
			}
		}
		if name != "" {
			return name
		}
	}
	return ""
}

func missing(name string, env *environment) string {
	if _, ok := env.Get(name); ok {
		return ""
	}
	if env.unset != nil {
		env.unset[name] = true
		return ""
	}
	return name
}

// malformed reports every text that cannot be interpolated; the library stops at one of them.
func (d *Document) malformed(err error, found *problems) {
	for _, s := range d.texts() {
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

// guess stands for the value of a variable that only a job knows. It is a number, a key, a name.
const guess = "1"

// guesses are the variables that a document needs and that nobody knows before a job runs.
type guesses struct {
	names  map[string]bool     // those that the document's env sets included
	asked  []string            // without them, sorted
	places map[Position]string // of the texts that hold one of them, with its name
	values map[string]bool     // those texts, with a guess in place of the variable
}

// guess finds the variables that lookup does not know and that have no default where they are used.
// A variable of the document's env that is made of such a one is such a one too.
func (d *Document) guess(lookup func(string) (string, bool)) guesses {
	g := guesses{names: map[string]bool{}, places: map[Position]string{}, values: map[string]bool{}}
	env := &environment{lookup: lookup, set: map[string]string{}}
	guessed := &environment{set: map[string]string{}, lookup: func(name string) (string, bool) {
		if v, ok := lookup(name); ok {
			return v, true
		}
		return guess, g.names[name]
	}}
	for k, v := range d.source.Env.All {
		if unresolved(k, env) == "" && unresolved(v, env) == "" {
			if v, err := interpolate.Interpolate(env, v); err == nil {
				env.Set(k, v)
			}
		}
	}
	gather := &environment{lookup: env.Get, set: map[string]string{}, unset: g.names}
	for _, s := range d.texts() {
		unresolved(s.text, gather)
	}
	for name := range g.names {
		if !d.source.Env.Contains(name) {
			g.asked = append(g.asked, name)
		}
	}
	slices.Sort(g.asked)
	for _, s := range d.texts() {
		name := unresolved(s.text, env)
		if name == "" {
			continue
		}
		g.places[s.pos] = name
		if v, err := interpolate.Interpolate(guessed, s.text); err == nil {
			g.values[v] = true
		}
	}
	return g
}
