// Package logstream carries a job's output from the process to the server.
//
// Bytes are stamped with times (Timestamper) and cut into chunks (Stream).
// Chunks are numbered from 1 and know their offset in the uncompressed log, so
// they may be sent by several connections at once and arrive in any order; the
// chunks of one Stream are contiguous, never overlap and together are exactly
// what was written.
//
// The first bytes of a job leave at once, later ones at an interval that grows
// to the one the server asked for, a full chunk immediately. Memory is bounded:
// when the server takes chunks more slowly than the job writes them, Write
// blocks, and with it the command.
//
// A chunk is offered until the server acknowledges it or refuses it for good
// (Refused); refused chunks, and all that remain when the context ends, are
// counted by Close. Nothing else is lost.
package logstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"
)

// Chunk is one piece of a log as it goes over the wire.
type Chunk struct {
	Sequence int    // from 1
	Offset   int64  // of the first byte in the uncompressed log
	Size     int    // uncompressed bytes
	Gzip     []byte // valid until the upload returns
}

// ErrRefused is wrapped by uploads that must not be tried again.
var ErrRefused = errors.New("log chunk refused")

// Config says how a Stream sends.
type Config struct {
	// MaxSize is the largest chunk in uncompressed bytes, at least 1.
	MaxSize int
	// Interval is the longest time that bytes wait for company.
	Interval time.Duration
	// Upload sends one chunk. An error that wraps ErrRefused drops the chunk,
	// any other is retried.
	Upload func(context.Context, Chunk) error
}

const (
	uploads      = 3                     // connections per job, as the official agent has
	firstGap     = 25 * time.Millisecond // doubles up to Config.Interval
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 10 * time.Second
	queued       = 2 // cut chunks that wait for a connection
)

// Stream is an io.Writer that sends what is written to it. Write must not be
// called after Close.
type Stream struct {
	cfg    Config
	ctx    context.Context
	wake   chan struct{} // there are bytes to flush
	closed chan struct{}
	chunks chan cut
	wg     sync.WaitGroup
	failed atomic.Int64

	lock   chan struct{} // holds one token while the fields below are in use
	buf    []byte
	next   int // sequence of the next chunk
	offset int64
}

type cut struct {
	Chunk
	plain []byte
}

// New starts a Stream. The context ends it at once, without sending what is
// left; it should outlive the job's own cancellation.
func New(ctx context.Context, cfg Config) (*Stream, error) {
	if cfg.MaxSize < 1 {
		return nil, fmt.Errorf("log chunk size %d: must be at least 1 byte", cfg.MaxSize)
	}
	if cfg.Interval <= 0 {
		cfg.Interval = time.Second
	}
	s := &Stream{
		cfg: cfg, ctx: ctx, next: 1,
		wake:   make(chan struct{}, 1),
		closed: make(chan struct{}),
		lock:   make(chan struct{}, 1),
		chunks: make(chan cut, queued),
	}
	s.wg.Go(s.flusher)
	for range uploads {
		s.wg.Go(s.uploader)
	}
	return s, nil
}

// Write takes all of p, blocking while too much waits to be sent. It fails only
// when the stream's context has ended.
func (s *Stream) Write(p []byte) (int, error) {
	s.lock <- struct{}{}
	defer s.unlock()
	for rest := p; len(rest) > 0; {
		n := min(len(rest), s.cfg.MaxSize-len(s.buf))
		s.buf = append(s.buf, rest[:n]...)
		rest = rest[n:]
		if len(s.buf) == s.cfg.MaxSize {
			s.cut()
		}
	}
	if len(s.buf) > 0 {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	return len(p), nil
}

func (s *Stream) unlock() { <-s.lock }

// cut queues what is buffered as a chunk. The lock is held, so that chunks are queued in
// the order of their offsets.
func (s *Stream) cut() {
	if len(s.buf) == 0 {
		return
	}
	c := cut{Chunk{Sequence: s.next, Offset: s.offset, Size: len(s.buf)}, s.buf}
	s.next++
	s.offset += int64(len(s.buf))
	s.buf = make([]byte, 0, min(s.cfg.MaxSize, max(4096, 2*c.Size)))
	select {
	case s.chunks <- c:
	case <-s.ctx.Done():
		s.failed.Add(1)
	}
}

// Close sends what is left, waits until every chunk is acknowledged or given
// up, and returns how many were given up.
func (s *Stream) Close() int {
	close(s.closed)
	s.lock <- struct{}{}
	s.cut()
	s.unlock()
	close(s.chunks)
	s.wg.Wait()
	return int(s.failed.Load())
}

// flusher cuts chunks that are not full, first at once and then less and less
// often.
func (s *Stream) flusher() {
	gap := firstGap
	for {
		select {
		case <-s.wake:
		case <-s.closed:
			return
		}
		s.lock <- struct{}{}
		select {
		case <-s.closed:
			s.unlock()
			return
		default:
		}
		s.cut()
		s.unlock()
		select {
		case <-time.After(gap):
		case <-s.closed:
			return
		}
		gap = min(2*gap, s.cfg.Interval)
	}
}

func (s *Stream) uploader() {
	var body bytes.Buffer
	zip, err := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed)
	if err != nil {
		zip = gzip.NewWriter(io.Discard)
	}
	for c := range s.chunks {
		body.Reset()
		zip.Reset(&body)
		if err := compress(zip, c.plain); err != nil {
			s.failed.Add(1)
			continue
		}
		c.Gzip = body.Bytes()
		if err := s.send(c.Chunk); err != nil {
			s.failed.Add(1)
		}
	}
}

func compress(zip *gzip.Writer, plain []byte) error {
	if _, err := zip.Write(plain); err != nil {
		return err
	}
	return zip.Close()
}

// send offers the chunk until it is taken or refused.
func (s *Stream) send(c Chunk) error {
	for wait := firstBackoff; ; wait = min(2*wait, lastBackoff) {
		err := s.cfg.Upload(s.ctx, c)
		if err == nil || errors.Is(err, ErrRefused) {
			return err
		}
		select {
		case <-time.After(wait/2 + rand.N(wait)):
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		}
	}
}
