package lines

import "strconv"

// Style is what SGR sequences have set: bits 0-15 foreground, 16-31 background, 32-39 attributes. A colour is 0 for the
// default, sgrColour plus its SGR parameter, or tableColour plus its place in the table of 256. True colours
// are mapped to the table, because a strict content security policy leaves only classes to express them.
type Style uint64

const (
	sgrColour   = 0x100
	tableColour = 0x200

	bold Style = 1 << (32 + iota)
	faint
	italic
	underline
	blink
	strike
)

func (s Style) foreground() uint16 { return uint16(s) }
func (s Style) background() uint16 { return uint16(s >> 16) }

func (s Style) withForeground(c uint16) Style { return s&^0xffff | Style(c) }
func (s Style) withBackground(c uint16) Style { return s&^0xffff_0000 | Style(c)<<16 }

// attributes lists the attribute bits with their SGR parameter, in the order of terminal-to-html's classes.
var attributes = [...]struct {
	bit   Style
	param uint8
}{{bold, 1}, {faint, 2}, {italic, 3}, {underline, 4}, {blink, 5}, {strike, 9}}

// apply returns s after the parameters of an SGR sequence.
func (s Style) apply(params []byte) Style {
	var list [32]int
	p := parseParams(params, list[:0])
	if len(p) == 0 {
		return 0
	}
	for i := 0; i < len(p); i++ {
		switch v := p[i]; v {
		case 38, 48:
			colour, used := extended(p[i+1:])
			i += used
			if used > 1 && v == 38 {
				s = s.withForeground(colour)
			} else if used > 1 {
				s = s.withBackground(colour)
			}
		default:
			s = s.set(v)
		}
	}
	return s
}

func (s Style) set(v int) Style {
	switch {
	case v == 0:
		return 0
	case v >= 30 && v <= 37, v >= 90 && v <= 97:
		return s.withForeground(sgrColour + uint16(v))
	case v >= 40 && v <= 47, v >= 100 && v <= 107:
		return s.withBackground(sgrColour + uint16(v))
	}
	switch v {
	case 1:
		return s&^faint | bold
	case 2:
		return s&^bold | faint
	case 3:
		return s | italic
	case 4:
		return s | underline
	case 5, 6:
		return s | blink
	case 9:
		return s | strike
	case 21, 22:
		return s &^ (bold | faint)
	case 23:
		return s &^ italic
	case 24:
		return s &^ underline
	case 25:
		return s &^ blink
	case 29:
		return s &^ strike
	case 39:
		return s.withForeground(0)
	case 49:
		return s.withBackground(0)
	}
	return s
}

// extended reads what follows 38 or 48 and returns how many parameters it took, at most 1 if they make no colour.
func extended(p []int) (colour uint16, used int) {
	switch {
	case len(p) >= 2 && p[0] == 5:
		return tableColour + uint16(p[1]&0xff), 2
	case len(p) >= 4 && p[0] == 2:
		return tableColour + nearest(p[1], p[2], p[3]), 4
	}
	return 0, min(len(p), 1)
}

// nearest returns the entry of xterm's 6x6x6 cube or grey ramp that is close to a true colour.
func nearest(r, g, b int) uint16 {
	r, g, b = min(r, 255), min(g, 255), min(b, 255)
	if r == g && g == b && r > 7 && r < 239 {
		return uint16(232 + (r-8)/10)
	}
	level := func(v int) int { return (v*5 + 127) / 255 }
	return uint16(16 + 36*level(r) + 6*level(g) + level(b))
}

// parseParams appends the numbers of a control sequence to list, up to its capacity. An empty one is 0, except between colons,
// where ITU T.416 has an empty colour space that most programs leave out.
func parseParams(params []byte, list []int) []int {
	if len(params) == 0 {
		return list
	}
	value, digits := 0, 0
	for i := 0; i <= len(params) && len(list) < cap(list); i++ {
		if i < len(params) && params[i] >= '0' && params[i] <= '9' {
			value, digits = min(value*10+int(params[i]-'0'), 1<<20), digits+1
			continue
		}
		if digits > 0 || i == len(params) || params[i] != ':' {
			list = append(list, value)
		}
		value, digits = 0, 0
	}
	return list
}

// appendSGR appends the sequence that sets exactly s.
func (s Style) appendSGR(b []byte) []byte {
	b = append(b, "\x1b[0"...)
	for _, a := range attributes {
		if s&a.bit != 0 {
			b = strconv.AppendUint(append(b, ';'), uint64(a.param), 10)
		}
	}
	b = appendColour(b, s.foreground(), ";38;5;")
	b = appendColour(b, s.background(), ";48;5;")
	return append(b, 'm')
}

func appendColour(b []byte, c uint16, table string) []byte {
	switch {
	case c >= tableColour:
		return strconv.AppendUint(append(b, table...), uint64(c-tableColour), 10)
	case c >= sgrColour:
		return strconv.AppendUint(append(b, ';'), uint64(c-sgrColour), 10)
	}
	return b
}

// appendClasses appends the class names that terminal-to-html v3.17.1 (style.go) gives s.
func (s Style) appendClasses(b []byte) []byte {
	start := len(b)
	add := func(prefix string, n uint16) {
		if len(b) > start {
			b = append(b, ' ')
		}
		b = strconv.AppendUint(append(b, prefix...), uint64(n), 10)
	}
	colour := func(c uint16, plain, bright, table string, brightFrom uint16) {
		switch {
		case c >= tableColour:
			add(table, c-tableColour)
		case c >= sgrColour+brightFrom:
			add(bright, c-sgrColour)
		case c >= sgrColour:
			add(plain, c-sgrColour)
		}
	}
	colour(s.foreground(), "term-fg", "term-fgi", "term-fgx", 90)
	colour(s.background(), "term-bg", "term-bgi", "term-bgx", 100)
	for _, a := range attributes {
		if s&a.bit != 0 {
			add("term-fg", uint16(a.param))
		}
	}
	return b
}
