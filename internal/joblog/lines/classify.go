package lines

import (
	"bytes"
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
