package joblog

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// inflater decompresses one chunk after another without allocating.
type inflater struct {
	gz  gzip.Reader
	buf *bufio.Reader
	src bytes.Reader
}

type inflaters struct{ pool sync.Pool }

func (p *inflaters) get() *inflater {
	if z, ok := p.pool.Get().(*inflater); ok {
		return z
	}
	return &inflater{buf: bufio.NewReaderSize(nil, 4<<10)}
}

func (p *inflaters) put(z *inflater) {
	z.src.Reset(nil)
	z.buf.Reset(nil)
	p.pool.Put(z)
}

// chunk decompresses into text and returns an error unless gz holds exactly len(text) bytes. Nothing beyond them is decompressed
// but one byte, so a small chunk that would become huge costs nothing.
func (z *inflater) chunk(gz, text []byte) error {
	z.src.Reset(gz)
	if err := z.gz.Reset(&z.src); err != nil {
		return fmt.Errorf("reading gzip: %w", err)
	}
	n, err := io.ReadFull(&z.gz, text)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("holds %d bytes of text instead of %d, or is cut short", n, len(text))
	}
	if err != nil {
		return fmt.Errorf("reading gzip: %w", err)
	}
	var beyond [1]byte
	switch n, err := z.gz.Read(beyond[:]); {
	case n > 0:
		return fmt.Errorf("holds more than %d bytes of text", len(text))
	case err != io.EOF:
		return fmt.Errorf("reading gzip: %w", err)
	}
	return nil
}

// stream begins to decompress gz, a part of a log's file, to be read from z.gz.
func (z *inflater) stream(gz io.Reader) error {
	z.buf.Reset(gz)
	return z.gz.Reset(z.buf)
}

// buffers lends byte slices. Those grown beyond keep are not kept.
type buffers struct{ pool sync.Pool }

const keepBuffer = 1 << 20

func (p *buffers) get(n int) *[]byte {
	b, ok := p.pool.Get().(*[]byte)
	if !ok {
		b = new([]byte)
	}
	if cap(*b) < n {
		*b = make([]byte, n)
	}
	*b = (*b)[:n]
	return b
}

func (p *buffers) put(b *[]byte) {
	if cap(*b) <= keepBuffer {
		p.pool.Put(b)
	}
}
