package joblog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/internal/live"
)

// gzipOverhead is how much longer than its text the gzip of an incompressible chunk may be, in bytes: RFC 1952 headers with a
// name, and RFC 1951 stored blocks.
const gzipOverhead = 4 << 10

// maxTaken is how many chunks of any logs are inflated at a time; others wait for their turn as they came.
const maxTaken = 64

// Append adds a chunk. A chunk that is there already, with the same sequence, offset and size, is a duplicate and no error, also after
// Finish. Refusals are *ChunkError (malformed), *ConflictError, *LimitError and ErrFinished; the agent gives a chunk
// up at any 4xx, so these must answer one, and everything else a 5xx.
func (s *Store) Append(ctx context.Context, jobID string, c Chunk) (Progress, error) {
	if err := s.validate(c); err != nil {
		return Progress{}, err
	}
	if duplicate, p, err := s.inspect(ctx, jobID, c); duplicate || err != nil {
		return p, err
	}
	select {
	case s.taking <- struct{}{}:
		defer func() { <-s.taking }()
	case <-ctx.Done():
		return Progress{}, ctx.Err()
	}
	return s.take(ctx, jobID, c)
}

func (s *Store) take(ctx context.Context, jobID string, c Chunk) (Progress, error) {
	text := s.buffers.get(int(c.Size))
	defer s.buffers.put(text)
	z := s.inflaters.get()
	err := z.chunk(c.Gzip, *text)
	s.inflaters.put(z)
	if err != nil {
		return Progress{}, &ChunkError{c.Sequence, err.Error()}
	}
	how := mayBegin
	if c.Sequence == 1 {
		how = begins
	}
	l, err := s.acquire(ctx, jobID, how)
	if err != nil {
		return Progress{}, err
	}
	defer s.release(l)
	return l.append(c, *text)
}

// inspect finds out, before the chunk is decompressed, whether it need be. The first chunk of a log that is not open always is.
func (s *Store) inspect(ctx context.Context, jobID string, c Chunk) (duplicate bool, p Progress, err error) {
	if !s.isOpen(jobID) {
		return false, Progress{}, nil
	}
	l, err := s.acquire(ctx, jobID, exists)
	if errors.Is(err, ErrNotFound) {
		return false, Progress{}, nil
	}
	if err != nil {
		return false, Progress{}, err
	}
	defer s.release(l)
	l.mu.Lock()
	defer l.mu.Unlock()
	err = l.current(func() error {
		duplicate, err = l.vet(c)
		return err
	})
	if err != nil {
		return false, Progress{}, err
	}
	return duplicate, l.progress(duplicate), nil
}

// current repeats try, which writes, until no other server wrote to the log at the same time.
func (l *jobLog) current(try func() error) error {
	for {
		err := try()
		if !errors.Is(err, errMoved) {
			return err
		}
		if err := l.catchUp(); err != nil {
			return err
		}
	}
}

func (s *Store) validate(c Chunk) error {
	most := int64(s.options.MaxChunk)
	switch {
	case c.Sequence < 1:
		return &ChunkError{c.Sequence, "sequences count from 1"}
	case c.Offset < 0 || c.Offset > 1<<60:
		return &ChunkError{c.Sequence, fmt.Sprintf("offset %d is out of range", c.Offset)}
	case c.Size < 1 || c.Size > most:
		return &ChunkError{c.Sequence, fmt.Sprintf("size %d is out of range, allowed are 1 to %d bytes", c.Size, most)}
	case int64(len(c.Gzip)) > most+gzipOverhead:
		return &ChunkError{c.Sequence, fmt.Sprintf("has %d compressed bytes, allowed are %d", len(c.Gzip), most+gzipOverhead)}
	}
	return nil
}

// vet is check, but lets the log say that its limit was met.
func (l *jobLog) vet(c Chunk) (duplicate bool, err error) {
	duplicate, err = l.check(c)
	if over, ok := errors.AsType[*LimitError](err); ok {
		err = errors.Join(err, l.refuse(c.Offset, *over))
		l.store.queue(l)
		l.store.hub.Publish(live.Log(l.id))
	}
	return duplicate, err
}

func (l *jobLog) append(c Chunk, text []byte) (p Progress, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	err = l.current(func() error {
		p, err = l.tryAppend(c, text)
		return err
	})
	return p, err
}

func (l *jobLog) tryAppend(c Chunk, text []byte) (Progress, error) {
	duplicate, err := l.vet(c)
	if err != nil {
		return Progress{}, err
	}
	if duplicate {
		return l.progress(true), nil
	}
	before, first := l.text, l.end == 0
	err = l.add(c, text)
	if err == nil && len(l.early) > 0 && time.Since(l.grown) >= l.store.options.GapAfter {
		err = l.giveUp()
	}
	l.store.queue(l)
	if l.text > before {
		l.store.hub.Publish(live.Log(l.id))
	}
	if err != nil {
		return Progress{}, err
	}
	l.checkpoint()
	p := l.progress(false)
	p.First = first
	return p, nil
}

// checkpoint stores the index now and then, so that a crash costs no more than indexing snapshotEvery bytes again.
func (l *jobLog) checkpoint() {
	if l.text-l.snapshot < snapshotEvery || l.sync() != nil {
		return
	}
	l.snapshot = l.text
	if err := l.storeIndex(false); err != nil {
		l.store.log.Warn("log index not stored; it will be made again", "job", l.id, "err", err)
	}
}

// Finish closes a log; calling it again does nothing. A job that printed nothing gets an empty log.
func (s *Store) Finish(ctx context.Context, jobID string) error {
	_, _, err := s.FinishSized(ctx, jobID)
	return err
}

// FinishSized is Finish, and returns how long the log has become, and whether nothing was there before: its end began the log.
func (s *Store) FinishSized(ctx context.Context, jobID string) (size Size, first bool, err error) {
	l, err := s.acquire(ctx, jobID, mayBegin)
	if err != nil {
		return size, false, err
	}
	defer s.release(l)
	l.mu.Lock()
	defer l.mu.Unlock()
	err = l.current(func() error {
		switch {
		case l.sealed != nil:
			return nil
		case l.gone:
			return ErrNotFound
		case l.broken != nil:
			return l.broken
		}
		first = l.end == 0
		return l.seal()
	})
	s.queue(l)
	if err != nil {
		return size, false, fmt.Errorf("finishing log %s: %w", jobID, err)
	}
	s.hub.Publish(live.Log(jobID))
	return l.size(), first, nil
}

// Delete removes a log. Deleting one that does not exist is no error. Open readers go on reading; a chunk on its way while the log is
// deleted gets ErrNotFound.
func (s *Store) Delete(ctx context.Context, jobID string) error {
	l, err := s.acquire(ctx, jobID, exists)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer s.release(l)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := s.unlink(l); err != nil {
		return fmt.Errorf("deleting log %s: %w", jobID, err)
	}
	l.gone = true
	s.hub.Publish(live.Log(jobID))
	return nil
}

// unlink removes a log's files and its entry at once, so that a log begun anew cannot lose its files to the deletion of the old one.
func (s *Store) unlink(l *jobLog) error {
	if s.shared != nil { // a log begun anew has another name among blobs, and a database may take its time
		if err := s.keeper.remove(l.id); err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.drop(l)
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.keeper.remove(l.id); err != nil {
		return err
	}
	s.drop(l)
	return nil
}

// drop takes a log that was deleted out of the table. The caller holds s.mu.
func (s *Store) drop(l *jobLog) {
	l.deleted = true
	if s.logs[l.id] == l {
		delete(s.logs, l.id)
	}
}
