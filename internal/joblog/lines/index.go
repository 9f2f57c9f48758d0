package lines

import (
	"slices"
	"sort"
)

// Bounds of what an Index remembers of a hostile log. Later headers and errors are still lines of their kind.
const (
	MaxGroups = 5000
	MaxErrors = 1000
)

// Group is a part of the log under a header line.
type Group struct {
	Line   int64  // of the header
	Name   string // without the prefix
	Kind   Kind   // Collapsed, Expanded or Muted
	Open   bool   // shown open: by "+++", by "^^^ +++", or as the last group of a log without "+++"
	Time   int64  // of the header, Unix milliseconds; 0 if not known
	Errors int    // lines of kind Error in the group
}

// Settled is what an Index holds about rows that have settled, in the form in which it is stored.
type Settled struct {
	Lines       int64      // how many rows have settled
	Resume      Checkpoint // the start of the block that the next row to settle belongs to
	Groups      []Group
	Errors      []int64 // the first MaxErrors lines of kind Error
	Checkpoints []Checkpoint
}

// Index is built while the log arrives. It is not safe for concurrent use; what View returns is.
type Index struct {
	tracker *Tracker
	settled Settled
	last    Checkpoint // the latest block start that has settled
}

// NewIndex continues an index after s; the zero Settled starts one. The next bytes written must be those from
// s.Resume.Offset on.
func NewIndex(s Settled) *Index {
	x := &Index{settled: s, last: s.Resume}
	x.tracker = NewTracker(s.Resume, x.settle)
	return x
}

// Lines returns how many lines there are and how many of them cannot change any more.
func (x *Index) Lines() (total, settled int64) { return x.tracker.Lines() }

// Checkpoints returns those set so far. The slice is only ever appended to.
func (x *Index) Checkpoints() []Checkpoint { return x.settled.Checkpoints }

func (x *Index) settle(r *Row) {
	if r.Line < x.settled.Lines {
		return // counted before the index was stored
	}
	x.settled.Lines = r.Line + 1
	if r.Block == r.Line {
		x.last = Checkpoint{Line: r.Line, Offset: r.Start, Time: r.clock, Style: r.Style}
		x.mark()
	}
	x.settled.note(r)
}

// due returns the line and the offset from which on a block's start becomes a checkpoint; either is enough.
func (x *Index) due() (line, offset int64) {
	var before Checkpoint
	if n := len(x.settled.Checkpoints); n > 0 {
		before = x.settled.Checkpoints[n-1]
	}
	return before.Line + CheckpointRows, before.Offset + CheckpointBytes
}

func (x *Index) mark() {
	if line, offset := x.due(); x.last.Line >= line || x.last.Offset >= offset {
		x.settled.Checkpoints = append(x.settled.Checkpoints, x.last)
	}
}

func (s *Settled) note(r *Row) {
	if r.Opens {
		s.openLast()
	}
	switch {
	case r.Kind.Header() && len(s.Groups) < MaxGroups:
		s.Groups = append(s.Groups, Group{Line: r.Line, Name: r.Name, Kind: r.Kind, Open: r.Kind == Expanded, Time: r.Time})
	case r.Kind == OpenBefore:
		s.openLast()
	case r.Kind == Error:
		if n := len(s.Groups); n > 0 {
			s.Groups[n-1].Errors++
		}
		if len(s.Errors) < MaxErrors {
			s.Errors = append(s.Errors, r.Line)
		}
	}
}

func (s *Settled) openLast() {
	if n := len(s.Groups); n > 0 {
		s.Groups[n-1].Open = true
	}
}

// Settled returns a copy of the state to store.
func (x *Index) Settled() Settled {
	s := x.settled
	s.Groups, s.Errors, s.Checkpoints = slices.Clone(s.Groups), slices.Clone(s.Errors), slices.Clone(s.Checkpoints)
	s.Resume = x.last
	if r := x.tracker.row(0); r.Block == r.Line {
		s.Resume = Checkpoint{Line: r.Line, Offset: r.Start, Time: r.clock, Style: r.Style}
	}
	return s
}

// View returns the groups and error lines as they are now, those of rows that may still change included.
func (x *Index) View() ([]Group, []int64) {
	s := Settled{Groups: slices.Clone(x.settled.Groups), Errors: slices.Clone(x.settled.Errors)}
	rest, _ := x.tracker.Rest()
	for i := range rest {
		s.note(&rest[i])
	}
	if x.tracker.opens() {
		s.openLast()
	}
	return open(s.Groups), s.Errors
}

// open opens the last group of a log in which nothing says otherwise.
func open(groups []Group) []Group {
	if slices.ContainsFunc(groups, func(g Group) bool { return g.Kind == Expanded }) {
		return groups
	}
	for i := range slices.Backward(groups) {
		if groups[i].Kind == Collapsed {
			groups[i].Open = true
			break
		}
	}
	return groups
}

// Before returns the place of the last of n checkpoints that at says are not after what is looked for, or -1.
func Before(n int, after func(i int) bool) int { return sort.Search(n, after) - 1 }
