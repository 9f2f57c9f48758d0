package logstream

import (
	"bytes"
	"io"
	"strconv"
	"sync"
	"time"
)

// restamp is how long a line may grow before it is stamped again, as in the
// official agent (internal/process/timestamper.go, v3.138).
const restamp = time.Second

// Timestamper puts `ESC _ bk;t=<unix milliseconds> BEL` before every line,
// after every erase-in-line sequence (a progress bar redrawn in place) and into
// lines that grow for more than a second. It never splits an escape sequence.
// Its methods may be called concurrently; a Write is not interleaved with
// another.
type Timestamper struct {
	mu     sync.Mutex
	out    io.Writer
	now    func() time.Time
	last   time.Time
	start  bool
	escape escape
	buf    []byte
}

// NewTimestamper returns a Timestamper that writes to out and stamps with now.
func NewTimestamper(out io.Writer, now func() time.Time) *Timestamper {
	return &Timestamper{out: out, now: now, start: true}
}

// Write stamps p and passes it on in a single write.
func (t *Timestamper) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	t.buf = t.buf[:0]
	for rest := p; len(rest) > 0; {
		if t.escape.outside() && (t.start || now.Sub(t.last) > restamp) {
			t.stamp(now)
		}
		n := t.span(rest)
		t.buf = append(t.buf, rest[:n]...)
		rest = rest[n:]
	}
	if _, err := t.out.Write(t.buf); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (t *Timestamper) stamp(now time.Time) {
	t.buf = append(t.buf, "\x1b_bk;t="...)
	t.buf = strconv.AppendInt(t.buf, now.UnixMilli(), 10)
	t.buf = append(t.buf, '\a')
	t.last, t.start = now, false
}

// span returns how many bytes of p go before the next place for a stamp.
func (t *Timestamper) span(p []byte) int {
	if t.escape.outside() {
		line := p
		if i := bytes.IndexByte(p, '\n'); i >= 0 {
			line = p[:i+1]
		}
		switch esc := bytes.IndexByte(line, '\x1b'); {
		case esc > 0:
			return esc
		case esc < 0:
			t.start = t.start || line[len(line)-1] == '\n'
			return len(line)
		}
	}
	for i, c := range p {
		erased := t.escape.feed(c)
		if t.escape.outside() {
			t.start = t.start || erased || c == '\n'
			return i + 1
		}
	}
	return len(p)
}

// escape recognises just enough of ECMA-48 to know where a sequence ends.
type escape struct {
	in    byte // 0 outside, ESC after it, '[' in CSI, ']' in a string
	param [4]byte
	n     int
}

func (e *escape) outside() bool { return e.in == 0 }

// feed consumes one byte and reports whether it completed an erase-in-line.
func (e *escape) feed(c byte) bool {
	switch e.in {
	case 0:
		e.in = c
	case '\x1b':
		e.introduce(c)
	case '[':
		if c >= 0x40 && c <= 0x7e {
			e.in = 0
			return c == 'K' && e.n < len(e.param)
		}
		e.n = min(e.n+1, len(e.param))
	case ']':
		if c == '\a' || c == '\\' && e.param[0] == '\x1b' {
			e.in = 0
		}
		e.param[0] = c
	}
	return false
}

func (e *escape) introduce(c byte) {
	e.n, e.param = 0, [4]byte{}
	switch c {
	case '[':
		e.in = '['
	case ']', '_', 'P', '^', 'X':
		e.in = ']'
	case '\x1b':
	default:
		if c < 0x20 || c > 0x2f {
			e.in = 0
		}
	}
}
