package lines

import (
	"bytes"
	"io"
)

// markerStart begins the agent's time markers; BEL or ESC \ ends them.
var markerStart = []byte("\x1b_bk;")

// maxMarker is the longest sequence taken for a marker, in bytes.
const maxMarker = 128

// StripMarkers returns a reader of r without the agent's time markers. All else stays as it is, a marker that does not end too.
func StripMarkers(r io.Reader) io.Reader { return &stripper{r: r, buf: make([]byte, 8<<10)} }

type stripper struct {
	r   io.Reader
	buf []byte
	in  []byte // the part of buf that was read and not yet passed on
	err error
}

func (s *stripper) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if n := s.pass(p); n > 0 {
			return n, nil
		}
		if s.err != nil {
			return 0, s.err
		}
		s.fill()
	}
}

func (s *stripper) fill() {
	n := copy(s.buf, s.in)
	m, err := s.r.Read(s.buf[n:])
	s.in, s.err = s.buf[:n+m], err
}

// pass copies what can be passed on now and drops the markers before it.
func (s *stripper) pass(p []byte) int {
	for len(s.in) > 0 {
		if n := copy(p, s.in[:s.clean()]); n > 0 {
			s.in = s.in[n:]
			return n
		}
		size := markerLen(s.in)
		if size == 0 {
			return 0
		}
		s.in = s.in[size:]
	}
	return 0
}

// clean returns how many bytes at the start of in are certainly not part of a marker.
func (s *stripper) clean() int {
	i := bytes.IndexByte(s.in, escape)
	switch {
	case i < 0:
		return len(s.in)
	case i > 0:
		return i
	}
	head := s.in[:min(len(s.in), len(markerStart))]
	unfinished := markerLen(s.in) == 0
	if !bytes.HasPrefix(markerStart, head) || unfinished && (s.err != nil || len(s.in) >= maxMarker) {
		return 1
	}
	return 0
}

// markerLen returns the length of the marker that in starts with, or 0 if it does not end.
func markerLen(in []byte) int {
	if !bytes.HasPrefix(in, markerStart) {
		return 0
	}
	for i, c := range in[:min(len(in), maxMarker)] {
		if c == bel || c == '\\' && in[i-1] == escape {
			return i + 1
		}
	}
	return 0
}
