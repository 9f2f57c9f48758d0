package jobcli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/buildkite/go-pipeline"
	"github.com/buildkite/go-pipeline/ordered"
)

// skipReason is shown with a step that if_changed left out; the limit is 70
// characters.
const skipReason = "if_changed matched no unexcluded changed files in this build"

// changeFlags say how if_changed finds the files that a build changes.
type changeFlags struct {
	apply *bool
	base  *string
	fetch *bool
	list  *string
}

func (f *flags) changes() changeFlags {
	return changeFlags{
		apply: f.bool("apply-if-changed", "BUILDKITE_AGENT_APPLY_IF_CHANGED,BUILDKITE_AGENT_APPLY_SKIP_IF_UNCHANGED", true, "skip steps whose if_changed matches no changed file"),
		base:  f.text("git-diff-base", "BUILDKITE_GIT_DIFF_BASE", "", "what changes are counted from; default: the base branch of the pull request, else the default branch"),
		fetch: f.yes("fetch-diff-base", "BUILDKITE_FETCH_DIFF_BASE", "fetch the base first"),
		list:  f.text("changed-files-path", "BUILDKITE_CHANGED_FILES_PATH", "", "a file with the changed files, one a line, instead of asking git"),
	}
}

// changeEvaluator turns if_changed into skip, or removes it. The changed files
// are found once, when the first step asks for them.
type changeEvaluator struct {
	p       *program
	flags   changeFlags
	base    string
	enabled bool
	known   bool
	changed []string
}

func (c changeFlags) evaluator(p *program) *changeEvaluator {
	return &changeEvaluator{p: p, flags: c, base: c.diffBase(p.env), enabled: *c.apply}
}

func (c changeFlags) diffBase(env environ) string {
	if *c.base != "" {
		return *c.base
	}
	for _, name := range []string{"BUILDKITE_PULL_REQUEST_BASE_BRANCH", "BUILDKITE_PIPELINE_DEFAULT_BRANCH"} {
		if env[name] != "" {
			return "origin/" + env[name]
		}
	}
	return "origin/main"
}

// apply handles if_changed in steps and, for groups, in the steps within.
func (c *changeEvaluator) apply(ctx context.Context, steps pipeline.Steps) {
	for _, step := range steps {
		switch s := step.(type) {
		case *pipeline.GroupStep:
			c.apply(ctx, s.Steps)
			c.applyTo(ctx, s.RemainingFields)
		case *pipeline.CommandStep:
			c.applyTo(ctx, s.RemainingFields)
		case *pipeline.TriggerStep:
			c.applyTo(ctx, s.Contents)
		}
	}
}

// applyTo handles the if_changed of one step. Whatever cannot be decided runs.
func (c *changeEvaluator) applyTo(ctx context.Context, fields map[string]any) {
	value := fields["if_changed"]
	delete(fields, "if_changed")
	if value == nil || !c.enabled {
		return
	}
	if !c.know(ctx) {
		return
	}
	rule, err := newChangeRule(value)
	if err != nil {
		c.p.warn("%v; the step is not skipped", err)
		return
	}
	if !rule.matches(c.changed) {
		fields["skip"] = skipReason
	}
}

// know finds the changed files. If that is impossible, no step is skipped.
func (c *changeEvaluator) know(ctx context.Context) bool {
	if c.known {
		return true
	}
	changed, err := c.find(ctx)
	if err != nil {
		c.p.warn("if_changed is ignored because the changed files are not known: %v; give another --git-diff-base or BUILDKITE_GIT_DIFF_BASE, or --fetch-diff-base", err)
		c.enabled = false
		return false
	}
	c.changed, c.known = changed, true
	c.p.note("if_changed found %d changed files", len(changed))
	return true
}

func (c *changeEvaluator) find(ctx context.Context) ([]string, error) {
	if name := *c.flags.list; name != "" {
		if !filepath.IsAbs(name) {
			name = filepath.Join(c.p.dir, name)
		}
		text, err := os.ReadFile(name)
		return lines(string(text)), err
	}
	if *c.flags.fetch {
		remote, ref, ok := strings.Cut(c.base, "/")
		if !ok {
			remote, ref = "origin", c.base
		}
		if _, err := c.p.git(ctx, "fetch", "--", remote, ref); err != nil {
			c.p.warn("the base of if_changed was not fetched: %v", err)
		}
	}
	return c.diff(ctx)
}

// diff lists the files that differ from where the branch left its base. On the
// base itself, as in a build of the main branch, it lists those of the last
// commit against its first parent.
func (c *changeEvaluator) diff(ctx context.Context) ([]string, error) {
	base, err := c.p.git(ctx, "rev-parse", "--verify", c.base)
	if err != nil {
		return nil, err
	}
	head, err := c.p.git(ctx, "rev-parse", "HEAD")
	if err != nil {
		return nil, err
	}
	if base == head {
		c.p.warn("if_changed looks at the last commit only, because HEAD is %s", c.base)
		out, err := c.p.git(ctx, "log", "--first-parent", "-1", "--name-only", "--pretty=format:")
		return lines(out), err
	}
	fork, err := c.p.git(ctx, "merge-base", strings.TrimSpace(base), "HEAD")
	if err != nil {
		return nil, err
	}
	out, err := c.p.git(ctx, "diff", "--name-only", strings.TrimSpace(fork))
	return lines(out), err
}

func lines(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}

// changeRule is a parsed if_changed.
type changeRule struct{ include, exclude []string }

// newChangeRule reads a pattern, a list of them, or a mapping with include and,
// perhaps, exclude.
func newChangeRule(value any) (changeRule, error) {
	m, ok := value.(*ordered.MapSA)
	if !ok {
		include, err := globs(value)
		return changeRule{include: include}, err
	}
	include, ok := m.Get("include")
	if !ok {
		return changeRule{}, fmt.Errorf("if_changed is a mapping without include")
	}
	var r changeRule
	var err error
	if r.include, err = globs(include); err != nil {
		return r, err
	}
	if exclude, ok := m.Get("exclude"); ok {
		r.exclude, err = globs(exclude)
	}
	return r, err
}

func globs(value any) ([]string, error) {
	var patterns []string
	switch v := value.(type) {
	case nil:
	case string:
		patterns = []string{v}
	case []any:
		for _, item := range v {
			s, ok := item.(string)
			if !ok {
				return nil, fmt.Errorf("if_changed has an item of type %T, want a pattern", item)
			}
			patterns = append(patterns, s)
		}
	default:
		return nil, fmt.Errorf("if_changed has type %T, want a pattern or a list of patterns", value)
	}
	for _, pattern := range patterns {
		if !doublestar.ValidatePattern(pattern) {
			return nil, fmt.Errorf("if_changed pattern %q is malformed", pattern)
		}
	}
	return patterns, nil
}

// matches reports whether a changed file is included and not excluded.
func (r changeRule) matches(changed []string) bool {
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
