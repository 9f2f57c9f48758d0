package joblog

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/slipway-ci/slipway/internal/joblog/lines"
)

// table is a list of records of one size: in memory while a log grows, in the index file once it is finished, so that a
// window of a large log does not read the whole list.
type table[T any] struct {
	mem   []T
	file  io.ReaderAt
	base  int64
	n     int
	width int
	parse func([]byte) T
}

func (t table[T]) len() int { return max(t.n, len(t.mem)) }

func (t table[T]) at(i int) (T, error) {
	if t.file == nil {
		return t.mem[i], nil
	}
	var buf [extentSize]byte
	b := buf[:t.width]
	if _, err := t.file.ReadAt(b, t.base+int64(i*t.width)); err != nil {
		var zero T
		return zero, fmt.Errorf("reading index entry %d: %w", i, err)
	}
	return t.parse(b), nil
}

// before returns the place of the last record that is not after what is looked for, or -1. Records are in order.
func (t table[T]) before(after func(T) bool) (int, error) {
	var failed error
	place := lines.Before(t.len(), func(i int) bool {
		v, err := t.at(i)
		if err != nil {
			failed = err
		}
		return after(v)
	})
	return place, failed
}

const checkpointSize = 32

func appendCheckpoint(b []byte, c lines.Checkpoint) []byte {
	le := binary.LittleEndian
	b = le.AppendUint64(b, uint64(c.Line))
	b = le.AppendUint64(b, uint64(c.Offset))
	b = le.AppendUint64(b, uint64(c.Time))
	return le.AppendUint64(b, uint64(c.Style))
}

func parseCheckpoint(b []byte) lines.Checkpoint {
	le := binary.LittleEndian
	return lines.Checkpoint{
		Line: int64(le.Uint64(b)), Offset: int64(le.Uint64(b[8:])), Time: int64(le.Uint64(b[16:])), Style: lines.Style(le.Uint64(b[24:])),
	}
}

// view is a log at one moment. Reading from it takes no lock.
type view struct {
	file        io.ReaderAt
	extents     table[extent]
	checkpoints table[lines.Checkpoint]
	size        Size
	inflaters   *inflaters
}

// checkpoint returns the last checkpoint that is not after what is looked for, or the start of the log.
func (v view) checkpoint(after func(lines.Checkpoint) bool) (lines.Checkpoint, error) {
	i, err := v.checkpoints.before(after)
	if err != nil || i < 0 {
		return lines.Checkpoint{}, err
	}
	return v.checkpoints.at(i)
}

// open implements lines.Source.
func (v view) open(offset int64) (io.ReadCloser, error) { return v.reader(offset) }

func (v view) reader(offset int64) (*textReader, error) {
	if offset < 0 || offset > v.size.Text {
		return nil, fmt.Errorf("offset %d is outside of the log, which has %d bytes", offset, v.size.Text)
	}
	i, err := v.extents.before(func(e extent) bool { return e.Text > offset })
	if err != nil {
		return nil, err
	}
	return &textReader{view: v, next: max(i, 0), at: offset}, nil
}

// textReader reads text chunk by chunk.
type textReader struct {
	view    view
	next    int   // place of the next extent
	at      int64 // offset of the next byte to return
	z       *inflater
	left    int64 // in the current chunk
	release func()
}

func (r *textReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for r.left == 0 {
		if r.at >= r.view.size.Text {
			return 0, io.EOF
		}
		if err := r.nextChunk(); err != nil {
			return 0, fmt.Errorf("reading the log at %d: %w", r.at, err)
		}
	}
	n, err := r.z.gz.Read(p[:min(int64(len(p)), r.left)])
	r.at += int64(n)
	r.left -= int64(n)
	if err == io.EOF && r.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil && err != io.EOF {
		return n, fmt.Errorf("reading the log at %d: %w", r.at, err)
	}
	return n, nil
}

func (r *textReader) nextChunk() error {
	e, err := r.view.extents.at(r.next)
	if err != nil {
		return err
	}
	r.next++
	if r.z == nil {
		r.z = r.view.inflaters.get()
	}
	if err := r.z.stream(io.NewSectionReader(r.view.file, e.Pos, int64(e.Gzip))); err != nil {
		return err
	}
	skip := r.at - e.Text
	if _, err := io.CopyN(io.Discard, &r.z.gz, skip); err != nil {
		return err
	}
	r.left = int64(e.Bytes) - skip
	return nil
}

func (r *textReader) Close() error {
	if r.z != nil {
		r.view.inflaters.put(r.z)
		r.z = nil
	}
	if r.release != nil {
		r.release()
		r.release = nil
	}
	r.at, r.left = r.view.size.Text, 0
	return nil
}
