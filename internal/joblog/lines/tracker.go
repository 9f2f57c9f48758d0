package lines

import "io"

// drawer receives what a Tracker shows. A block that was never redrawn causes text calls only.
type drawer interface {
	text(b []byte, s Style, url string)
	newline(fresh bool) // fresh: the cursor goes to a row that did not exist
	move(rows, column int)
	erase(sequence string)
	drop() // the current row, never redrawn, shows nothing yet after all
}

// Tracker splits a log into rows. It is fed by Write, in pieces of any size that make no difference to the result. The rows it
// passes to emit have settled; Rest returns the others. Use NewTracker.
type Tracker struct {
	emit func(*Row)                    // the row is valid during the call
	seen func(line int64, text []byte) // what a row shows, each time the cursor leaves it
	draw drawer

	carry []byte // start of a token whose end has not come
	pos   int64  // offset of the next byte to be understood
	token int64  // offset of the sequence being understood
	limit int64  // offset where the current block ends at the latest

	ring [ringSize]Row // the rows that have not settled, from head on
	head int
	size int
	next int64 // number of the next new row

	y, col  int
	style   Style
	clock   int64
	url     string
	saved   position
	pending bool // a carriage return has not yet been followed by anything
	dirty   bool // line belongs to the current row
	line    []byte
	most    int // bytes of a row's text that line holds
}

// ringSize is ScreenRows rounded up to a power of two, for speed.
const ringSize = 128

type position struct {
	row int64
	col int
	ok  bool
}

// NewTracker returns a tracker for the log from cp on. The zero Checkpoint is the log's start.
func NewTracker(cp Checkpoint, emit func(*Row)) *Tracker {
	t := &Tracker{emit: emit, line: make([]byte, 0, MaxText), most: MaxText}
	t.reset(cp)
	return t
}

func (t *Tracker) reset(cp Checkpoint) {
	*t = Tracker{
		emit: t.emit, seen: t.seen, draw: t.draw, line: t.line[:0], most: t.most, carry: t.carry[:0],
		pos: cp.Offset, next: cp.Line, style: cp.Style, clock: cp.Time,
	}
	t.push(cp.Offset)
}

var _ io.Writer = (*Tracker)(nil)

// Write takes the next bytes of the log. It never fails.
func (t *Tracker) Write(p []byte) (int, error) {
	if len(t.carry) == 0 {
		t.keep(t.consume(p, false))
		return len(p), nil
	}
	t.carry = append(t.carry, p...)
	t.keep(t.consume(t.carry, false))
	return len(p), nil
}

func (t *Tracker) keep(rest []byte) { t.carry = append(t.carry[:0], rest...) }

// Rest returns the rows that have not settled, as they are now, and the offset where the last one ends. A last row without text is
// left out: it is only where the next one will begin.
func (t *Tracker) Rest() ([]Row, int64) {
	rows := make([]Row, 0, t.size)
	for i := range t.size {
		rows = append(rows, *t.row(i))
	}
	if t.dirty {
		r := &rows[t.y]
		r.Kind, r.Name = classify(t.line)
	}
	if t.blank() == 1 {
		return rows[:t.size-1], rows[t.size-1].Start
	}
	return rows, t.pos + int64(len(t.carry))
}

// Lines returns how many rows there are and how many of them have settled.
func (t *Tracker) Lines() (total, settled int64) {
	return t.next - int64(t.blank()), t.next - int64(t.size)
}

// blank is 1 if the last row shows nothing yet.
func (t *Tracker) blank() int {
	if r := t.row(t.size - 1); r.Text == 0 && r.Block == r.Line && !r.redrawn || t.marksOpen() {
		return 1
	}
	return 0
}

// opens reports whether the log ends with a line that opens the group before it.
func (t *Tracker) opens() bool {
	return t.marksOpen() || t.blank() == 1 && t.row(t.size-1).Opens
}

// marksOpen reports whether the row under the cursor is the last and only says that the group before it is to be shown open. So
// many of them in a row that a reader would have to pass over more than MaxText bytes are lines like others.
func (t *Tracker) marksOpen() bool {
	if len(t.line) < len(openBefore) || t.line[0] != openBefore[0] || t.y != t.size-1 {
		return false
	}
	r := t.row(t.y)
	return !r.redrawn && r.Block == r.Line && t.pos-r.Start <= MaxText && isOpenBefore(t.line)
}

// drop takes the current row back: the next text is its first. Its bytes stay with it, so that reading from its start finds the
// marker again.
func (t *Tracker) drop() {
	r := t.row(t.y)
	r.Opens, r.Text, r.Width, r.Time = true, 0, 0, t.clock
	t.line, t.dirty, t.pending, t.url, t.col = t.line[:0], false, false, "", 0
	if t.draw != nil {
		t.draw.drop()
	}
}

func (t *Tracker) row(i int) *Row { return &t.ring[(t.head+i)%ringSize] }

// consume returns the bytes of a last token that is not complete. Text and line ends, nearly all there is, take the short way.
func (t *Tracker) consume(b []byte, last bool) []byte {
	for len(b) > 0 {
		if t.pos >= t.limit && (b[0]&0xc0 != 0x80 || t.pos >= t.limit+3) {
			t.scroll()
		}
		switch c := b[0]; {
		case c >= ' ' && c != 0x7f || c == '\t':
			n := int(min(int64(textLen(b)), max(t.limit-t.pos, 1)))
			t.pos += int64(n)
			t.text(b[:n])
			b = b[n:]
			continue
		case c == '\n':
			t.pos++
			t.newline(t.pos)
			b = b[1:]
			continue
		case c == '\r':
			t.pos++
			t.control(c)
			b = b[1:]
			continue
		}
		if n := t.common(b); n > 0 {
			b = b[n:]
			continue
		}
		tok := next(b, last)
		if tok.kind == more {
			return b
		}
		t.token = t.pos
		t.pos += int64(tok.size)
		b = b[tok.size:]
		t.apply(tok)
	}
	return nil
}

// common understands the two sequences that most logs are full of, colours and the agent's markers, faster than next does. It
// returns 0 if b does not start with one of them.
func (t *Tracker) common(b []byte) int {
	const marker = len("\x1b_bk;t=1700000000000\a")
	n := 0
	switch {
	case len(b) >= marker && b[1] == '_' && b[marker-1] == bel && string(b[2:7]) == "bk;t=":
		ms, ok := number(b[7:marker-1], 0)
		if !ok {
			return 0
		}
		n = marker
		t.mark(ms)
	case len(b) > 2 && b[1] == '[':
		for n = 2; n < len(b) && (b[n] >= '0' && b[n] <= '9' || b[n] == ';'); n++ {
		}
		if n == len(b) || b[n] != 'm' || n >= longestControl {
			return 0
		}
		t.style = t.style.apply(b[2:n])
		n++
	}
	t.pos += int64(n)
	return n
}

// bound sets how far the current block may grow.
func (t *Tracker) bound() {
	r := t.row(t.y)
	t.limit = r.blockStart + RowBytes
	if r.redrawn {
		t.limit = r.blockStart + RedrawBytes
	}
}

func (t *Tracker) apply(tok token) {
	switch tok.kind {
	case control:
		t.control(tok.code)
	case csi:
		t.csi(tok.code, tok.body)
	case esc:
		t.esc(tok.code)
	case osc:
		t.osc(tok.body)
	case apc:
		t.marker(tok.body)
	}
}

func (t *Tracker) text(b []byte) {
	r := t.row(t.y)
	if t.pending {
		t.redraw(r)
	}
	t.col += runes(b)
	r.Width = max(r.Width, t.col)
	r.Text += len(b)
	t.dirty = true
	t.line = append(t.line, b[:min(len(b), t.most-len(t.line))]...)
	if t.draw != nil {
		t.draw.text(b, t.style, t.url)
	}
}

// redraw notes that r is no longer a mere sequence of text. Moving the cursor on its own draws nothing, so the move is passed on here.
func (t *Tracker) redraw(r *Row) {
	r.redrawn = true
	t.bound()
	t.line, t.dirty = t.line[:0], true
	if t.pending && t.draw != nil {
		t.draw.move(0, t.col)
	}
	t.pending = false
}

func (t *Tracker) marker(body []byte) {
	if ms, ok := markerTime(body, t.clock); ok {
		t.mark(ms)
	}
}

func (t *Tracker) mark(ms int64) {
	t.clock = ms
	if r := t.row(t.y); r.Text == 0 {
		r.Time = ms
	}
}

// leave ends the work on the current row.
func (t *Tracker) leave() {
	if t.dirty {
		r := t.row(t.y)
		if t.seen != nil {
			t.seen(r.Line, t.line) // whoever searches does not ask for kinds
		} else {
			r.Kind, r.Name = classify(t.line)
		}
	}
	t.line, t.dirty, t.pending, t.url = t.line[:0], false, false, ""
}

// newline goes to the next row. If there is none, it begins one whose bytes are those from start on.
func (t *Tracker) newline(start int64) {
	if t.marksOpen() {
		t.drop()
		return
	}
	t.leave()
	t.col = 0
	fresh := t.y == t.size-1
	if fresh {
		t.push(start)
	} else {
		t.y++
		t.bound()
	}
	if t.draw != nil {
		t.draw.newline(fresh)
	}
}

// scroll settles the whole screen because the current block has become too long.
func (t *Tracker) scroll() {
	t.leave()
	t.col = 0
	for t.size > 0 {
		t.settle()
	}
	t.push(t.pos)
}

func (t *Tracker) push(start int64) {
	for t.size > 0 && (t.size == ScreenRows || t.row(0).Start < start-ScreenBytes) {
		t.settle()
	}
	t.size++
	t.y = t.size - 1
	*t.row(t.y) = Row{Line: t.next, Block: t.next, Start: start, blockStart: start, Style: t.style, Time: t.clock, clock: t.clock}
	t.next++
	t.bound()
}

func (t *Tracker) settle() {
	r := t.row(0)
	t.head = (t.head + 1) % ringSize
	t.size--
	if t.emit != nil {
		t.emit(r)
	}
}
