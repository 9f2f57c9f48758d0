package pipeline

import (
	"slices"
	"strings"
)

// lintPlugins warns of plugins that no version is asked of.
func (p *planner) lintPlugins(v value) {
	for _, item := range v.items() {
		names := []string{item.text()}
		if item.isObject() {
			names = nil
			for _, f := range item.object().fields {
				names = append(names, f.name)
			}
		}
		for _, name := range names {
			p.lintPlugin(item, name)
		}
	}
	for _, f := range v.object().fields {
		p.lintPlugin(f.value, f.name)
	}
}

func (p *planner) lintPlugin(at value, name string) {
	local := strings.HasPrefix(name, ".") || strings.HasPrefix(name, "/") || strings.HasPrefix(name, "file:")
	if name != "" && !local && !strings.Contains(name, "#") {
		name = shortPlugin(name)
		p.warn(at.position(), "the plugin %s has no version and changes when its repository does; write %s#v1.2.3", name, name)
	}
}

// shortPlugin is the name that people write for a plugin of which the library made a full source.
func shortPlugin(name string) string {
	path, ours := strings.CutPrefix(name, "github.com/")
	path, plugin := strings.CutSuffix(path, "-buildkite-plugin")
	if !ours || !plugin {
		return name
	}
	return strings.TrimPrefix(path, "buildkite-plugins/")
}

// lintBranches warns of patterns that no branch can match, each that would being taken back, and
// says whether some branch can.
func (p *planner) lintBranches(v value) bool {
	var wanted, not []string
	for _, text := range p.texts(v, "branches") {
		for _, pattern := range strings.Fields(text) {
			if rest, ok := strings.CutPrefix(pattern, "!"); ok {
				not = append(not, rest)
			} else {
				wanted = append(wanted, pattern)
			}
		}
	}
	gone := func(pattern string) bool { return slices.Contains(not, "*") || slices.Contains(not, pattern) }
	if len(not) > 0 && !slices.ContainsFunc(wanted, func(w string) bool { return !gone(w) }) && (len(wanted) > 0 || gone("*")) {
		p.warn(v.position(), "the step never runs: no branch matches `branches`")
		return false
	}
	return true
}
