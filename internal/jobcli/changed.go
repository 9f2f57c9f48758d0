package jobcli

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	gopipeline "github.com/buildkite/go-pipeline"

	"github.com/slipway-ci/slipway/internal/pipeline"
)

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
func (c *changeEvaluator) apply(ctx context.Context, steps gopipeline.Steps) {
	pipeline.ApplyIfChanged(steps, func(value any) bool { return c.skips(ctx, value) })
}

// skips decides the if_changed of one step. Whatever cannot be decided runs.
func (c *changeEvaluator) skips(ctx context.Context, value any) bool {
	if !c.enabled || !c.know(ctx) {
		return false
	}
	rule, err := pipeline.NewChangeRule(value)
	if err != nil {
		c.p.warn("%v; the step is not skipped", err)
		return false
	}
	return !rule.Matches(c.changed)
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
