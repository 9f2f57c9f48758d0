// Package store keeps everything in SQL, on SQLite or PostgreSQL, with one schema and one text for
// each statement.
//
// Reads are methods of Reader, which Store and Tx share. Writes are methods of Tx alone, and only
// Store.Update hands one out: what its function did is there as a whole when Update returns nil,
// also after the process is killed or the power is cut, and not at all when it returns an error.
// Inside Update the transaction is the only thing in scope: no network, no waiting.
//
// On SQLite there is one writer connection. Updates that wait for it at the same time share one
// commit, each in a savepoint of its own, and commits that wait for the disk share a flush, while the
// next updates run: readers see for that moment what is not durable yet, and Update has not returned.
// On PostgreSQL updates run side by side at READ COMMITTED; an operation on a build
// locks the build's row first (Tx.LockBuild), so that both databases serialize the same things, and
// those of one server that wait for the same build share a transaction (Store.UpdateBuild).
//
// Times are stored as microseconds and come back in UTC; the zero time.Time is stored as 0.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

// ErrNotFound says that no row has the id or key asked for.
var ErrNotFound = errors.New("not found")

// ErrConflict says that a unique key is taken.
var ErrConflict = errors.New("already exists")

// Options say which database to open. Exactly one of Path and Postgres is set.
type Options struct {
	Path     string // SQLite file; made if absent, its folder must exist
	Postgres string // postgres:// URL
	// Trace, if set, is called with the text of each statement before it runs, by whichever
	// goroutine runs it. Tests count with it.
	Trace func(statement string)
}

func (o Options) traced(q querier) querier {
	if o.Trace == nil {
		return q
	}
	return traced{q, o.Trace}
}

// Store is an open database. It is safe for concurrent use.
type Store struct {
	Reader
	conns  connections
	db     *sql.DB // PostgreSQL's, nil on SQLite
	update updater
	traced func(querier) querier
	lanes  *lanes // nil on SQLite, where all updates share one
	kind   goose.Dialect
	name   string // of this server among those on the database
}

// updater runs one function in one transaction.
type updater interface {
	// update returns when the transaction is durable, or, where that may come soon, when it is committed.
	update(ctx context.Context, soon bool, fn func(*Tx) error) error
	close() error
}

// connections are those that read.
type connections interface {
	ping(ctx context.Context) error
	view(ctx context.Context, fn func(querier) error) error
	close() error
}

// Tx is one transaction. It must not be used after the function it was given to has returned.
type Tx struct {
	Reader
	forUpdate string // ends a question whose rows are to be locked
	forFree   string // the same, and passes over those that others hold
	shared    bool   // with other updates of the same build, before and after it
}

//go:embed migrations/*.sql
var migrations embed.FS

// Open opens the database and brings its schema up to date.
func Open(ctx context.Context, o Options) (*Store, error) {
	open := openSQLite
	if o.Postgres != "" {
		open = openPostgres
	}
	s, err := open(ctx, o)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// View runs fn once, for several questions that belong together. On SQLite all are asked of one state of the database, that of the first
// of them: to begin reading anew for each takes longer than most answers. On PostgreSQL, where it would take round trips, each sees what
// was committed before it was asked. fn waits for nothing but its questions, and asks no others: it holds a connection.
func (s *Store) View(ctx context.Context, fn func(Reader) error) error {
	return s.conns.view(ctx, func(q querier) error { return fn(Reader{s.traced(q)}) })
}

// Update runs fn in one transaction. The function may run more than once (PostgreSQL aborts one of
// two transactions that wait for each other), so it must set what it captures anew each time.
// Once fn has begun, the end of ctx does not stop it.
func (s *Store) Update(ctx context.Context, fn func(*Tx) error) error {
	return s.update.update(ctx, false, fn)
}

// UpdateBuild is Update for an operation on a build. On PostgreSQL those of one server that wait for the same build share a transaction.
func (s *Store) UpdateBuild(ctx context.Context, buildID string, fn func(*Tx) error) error {
	if s.lanes == nil {
		return s.Update(ctx, fn)
	}
	return s.lanes.update(ctx, buildID, false, fn)
}

// UpdateBuildSoon is UpdateBuild for what nobody acts on who does not write first. It waits for no flush, unless it shares a transaction
// with what does: it survives this process, and is durable with the next update that is; until then a loss of power may undo it, or the
// end of PostgreSQL.
func (s *Store) UpdateBuildSoon(ctx context.Context, buildID string, fn func(*Tx) error) error {
	if s.lanes == nil {
		return s.update.update(ctx, true, fn)
	}
	return s.lanes.update(ctx, buildID, true, fn)
}

// UpdateBuildOfJob is UpdateBuild for the build of a job.
func (s *Store) UpdateBuildOfJob(ctx context.Context, jobID string, fn func(*Tx) error) error {
	if s.lanes == nil {
		return s.Update(ctx, fn)
	}
	build, err := s.lanes.buildOf(ctx, s.Reader, jobID)
	if errors.Is(err, ErrNotFound) {
		return s.Update(ctx, fn) // which finds no job either
	}
	if err != nil {
		return err
	}
	return s.lanes.update(ctx, build, false, fn)
}

// JobIsOf tells to which build a job belongs, which need not be asked then.
func (s *Store) JobIsOf(jobID, buildID string) {
	if s.lanes != nil {
		s.lanes.learn(jobID, buildID)
	}
}

// Close waits for the updates under way and closes the database.
func (s *Store) Close() error {
	return errors.Join(s.update.close(), s.conns.close())
}

// Ping says whether the database answers.
func (s *Store) Ping(ctx context.Context) error { return s.conns.ping(ctx) }

func migrate(ctx context.Context, db *sql.DB, d goose.Dialect) error {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(d, db, dir)
	if err != nil {
		return fmt.Errorf("reading migrations: %w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrating the database: %w", err)
	}
	return nil
}
