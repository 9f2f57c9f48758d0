package lines

import (
	"html"
	"strings"
	"unicode/utf8"

	terminal "github.com/buildkite/terminal-to-html/v3"
)

// anchor opens every link. A log is hostile input: it learns nothing about the reader and gains no rank from the link.
const anchor = `<a rel="noreferrer noopener nofollow" href="`

// spans draws rows that were never redrawn, one after the other, without a screen: most rows, at a hundredth of the price.
type spans struct {
	html  []byte
	plain []byte
	style Style
	url   string
	cut   bool
}

func (d *spans) reset() { *d = spans{html: d.html[:0], plain: d.plain[:0]} }

func (d *spans) text(b []byte, s Style, url string) {
	if d.cut {
		return
	}
	if room := MaxText - len(d.plain); len(b) > room {
		d.cut = true
		b = wholeRunes(b[:room])
	}
	if s != d.style || url != d.url {
		d.close()
		d.open(s, url)
	}
	d.plain = appendValid(d.plain, b)
	d.html = appendEscaped(d.html, b)
}

func (d *spans) open(s Style, url string) {
	if url != "" {
		d.html = append(d.html, anchor...)
		d.html = append(append(d.html, html.EscapeString(url)...), `">`...)
	}
	if s != 0 {
		d.html = append(d.html, `<span class="`...)
		d.html = append(s.appendClasses(d.html), `">`...)
	}
	d.style, d.url = s, url
}

func (d *spans) close() {
	if d.style != 0 {
		d.html = append(d.html, "</span>"...)
	}
	if d.url != "" {
		d.html = append(d.html, "</a>"...)
	}
	d.style, d.url = 0, ""
}

func (d *spans) newline(bool)  {}
func (d *spans) move(int, int) {}
func (d *spans) erase(string)  {}
func (d *spans) drop()         { d.reset() }

// appendEscaped escapes what terminal-to-html v3.17.1 escapes (output.go), but for the slash, which needs none.
func appendEscaped(dst, b []byte) []byte {
	start := 0
	for i := 0; i < len(b); {
		entity, size := "", 1
		switch c := b[i]; {
		case c == '&':
			entity = "&amp;"
		case c == '<':
			entity = "&lt;"
		case c == '>':
			entity = "&gt;"
		case c == '"':
			entity = "&#34;"
		case c == '\'':
			entity = "&#39;"
		case c >= utf8.RuneSelf:
			var r rune
			if r, size = utf8.DecodeRune(b[i:]); r == utf8.RuneError && size == 1 {
				entity = "\uFFFD"
			}
		}
		if entity != "" {
			dst = append(append(dst, b[start:i]...), entity...)
			start = i + size
		}
		i += size
	}
	return append(dst, b[start:]...)
}

func appendValid(dst, b []byte) []byte {
	if utf8.Valid(b) {
		return append(dst, b...)
	}
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		dst = utf8.AppendRune(dst, r)
		b = b[size:]
	}
	return dst
}

// wholeRunes cuts a sequence off the end of b that lost its last bytes.
func wholeRunes(b []byte) []byte {
	for i := 1; i <= min(len(b), utf8.UTFMax); i++ {
		if c := b[len(b)-i]; utf8.RuneStart(c) {
			if !utf8.FullRune(b[len(b)-i:]) {
				return b[:len(b)-i]
			}
			break
		}
	}
	return b
}

// maxScreenWidth bounds the columns of a redrawn row, and so the memory of a screen.
const maxScreenWidth = 1024

// screen draws a redrawn block on terminal-to-html's screen, fed with a stream of our own making: whole sequences only, colours
// spelt out, movement in rows of ours. Its screen is as large as the Tracker's, so both scroll at the same row.
type screen struct {
	term  *terminal.Screen
	out   []string // rows scrolled out, as HTML
	width int
	col   int
	style Style
	url   string
	buf   []byte
}

func newScreen(width int) (*screen, error) {
	d := &screen{width: min(max(width, 1)+1, maxScreenWidth)}
	term, err := terminal.NewScreen(terminal.WithSize(d.width, ScreenRows), terminal.WithMaxSize(d.width, ScreenRows))
	if err != nil {
		return nil, err
	}
	term.Timestamps = false
	term.ScrollOutFunc = func(row string) { d.out = append(d.out, strings.TrimSuffix(row, "\n")) }
	d.term = term
	d.touch()
	return d, nil
}

// touch makes the cursor's row exist: the screen has a row only once something was written to it.
func (d *screen) touch() {
	d.buf = append(d.buf, "\x1b[0m \r"...)
	d.style = 0
}

func (d *screen) flush() {
	_, _ = d.term.Write(d.buf) // never fails
	d.buf = d.buf[:0]
}

func (d *screen) text(b []byte, s Style, url string) {
	if url != d.url {
		d.buf = append(append(append(d.buf, "\x1b]8;;"...), url...), bel)
		d.url = url
	}
	if s != d.style {
		d.buf = s.appendSGR(d.buf)
		d.style = s
	}
	for len(b) > 0 && d.col < d.width {
		r, size := utf8.DecodeRune(b)
		d.buf = utf8.AppendRune(d.buf, r)
		b = b[size:]
		d.col++
	}
	if len(d.buf) > 8<<10 {
		d.flush()
	}
}

func (d *screen) newline(fresh bool) {
	d.unlink()
	d.buf = append(d.buf, '\n')
	if fresh {
		d.touch()
	}
}

// unlink ends the row's link and goes back to its first column.
func (d *screen) unlink() {
	d.col = 0
	if d.url != "" {
		d.buf = append(d.buf, "\x1b]8;;\a"...)
		d.url = ""
	}
}

func (d *screen) drop() {
	d.unlink()
	d.buf = append(d.buf, "\x1b[2K\r"...)
	d.touch()
}

func (d *screen) move(rows, column int) {
	d.col = min(column, d.width-1)
	switch {
	case rows < 0:
		d.buf = appendCSI(d.buf, -rows, 'A')
	case rows > 0:
		d.buf = appendCSI(d.buf, rows, 'B')
	}
	d.buf = appendCSI(d.buf, d.col+1, 'G')
}

func (d *screen) erase(sequence string) { d.buf = append(d.buf, sequence...) }

// rows returns the finished rows as HTML.
func (d *screen) rows() []string {
	d.flush()
	rows := append(d.out, strings.Split(d.term.AsHTMLWithTimestamps(false), "\n")...)
	for i, row := range rows {
		if row == "&nbsp;" {
			row = ""
		}
		row = strings.ReplaceAll(row, "&#47;", "/")
		rows[i] = strings.ReplaceAll(row, `<a href="`, anchor)
	}
	return rows
}

// plain returns the text of HTML made by rows.
func plain(row string) string {
	var b strings.Builder
	for row != "" {
		before, rest, _ := strings.Cut(row, "<")
		b.WriteString(before)
		_, row, _ = strings.Cut(rest, ">")
	}
	return html.UnescapeString(b.String())
}
