package store

import (
	"context"
	"database/sql"
	"errors"
	"sync"
)

var errNoTransaction = errors.New("writing outside a transaction")

// pool is the read-only side of SQLite: connections that are opened when they are wanted first and then kept. The one that was used last
// is used next, for it has prepared the statements that are asked most.
type pool struct {
	path  string
	turns chan struct{} // one for each connection that nobody uses, opened or not
	ended chan struct{}
	once  sync.Once

	mu   sync.Mutex
	free []*sqliteConn
}

func newPool(path string, size int) *pool {
	p := &pool{path: path, turns: make(chan struct{}, size), ended: make(chan struct{})}
	for range size {
		p.turns <- struct{}{}
	}
	return p
}

// take returns a connection that nobody else uses, for give.
func (p *pool) take(ctx context.Context) (*sqliteConn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case <-p.ended:
		return nil, sql.ErrConnDone
	default:
	}
	select {
	case <-p.turns:
	case <-p.ended:
		return nil, sql.ErrConnDone
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c := p.last(); c != nil {
		return c, nil
	}
	c, err := openConn(p.path, "query_only = 1")
	if err != nil {
		p.turns <- struct{}{}
	}
	return c, err
}

// last takes the connection that was given last, nil if there is none.
func (p *pool) last() *sqliteConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.free)
	if n == 0 {
		return nil
	}
	c := p.free[n-1]
	p.free = p.free[:n-1]
	return c
}

func (p *pool) give(c *sqliteConn) {
	p.mu.Lock()
	p.free = append(p.free, c)
	p.mu.Unlock()
	p.turns <- struct{}{}
}

// close waits for the queries under way. Closing again does nothing.
func (p *pool) close() (err error) {
	p.once.Do(func() {
		close(p.ended)
		for range cap(p.turns) {
			<-p.turns
		}
		for c := p.last(); c != nil; c = p.last() {
			err = errors.Join(err, c.Close())
		}
	})
	return err
}

func (p *pool) ping(ctx context.Context) error {
	_, err := one(ctx, p, scanInt, "SELECT 1")
	return err
}

func (p *pool) execContext(context.Context, string, ...any) (int64, error) {
	return 0, errNoTransaction
}

func (p *pool) later(context.Context, string, ...any) error { return errNoTransaction }

func (p *pool) together(ctx context.Context, questions []question) error {
	return p.view(ctx, func(q querier) error { return q.together(ctx, questions) })
}

// view has all questions asked of one state of the database, on one connection.
func (p *pool) view(ctx context.Context, fn func(querier) error) (err error) {
	c, err := p.take(ctx)
	if err != nil {
		return err
	}
	defer p.give(c)
	if _, err := c.exec("BEGIN", nil); err != nil {
		return err
	}
	defer func() { // also where reading panics: whoever is given the connection next would read this state of the database for ever
		_, end := c.exec("COMMIT", nil)
		err = errors.Join(err, end)
	}()
	return fn(snapshot{c})
}

// queryContext runs a query to its end, whatever becomes of ctx once it has begun: every query is bounded.
func (p *pool) queryContext(ctx context.Context, q string, args ...any) (rows, error) {
	c, err := p.take(ctx)
	if err != nil {
		return nil, err
	}
	r, err := c.query(q, args)
	if err != nil {
		p.give(c)
		return nil, err
	}
	r.done = func() { p.give(c) }
	return r, nil
}

// snapshot is one state of the database.
type snapshot struct{ conn *sqliteConn }

func (snapshot) execContext(context.Context, string, ...any) (int64, error) {
	return 0, errNoTransaction
}

func (snapshot) later(context.Context, string, ...any) error { return errNoTransaction }

func (s snapshot) together(_ context.Context, questions []question) error {
	return s.conn.together(questions)
}

func (s snapshot) queryContext(_ context.Context, q string, args ...any) (rows, error) {
	return s.conn.query(q, args)
}
