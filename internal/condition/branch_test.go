package condition

import (
	"regexp"
	"strings"
	"testing"
)

func TestMatchBranch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		patterns, branch string
		want             bool
	}{
		{"", "main", true},
		{"*", "a/b", true},
		{"main", "main", true},
		{"main", "Main", false},
		{"main", "main2", false},
		{"main feature/* !feature/beta", "feature/alpha", true},
		{"main feature/* !feature/beta", "feature/beta", false},
		{"main feature/* !feature/beta", "fix", false},
		{"feature/*", "feature/a/b", true},
		{"!production", "anything", true},
		{"!production", "production", false},
		{"!release/* release/1", "release/1", false},
		{"*-rc", "v1-rc-rc", true},
		{"*a*a", "a", false},
		{"v1.*", "v1x0", false},
		{"a[bc]?", "ab", false},
		{"  main\n dev ", "dev", true},
		{"v*", "v1.0", true},
	} {
		if got := MatchBranch(c.patterns, c.branch); got != c.want {
			t.Errorf("MatchBranch(%q, %q) = %v", c.patterns, c.branch, got)
		}
		if got := MatchBranches(strings.Fields(c.patterns), c.branch); got != c.want {
			t.Errorf("MatchBranches(%q, %q) = %v", c.patterns, c.branch, got)
		}
	}
}

// The matcher agrees with the regular expression that the pattern means.
func FuzzMatchBranch(f *testing.F) {
	f.Add("a*b*c", "abxbc")
	f.Add("*ab*ab", "ab")
	f.Add("**", "")
	f.Fuzz(func(t *testing.T, pattern, branch string) {
		if fields := strings.Fields(pattern); len(fields) != 1 || fields[0] != pattern || pattern[0] == '!' {
			return
		}
		quoted := strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `.*`)
		re, err := regexp.Compile(`(?s)\A` + quoted + `\z`)
		if err != nil {
			return
		}
		if got := MatchBranch(pattern, branch); got != re.MatchString(branch) && strings.ToValidUTF8(branch, "") == branch {
			t.Errorf("MatchBranch(%q, %q) = %v", pattern, branch, got)
		}
	})
}
