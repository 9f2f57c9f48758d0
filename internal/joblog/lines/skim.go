package lines

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// Nearly all lines of a large log show text, colours and the agent's time markers, and then end: they touch no other row, start
// no group, and once ScreenRows more of them have come nothing can touch them. Of such lines an Index wants to know only how many they
// are, where checkpoints lie among them and which look like an error. It finds that out at a third of a Tracker's price, and lets the
// Tracker read the last of them, which cursor movement may still reach, and all other lines. What it holds is the same as if the
// Tracker had read all.

// pace is the least distance, in bytes, between two attempts to pass over lines where one did not get far.
const pace = 4 << 10

// Write takes the next bytes of the log. It never fails.
func (x *Index) Write(p []byte) (int, error) {
	deleted := -1 // where the next DEL is, which text drops: that is left to the Tracker
	for done := 0; done < len(p); {
		if deleted < done {
			deleted = find(p, done, 0x7f)
		}
		passed, looked := x.pass(p[done:deleted])
		next := min(find(p, done+max(looked, passed+pace), '\n')+1, len(p))
		_, _ = x.tracker.Write(p[done+passed : next]) // never fails
		done = next
	}
	return len(p), nil
}

// find returns where the first c of b[from:] is in b, or len(b).
func find(b []byte, from int, c byte) int {
	if from < len(b) {
		if i := bytes.IndexByte(b[from:], c); i >= 0 {
			return from + i
		}
	}
	return len(b)
}

// pass takes lines at the start of b that have settled by what follows them in b, and returns how many bytes they are, and how
// far it understood b.
func (x *Index) pass(b []byte) (passed, looked int) {
	if len(b) < pace || !x.tracker.fresh() {
		return 0, 0
	}
	s := skim{index: x, b: b, first: x.tracker.next - 1, offset: x.tracker.pos, style: x.tracker.style, clock: x.tracker.clock, mark: -1, lineMark: -1, reset: -1, lineReset: -1}
	s.run()
	return s.passed(), s.start
}

// fresh reports whether the next byte is the first of the last row, and nothing lasting is in force but colours and the time.
func (t *Tracker) fresh() bool {
	r := t.row(t.y)
	return len(t.carry) == 0 && t.y == t.size-1 && r.Start == t.pos && r.Block == r.Line && !r.redrawn && !t.dirty && t.col == 0 && t.url == ""
}

// settleBefore settles all rows but the one under the cursor, which is the last.
func (t *Tracker) settleBefore() {
	for t.size > 1 {
		t.settle()
	}
	t.y = 0
}

// jump goes on at cp, where a row begins, after settleBefore.
func (t *Tracker) jump(cp Checkpoint) {
	t.size, t.next, t.pos, t.style, t.clock = 0, cp.Line, cp.Offset, cp.Style, cp.Time
	t.push(cp.Offset)
}

// skim is one attempt to pass over lines. Positions are in b; -1 stands for none.
type skim struct {
	index  *Index
	b      []byte
	first  int64 // number of the line that b starts with
	offset int64 // of b in the log

	// The line being looked at.
	start   int
	text    int  // where its text begins, after sequences
	end     int  // of the last sequence
	before  byte // the byte before that sequence and those that it follows directly
	suspect bool // a sequence may have torn the mark of an error

	alarm int // where the last 64 bytes end that may hold part of one

	mark, lineMark   int // of the last time marker, now and where the line starts
	reset, lineReset int // of the last sequence that sets colours whatever they were, likewise

	lines   int             // understood
	settled int             // of those, the ones that were passed over
	late    [ringSize]entry // the others

	base       int   // what style belongs to
	style      Style // in force at base
	clock      int64 // in force at the start of b
	due, dueAt int64 // line and offset from which on the next checkpoint is set
}

// entry is a line that has not settled yet, and what came before it.
type entry struct {
	start, mark, reset int32
	failed             bool // it is of kind Error
}

// ahead is how many bytes may be looked at from a control character on.
const ahead = 40

// run goes from one control character to the next, until a line cannot be passed over.
func (s *skim) run() {
	b := s.b
	for at := 0; at+64+ahead <= len(b); at += 64 {
		block := (*[64]byte)(b[at:])
		if mayFail(block) {
			s.alarm = at + 64
		}
		for m := controls(block); m != 0; m &= m - 1 {
			i := at + bits.TrailingZeros64(m)
			ok := true
			switch b[i] {
			case '\n':
				ok = s.newline(i)
			case escape:
				ok = s.sequence(i)
			case '\r':
				ok = b[i+1] == '\n' || b[i+1] == '\r'
			default:
				ok = b[i] == '\t' || i < s.end // where a time marker ends
			}
			if !ok {
				return
			}
		}
	}
}

// controls returns a bit for each of 64 bytes that is below the space.
func controls(b *[64]byte) uint64 {
	le := binary.LittleEndian
	return controls8(le.Uint64(b[0:])) | controls8(le.Uint64(b[8:]))<<8 | controls8(le.Uint64(b[16:]))<<16 | controls8(le.Uint64(b[24:]))<<24 |
		controls8(le.Uint64(b[32:]))<<32 | controls8(le.Uint64(b[40:]))<<40 | controls8(le.Uint64(b[48:]))<<48 | controls8(le.Uint64(b[56:]))<<56
}

// low7 is all bits of bytes but their highest, which carries go to.
const low7 = 0x7f * ones

// controls8 does so for eight bytes. The product gathers their highest bits in its own.
func controls8(x uint64) uint64 {
	return (^(x&low7 + 0x60*ones | x) & tops) >> 7 * 0x0102040810204080 >> 56
}

// within returns the highest bit of each byte of x that is not among the n after low.
func within(x, low, n uint64) uint64 {
	x ^= low * ones
	return (x&low7 + (0x80-n)*ones | x) & tops
}

// sequence takes a colour or a time marker.
func (s *skim) sequence(i int) bool {
	b := s.b[i : i+ahead]
	n := 0
	switch b[1] {
	case '[':
		if n = colourLen(b); n > 0 && (b[2] == 'm' || b[2] == '0' && (b[3] == 'm' || b[3] == ';')) {
			s.reset = i
		}
	case '_':
		if n = stampLen(b); n > 0 {
			s.mark = i
		}
	}
	if n == 0 {
		return false
	}
	if s.text == i {
		s.text += n
	} else {
		s.tears(i, s.b[i+n])
	}
	s.end = i + n
	return true
}

// tears notes whether the sequence at i, which next follows, may have torn the mark of an error.
func (s *skim) tears(i int, next byte) {
	switch {
	case s.end == i:
		s.suspect = s.suspect || torn(s.before, next)
		return
	case s.end == i-1:
		s.suspect = s.suspect || torn(s.b[i-1], next)
	default:
		s.suspect = s.suspect || tornAfter(s.b[s.end:i], next)
	}
	s.before = s.b[i-1]
}

// colourLen returns the length of an SGR sequence as programs write them, or 0.
func colourLen(b []byte) int {
	k := bits.TrailingZeros64(within(binary.LittleEndian.Uint64(b[2:]), '0', ';'-'0'+1)) / 8
	for k >= 8 && k < ahead-4 && b[2+k] >= '0' && b[2+k] <= ';' {
		k++
	}
	if b[2+k] != 'm' {
		return 0
	}
	return k + 3
}

// stampLen returns the length of a time marker as agents write them for some centuries, or 0.
func stampLen(b []byte) int {
	const digits, n = len("\x1b_bk;t="), len("\x1b_bk;t=1700000000000\a")
	if b[n-1] != bel || string(b[2:digits]) != "bk;t=" {
		return 0
	}
	le := binary.LittleEndian
	if within(le.Uint64(b[digits:]), '0', 10)|within(le.Uint64(b[n-9:]), '0', 10) != 0 {
		return 0
	}
	return n
}

// newline ends a line. A line that is longer than its text is looked at, or starts a group, or may, is left to the Tracker.
func (s *skim) newline(i int) bool {
	if i-s.start > MaxText || mayHead[s.b[s.text]] && s.head() {
		return false
	}
	s.late[s.lines%ringSize] = entry{int32(s.start), int32(s.lineMark), int32(s.lineReset), s.fails(i)}
	s.lines++
	if s.lines > ScreenRows {
		s.settle()
	}
	s.start, s.text, s.end, s.before, s.suspect = i+1, i+1, i+1, 0, false
	s.lineMark, s.lineReset = s.mark, s.reset
	return true
}

// head reports whether the text of the line may start a group, or open one.
func (s *skim) head() bool {
	b := s.b[s.text : s.text+4]
	for _, c := range b {
		if c < ' ' {
			return c == escape // it may go on after the sequence
		}
	}
	switch string(b) {
	case "--- ", "+++ ", "~~~ ", "^^^ ":
		return true
	}
	return false
}

// mayHead are the bytes that the text of such a line begins with.
var mayHead = [256]bool{'-': true, '+': true, '~': true, '^': true}

// fails reports whether the line that ends at i looks like an error.
func (s *skim) fails(i int) bool {
	if !s.suspect {
		return s.alarm > s.text && plainError(s.b, s.text, i)
	}
	return hasError(appendText(s.index.tracker.line[:0], s.b[s.text:i])) // it has no line yet
}

// sequenceEnd returns how long the simple sequence is that b starts with.
func sequenceEnd(b []byte) int {
	if b[1] == '[' {
		return bytes.IndexByte(b, 'm') + 1
	}
	return bytes.IndexByte(b, bel) + 1
}

// appendText appends what a line of text and simple sequences shows.
func appendText(to, line []byte) []byte {
	for {
		i := bytes.IndexByte(line, escape)
		if i < 0 {
			return append(to, line...)
		}
		to = append(to, line[:i]...)
		line = line[i:]
		line = line[sequenceEnd(line):]
	}
}

// settle passes over the earliest line that is left.
func (s *skim) settle() {
	e := s.late[s.settled%ringSize]
	line, offset := s.first+int64(s.settled), s.offset+int64(e.start)
	if s.settled == 0 {
		s.index.tracker.settleBefore()
		s.due, s.dueAt = s.index.due()
	}
	s.settled++
	if line < s.index.settled.Lines {
		return // counted before the index was stored
	}
	if line >= s.due || offset >= s.dueAt {
		s.index.last = s.checkpoint(line, e)
		s.index.mark()
		s.due, s.dueAt = s.index.due()
	}
	if e.failed {
		s.index.settled.note(&Row{Line: line, Kind: Error})
	}
}

// checkpoint describes the start of a line. Those asked for are in order.
func (s *skim) checkpoint(line int64, e entry) Checkpoint {
	cp := Checkpoint{Line: line, Offset: s.offset + int64(e.start), Time: s.clock}
	if e.mark >= 0 {
		cp.Time, _ = number(s.b[int(e.mark)+len("\x1b_bk;t="):][:13], 0)
	}
	if int(e.reset) >= s.base {
		s.base, s.style = int(e.reset), 0
	}
	s.style = s.style.applyAll(s.b[s.base:e.start])
	s.base = int(e.start)
	cp.Style = s.style
	return cp
}

// applyAll returns s after the colours among text and simple sequences.
func (s Style) applyAll(b []byte) Style {
	for {
		i := bytes.IndexByte(b, escape)
		if i < 0 {
			return s
		}
		b = b[i:]
		n := sequenceEnd(b)
		if b[1] == '[' {
			s = s.apply(b[2 : n-1])
		}
		b = b[n:]
	}
}

// passed lets the Tracker go on at the earliest line that is left, and returns where it starts.
func (s *skim) passed() int {
	if s.settled == 0 {
		return 0
	}
	e := s.late[s.settled%ringSize]
	cp := s.checkpoint(s.first+int64(s.settled), e)
	s.index.settled.Lines = max(s.index.settled.Lines, cp.Line)
	s.index.tracker.jump(cp)
	return int(e.start)
}
