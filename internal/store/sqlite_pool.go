package store

import (
	"context"
	"database/sql"
	"errors"
	"sync"
)

var errNoTransaction = errors.New("writing outside a transaction")

// pool is the read-only side of SQLite: connections that are opened when they are wanted first and then kept.
type pool struct {
	path  string
	free  chan *sqliteConn
	room  chan struct{} // one for each connection that may still be opened
	ended chan struct{}
	once  sync.Once
}

func newPool(path string, size int) *pool {
	p := &pool{path: path, free: make(chan *sqliteConn, size), room: make(chan struct{}, size), ended: make(chan struct{})}
	for range size {
		p.room <- struct{}{}
	}
	return p
}

// take returns a connection that nobody else uses, for give.
func (p *pool) take(ctx context.Context) (*sqliteConn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case c := <-p.free:
		return c, nil
	default:
	}
	select {
	case c := <-p.free:
		return c, nil
	case <-p.room:
		return p.open()
	case <-p.ended:
		return nil, sql.ErrConnDone
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pool) open() (*sqliteConn, error) {
	c, err := openConn(p.path, "query_only = 1")
	if err != nil {
		p.room <- struct{}{}
	}
	return c, err
}

func (p *pool) give(c *sqliteConn) { p.free <- c }

// close waits for the queries under way. Closing again does nothing.
func (p *pool) close() (err error) {
	p.once.Do(func() { err = p.closeAll() })
	return err
}

func (p *pool) closeAll() (err error) {
	close(p.ended)
	for range cap(p.free) {
		select {
		case c := <-p.free:
			err = errors.Join(err, c.Close())
		case <-p.room:
		}
	}
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
	return oneByOne(ctx, p, questions)
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
