// Package redact keeps secret values out of a job's log.
//
// A Writer replaces every occurrence of the values it was given, also where an
// occurrence is split over any number of writes, with [Placeholder]. Where
// values overlap in the stream, everything that belongs to any of them is
// removed. At most one byte less than the longest value is held back between
// writes; Flush releases it. A failed write of the underlying writer is
// returned and nothing is retried.
//
// Which values are secret is decided by variable name, as the official agent
// does (buildkite-agent v3.138, internal/redact): shell globs on the name, and
// a value of fewer than [MinLength] bytes is left alone, because replacing
// "true" or "1" would make logs unreadable and protect nothing.
package redact

import (
	"bytes"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Placeholder stands where a secret stood.
const Placeholder = "[REDACTED]"

// MinLength is the shortest value, in bytes, that is redacted.
const MinLength = 6

// DefaultNames returns the globs used unless an operator configures others:
// the defaults of --redacted-vars in the agent's reference.
func DefaultNames() []string {
	return []string{
		"*_PASSWORD", "*_SECRET", "*_TOKEN", "*_PRIVATE_KEY",
		"*_ACCESS_KEY", "*_SECRET_KEY", "*_CONNECTION_STRING",
	}
}

// Secret reports whether a variable of this name holds a secret according to
// the globs. A malformed glob matches nothing.
func Secret(globs []string, name string) bool {
	return slices.ContainsFunc(globs, func(g string) bool {
		ok, err := path.Match(g, name)
		return ok && err == nil
	})
}

// Values returns the values in env whose names match the globs, and the names
// of those that match but are too short to be redacted. Both are sorted.
func Values(globs []string, env map[string]string) (values, short []string) {
	for name, value := range env {
		switch {
		case value == "" || !Secret(globs, name):
		case len(value) < MinLength:
			short = append(short, name)
		default:
			values = append(values, value)
		}
	}
	slices.Sort(values)
	slices.Sort(short)
	return slices.Compact(values), short
}

// Writer is an io.Writer that redacts. Its methods may be called concurrently.
type Writer struct {
	mu      sync.Mutex
	out     io.Writer
	byFirst [256][][]byte // longest first
	known   map[string]bool
	held    []byte // the start of a possible occurrence
	covered int    // how many bytes of held belong to a secret already replaced
}

// NewWriter returns a Writer on out that redacts nothing until Add is called.
func NewWriter(out io.Writer) *Writer {
	return &Writer{out: out, known: map[string]bool{}}
}

// Add makes the values secret from now on, together with the forms in which
// they reach a log: with the terminal's line ends, without trailing line ends
// (as `$(cat key)` gives them) and quoted as %q would print them. Values
// shorter than MinLength are ignored.
func (w *Writer) Add(values ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, v := range values {
		for _, form := range forms(v) {
			w.add(form)
		}
	}
}

func forms(v string) []string {
	trimmed := strings.TrimRight(v, "\r\n")
	quoted := strconv.Quote(trimmed)
	return []string{
		v, trimmed,
		strings.ReplaceAll(trimmed, "\n", "\r\n"),
		quoted[1 : len(quoted)-1],
	}
}

func (w *Writer) add(v string) {
	if len(v) < MinLength || w.known[v] {
		return
	}
	w.known[v] = true
	list := append(w.byFirst[v[0]], []byte(v))
	slices.SortFunc(list, func(a, b []byte) int { return len(b) - len(a) })
	w.byFirst[v[0]] = list
}

// Write redacts p. It reports len(p) unless the underlying writer fails.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.known) == 0 && len(w.held) == 0 {
		return w.out.Write(p)
	}
	b := p
	if len(w.held) > 0 {
		b = append(w.held, p...)
	}
	if err := w.scan(b, false); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush writes what is held back, as no more bytes follow that could complete
// a secret.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.held) == 0 {
		return nil
	}
	return w.scan(w.held, true)
}

// scan writes b without its secrets and keeps in held the tail that may be the
// beginning of one, unless final.
func (w *Writer) scan(b []byte, final bool) error {
	start, covered, i := w.covered, w.covered, 0
	for ; i < len(b); i++ {
		list := w.byFirst[b[i]]
		if list == nil {
			continue
		}
		n, partial := longest(list, b[i:])
		if partial && !final {
			break
		}
		if n == 0 || i+n <= covered {
			continue
		}
		if i >= covered {
			if err := w.emit(b[start:i], Placeholder); err != nil {
				return err
			}
		}
		covered = i + n
		start = covered
	}
	if err := w.emit(b[min(start, i):i], ""); err != nil {
		return err
	}
	w.held = append(w.held[:0:0], b[i:]...)
	w.covered = max(0, covered-i)
	return nil
}

func (w *Writer) emit(plain []byte, after string) error {
	if len(plain) > 0 {
		if _, err := w.out.Write(plain); err != nil {
			return err
		}
	}
	if after == "" {
		return nil
	}
	_, err := io.WriteString(w.out, after)
	return err
}

// longest returns the length of the longest value that b starts with, and
// whether b ends inside a value that is longer than that.
func longest(list [][]byte, b []byte) (n int, partial bool) {
	for _, v := range list {
		if bytes.HasPrefix(b, v) {
			return len(v), partial
		}
		if len(b) < len(v) && bytes.HasPrefix(v, b) {
			partial = true
		}
	}
	return 0, partial
}
