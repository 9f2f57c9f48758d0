package lines

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// errorPatterns are literal and matched with their case; what they begin with is spelt out so that one table serves all.
var errorPatterns = []string{
	"error:", "Error:", "ERROR:", "error[", "panicked at", "FAILED", "Traceback", "assertion", "AssertionError", "Assertion failed",
}

// window is the length of the shortest pattern.
const window = 6

// shifts implements the search of Wu and Manber ("A fast algorithm for multi-pattern searching", 1994): how far a window whose last two
// bytes hash to the index may move without missing a pattern.
var shifts = func() (table [1024]uint8) {
	for i := range table {
		table[i] = window - 1
	}
	for _, p := range errorPatterns {
		for i := 1; i < window; i++ {
			at := &table[hash(p[i-1], p[i])]
			*at = min(*at, uint8(window-1-i))
		}
	}
	return table
}()

func hash(a, b byte) int { return int(a)<<2&0x3ff ^ int(b) }

// Of a window that holds the start of a pattern, every stride-th place begins one of its triples, wherever one begins to count.
const stride = window - 2

// triples holds, at their hashes, what three bytes stand side by side in a pattern. No two of them have the same hash.
var triples = func() (table [1 << tripleBits]uint32) {
	for _, p := range errorPatterns {
		for i := range len(p) - 2 {
			x := triple(p[i], p[i+1], p[i+2])
			at := &table[hashTriple(x)]
			*at |= x
			if i < stride {
				*at |= atStart
			}
		}
	}
	return table
}()

const (
	tripleBits = 10
	atStart    = 1 << 24 // one of the first triples of a pattern
)

func triple(a, b, c byte) uint32 { return uint32(a) | uint32(b)<<8 | uint32(c)<<16 }

// hashTriple has a factor that was searched for.
func hashTriple(x uint32) uint32 { return x * 0x9e3779b9 >> (32 - tripleBits) }

// starts reports whether one of a pattern's first triples is at the start of four bytes.
func starts(b []byte) bool { return missing(uint64(binary.LittleEndian.Uint32(b)))>>31 == 0 }

// missing has the highest bit of 32 unless the first three bytes of x are one of a pattern's first triples.
func missing(x uint64) uint32 {
	t := uint32(x) & 0xffffff
	return -(triples[hashTriple(t)] ^ (t | atStart))
}

// mayFail reports whether 64 bytes may hold part of a pattern that plainError finds. It branches nowhere, so nothing waits for a guess.
func mayFail(b *[64]byte) bool {
	all := ^uint32(0)
	for i := 0; i < 64; i += 2 * stride {
		x := binary.LittleEndian.Uint64(b[i : i+8])
		all &= missing(x) & missing(x>>(8*stride))
	}
	return all>>31 == 0
}

// plainError reports whether b[from:to] holds a pattern; after it b has another byte. It takes steps that do not wait for each other,
// as those of hasError do.
func plainError(b []byte, from, to int) bool {
	for i := from; i+3 <= to; i += stride {
		if starts(b[i:i+4]) && errorNear(b[from:to], i-from) {
			return true
		}
	}
	return false
}

// errorNear reports whether a pattern is in b whose triple at at is one of its first.
func errorNear(b []byte, at int) bool {
	for i := max(at-stride+1, 0); i <= at; i++ {
		if errorAt(b, i) {
			return true
		}
	}
	return false
}

// pairs says of two bytes whether they stand side by side in a pattern, and whether one begins with them.
var pairs = func() (table [1 << 16]pair) {
	for _, p := range errorPatterns {
		for i := 1; i < len(p); i++ {
			table[pairOf(p[i-1], p[i])] |= inside
		}
		table[pairOf(p[0], p[1])] |= opening
	}
	return table
}()

type pair uint8

const (
	inside pair = 1 << iota
	opening
)

func pairOf(a, b byte) int { return int(a)<<8 | int(b) }

// torn reports whether a pattern may go on with b after it was interrupted behind a. Those before a are not looked at.
func torn(a, b byte) bool { return pairs[pairOf(a, b)] != 0 }

// tornAfter is torn for the text before b, of two bytes or more, and looks at the last three of them.
func tornAfter(text []byte, b byte) bool {
	n := len(text)
	switch p := pairs[pairOf(text[n-1], b)]; {
	case p == 0:
		return false
	case p&opening != 0:
		return true
	}
	x := triple(text[n-2], text[n-1], b)
	switch triples[hashTriple(x)] {
	case x | atStart:
		return true
	case x: // and what a pattern has before it, if there is room for it
		return n == 2 || inPattern(triple(text[n-3], text[n-2], text[n-1]))
	}
	return false
}

// inPattern reports whether three bytes stand side by side in a pattern.
func inPattern(x uint32) bool { return triples[hashTriple(x)]&^atStart == x }

func hasError(b []byte) bool {
	for i := window - 1; i < len(b); {
		shift := shifts[hash(b[i-1], b[i])]
		if shift > 0 {
			i += int(shift)
			continue
		}
		if errorAt(b, i-window+1) {
			return true
		}
		i++
	}
	return false
}

func errorAt(b []byte, at int) bool {
	for _, p := range errorPatterns {
		if len(b)-at >= len(p) && string(b[at:at+len(p)]) == p {
			return true
		}
	}
	return false
}

// maxName is the longest group name that is kept, in bytes.
const maxName = 256

// classify returns the kind of a line and, for a header, its name. A prefix without a name starts no group.
func classify(line []byte) (Kind, string) {
	if len(line) >= 4 && line[3] == ' ' {
		if k := header(line); k == OpenBefore {
			return k, ""
		} else if name := bytes.TrimSpace(line[4:]); k != Normal && len(name) > 0 {
			return k, strings.ToValidUTF8(string(name[:min(len(name), maxName)]), "")
		}
	}
	if hasError(line) {
		return Error, ""
	}
	return Normal, ""
}

func header(line []byte) Kind {
	switch string(line[:3]) {
	case "---":
		return Collapsed
	case "+++":
		return Expanded
	case "~~~":
		return Muted
	case "^^^":
		if isOpenBefore(line) {
			return OpenBefore
		}
	}
	return Normal
}

// openBefore is the line that opens the group before it.
const openBefore = "^^^ +++"

func isOpenBefore(line []byte) bool { return string(bytes.TrimSpace(line)) == openBefore }
