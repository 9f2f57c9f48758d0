package condition

import "strings"

// MatchBranch reports whether a branch passes a filter: patterns separated by
// spaces, in which `*` stands for any characters, slashes too, and a leading
// `!` excludes. The branch passes if some pattern, or no pattern at all,
// includes it and none excludes it. Case counts. For a build of a tag, branch
// is the tag's name.
//
// See https://buildkite.com/docs/pipelines/configure/workflows/branch-configuration.
func MatchBranch(patterns, branch string) bool {
	return matchFields(strings.Fields(patterns), branch)
}

// MatchBranches is MatchBranch for patterns given as a list. An element may
// itself hold several patterns: no branch name contains a space.
func MatchBranches(patterns []string, branch string) bool {
	return MatchBranch(strings.Join(patterns, " "), branch)
}

func matchFields(patterns []string, branch string) bool {
	positive, included := false, false
	for _, p := range patterns {
		if excluded, ok := strings.CutPrefix(p, "!"); ok {
			if Glob(excluded, branch) {
				return false
			}
			continue
		}
		positive = true
		included = included || Glob(p, branch)
	}
	return included || !positive
}

// Glob reports whether s matches a pattern in which `*` stands for any characters, slashes too. It
// matches the pieces between stars from left to right, each at its first
// place, and the last at the end.
func Glob(pattern, s string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	s, ok := strings.CutPrefix(s, head)
	if !ok || !star {
		return ok && s == ""
	}
	pieces := strings.Split(rest, "*")
	last := pieces[len(pieces)-1]
	for _, piece := range pieces[:len(pieces)-1] {
		if _, s, ok = strings.Cut(s, piece); !ok {
			return false
		}
	}
	return strings.HasSuffix(s, last)
}
