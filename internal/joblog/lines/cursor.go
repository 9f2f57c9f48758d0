package lines

import (
	"bytes"
	"net/url"
	"strings"
)

func (t *Tracker) control(c byte) {
	switch {
	case c == '\r' && t.col > 0:
		t.col, t.pending = 0, true
	case c == '\b' && t.col > 0:
		t.place(t.y, t.col-1)
	}
}

func (t *Tracker) esc(c byte) {
	switch c {
	case 'M':
		t.up(1)
	case 'E':
		t.newline(t.pos)
	case '7':
		t.save()
	case '8':
		t.restore()
	case 'c':
		t.style = 0
	}
}

// csi performs a control sequence of ECMA-48 §8.3; those that a log has no use for are dropped.
func (t *Tracker) csi(final byte, params []byte) {
	if len(params) > 0 && params[0] >= '<' {
		return // private: modes of the keyboard, the cursor's looks, the alternate screen
	}
	var list [32]int
	p := parseParams(params, list[:0])
	switch final {
	case 'm':
		t.style = t.style.apply(params)
	case 'A':
		t.up(count(p))
	case 'B':
		t.down(count(p))
	case 'C':
		t.place(t.y, min(t.col+count(p), max(columns, t.row(t.y).Width)-1))
	case 'D':
		t.place(t.y, max(t.col-count(p), 0))
	case 'E':
		t.down(count(p))
		t.place(t.y, 0)
	case 'F':
		t.up(count(p))
		t.place(t.y, 0)
	case 'G':
		t.place(t.y, min(count(p), columns)-1)
	case 'H', 'f':
		t.home(p)
	case 'J':
		t.eraseScreen(first(p))
	case 'K':
		t.eraseLine(first(p))
	case 's':
		t.save()
	case 'u':
		t.restore()
	}
}

func first(p []int) int {
	if len(p) == 0 {
		return 0
	}
	return p[0]
}

// count is a parameter whose default, and least value, is 1.
func count(p []int) int { return max(first(p), 1) }

// home starts a new row, since the height of the program's screen, and so the row it means, is not known. The sequence is part of
// the new row: read from there it goes to its column once more.
func (t *Tracker) home(p []int) {
	if t.row(t.y).Width > 0 {
		t.newline(t.token)
	}
	if len(p) > 1 {
		t.place(t.y, min(count(p[1:]), columns)-1)
	}
}

func (t *Tracker) save() { t.saved = position{t.row(t.y).Line, t.col, true} }

// restore goes to the top of the screen if the saved row has scrolled out: whether it was ever saved must not matter.
func (t *Tracker) restore() {
	top := t.row(0).Line
	if !t.saved.ok || t.saved.row < top {
		t.place(0, 0)
		return
	}
	t.place(int(t.saved.row-top), t.saved.col)
}

// screenRow is the row of the terminal, counted from the row's first, that column is in.
func screenRow(column, width int) int {
	if column > 0 && column == width {
		column--
	}
	return column / columns
}

func (t *Tracker) up(n int) {
	y, sub := t.y, screenRow(t.col, t.row(t.y).Width)
	for ; n > sub && y > 0; y-- {
		n -= sub + 1
		r := t.row(y - 1)
		sub = screenRow(r.Width, r.Width)
	}
	t.place(y, max(sub-n, 0)*columns+t.col%columns)
}

func (t *Tracker) down(n int) {
	y, sub := t.y, screenRow(t.col, t.row(t.y).Width)
	for y < t.size-1 {
		r := t.row(y)
		rest := screenRow(r.Width, r.Width) - sub
		if n <= rest {
			break
		}
		n -= rest + 1
		y, sub = y+1, 0
	}
	r := t.row(y)
	t.place(y, min(sub+n, screenRow(r.Width, r.Width))*columns+t.col%columns)
}

// place moves the cursor. Going up ties the rows from there to the last one into one block.
func (t *Tracker) place(y, col int) {
	if y == t.y && col == t.col && !t.pending {
		return
	}
	if y != t.y {
		t.leave()
	}
	for i := y + 1; i < t.size && y < t.y; i++ {
		r, top := t.row(i), t.row(y)
		r.Block, r.blockStart, r.redrawn = top.Block, top.blockStart, true
	}
	delta := y - t.y
	t.y, t.col, t.pending = y, col, false
	t.row(y).redrawn = true
	t.bound()
	t.line = t.line[:0]
	if t.draw != nil {
		t.draw.move(delta, col)
	}
}

func (t *Tracker) eraseScreen(mode int) {
	switch {
	case mode == 0:
		t.eraseBelow()
	case mode == 1:
		t.eraseLine(1)
	case t.row(t.y).Width > 0:
		t.newline(t.token)
	}
}

func (t *Tracker) eraseBelow() {
	t.eraseLine(0)
	if t.y == t.size-1 {
		return
	}
	for i := t.y + 1; i < t.size; i++ {
		r := t.row(i)
		r.Kind, r.Name = Normal, ""
	}
	if t.draw != nil {
		t.draw.erase("\x1b[0J")
	}
}

func (t *Tracker) eraseLine(mode int) {
	r := t.row(t.y)
	if r.Width == 0 || mode > 2 || mode == 0 && t.col >= r.Width {
		return
	}
	whole := mode == 2 || mode == 0 && t.col == 0
	before := t.line
	t.redraw(r)
	if !whole {
		t.line = before
	}
	if t.draw != nil {
		t.draw.erase([...]string{"\x1b[0K", "\x1b[1K", "\x1b[2K"}[mode])
	}
}

// osc shows links and the names of images: OSC 8 is the hyperlink of many terminals, 1337 iTerm2's inline image, 1338 and 1339 are
// https://buildkite.com/docs/pipelines/configure/links-and-images-in-log-output.
func (t *Tracker) osc(body []byte) {
	number, rest, _ := bytes.Cut(body, []byte(";"))
	switch string(number) {
	case "8":
		_, target, _ := bytes.Cut(rest, []byte(";"))
		t.url = webURL(string(target))
	case "1337":
		if args, _, ok := bytes.Cut(rest, []byte(":")); ok && bytes.HasPrefix(args, []byte("File=")) {
			t.linked("[inline image]", "")
		}
	case "1338":
		args := arguments(string(rest))
		if target := args["url"]; target != "" {
			t.linked("[image: "+either(args["alt"], target)+"]", target)
		}
	case "1339":
		args := arguments(string(rest))
		if target := args["url"]; target != "" {
			t.linked(either(args["content"], target), target)
		}
	}
}

func (t *Tracker) linked(label, target string) {
	before := t.url
	t.url = webURL(target)
	t.text([]byte(strings.Map(visible, label)))
	t.url = before
}

func visible(r rune) rune {
	if r < ' ' || r == 0x7f {
		return -1
	}
	return r
}

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// maxURL is the longest link target that is kept, in bytes.
const maxURL = 2048

// webURL returns the address of a web page in a form without quotes, semicolons and control characters, or nothing.
func webURL(s string) string {
	if len(s) > maxURL {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return ""
	}
	return strings.ReplaceAll(u.String(), ";", "%3B")
}

// arguments splits "key=value;key='a;b'". A backslash takes the next character as it is.
func arguments(s string) map[string]string {
	args := map[string]string{}
	var item strings.Builder
	var quote rune
	escaped := false
	end := func() {
		if key, value, ok := strings.Cut(item.String(), "="); ok {
			args[key] = value
		}
		item.Reset()
	}
	for _, r := range s {
		switch {
		case escaped:
			item.WriteRune(r)
			escaped = false
		case r == '\\':
			escaped = true
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote = r
		case quote == 0 && r == ';':
			end()
		default:
			item.WriteRune(r)
		}
	}
	end()
	return args
}
