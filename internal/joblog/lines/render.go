package lines

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"
)

func appendCSI(b []byte, n int, final byte) []byte {
	return append(strconv.AppendInt(append(b, "\x1b["...), int64(n), 10), final)
}

// Source opens the log's bytes from an offset to an end that is the same for all calls.
type Source func(offset int64) (io.ReadCloser, error)

// maxHead is how much of a plain row is read to render MaxText of it: time markers and colours come on top of the text.
const maxHead = 4 * MaxText

type block struct {
	first      Row
	rows       int64
	width      int
	redrawn    bool
	start, end int64
}

// plan is what the first of Render's two passes over the bytes finds out.
type plan struct {
	from, to int64
	current  block
	blocks   []block
	rows     []Row // those wanted
	done     bool
}

func (p *plan) add(r *Row) {
	if p.done {
		return
	}
	if r.Block == r.Line {
		p.endBlock(r.Start)
		if r.Line >= p.to {
			p.done = true
			return
		}
		p.current = block{first: *r, start: r.Start}
	}
	b := &p.current
	b.rows++
	b.width = max(b.width, r.Width)
	b.redrawn = b.redrawn || r.redrawn
	if r.Line >= p.from && r.Line < p.to {
		p.rows = append(p.rows, *r)
	}
}

func (p *plan) endBlock(end int64) {
	b := p.current
	b.end = end
	if b.rows > 0 && b.first.Line+b.rows > p.from {
		p.blocks = append(p.blocks, b)
	}
}

// Render returns up to count lines starting with line from, reading from cp, which must not lie after that line. It takes time
// in proportion to the distance between them and the size of the lines, and memory in proportion to count.
func Render(open Source, cp Checkpoint, from int64, count int) ([]Line, error) {
	p := plan{from: from, to: from + int64(count), rows: make([]Row, 0, min(count, 256))}
	if err := p.read(open, cp); err != nil {
		return nil, fmt.Errorf("finding lines %d to %d: %w", p.from, p.to, err)
	}
	if len(p.blocks) == 0 {
		return nil, nil
	}
	lines, err := p.render(open)
	if err != nil {
		return nil, fmt.Errorf("rendering lines %d to %d: %w", p.from, p.to, err)
	}
	return lines, nil
}

func (p *plan) read(open Source, cp Checkpoint) error {
	t := NewTracker(cp, p.add)
	if err := feed(open, cp.Offset, t, func() bool { return p.done }); err != nil || p.done {
		return err
	}
	rest, end := t.Rest()
	for i := range rest {
		p.add(&rest[i])
	}
	if !p.done {
		p.endBlock(end)
	}
	return nil
}

// feed passes the log from offset on to t until done or the end.
func feed(open Source, offset int64, t *Tracker, done func() bool) (err error) {
	r, err := open(offset)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	buf := make([]byte, 16<<10)
	for !done() {
		n, err := r.Read(buf)
		_, _ = t.Write(buf[:n]) // never fails
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *plan) render(open Source) (lines []Line, err error) {
	at := p.blocks[0].start
	r, err := open(at)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	br := bufio.NewReaderSize(r, 16<<10)
	painter := painter{lines: make([]Line, 0, len(p.rows)), rows: p.rows, tracker: NewTracker(Checkpoint{}, nil)}
	for _, b := range p.blocks {
		if _, err := io.CopyN(io.Discard, br, b.start-at); err != nil {
			return nil, err
		}
		raw, err := painter.fill(br, b)
		if err != nil {
			return nil, err
		}
		at = b.start + int64(len(raw))
		if err := painter.paint(b, raw); err != nil {
			return nil, err
		}
	}
	return painter.lines, nil
}

type painter struct {
	lines []Line
	rows  []Row // wanted and not yet painted
	buf   []byte
	spans spans

	tracker *Tracker
}

// fill reads what rendering b needs.
func (p *painter) fill(r io.Reader, b block) ([]byte, error) {
	n := b.end - b.start
	if !b.redrawn {
		n = min(n, maxHead)
	}
	if int64(cap(p.buf)) < n {
		p.buf = make([]byte, n)
	}
	p.buf = p.buf[:n]
	_, err := io.ReadFull(r, p.buf)
	return p.buf, err
}

func (p *painter) paint(b block, raw []byte) error {
	if n := len(raw); n > 0 && raw[n-1] == '\n' {
		raw = raw[:n-1] // it would begin the next block
	}
	cp := Checkpoint{Line: b.first.Line, Offset: b.start, Style: b.first.Style, Time: b.first.clock}
	t := p.tracker
	t.reset(cp)
	if !b.redrawn {
		p.spans.reset()
		t.draw = &p.spans
		t.consume(raw, true)
		p.spans.close()
		p.plainRow(b)
		return nil
	}
	s, err := newScreen(b.width)
	if err != nil {
		return err
	}
	t.draw = s
	t.consume(raw, true)
	p.redrawnRows(b, s.rows())
	return nil
}

func (p *painter) plainRow(b block) {
	r := p.rows[0]
	p.rows = p.rows[1:]
	text := string(p.spans.plain)
	kind, _ := classify(p.spans.plain)
	p.lines = append(p.lines, Line{
		Number: r.Line, Time: r.Time, HTML: string(p.spans.html), Text: text, Kind: kind,
		Length: max(r.Text, len(text)), Cut: p.spans.cut || r.Text > len(text) && b.end-b.start > maxHead,
		Start: b.start, End: b.end,
	})
}

func (p *painter) redrawnRows(b block, rows []string) {
	for len(p.rows) > 0 && p.rows[0].Block == b.first.Line {
		r := p.rows[0]
		p.rows = p.rows[1:]
		row := ""
		if i := r.Line - b.first.Line; i < int64(len(rows)) {
			row = rows[i]
		}
		text := plain(row)
		kind, _ := classify([]byte(text))
		cut := r.Width > maxScreenWidth && utf8.RuneCountInString(text) >= maxScreenWidth
		p.lines = append(p.lines, Line{
			Number: r.Line, Time: r.Time, HTML: row, Text: text, Kind: kind, Length: len(text), Cut: cut, Start: b.start, End: b.end,
		})
	}
}
