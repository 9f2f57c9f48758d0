package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// onConn runs fn with a connection of a pool of PostgreSQL's.
func onConn(ctx context.Context, db *sql.DB, fn func(*pgx.Conn) error) error {
	c, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	var failed error
	err = c.Raw(func(raw any) error {
		conn, ok := raw.(*stdlib.Conn)
		if !ok {
			return fmt.Errorf("a connection to PostgreSQL is a %T", raw)
		}
		if failed = fn(conn.Conn()); conn.Conn().IsClosed() {
			return driver.ErrBadConn // the pool is not to keep it
		}
		return nil
	})
	if failed != nil || errors.Is(err, driver.ErrBadConn) {
		return failed
	}
	return err
}

// pgTx is a transaction that goes to PostgreSQL in as few round trips as its questions allow: writes of which nothing but their
// failure is of interest wait for the next question or for the commit, and travel with it. While a transaction holds the lock of a
// build, all others of that build wait, so that each round trip counts for all of them.
type pgTx struct {
	conn    *pgx.Conn
	waiting []statement // writes to be sent; the first begins the transaction
	begun   bool        // something has been sent
	failed  error       // of a write, told by all that follows
}

type statement struct {
	query string
	args  []any
	row   bool // it must change one
}

// send sends what waits and then more statements, and reads the answers to what waited. What has begun is not stopped by the end of
// ctx.
func (t *pgTx) send(ctx context.Context, more ...statement) (pgx.BatchResults, error) {
	if t.failed != nil {
		return nil, t.failed
	}
	var b pgx.Batch
	sent := t.waiting
	t.waiting, t.begun = nil, t.begun || len(sent) > 0
	for _, w := range append(sent, more...) {
		b.Queue(w.query, w.args...)
	}
	res := t.conn.SendBatch(context.WithoutCancel(ctx), &b)
	for _, w := range sent {
		if t.failed = wrote(w, res); t.failed != nil {
			return nil, ended(t.failed, res)
		}
	}
	return res, nil
}

// wrote reads the answer to a write.
func wrote(w statement, res pgx.BatchResults) error {
	tag, err := res.Exec()
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", firstWords(w.query), conflict(err))
	case w.row && tag.RowsAffected() == 0:
		return fmt.Errorf("%s: %w", firstWords(w.query), errMissed)
	}
	return nil
}

// conflict tells a taken key from other failures.
func conflict(err error) error {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == "23505" {
		return fmt.Errorf("%w: %w", ErrConflict, err)
	}
	return err
}

// maxWaiting is how many writes are sent at once: those of a large plan are not all to be in memory twice.
const maxWaiting = 32

func (t *pgTx) later(ctx context.Context, q string, args ...any) error {
	t.waiting = append(t.waiting, statement{q, args, mustChange(q)})
	if t.failed != nil || len(t.waiting) < maxWaiting {
		return t.failed
	}
	res, err := t.send(ctx)
	if err != nil {
		return err
	}
	return res.Close()
}

func (t *pgTx) execContext(ctx context.Context, q string, args ...any) (int64, error) {
	res, err := t.send(ctx, statement{query: q, args: args})
	if err != nil {
		return 0, err
	}
	tag, err := res.Exec()
	return tag.RowsAffected(), conflict(ended(err, res))
}

func (t *pgTx) queryContext(ctx context.Context, q string, args ...any) (rows, error) {
	res, err := t.send(ctx, statement{query: q, args: args})
	if err != nil {
		return nil, err
	}
	r, err := res.Query()
	if err != nil {
		return nil, ended(err, res)
	}
	return pgRows{r, res}, nil
}

func (t *pgTx) together(ctx context.Context, questions []question) error {
	more := make([]statement, len(questions))
	for i, v := range questions {
		more[i] = statement{query: v.query, args: v.args}
	}
	res, err := t.send(ctx, more...)
	if err != nil {
		return err
	}
	for _, v := range questions {
		if err := answer(v, res); err != nil {
			return ended(err, res)
		}
	}
	return res.Close()
}

func answer(v question, res pgx.BatchResults) error {
	r, err := res.Query()
	if err != nil {
		return fmt.Errorf("%s: %w", firstWords(v.query), err)
	}
	defer r.Close()
	return v.read(pgRows{r, nil})
}

// ended reads the rest of a batch's answers, of which a failure that is known is the first.
func ended(err error, res pgx.BatchResults) error {
	if rest := res.Close(); err == nil {
		return rest
	}
	return err
}

// errMissed says that a write found no row that cannot but be there.
var errMissed = fmt.Errorf("its row is gone: %w", ErrNotFound)

// errUnsure says that the connection broke while a transaction was committed: it may have been.
var errUnsure = errors.New("whether it was committed is not known")

// commit ends the transaction. One that asked and wrote nothing was never begun.
func (t *pgTx) commit(ctx context.Context) error {
	if !t.begun && len(t.waiting) == 1 {
		t.waiting = nil
		return t.failed
	}
	if t.failed != nil {
		return t.failed
	}
	var tag pgconn.CommandTag
	res, err := t.send(ctx, statement{query: "COMMIT"})
	if err == nil {
		tag, err = res.Exec()
		err = ended(err, res)
	}
	if err != nil && (t.conn.IsClosed() || errors.Is(err, errMissed)) { // the rest was committed
		return fmt.Errorf("%w: %w", errUnsure, err)
	}
	if err != nil {
		return err
	}
	t.begun = false
	if tag.String() != "COMMIT" { // what PostgreSQL answers where a statement failed and nobody heard of it
		return fmt.Errorf("committing: %s", tag)
	}
	return nil
}

// rollback undoes what was sent. A connection on which that fails is closed, which undoes it too.
func (t *pgTx) rollback(ctx context.Context) {
	if t.begun && t.conn.PgConn().Exec(ctx, "ROLLBACK").Close() != nil {
		_ = t.conn.Close(ctx) // it is of no use any more
	}
	t.begun = false
}

// pgRows are the rows of one question; batch, if set, is what they end.
type pgRows struct {
	pgx.Rows
	batch pgx.BatchResults
}

func (r pgRows) Close() error {
	r.Rows.Close()
	if r.batch == nil {
		return r.Err()
	}
	return ended(r.Err(), r.batch)
}
