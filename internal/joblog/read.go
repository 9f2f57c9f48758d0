package joblog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/slipway-ci/slipway/internal/joblog/lines"
	"github.com/slipway-ci/slipway/internal/live"
)

// look calls use with the log as it is now.
func (s *Store) look(ctx context.Context, jobID string, use func(l *jobLog, v view) error) error {
	l, v, err := s.now(ctx, jobID)
	if err != nil {
		return err
	}
	defer s.release(l)
	return use(l, v)
}

// now acquires the log of a job as it is now.
func (s *Store) now(ctx context.Context, jobID string) (*jobLog, view, error) {
	for {
		l, err := s.acquire(ctx, jobID, exists)
		if err != nil {
			return nil, view{}, err
		}
		l.mu.Lock()
		err = l.catchUp()
		v := l.view()
		l.mu.Unlock()
		if err == nil {
			return l, v, nil
		}
		s.release(l)
		if !errors.Is(err, errReplaced) {
			return nil, view{}, err
		}
	}
}

// Size describes the log of a job. It returns ErrNotFound, as do all that read, if no chunk has come.
func (s *Store) Size(ctx context.Context, jobID string) (Size, error) {
	var size Size
	err := s.look(ctx, jobID, func(_ *jobLog, v view) error {
		size = v.size
		return nil
	})
	return size, err
}

// Reader reads the text from offset, at most the Size at the time of the call, to the end at that time. The text has the agent's time
// markers; StripMarkers of package lines removes them. The caller closes the reader.
func (s *Store) Reader(ctx context.Context, jobID string, offset int64) (io.ReadCloser, error) {
	l, v, err := s.now(ctx, jobID)
	if err != nil {
		return nil, err
	}
	r, err := v.reader(offset)
	if err != nil {
		s.release(l)
		return nil, err
	}
	r.release = func() { s.release(l) }
	return r, nil
}

// Window renders count lines from line from on, fewer at the end of the log.
func (s *Store) Window(ctx context.Context, jobID string, from int64, count int) (Lines, error) {
	if from < 0 || count < 0 || count > MaxWindow {
		return Lines{}, fmt.Errorf("window of %d lines from line %d is out of range, allowed are %d lines", count, from, MaxWindow)
	}
	var result Lines
	err := s.look(ctx, jobID, func(_ *jobLog, v view) (err error) {
		result, err = v.window(from, count)
		return err
	})
	return result, err
}

// Tail renders the last count lines.
func (s *Store) Tail(ctx context.Context, jobID string, count int) (Lines, error) {
	if count < 0 || count > MaxWindow {
		return Lines{}, fmt.Errorf("tail of %d lines is out of range, allowed are %d", count, MaxWindow)
	}
	var result Lines
	err := s.look(ctx, jobID, func(_ *jobLog, v view) (err error) {
		result, err = v.window(max(v.size.Lines-int64(count), 0), count)
		return err
	})
	return result, err
}

func (v view) window(from int64, count int) (Lines, error) {
	result := Lines{Size: v.size}
	count = int(min(int64(count), v.size.Lines-from))
	if count <= 0 {
		return result, nil
	}
	cp, err := v.checkpoint(func(c lines.Checkpoint) bool { return c.Line > from })
	if err != nil {
		return result, err
	}
	result.Lines, err = lines.Render(v.open, cp, from, count)
	return result, err
}

// LineFrom returns a line that begins at an offset of the text or after it, or the last known one before: lines whose place is known
// are at most 2,000 apart, and about 1 MB.
func (s *Store) LineFrom(ctx context.Context, jobID string, offset int64) (int64, error) {
	var line int64
	err := s.look(ctx, jobID, func(_ *jobLog, v view) error {
		at, err := v.checkpoints.before(func(c lines.Checkpoint) bool { return c.Offset >= offset })
		if at+1 < v.checkpoints.len() {
			at++
		}
		if err != nil || at < 0 || offset <= 0 {
			return err
		}
		cp, err := v.checkpoints.at(at)
		line = cp.Line
		return err
	})
	return line, err
}

// LineAt returns the number of the first line that was printed at or after a time in Unix milliseconds, or the number of lines if
// none was. Time stamps that go back, when the agent's clock was set, may hide a line.
func (s *Store) LineAt(ctx context.Context, jobID string, ms int64) (int64, error) {
	var line int64
	err := s.look(ctx, jobID, func(_ *jobLog, v view) error {
		cp, err := v.checkpoint(func(c lines.Checkpoint) bool { return c.Time >= ms })
		if err != nil {
			return err
		}
		line, err = lines.At(v.open, cp, ms)
		return err
	})
	return line, err
}

// Outline returns the log's groups and the lines that look like errors; its first error is Errors[0].
func (s *Store) Outline(ctx context.Context, jobID string) (Outline, error) {
	l, _, err := s.now(ctx, jobID)
	if err != nil {
		return Outline{}, err
	}
	defer s.release(l)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sealed == nil {
		groups, errorLines := l.index.View()
		return Outline{groups, errorLines}, nil
	}
	if l.idx == nil {
		return l.outline, nil
	}
	rest, err := readRest(l.idx, l.sealedIndex)
	if err != nil {
		return Outline{}, fmt.Errorf("reading the index of log %s: %w", jobID, err)
	}
	return Outline{rest.Settled.Groups, rest.Settled.Errors}, nil
}

// Search returns the first limit lines from line from on that match. It reads the log until they are found, for at most as long as term says,
// and returns where to go on. Cancel ctx when the reader has gone. A few searches run at a time, others wait for their turn.
func (s *Store) Search(ctx context.Context, jobID string, q lines.Query, from int64, limit int, term time.Duration) (lines.Found, error) {
	if limit < 1 || limit > MaxWindow || from < 0 {
		return lines.Found{}, fmt.Errorf("search for %d lines from line %d: give 1 to %d lines and a line not below 0", limit, from, MaxWindow)
	}
	select {
	case s.searching <- struct{}{}:
		defer func() { <-s.searching }()
	case <-ctx.Done():
		return lines.Found{}, ctx.Err()
	}
	until := time.Now().Add(term)
	var found lines.Found
	err := s.look(ctx, jobID, func(_ *jobLog, v view) error {
		cp, err := v.checkpoint(func(c lines.Checkpoint) bool { return c.Line > from })
		if err != nil {
			return err
		}
		stop := func() bool { return ctx.Err() != nil || time.Now().After(until) }
		found, err = lines.Search(v.open, cp, q, from, limit, stop)
		return err
	})
	if err == nil {
		err = ctx.Err()
	}
	return found, err
}

// Watch returns a channel that receives after text was added, a log finished or deleted. Several wakes may come as one, and where
// another server took the text one may be lost. The job need not have a log yet. The caller calls cancel.
func (s *Store) Watch(jobID string) (wake <-chan struct{}, cancel func()) {
	sub := s.hub.Subscribe(live.Log(jobID))
	return sub.C, sub.Close
}
