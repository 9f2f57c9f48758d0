package lines

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func never() bool { return false }

func query(t testing.TB, s string) Query {
	t.Helper()
	q, err := ParseQuery(s)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func TestSearchFindsLines(t *testing.T) {
	t.Parallel()
	log := strings.Join([]string{
		"\x1b_bk;t=1700000000000\aerror: \x1b[31mno such\x1b[0m file", "Error: NO", "10%\r50%\rdone", "wait\x1b[1A\x1b[2Kover", "path/to/x.go:17",
	}, "\n")
	for s, want := range map[string][]int64{
		"error":           {0, 1},
		"Error":           {1},
		"no such":         {0},
		"bk;t=":           nil,
		"50%":             nil, // overwritten before the cursor left the row
		"done":            {2},
		"over":            {2},
		"/^error/":        {0, 1},
		"/^Error/":        {1},
		`/\.go:\d+$/`:     {3},
		`/\S+\/X/`:        nil,
		`/\P{Greek}.go/`:  {3},
		"//":              nil,
		"/":               {3},
		"/no|DONE/":       {0},
		"/(?i)no|done/":   {0, 1, 2},
		"/^(wait|over)$/": {2, 3},
	} {
		got, err := Search(source(log), Checkpoint{}, query(t, s), 0, 10, never)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(Found{want, -1}, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s", s, diff)
		}
	}
}

// Tools print whole documents as one line.
func TestSearchLooksAtAllOfALongLine(t *testing.T) {
	t.Parallel()
	log := "short\n{" + strings.Repeat(`"key": "value", `, 50_000) + "\"last\": \x1b[31m1\x1b[0m}\n" + strings.Repeat("x", patternText-3) + "end\n"
	for s, want := range map[string][]int64{`"last": 1}`: {1}, "LAST": nil, "/x(end)$/": {2}, "end": {2}} {
		got, err := Search(source(log), Checkpoint{}, query(t, s), 0, 10, never)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(Found{want, -1}, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s", s, diff)
		}
	}
}

func TestQueriesThatCannotBeAnsweredSaySo(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"":                           "a search has 1 to",
		strings.Repeat("x", 2000):    "a search has 1 to",
		"/(/":                        "bad pattern: missing closing ): (",
		"/a**/":                      "bad pattern: invalid nested repetition operator",
		`/\q/`:                       "bad pattern: invalid escape sequence",
		"/((a{100}){100}){100}/":     "bad pattern: invalid repeat count",
		"/(ab|cd){300}(ef|gh){300}/": "bad pattern: too large, repeat less",
	} {
		if _, err := ParseQuery(s); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", s, err, want)
		}
	}
}

// Pages of any size, each ended at any moment, hold together what one search finds.
func TestPagesOfASearchAreTheWhole(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		log := strings.Repeat(drawLog(rt)+"\n", rapid.IntRange(1, 40).Draw(rt, "times"))
		q := query(t, rapid.SampledFrom([]string{"a", "e", "/[0-9]/", "one"}).Draw(rt, "query"))
		whole, err := Search(source(log), Checkpoint{}, q, 0, 1<<20, never)
		if err != nil {
			rt.Fatal(err)
		}
		var pages []int64
		for from := int64(0); from >= 0; {
			patience := rapid.IntRange(2, 5).Draw(rt, "patience")
			stop := func() bool { patience--; return patience < 0 && from > 0 }
			page, err := Search(source(log), Checkpoint{}, q, from, rapid.IntRange(1, 50).Draw(rt, "limit"), stop)
			if err != nil {
				rt.Fatal(err)
			}
			if page.Next == from && len(page.Lines) == 0 {
				page, _ = Search(source(log), Checkpoint{}, q, from, 50, never) // it was ended before it began
			}
			pages, from = append(pages, page.Lines...), page.Next
		}
		if diff := cmp.Diff(whole.Lines, pages, cmpopts.EquateEmpty()); diff != "" {
			rt.Fatal(diff)
		}
	})
}

func FuzzParseQuery(f *testing.F) {
	for _, s := range []string{"text", "/a(b|c)*/", `/\pL+[^\n]{2,}$/`, "/(?i:x)/", `/\p{Greek}\`, "/\\/"} {
		f.Add(s, "some text of a line")
	}
	f.Fuzz(func(t *testing.T, s, text string) {
		q, err := ParseQuery(s)
		if err != nil {
			return
		}
		if _, err := Search(source(text), Checkpoint{}, q, 0, 10, never); err != nil {
			t.Error(err)
		}
	})
}
