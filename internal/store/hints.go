package store

import (
	"context"
	"crypto/rand"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// Servers on one PostgreSQL database tell each other of topics on one channel. A message is the name of its sender and the topics, a
// line each, below the 8,000 bytes that a notification may have (https://www.postgresql.org/docs/15/sql-notify.html). SQLite has one server
// and no such thing, so these two statements are not among those that both databases know.
const (
	pgListen   = `LISTEN slipway_hints`
	pgNotify   = `SELECT pg_notify('slipway_hints', $1)`
	maxMessage = 7500
)

// Several reports whether other servers may be on the same database.
func (s *Store) Several() bool { return s.kind == goose.DialectPostgres }

// SendHints tells the other servers on the database of topics, without line ends, at most 200 bytes each.
func (s *Store) SendHints(ctx context.Context, topics []string) error {
	for len(topics) > 0 {
		var b strings.Builder
		b.WriteString(s.name)
		for first := true; len(topics) > 0 && (first || b.Len()+1+len(topics[0]) <= maxMessage); first = false {
			b.WriteString("\n" + topics[0])
			topics = topics[1:]
		}
		if _, err := s.db.ExecContext(ctx, pgNotify, b.String()); err != nil {
			return fmt.Errorf("telling other servers: %w", err)
		}
	}
	return nil
}

// HearHints passes on what other servers send, until ctx is done or the connection breaks. It keeps one connection.
func (s *Store) HearHints(ctx context.Context, hear func(topics []string)) error {
	c, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Raw(func(raw any) error {
		conn, ok := raw.(*stdlib.Conn)
		if !ok {
			return fmt.Errorf("hints need PostgreSQL, not a %T", raw)
		}
		err := s.listen(ctx, conn.Conn(), hear)
		return errors.Join(driver.ErrBadConn, err) // it listens, and so is of no use to others
	})
}

func (s *Store) listen(ctx context.Context, c *pgx.Conn, hear func(topics []string)) error {
	if _, err := c.Exec(ctx, pgListen); err != nil {
		return err
	}
	for {
		n, err := c.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		sender, topics, _ := strings.Cut(n.Payload, "\n")
		if sender != s.name {
			hear(strings.Split(topics, "\n"))
		}
	}
}

// newName tells the servers on one database apart.
func newName() string { return rand.Text() }
