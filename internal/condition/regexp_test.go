package condition

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// matcher is an expression of the oracle: from where in a text it may go on, having begun at i. It
// is the definition of what regular expressions mean, without an engine.
type matcher struct {
	pattern string // as people write it
	ends    func(text string, i int) map[int]bool
}

func one(i int) map[int]bool { return map[int]bool{i: true} }

// char matches one byte for which is holds.
func char(pattern string, is func(c byte) bool) matcher {
	return matcher{pattern, func(text string, i int) map[int]bool {
		if i < len(text) && is(text[i]) {
			return one(i + 1)
		}
		return nil
	}}
}

// at matches nothing, where holds says so.
func at(pattern string, holds func(text string, i int) bool) matcher {
	return matcher{pattern, func(text string, i int) map[int]bool {
		if holds(text, i) {
			return one(i)
		}
		return nil
	}}
}

func sequence(a, b matcher) matcher {
	return matcher{a.pattern + b.pattern, func(text string, i int) map[int]bool {
		out := map[int]bool{}
		for k := range a.ends(text, i) {
			for e := range b.ends(text, k) {
				out[e] = true
			}
		}
		return out
	}}
}

func either(a, b matcher) matcher {
	return matcher{"(?:" + a.pattern + "|" + b.pattern + ")", func(text string, i int) map[int]bool {
		out := a.ends(text, i)
		if out == nil {
			out = map[int]bool{}
		}
		for e := range b.ends(text, i) {
			out[e] = true
		}
		return out
	}}
}

// repeat matches from low to high times; high -1 is any number.
func repeat(a matcher, quantifier string, low, high int) matcher {
	return matcher{"(" + a.pattern + ")" + quantifier, func(text string, i int) map[int]bool {
		out, now := map[int]bool{}, one(i)
		for n := 0; len(now) > 0 && (high < 0 || n <= high) && n <= low+len(text)+1; n++ {
			next := map[int]bool{}
			for k := range now {
				if n >= low {
					out[k] = true
				}
				for e := range a.ends(text, k) {
					next[e] = true
				}
			}
			now = next
		}
		return out
	}}
}

func between(low, high byte) func(byte) bool {
	return func(c byte) bool { return low <= c && c <= high }
}

func isDigit(c byte) bool { return between('0', '9')(c) }
func isWord(c byte) bool {
	return isDigit(c) || between('a', 'z')(c) || between('A', 'Z')(c) || c == '_'
}
func isSpace(c byte) bool { return strings.IndexByte(" \t\r\n\f\v", c) >= 0 }

// atoms are the parts that expressions are made of, with Ruby's meaning
// (https://docs.ruby-lang.org/en/3.4/Regexp.html). \Z is not among them: without look-ahead, which RE2
// has not, it takes the newline that it looks at, so that it is right at the end of an expression only.
func atoms() []matcher {
	lineStart := func(text string, i int) bool { return i == 0 || text[i-1] == '\n' }
	lineEnd := func(text string, i int) bool { return i == len(text) || text[i] == '\n' }
	boundary := func(text string, i int) bool {
		before, after := i > 0 && isWord(text[i-1]), i < len(text) && isWord(text[i])
		return before != after
	}
	return []matcher{
		char("a", between('a', 'a')), char("B", between('B', 'B')), char(`\/`, between('/', '/')), char(`\.`, between('.', '.')),
		char(`-`, between('-', '-')), char(`\n`, between('\n', '\n')),
		char(".", func(c byte) bool { return c != '\n' }),
		char("[a-c]", between('a', 'c')), char("[^a-c]", func(c byte) bool { return !between('a', 'c')(c) }),
		char(`[\d_]`, func(c byte) bool { return isDigit(c) || c == '_' }), char(`[-.]`, func(c byte) bool { return c == '-' || c == '.' }),
		char(`\d`, isDigit), char(`\D`, func(c byte) bool { return !isDigit(c) }), char(`\w`, isWord), char(`\W`, func(c byte) bool { return !isWord(c) }),
		char(`\s`, isSpace), char(`\S`, func(c byte) bool { return !isSpace(c) }),
		char(`\h`, func(c byte) bool { return isDigit(c) || between('a', 'f')(c) || between('A', 'F')(c) }),
		at("^", lineStart), at("$", lineEnd), at(`\A`, func(_ string, i int) bool { return i == 0 }),
		at(`\z`, func(text string, i int) bool { return i == len(text) }),
		at(`\b`, boundary), at(`\B`, func(text string, i int) bool { return !boundary(text, i) }),
	}
}

// grown draws an expression of at most the depth.
func grown(t *rapid.T, depth int) matcher {
	if depth == 0 || rapid.IntRange(0, 3).Draw(t, "shape") == 0 {
		return rapid.SampledFrom(atoms()).Draw(t, "atom")
	}
	a := grown(t, depth-1)
	switch rapid.IntRange(0, 2).Draw(t, "shape") {
	case 0:
		return sequence(a, grown(t, depth-1))
	case 1:
		return either(a, grown(t, depth-1))
	}
	quantifier := rapid.SampledFrom([]string{"*", "+", "?", "{2}", "{1,2}", "{1,}", "*?", "+?", "{,2}"}).Draw(t, "quantifier")
	bounds := map[string][2]int{
		"*": {0, -1}, "+": {1, -1}, "?": {0, 1}, "{2}": {2, 2}, "{1,2}": {1, 2}, "{1,}": {1, -1}, "*?": {0, -1}, "+?": {1, -1}, "{,2}": {0, 2},
	}[quantifier]
	return repeat(a, quantifier, bounds[0], bounds[1])
}

// TestRegularExpressionsMeanWhatRubySays holds random expressions on random texts against their
// definition.
func TestRegularExpressionsMeanWhatRubySays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := grown(t, 4)
		x, err := Parse("build.branch =~ /" + m.pattern + "/")
		if err != nil {
			t.Fatalf("/%s/ is refused: %v", m.pattern, err)
		}
		for n := range 4 {
			text := rapid.StringOfN(rapid.SampledFrom([]rune("aabcB01_-./ \n")), 0, 7, -1).Draw(t, fmt.Sprintf("text %d", n))
			want := false
			for i := 0; i <= len(text); i++ {
				want = want || len(m.ends(text, i)) > 0
			}
			got, err := x.Eval(Env{Vars: Vars{"build.branch": String(text)}})
			if err != nil || got != want {
				t.Fatalf("%q =~ /%s/ is %v, %v; want %v", text, m.pattern, got, err, want)
			}
		}
	})
}
