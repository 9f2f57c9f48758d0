package annotation

import (
	"strings"
	"testing"
)

// Each of these took minutes of processor time, or all memory, before it was bounded: a job writes it, and the server's pages and API
// render it.
func TestABodyThatAsksForTooMuchStaysAsItWasWritten(t *testing.T) {
	t.Parallel()
	r := New()
	head := strings.Repeat("|a", 2000) + "|\n" + strings.Repeat("|-", 2000) + "|\n"
	for name, c := range map[string]struct {
		body, element string
		most          int
	}{
		"cells":             {head + strings.Repeat("|\n", 100_000), "<td", 0},
		"quotations":        {strings.Repeat("> ", 100_000) + "x", "<blockquote>", maxDepth},
		"lists":             {strings.Repeat("- ", 100_000) + "x", "<ul>", maxDepth},
		"links without end": {strings.Repeat("[a](b", 100_000), "<a", 0},
		"brackets":          {strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000), "<a", 0},
		"emphasis":          {strings.Repeat("*a_", 5000) + " *b*", "<em>", 0},
		"struck out":        {strings.Repeat("~a_", 5000) + " ~~b~~", "<del>", 0},
		"addresses":         {strings.Repeat("[a]: x\n", 50_000), "<a", 50_000},
	} {
		if n := strings.Count(r.HTML(c.body, Options{}), c.element); n > c.most {
			t.Errorf("%s: %d %s, want %d at most", name, n, c.element, c.most)
		}
	}
}

func TestALargeBodyThatPeopleReadIsRendered(t *testing.T) {
	t.Parallel()
	r := New()
	row := "|" + strings.Repeat(" [x](https://a.test/b) [y] |", 8) + "\n"
	for name, c := range map[string]struct {
		body, element string
		want          int
	}{
		"a table of failures": {strings.Repeat("|a", 8) + "|\n" + strings.Repeat("|-", 8) + "|\n" + strings.Repeat(row, 3000), "<a ", 24_000},
		"marks":               {strings.Repeat("**a** _b_ ~~c~~\n", 500), "<em>", 500},
		"a paragraph":         {strings.Repeat("[INFO] see [x](https://a.test/b)\n", 3000), "<a ", 3000},
		"lists in lists":      {nestedLists(20), "<ul>", 20},
		"addresses":           {"[x][a]\n\n" + strings.Repeat("[a]: https://a.test\n", 1000), "<a ", 1},
	} {
		if n := strings.Count(r.HTML(c.body, Options{}), c.element); n != c.want {
			t.Errorf("%s: %d %s, want %d", name, n, c.element, c.want)
		}
	}
}

func nestedLists(depth int) string {
	var b strings.Builder
	for i := range depth {
		b.WriteString(strings.Repeat("  ", i) + "- a\n")
	}
	return b.String()
}

func TestASummaryIsLookedForInTheFirstLines(t *testing.T) {
	t.Parallel()
	r := New()
	for body, want := range map[string]string{
		"# Tests\n\n" + strings.Repeat("- a\n", 100_000): "Tests",
		strings.Repeat("é", 100_000):                     strings.Repeat("é", maxSummed/2),
		strings.Repeat("\n", maxSummed) + "late":         "",
	} {
		if got := r.Summary(body); got != want {
			t.Errorf("the summary has %d bytes, begins with %.20q; want %.20q", len(got), got, want)
		}
	}
}
