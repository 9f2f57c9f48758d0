package lines

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

type kind uint8

const (
	more    kind = iota // the token is not complete
	control             // code is the control character
	csi                 // code is the final byte, body the parameters
	esc                 // code is the byte after ESC
	osc                 // body is the command
	apc                 // body is the command
	ignored
)

type token struct {
	kind kind
	code byte
	size int
	body []byte
}

// maxSequence is the longest escape sequence that is understood, in bytes. An inline image is longer; it is not shown anyway,
// but must be skipped whole.
const maxSequence = 64 << 10

const (
	bel    = 0x07
	escape = 0x1b
)

// next returns the token at the start of b, which is neither text nor a line feed. If last, b holds all there is.
func next(b []byte, last bool) token {
	switch c := b[0]; {
	case c == '\r' || c == '\b':
		return token{kind: control, code: c, size: 1}
	case c != escape:
		return token{kind: ignored, size: 1}
	case len(b) > 1:
		return sequence(b, last)
	}
	return incomplete(last)
}

func incomplete(last bool) token {
	if last {
		return token{kind: ignored, size: 1}
	}
	return token{kind: more}
}

func sequence(b []byte, last bool) token {
	switch c := b[1]; c {
	case '[':
		return controlSequence(b, last)
	case ']':
		return stringSequence(b, osc, last)
	case '_':
		return stringSequence(b, apc, last)
	case 'P', '^', 'X':
		return stringSequence(b, ignored, last)
	case '(', ')', '*', '+', '#', '%', ' ':
		if len(b) < 3 {
			return incomplete(last)
		}
		if b[2] < ' ' {
			return token{kind: ignored, size: 1}
		}
		return token{kind: ignored, size: 3}
	default:
		if c < '0' || c > '~' {
			return token{kind: ignored, size: 1}
		}
		return token{kind: esc, code: c, size: 2}
	}
}

// longestControl is the longest control sequence that is understood, in bytes without the last.
const longestControl = 256

// controlSequence follows ECMA-48 §5.4: parameter bytes, intermediate bytes, one final byte.
func controlSequence(b []byte, last bool) token {
	i := 2
	for i < len(b) && i < longestControl && b[i] >= ' ' && b[i] <= '?' {
		i++
	}
	switch {
	case i == len(b) && i < longestControl:
		return incomplete(last)
	case i == longestControl || b[i] < '@' || b[i] > '~':
		return token{kind: ignored, size: 1}
	}
	return token{kind: csi, code: b[i], size: i + 1, body: b[2:i]}
}

// stringSequence ends at BEL or ESC \. A line feed or another escape sequence shows that the end is missing: then only
// the ESC is dropped and the rest is text.
func stringSequence(b []byte, k kind, last bool) token {
	limit := min(len(b), maxSequence)
	for i := 2; i < limit; i++ {
		switch b[i] {
		case bel:
			return token{kind: k, size: i + 1, body: b[2:i]}
		case '\n':
			return token{kind: ignored, size: 1}
		case escape:
			if i+1 == len(b) {
				return incomplete(last)
			}
			if b[i+1] == '\\' {
				return token{kind: k, size: i + 2, body: b[2:i]}
			}
			return token{kind: ignored, size: 1}
		}
	}
	if limit == maxSequence {
		return token{kind: ignored, size: 1}
	}
	return incomplete(last)
}

const (
	ones = 0x0101010101010101
	tops = 0x8080808080808080
)

// textLen returns how many bytes at the start of b are neither control characters nor DEL. A tab is text.
func textLen(b []byte) int {
	for i := 0; ; i++ {
		i += printable(b[i:])
		if i == len(b) || b[i] != '\t' {
			return i
		}
	}
}

// printable is textLen but for the tab, eight bytes at a time.
func printable(b []byte) int {
	i := 0
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		del := x ^ 0x7f*ones
		if hit := ((x-0x20*ones)&^x | (del-ones)&^del) & tops; hit != 0 {
			return i + bits.TrailingZeros64(hit)/8
		}
	}
	for ; i < len(b) && b[i] >= ' ' && b[i] != 0x7f; i++ {
	}
	return i
}

// runes counts the UTF-8 sequences in b by their first bytes.
func runes(b []byte) int {
	n, i := len(b), 0
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		n -= bits.OnesCount64(x & ^(x << 1) & tops)
	}
	for ; i < len(b); i++ {
		if b[i]&0xc0 == 0x80 {
			n--
		}
	}
	return n
}

// markerTime reads the agent's time marker, "bk;t=<Unix milliseconds>" (buildkite-agent v3.138.1, process/timestamper.go),
// or its relative form "bk;dt=<milliseconds>".
func markerTime(body []byte, now int64) (int64, bool) {
	rest, ok := bytes.CutPrefix(body, []byte("bk;"))
	if !ok {
		return now, false
	}
	if digits, ok := bytes.CutPrefix(rest, []byte("t=")); ok {
		return number(digits, now)
	}
	if digits, ok := bytes.CutPrefix(rest, []byte("dt=")); ok {
		delta, ok := number(digits, 0)
		return now + delta, ok
	}
	return now, false
}

func number(b []byte, otherwise int64) (int64, bool) {
	if i := bytes.IndexByte(b, ';'); i >= 0 {
		b = b[:i]
	}
	if len(b) == 0 || len(b) > 15 {
		return otherwise, false
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return otherwise, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
