package joblog

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/internal/blob"
	"github.com/slipway-ci/slipway/internal/loop"
	"github.com/slipway-ci/slipway/internal/store"
)

// Errors of logs that several servers write to.
var (
	errMoved    = errors.New("another server wrote to the log")
	errReplaced = errors.New("another server deleted the log")
)

// OpenShared keeps logs where several servers can write and read each of them: the records that were just received and those of small
// logs in rows of the database, all others in blobs, to which Compact moves them. Each server has the index of the logs that it is asked about in its memory,
// and brings it up to date with what others wrote when it is asked again. The caller closes the store.
//
// A record is appended by whoever saw the log as it is: the database refuses the others, who look again. Append and Finish return after the
// commit, so that an acknowledged chunk survives a loss of power where commits do.
func OpenShared(db *store.Store, blobs blob.Store, options Options, log *slog.Logger) (*Store, error) {
	options, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	k := &shared{
		db: db, blobs: blobs, small: defaultSmall, tail: defaultTail, part: defaultPart,
		toKeep: loop.Rows[store.Log]{Batch: compactBatch, ID: func(l store.Log) string { return l.Generation }},
		trash:  loop.Rows[string]{Batch: compactBatch, ID: func(generation string) string { return generation }},
	}
	s := start(k, options, log)
	s.shared = k
	return s, nil
}

// Bounds of what is in rows and in one blob, in bytes.
const (
	defaultSmall = 16 << 10
	defaultTail  = 4 << 20
	defaultPart  = 32 << 20
)

// term bounds a call to the database or to blob storage: reading a log goes through io.ReaderAt, which has no context.
const term = 30 * time.Second

func bounded() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), term)
}

type shared struct {
	db    *store.Store
	blobs blob.Store
	small int64 // of an ended log that stay in rows: a blob costs three flushes, or a request that is paid for
	tail  int64 // of a growing log that may be in rows
	part  int64 // of a blob
	cache blockCache

	toKeep loop.Rows[store.Log] // of the pass Compact
	trash  loop.Rows[string]
}

func (k *shared) open(id string, how opening) (medium, error) {
	row, err := k.row(id, how)
	if err != nil {
		return medium{}, err
	}
	l := &sharedLog{shared: k, id: id, generation: row.Generation, begun: row.Length > 0, length: row.Length}
	return medium{l, l, row.Length}, nil
}

func (k *shared) row(id string, how opening) (store.Log, error) {
	fresh := store.Log{JobID: id, Generation: newGeneration()}
	if how == begins {
		return fresh, nil
	}
	ctx, cancel := bounded()
	defer cancel()
	row, err := k.db.Log(ctx, id)
	if !errors.Is(err, store.ErrNotFound) {
		return row, err
	}
	if how == exists {
		return fresh, ErrNotFound
	}
	return fresh, nil
}

// newGeneration is a name that needs no escaping among blobs.
func newGeneration() string { return rand.Text() }

func (k *shared) remove(id string) error {
	ctx, cancel := bounded()
	defer cancel()
	row, err := k.db.Log(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return k.db.Update(ctx, func(tx *store.Tx) error { return tx.DeleteLog(ctx, id, row.Generation) })
}

func (k *shared) close() error { return nil }

// sharedLog is the records and the index of one log.
type sharedLog struct {
	*shared
	id string

	mu         sync.Mutex
	generation string
	begun      bool // there is a row
	length     int64
	parts      []store.LogPart
}

// current returns how long the log is now.
func (l *sharedLog) current() (int64, error) {
	ctx, cancel := bounded()
	defer cancel()
	row, err := l.db.Log(ctx, l.id)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case errors.Is(err, store.ErrNotFound) && !l.begun:
		return 0, nil
	case errors.Is(err, store.ErrNotFound), err == nil && l.begun && row.Generation != l.generation:
		return 0, errReplaced
	case err != nil:
		return 0, err
	}
	if !l.begun {
		l.generation, l.begun = row.Generation, true
	}
	l.length = max(l.length, row.Length)
	return l.length, nil
}

func (l *sharedLog) append(at int64, b []byte, last bool) error {
	ctx, cancel := bounded()
	defer cancel()
	l.mu.Lock()
	before := store.Log{JobID: l.id, Generation: l.generation, Length: at}
	l.mu.Unlock()
	err := l.db.AppendLog(ctx, before, b, last)
	if errors.Is(err, store.ErrConflict) {
		return errMoved
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun, l.length = true, at+int64(len(b))
	return nil
}

func (l *sharedLog) startSync() {}

func (l *sharedLog) sync() error { return nil } // a commit is

// Close implements io.Closer.
func (l *sharedLog) Close() error { return nil }

// ReadAt implements io.ReaderAt.
func (l *sharedLog) ReadAt(p []byte, off int64) (int, error) {
	l.mu.Lock()
	source := block{generation: l.generation, number: off / blockSize}
	length := l.length
	l.mu.Unlock()
	n := 0
	for n < len(p) {
		at := off + int64(n)
		if at >= length {
			return n, io.EOF
		}
		source.number = at / blockSize
		start := source.number * blockSize
		have := min(start+blockSize, length, off+int64(len(p)))
		b, err := l.cache.get(source, int(have-start), func(from int64) ([]byte, error) {
			return l.fetch(start+from, min(start+blockSize, length))
		})
		if err != nil {
			return n, fmt.Errorf("log %s at %d: %w", l.id, at, err)
		}
		n += copy(p[n:], b[at-start:])
	}
	return n, nil
}

// fetch reads the bytes from one position to another. Between two of its questions they may move from rows to a blob, any number of times:
// those that were in no row are in a blob that is known after asking anew, so each attempt finds some.
func (l *sharedLog) fetch(from, to int64) ([]byte, error) {
	ctx, cancel := bounded()
	defer cancel()
	out := make([]byte, 0, to-from)
	for anew := false; ; anew = true {
		had := len(out)
		err := l.fetchMore(ctx, &out, from, to)
		if err != nil || from+int64(len(out)) == to {
			return out, err
		}
		if anew && len(out) == had {
			return nil, fmt.Errorf("%d bytes are neither in rows nor in blobs", to-from-int64(len(out)))
		}
		if err := l.askParts(ctx); err != nil {
			return nil, err
		}
	}
}

func (l *sharedLog) askParts(ctx context.Context) error {
	parts, err := l.db.LogParts(ctx, l.generation)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(parts) > len(l.parts) { // whoever asked earlier may come later
		l.parts = parts
	}
	return nil
}

func (l *sharedLog) fetchMore(ctx context.Context, out *[]byte, from, to int64) error {
	l.mu.Lock()
	parts := l.parts
	l.mu.Unlock()
	at := func() int64 { return from + int64(len(*out)) }
	for _, p := range parts {
		if at() < p.Position || at() >= min(p.Position+p.Length, to) {
			continue
		}
		b, err := l.fetchPart(ctx, p, at(), min(p.Position+p.Length, to))
		if err != nil {
			return err
		}
		*out = append(*out, b...)
	}
	if at() == to {
		return nil
	}
	rows, err := l.db.LogRecords(ctx, l.generation, at(), to)
	if err != nil {
		return err
	}
	for _, r := range rows {
		skip := at() - r.Position
		if skip < 0 || skip >= int64(len(r.Bytes)) {
			return nil // moved meanwhile
		}
		*out = append(*out, r.Bytes[skip:min(int64(len(r.Bytes)), to-r.Position)]...)
	}
	return nil
}

func (l *sharedLog) fetchPart(ctx context.Context, p store.LogPart, from, to int64) ([]byte, error) {
	r, err := l.blobs.Get(ctx, partKey(l.generation, p), from-p.Position, to-from)
	if err != nil {
		return nil, err
	}
	b := make([]byte, to-from)
	_, err = io.ReadFull(r, b)
	return b, errors.Join(err, r.Close())
}

func logPrefix(generation string) string { return "logs/" + generation + "/" }

func partKey(generation string, p store.LogPart) string {
	return fmt.Sprintf("%s%d-%d", logPrefix(generation), p.Position, p.Length)
}

func indexKey(generation string, finished bool) string {
	if finished {
		return logPrefix(generation) + "index"
	}
	return logPrefix(generation) + "growing"
}

func (l *sharedLog) read(finished bool) (*indexFile, error) {
	ctx, cancel := bounded()
	defer cancel()
	info, err := l.blobs.Stat(ctx, indexKey(l.generation, finished))
	if err != nil {
		return nil, err
	}
	return &indexFile{&blobReader{l, info.Key, info.Size}, info.Size, func() error { return nil }}, nil
}

func (l *sharedLog) write(b []byte, finished bool) error {
	ctx, cancel := bounded()
	defer cancel()
	_, err := l.blobs.Put(ctx, indexKey(l.generation, finished), bytes.NewReader(b))
	return err
}

// blobReader reads the index of a finished log, which does not change, through the cache, and that of a growing log as a whole.
type blobReader struct {
	*sharedLog
	key  string
	size int64
}

func (r *blobReader) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		at := off + int64(n)
		if at >= r.size {
			return n, io.EOF
		}
		start := at / blockSize * blockSize
		end := min(start+blockSize, r.size)
		b, err := r.cache.get(block{fmt.Sprint(r.key, "@", r.size), at / blockSize}, int(end-start), func(int64) ([]byte, error) {
			return r.blob(start, end)
		})
		if err != nil {
			return n, fmt.Errorf("index of log %s: %w", r.id, err)
		}
		n += copy(p[n:], b[at-start:])
	}
	return n, nil
}

func (r *blobReader) blob(from, to int64) ([]byte, error) {
	ctx, cancel := bounded()
	defer cancel()
	body, err := r.blobs.Get(ctx, r.key, from, to-from)
	if err != nil {
		return nil, err
	}
	b := make([]byte, to-from)
	_, err = io.ReadFull(body, b)
	return b, errors.Join(err, body.Close())
}
