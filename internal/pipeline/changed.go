package pipeline

import (
	"errors"
	"fmt"

	"github.com/bmatcuk/doublestar/v4"
	gopipeline "github.com/buildkite/go-pipeline"
	"github.com/buildkite/go-pipeline/ordered"
)

// UnchangedReason is the reason for which if_changed skips a step, in the agent's words
// (buildkite-agent v3.138.1, clicommand/if_changed.go).
const UnchangedReason = "if_changed matched no unexcluded changed files in this build"

// ChangeRule is a parsed if_changed: patterns of changed files for which a step runs, and of files
// that do not count.
type ChangeRule struct{ include, exclude []string }

// NewChangeRule reads a pattern, a list of them, or a mapping with include and, perhaps, exclude.
func NewChangeRule(v any) (ChangeRule, error) {
	m, ok := v.(*ordered.MapSA)
	if !ok {
		include, err := globs(v)
		return ChangeRule{include: include}, err
	}
	for name := range m.All {
		if name != "include" && name != "exclude" {
			return ChangeRule{}, fmt.Errorf("`if_changed` has no `%s`, only `include` and `exclude`", name)
		}
	}
	include, ok := m.Get("include")
	if !ok {
		return ChangeRule{}, errors.New("`if_changed` is a mapping without `include`")
	}
	var r ChangeRule
	var err error
	if r.include, err = globs(include); err != nil {
		return r, err
	}
	if exclude, ok := m.Get("exclude"); ok {
		r.exclude, err = globs(exclude)
	}
	return r, err
}

func globs(v any) ([]string, error) {
	var patterns []string
	switch v := v.(type) {
	case nil:
	case string:
		patterns = []string{v}
	case []any:
		for _, item := range v {
			s, ok := item.(string)
			if !ok {
				return nil, fmt.Errorf("`if_changed` must be a pattern or a list of patterns, and %v is none", item)
			}
			patterns = append(patterns, s)
		}
	default:
		return nil, errors.New("`if_changed` must be a pattern, a list of patterns, or a mapping with `include`")
	}
	for _, pattern := range patterns {
		if !doublestar.ValidatePattern(pattern) {
			return nil, fmt.Errorf("the pattern %q of `if_changed` is malformed", pattern)
		}
	}
	return patterns, nil
}

// Matches reports whether a changed file is included and not excluded.
func (r ChangeRule) Matches(changed []string) bool {
	for _, file := range changed {
		if matchesAny(r.include, file) && !matchesAny(r.exclude, file) {
			return true
		}
	}
	return false
}

func matchesAny(patterns []string, file string) bool {
	for _, pattern := range patterns {
		if doublestar.MatchUnvalidated(pattern, file) {
			return true
		}
	}
	return false
}

// ApplyIfChanged takes if_changed off every step, those in groups included, and gives a step its
// skip where the function says so. It is called once for each attribute, with its value.
func ApplyIfChanged(steps gopipeline.Steps, skip func(value any) bool) {
	for _, step := range steps {
		switch s := step.(type) {
		case *gopipeline.GroupStep:
			ApplyIfChanged(s.Steps, skip)
			applyIfChanged(s.RemainingFields, skip)
		case *gopipeline.CommandStep:
			applyIfChanged(s.RemainingFields, skip)
		case *gopipeline.TriggerStep:
			applyIfChanged(s.Contents, skip)
		}
	}
}

func applyIfChanged(fields map[string]any, skip func(value any) bool) {
	v := fields["if_changed"]
	delete(fields, "if_changed")
	if v != nil && skip(v) {
		fields["skip"] = UnchangedReason
	}
}

// IfChanged applies the if_changed of the steps to the files that a build changes, as an agent does
// that uploads the document. It is called before Interpolate, which refuses what is left of the
// attribute. A rule that cannot be read does not skip its step; it comes back as a problem.
func (d *Document) IfChanged(files []string) []Problem {
	found := &problems{file: d.file}
	if d.source == nil || !d.hasIfChanged() {
		return nil
	}
	ApplyIfChanged(d.source.Steps, func(v any) bool {
		rule, err := NewChangeRule(v)
		if err != nil {
			found.add(Position{}, "%v; the step is not skipped", err)
			return false
		}
		return !rule.Matches(files)
	})
	if d.normalise(found) != nil {
		return found.list
	}
	return found.list
}

// HasIfChanged says whether a step of a person's document has if_changed.
func (d *Document) HasIfChanged() bool { return d.source != nil && d.hasIfChanged() }

func (d *Document) hasIfChanged() bool { return d.agentAttribute() != nil }

// ifChangedFaults are the rules of if_changed that cannot be read.
func (d *Document) ifChangedFaults() []Problem {
	found := &problems{file: d.file}
	var look func(steps []value)
	look = func(steps []value) {
		for _, step := range steps {
			o, _ := bodyOf(step)
			if v := o.get("if_changed"); !v.unset() {
				v.changeRule(found)
			}
			look(o.get("steps").items())
		}
	}
	look(d.steps().items())
	return found.list
}

func (v value) changeRule(found *problems) {
	rule, err := ordered.DecodeJSON(v.raw)
	if err == nil {
		_, err = NewChangeRule(rule)
	}
	if err != nil {
		found.add(v.position(), "%v; the step is not skipped", err)
	}
}
