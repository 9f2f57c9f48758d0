package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"
)

// maxAttempts is how often an update is tried that PostgreSQL aborted for the sake of another.
const maxAttempts = 8

func openPostgres(ctx context.Context, o Options) (*Store, error) {
	db, err := sql.Open("pgx", o.Postgres)
	if err != nil {
		return nil, fmt.Errorf("the database URL: %w", err)
	}
	db.SetMaxOpenConns(32)
	db.SetMaxIdleConns(32)
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("PostgreSQL at %s does not answer: %w", hostOf(o.Postgres), err), db.Close())
	}
	if err := migrateAlone(ctx, db); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	u := &pgUpdater{db, o}
	return &Store{
		Reader: Reader{o.traced(direct{db})}, conns: direct{db}, db: db, update: u, traced: o.traced, lanes: &lanes{run: u.inLane}, kind: goose.DialectPostgres, name: newName(),
	}, nil
}

// The lock has any number that nothing else on the database uses. It goes with its connection, also when the server is killed.
const (
	pgLockSchema   = `SELECT pg_advisory_lock(7236837221)`
	pgUnlockSchema = `SELECT pg_advisory_unlock(7236837221)`
)

// migrateAlone brings the schema up to date while no other server does: two first starts would make the same tables.
func migrateAlone(ctx context.Context, db *sql.DB) (err error) {
	c, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if _, err := c.ExecContext(ctx, pgLockSchema); err != nil {
		return fmt.Errorf("waiting for another server's migration: %w", err)
	}
	err = errors.Join(migrate(ctx, db, goose.DialectPostgres), dropChecks(ctx, c))
	_, unlock := c.ExecContext(ctx, pgUnlockSchema)
	return errors.Join(err, unlock)
}

// Of tables that are written with every job, PostgreSQL has no CHECK constraints: it reads the text of each anew for every statement that
// writes, which was half of what an UPDATE of a job took. They find mistakes of ours, and SQLite, on which the same statements are tested,
// looks only at those whose columns change.
const pgChecks = `SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) FROM pg_constraint
	WHERE contype = 'c' AND connamespace = current_schema()::regnamespace
	AND conrelid::regclass::text IN ('agents', 'builds', 'jobs', 'job_logs', 'steps')`

func dropChecks(ctx context.Context, c *sql.Conn) error {
	var drops []string
	r, err := c.QueryContext(ctx, pgChecks)
	if err == nil {
		drops, err = readAll(r, scanString, pgChecks)
		err = errors.Join(err, r.Close())
	}
	for _, drop := range drops {
		if err == nil {
			_, err = c.ExecContext(ctx, drop)
		}
	}
	return err
}

// hostOf is the part of a database URL that may be shown.
func hostOf(dsn string) string {
	u, err := url.Parse(dsn)
	if err != nil {
		return "the given address"
	}
	return u.Host + u.Path
}

// pgForUpdate locks rows without keeping others from referring to them, which takes a weaker lock of its own: two transactions that
// have both referred to a row could otherwise not both lock it (https://www.postgresql.org/docs/15/explicit-locking.html, 13.3.2). No
// key of a row ever changes, and to delete one takes the stronger lock by itself.
const pgForUpdate = " FOR NO KEY UPDATE"

type pgUpdater struct {
	db *sql.DB
	o  Options
}

func (p *pgUpdater) update(ctx context.Context, soon bool, fn func(*Tx) error) error {
	for attempt := 1; ; attempt++ {
		err := p.once(ctx, transaction{soon: soon}, fn)
		if !aborted(err) || attempt == maxAttempts {
			return err
		}
	}
}

// inLane is update, but for a shared transaction, which is not worth to be repeated as a whole.
func (p *pgUpdater) inLane(ctx context.Context, how transaction, fn func(*Tx) error) error {
	if how.shared {
		return p.once(ctx, how, fn)
	}
	return p.update(ctx, how.soon, fn)
}

// pgCommitSoon has a transaction answered before its commit is flushed. Those that come after it in the log are durable together with it
// (https://www.postgresql.org/docs/15/wal-async-commit.html).
const pgCommitSoon = `SET LOCAL synchronous_commit TO off`

func (p *pgUpdater) once(ctx context.Context, how transaction, fn func(*Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return onConn(ctx, p.db, func(c *pgx.Conn) error {
		t := &pgTx{conn: c, waiting: []statement{{query: "BEGIN"}}}
		if how.soon {
			t.waiting = append(t.waiting, statement{query: pgCommitSoon})
		}
		defer t.rollback(context.WithoutCancel(ctx)) // after a commit it does nothing
		tx := &Tx{Reader: Reader{p.o.traced(t)}, forUpdate: pgForUpdate, forFree: pgForUpdate + " SKIP LOCKED", shared: how.shared}
		if err := fn(tx); err != nil {
			return err
		}
		return t.commit(ctx)
	})
}

func (p *pgUpdater) close() error { return nil }

// aborted says whether PostgreSQL gave up the transaction although nothing was wrong with it
// (https://www.postgresql.org/docs/15/errcodes-appendix.html, class 40).
func aborted(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (e.Code == "40001" || e.Code == "40P01")
}

// direct passes questions on: pgx keeps the prepared ones itself.
type direct struct{ db *sql.DB }

func (d direct) ping(ctx context.Context) error { return d.db.PingContext(ctx) }

func (d direct) view(_ context.Context, fn func(querier) error) error { return fn(d) }

func (d direct) close() error { return d.db.Close() }

func (d direct) execContext(context.Context, string, ...any) (int64, error) {
	return 0, errNoTransaction
}

func (d direct) later(context.Context, string, ...any) error { return errNoTransaction }

func (d direct) queryContext(ctx context.Context, q string, args ...any) (rows, error) {
	return d.db.QueryContext(ctx, q, args...)
}

func (d direct) together(ctx context.Context, questions []question) error {
	return onConn(ctx, d.db, func(c *pgx.Conn) error { return (&pgTx{conn: c}).together(ctx, questions) })
}
