package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/pressly/goose/v3"
	migrator "modernc.org/sqlite"
)

// maxGroup is how many updates share a commit at most. It bounds how long the first of them waits.
const maxGroup = 128

func openSQLite(ctx context.Context, o Options) (*Store, error) {
	if err := writableFolder(filepath.Dir(o.Path)); err != nil {
		return nil, err
	}
	if _, err := migrator.Fdatasync(true); err != nil && !errors.Is(err, migrator.ErrFdatasyncUnavailable) {
		return nil, err
	}
	if err := migrateFile(ctx, o.Path); err != nil {
		return nil, fmt.Errorf("database %s: %w", o.Path, err)
	}
	// The writer's commits do not flush: its flusher does, once the log is there.
	conn, err := openConn(o.Path, "journal_mode = wal", "synchronous = normal")
	if err != nil {
		return nil, err
	}
	flusher, err := startFlusher(o.Path + "-wal")
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	p := newPool(o.Path, max(4, 2*runtime.NumCPU()))
	return &Store{Reader: Reader{o.traced(p)}, conns: p, update: startWriter(conn, flusher, o), traced: o.traced, kind: goose.DialectSQLite3}, nil
}

// migrateFile makes the file, if it is not there, and its schema, with the driver that goose wants. SQLite itself is the same code as
// that of the connections that are opened next.
func migrateFile(ctx context.Context, path string) (err error) {
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath()}
	db, err := sql.Open("sqlite", u.String()+"?_pragma=journal_mode(wal)&_pragma=synchronous(full)&_pragma=foreign_keys(1)&_pragma=busy_timeout(10000)")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	return migrate(ctx, db, goose.DialectSQLite3)
}

// writableFolder says what to do where the database could not be made, which SQLite reports in
// words that name no cause.
func writableFolder(dir string) error {
	f, err := os.CreateTemp(dir, ".writable-*")
	if err != nil {
		return fmt.Errorf("the data directory cannot be written (choose another with --data, or change its owner): %w", err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// writer owns the one connection that writes. Its goroutine ends with close. What it committed it leaves to the flusher, which answers
// those who wait for it.
type writer struct {
	conn  *sqliteConn
	flush *flusher
	tx    Reader // what each update is given
	queue chan *request
	mu    sync.RWMutex // held for reading while sending on queue
	ended bool
	done  sync.WaitGroup
}

type request struct {
	ctx    context.Context
	fn     func(*Tx) error
	soon   bool // its flush may come with a later one
	err    error
	panics any
	done   chan struct{}
	lead   chan []*request // on PostgreSQL: it is to run these, of which it is the first
}

func startWriter(conn *sqliteConn, flush *flusher, o Options) *writer {
	w := &writer{conn: conn, flush: flush, queue: make(chan *request, maxGroup)}
	w.tx = Reader{o.traced(w)}
	w.done.Go(w.run)
	return w
}

func (w *writer) update(ctx context.Context, soon bool, fn func(*Tx) error) error {
	r := &request{ctx: ctx, fn: fn, soon: soon, done: make(chan struct{})}
	if err := w.send(ctx, r); err != nil {
		return err
	}
	<-r.done
	if r.panics != nil {
		panic(r.panics) // the caller's own, moved back to its goroutine
	}
	return r.err
}

func (w *writer) send(ctx context.Context, r *request) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.ended {
		return sql.ErrConnDone
	}
	select {
	case w.queue <- r:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *writer) run() {
	for r := range w.queue {
		group := w.gather(r)
		err := w.flush.failed()
		if err == nil {
			err = w.commit(group)
		}
		if err != nil {
			tell(group, err)
			continue
		}
		if waiting := tellSome(group); len(waiting) > 0 {
			w.flush.ran <- waiting
		}
	}
}

// tellSome answers those of a committed group who wait for no flush, and returns the others.
func tellSome(group []*request) (waiting []*request) {
	for _, r := range group {
		if r.soon {
			close(r.done)
		} else {
			waiting = append(waiting, r)
		}
	}
	return waiting
}

// tell answers those who wait for their updates.
func tell(group []*request, err error) {
	for _, r := range group {
		r.err = errors.Join(r.err, err)
		close(r.done)
	}
}

// gather returns first and whatever else waits, without waiting for more.
func (w *writer) gather(first *request) []*request {
	group := []*request{first}
	for len(group) < maxGroup {
		select {
		case r, ok := <-w.queue:
			if !ok {
				return group
			}
			group = append(group, r)
		default:
			return group
		}
	}
	return group
}

// begin begins a transaction. If the last one could not be rolled back it is still there, and
// every later one would fail with it.
func (w *writer) begin(ctx context.Context) error {
	err := w.exec(ctx, "BEGIN IMMEDIATE")
	if err == nil || w.exec(ctx, "ROLLBACK") != nil {
		return err
	}
	return w.exec(ctx, "BEGIN IMMEDIATE")
}

func (w *writer) commit(group []*request) error {
	ctx := context.Background()
	if err := w.begin(ctx); err != nil {
		return fmt.Errorf("beginning: %w", err)
	}
	if len(group) == 1 {
		return w.alone(ctx, group[0])
	}
	for _, r := range group {
		if err := w.attempt(ctx, r); err != nil {
			return errors.Join(err, w.exec(ctx, "ROLLBACK"))
		}
	}
	return w.end(ctx)
}

// alone runs one update that has the transaction to itself.
func (w *writer) alone(ctx context.Context, r *request) error {
	if r.err = r.ctx.Err(); r.err == nil {
		r.run(&Tx{Reader: w.tx})
	}
	if r.err != nil || r.panics != nil {
		return w.exec(ctx, "ROLLBACK")
	}
	return w.end(ctx)
}

func (w *writer) end(ctx context.Context) error {
	if err := w.exec(ctx, "COMMIT"); err != nil {
		return errors.Join(fmt.Errorf("committing: %w", err), w.exec(ctx, "ROLLBACK"))
	}
	return nil
}

// attempt runs one update in its savepoint. It returns an error only where the whole group is lost.
func (w *writer) attempt(ctx context.Context, r *request) error {
	if r.err = r.ctx.Err(); r.err != nil {
		return nil
	}
	if err := w.exec(ctx, "SAVEPOINT op"); err != nil {
		return err
	}
	r.run(&Tx{Reader: w.tx})
	if r.err != nil || r.panics != nil {
		if err := w.exec(ctx, "ROLLBACK TO op"); err != nil {
			return err
		}
	}
	return w.exec(ctx, "RELEASE op")
}

func (r *request) run(tx *Tx) {
	defer func() { r.panics = recover() }()
	r.err = r.fn(tx)
}

func (w *writer) exec(ctx context.Context, q string) error {
	_, err := w.execContext(ctx, q)
	return err
}

func (w *writer) execContext(_ context.Context, q string, args ...any) (int64, error) {
	return w.conn.exec(q, args)
}

func (w *writer) later(ctx context.Context, q string, args ...any) error {
	n, err := count(ctx, w, q, args...)
	if err == nil && n == 0 && mustChange(q) {
		return ErrNotFound
	}
	return err
}

func (w *writer) together(_ context.Context, questions []question) error {
	return w.conn.together(questions)
}

func (w *writer) queryContext(_ context.Context, q string, args ...any) (rows, error) {
	return w.conn.query(q, args)
}

func (w *writer) close() error {
	w.mu.Lock()
	if w.ended {
		w.mu.Unlock()
		return nil
	}
	w.ended = true
	close(w.queue)
	w.mu.Unlock()
	w.done.Wait()
	return errors.Join(w.flush.close(), w.conn.Close())
}
