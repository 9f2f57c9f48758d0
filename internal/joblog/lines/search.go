package lines

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"
)

// Bounds of a query. Matching a pattern takes time in proportion to its size and the text's, so that with these the longest line takes
// some tenths of a second. A plain text is found a hundred times as fast, and is looked for in all of a line.
const (
	maxQuery    = 1000     // bytes
	maxPattern  = 2000     // instructions of its program
	patternText = 16 << 10 // bytes of a line that a pattern is held against
)

// Query is what to look for in the text of lines. The zero Query matches nothing.
type Query struct {
	text    []byte
	fold    bool
	pattern *regexp.Regexp
}

// ParseQuery reads a query: a text, or a pattern of package regexp between slashes. Case matters only if it has a capital letter, those of
// escapes such as \S not counted. Its errors are for whoever wrote the query.
func ParseQuery(s string) (Query, error) {
	if s == "" || len(s) > maxQuery {
		return Query{}, fmt.Errorf("a search has 1 to %d bytes", maxQuery)
	}
	if len(s) > 2 && s[0] == '/' && s[len(s)-1] == '/' {
		return parsePattern(s[1 : len(s)-1])
	}
	return Query{text: []byte(s), fold: !hasCapital(s)}, nil
}

func parsePattern(s string) (Query, error) {
	if !hasCapital(withoutEscapes(s)) {
		s = "(?i)" + s
	}
	parsed, err := syntax.Parse(s, syntax.Perl)
	if bad, ok := errors.AsType[*syntax.Error](err); ok {
		return Query{}, fmt.Errorf("bad pattern: %s: %s", bad.Code, strings.TrimPrefix(bad.Expr, "(?i)"))
	}
	if err != nil {
		return Query{}, fmt.Errorf("bad pattern: %w", err)
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil || len(program.Inst) > maxPattern {
		return Query{}, errors.New("bad pattern: too large, repeat less")
	}
	pattern, err := regexp.Compile(s)
	return Query{pattern: pattern}, err
}

func hasCapital(s string) bool { return strings.ContainsFunc(s, unicode.IsUpper) }

// withoutEscapes drops what follows a backslash: one character, and the name of a class in braces.
func withoutEscapes(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++
		if end := strings.IndexByte(s[min(i+1, len(s)):], '}'); i+1 < len(s) && s[i+1] == '{' && end >= 0 {
			i += 1 + end
		}
	}
	return b.String()
}

// Found is the result of a search.
type Found struct {
	Lines []int64 // that match, in order
	Next  int64   // the line to go on from, or -1 if the search has come to the end
}

// Search returns the first limit lines from line from on, reading from cp, whose text matches q. Of a line longer than patternText only
// the start is held against a pattern; a redrawn line matches by what it showed each time the cursor left it. It reads as much of the log as it takes, or until stop says so, which is asked
// every few kilobytes.
func Search(open Source, cp Checkpoint, q Query, from int64, limit int, stop func() bool) (Found, error) {
	s := searcher{from: from, Query: q}
	s.tracker = NewTracker(cp, func(r *Row) { s.settled = r.Line + 1 })
	s.tracker.seen, s.tracker.most = s.look, q.reach()
	stopped := false
	full := func() bool {
		stopped = stopped || stop()
		return stopped || s.full(limit)
	}
	if err := feed(open, cp.Offset, s.tracker, full); err != nil {
		return Found{}, err
	}
	done := !stopped && !s.full(limit)
	if done && !s.tracker.marksOpen() {
		s.tracker.leave()
	}
	slices.Sort(s.hits)
	return s.found(limit, done), nil
}

type searcher struct {
	Query
	from    int64
	tracker *Tracker
	lower   []byte
	hits    []int64
	settled int64 // lines that cannot change any more
}

// found leaves out what may still change: an earlier line may yet show a match.
func (s *searcher) found(limit int, done bool) Found {
	f := Found{Lines: slices.Compact(s.hits), Next: -1}
	if !done {
		f.Next = max(s.settled, s.from)
		f.Lines = slices.DeleteFunc(f.Lines, func(n int64) bool { return n >= f.Next })
	}
	if len(f.Lines) > limit {
		f.Next = f.Lines[limit]
		f.Lines = f.Lines[:limit]
	}
	return f
}

// full waits for the last hit to settle: until then the cursor may go back and find one on an earlier row.
func (s *searcher) full(limit int) bool {
	return len(s.hits) >= limit && s.hits[limit-1] < s.settled
}

func (s *searcher) look(line int64, text []byte) {
	if line < s.from || !s.matches(text) {
		return
	}
	if n := len(s.hits); n > 0 && s.hits[n-1] == line {
		return
	}
	s.hits = append(s.hits, line)
}

// reach is how many bytes of a line are searched.
func (q Query) reach() int {
	if q.pattern != nil {
		return patternText
	}
	return RowBytes
}

func (s *searcher) matches(text []byte) bool {
	switch {
	case s.pattern != nil:
		return s.pattern.Match(text)
	case len(s.text) == 0:
		return false
	case s.fold:
		s.lower = appendLower(s.lower[:0], text)
		return bytes.Contains(s.lower, s.text)
	}
	return bytes.Contains(text, s.text)
}

// appendLower appends b with its ASCII letters in lower case.
func appendLower(to, b []byte) []byte {
	to = append(to, b...)
	for i, c := range to {
		if c-'A' < 26 {
			to[i] = c | 0x20
		}
	}
	return to
}

// At returns the number of the first line from cp on whose time is not before ms, or the number of lines if there is none.
func At(open Source, cp Checkpoint, ms int64) (int64, error) {
	found, last := int64(-1), cp.Line
	look := func(r *Row) {
		if found < 0 && r.Time >= ms {
			found = r.Line
		}
		last = r.Line + 1
	}
	t := NewTracker(cp, look)
	if err := feed(open, cp.Offset, t, func() bool { return found >= 0 }); err != nil {
		return 0, err
	}
	rest, _ := t.Rest()
	for i := range rest {
		look(&rest[i])
	}
	if found < 0 {
		return last, nil
	}
	return found, nil
}
