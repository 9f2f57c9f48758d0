package lines

import (
	"bytes"
	"slices"
	"unicode"
)

// Hit is a line that matches a search.
type Hit struct {
	Line int64
	Text string // at most MaxText bytes
}

// Search returns the first limit lines from line from on, reading from cp, whose text contains query, in order. Case matters only if query has
// a capital letter. Only the first MaxText bytes of a line are searched; a redrawn line matches by anything it showed.
// It reads as much of the log as it takes; stop is asked every few kilobytes.
func Search(open Source, cp Checkpoint, query string, from int64, limit int, stop func() bool) ([]Hit, error) {
	s := searcher{from: from, query: []byte(query), fold: !slices.ContainsFunc([]rune(query), unicode.IsUpper)}
	s.tracker = NewTracker(cp, func(r *Row) { s.settled = r.Line })
	s.tracker.seen = s.look
	full := func() bool { return s.full(limit) || stop() }
	if err := feed(open, cp.Offset, s.tracker, full); err != nil {
		return nil, err
	}
	if !s.tracker.marksOpen() {
		s.tracker.leave()
	}
	slices.SortStableFunc(s.hits, func(a, b Hit) int { return int(a.Line - b.Line) })
	hits := slices.CompactFunc(s.hits, func(a, b Hit) bool { return a.Line == b.Line })
	return hits[:min(len(hits), limit)], nil
}

type searcher struct {
	from    int64
	tracker *Tracker
	query   []byte
	fold    bool
	lower   []byte
	hits    []Hit
	settled int64
}

// full waits for the last hit to settle: until then the cursor may go back and find one on an earlier row.
func (s *searcher) full(limit int) bool {
	return len(s.hits) >= limit && s.hits[limit-1].Line <= s.settled
}

func (s *searcher) look(line int64, text []byte) {
	if line < s.from || !bytes.Contains(s.folded(text), s.query) {
		return
	}
	if n := len(s.hits); n > 0 && s.hits[n-1].Line == line {
		return
	}
	s.hits = append(s.hits, Hit{line, string(bytes.ToValidUTF8(text, []byte("\uFFFD")))})
}

// folded returns text with its ASCII letters in lower case, as is the query, or text itself if case matters.
func (s *searcher) folded(text []byte) []byte {
	if !s.fold {
		return text
	}
	s.lower = append(s.lower[:0], text...)
	for i, c := range s.lower {
		if c >= 'A' && c <= 'Z' {
			s.lower[i] = c + 'a' - 'A'
		}
	}
	return s.lower
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
