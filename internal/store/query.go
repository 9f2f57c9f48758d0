package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Reader holds the queries, over a pool of connections or inside a transaction.
type Reader struct{ q querier }

type querier interface {
	execContext(ctx context.Context, q string, args ...any) (sql.Result, error)
	queryContext(ctx context.Context, q string, args ...any) (*sql.Rows, error)
}

// traced tells of each statement.
type traced struct {
	querier
	trace func(string)
}

func (t traced) execContext(ctx context.Context, q string, args ...any) (sql.Result, error) {
	t.trace(q)
	return t.querier.execContext(ctx, q, args...)
}

func (t traced) queryContext(ctx context.Context, q string, args ...any) (*sql.Rows, error) {
	t.trace(q)
	return t.querier.queryContext(ctx, q, args...)
}

// stmtCache keeps prepared statements: SQLite compiles a text anew each time it sees one.
type stmtCache struct {
	prepare func(context.Context, string) (*sql.Stmt, error)
	mu      sync.Mutex
	stmts   map[string]*sql.Stmt
}

func (c *stmtCache) get(ctx context.Context, q string) (*sql.Stmt, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if st, ok := c.stmts[q]; ok {
		return st, nil
	}
	st, err := c.prepare(context.WithoutCancel(ctx), q)
	if err != nil {
		return nil, fmt.Errorf("preparing %q: %w", firstWords(q), err)
	}
	if c.stmts == nil {
		c.stmts = map[string]*sql.Stmt{}
	}
	c.stmts[q] = st
	return st, nil
}

func firstWords(q string) string {
	q = strings.Join(strings.Fields(q), " ")
	return q[:min(len(q), 80)]
}

// pool is the read-only side of SQLite.
type pool struct {
	db    *sql.DB
	once  sync.Once
	stmts stmtCache
}

func (p *pool) cache() *stmtCache {
	p.once.Do(func() {
		p.stmts.prepare = func(ctx context.Context, q string) (*sql.Stmt, error) { return p.db.PrepareContext(ctx, nameless(q)) }
	})
	return &p.stmts
}

func (p *pool) execContext(context.Context, string, ...any) (sql.Result, error) {
	return nil, errors.New("writing outside a transaction")
}

// queryContext runs a query to its end, whatever becomes of ctx once it has begun: every query is bounded, and to watch a context
// costs two goroutines for each, more than most queries take.
func (p *pool) queryContext(ctx context.Context, q string, args ...any) (*sql.Rows, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	st, err := p.cache().get(ctx, q)
	if err != nil {
		return nil, err
	}
	return st.QueryContext(context.WithoutCancel(ctx), args...)
}

// scanner is a row that can be scanned.
type scanner interface{ Scan(dest ...any) error }

// list runs a query and scans every row.
func list[T any](ctx context.Context, q querier, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.queryContext(ctx, query, storable(args)...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", firstWords(query), err)
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", firstWords(query), err)
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// one runs a query and scans its first row. No row is ErrNotFound.
func one[T any](ctx context.Context, q querier, scan func(scanner) (T, error), query string, args ...any) (T, error) {
	var none T
	got, err := list(ctx, q, scan, query, args...)
	if err != nil {
		return none, err
	}
	if len(got) == 0 {
		return none, ErrNotFound
	}
	return got[0], nil
}

// exec runs a statement that must change a row; none is ErrNotFound.
func exec(ctx context.Context, q querier, query string, args ...any) error {
	n, err := count(ctx, q, query, args...)
	if err == nil && n == 0 {
		return ErrNotFound
	}
	return err
}

// count runs a statement and returns how many rows it changed.
func count(ctx context.Context, q querier, query string, args ...any) (int64, error) {
	res, err := q.execContext(ctx, query, storable(args)...)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", firstWords(query), err)
	}
	return res.RowsAffected()
}

// insertRows runs an INSERT of one row for many, several at a time: always as many as leave few texts to
// be prepared, and so many that the parameters stay far below what SQLite (32,766) and PostgreSQL (65,535) allow.
func (tx *Tx) insertRows(ctx context.Context, one string, rows [][]any) error {
	for _, n := range []int{32, 8, 1} {
		if n > len(rows) {
			continue
		}
		query := ofRows(one, n)
		for ; n <= len(rows); rows = rows[n:] {
			if _, err := count(ctx, tx.q, query, slices.Concat(rows[:n]...)...); err != nil {
				return err
			}
		}
	}
	return nil
}

// ofRows is the text of an INSERT of one row, whose parameters are in order, with those of n rows.
func ofRows(insert string, n int) string {
	head, rest, _ := strings.Cut(insert, "VALUES (")
	row, tail, _ := strings.Cut(rest, ")")
	columns := strings.Count(row, "$")
	groups := make([]string, n)
	for i := range groups {
		marks := make([]string, columns)
		for c := range marks {
			marks[c] = "$" + strconv.Itoa(i*columns+c+1)
		}
		groups[i] = "(" + strings.Join(marks, ", ") + ")"
	}
	return head + "VALUES " + strings.Join(groups, ", ") + tail
}

// storable replaces, in place, what PostgreSQL keeps in no text (bytes that are not UTF-8, and the
// zero byte) by U+FFFD. Such text comes from commits and jobs; refused, it would stop a build for
// good on one of the two databases.
func storable(args []any) []any {
	for i, v := range args {
		s, ok := v.(string)
		if ok && (!utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0) {
			args[i] = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
		}
	}
	return args
}

func scanString(s scanner) (string, error) {
	var v string
	return v, s.Scan(&v)
}

func scanInt(s scanner) (int64, error) {
	var v int64
	return v, s.Scan(&v)
}

// in returns "(?, …)" as $first… and the values as arguments.
func in[T any](first int, values []T) (string, []any) {
	marks, args := make([]string, len(values)), make([]any, len(values))
	for i, v := range values {
		marks[i], args[i] = fmt.Sprintf("$%d", first+i), v
	}
	return "(" + strings.Join(marks, ", ") + ")", args
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// instant scans microseconds into a time.
type instant struct{ t *time.Time }

func (i instant) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("an instant is %T", v)
	}
	*i.t = time.Time{}
	if n != 0 {
		*i.t = time.UnixMicro(n).UTC()
	}
	return nil
}

// document scans JSON text into a value.
type document struct{ to any }

func (d document) Scan(v any) error {
	switch v := v.(type) {
	case string:
		if to, ok := d.to.(*[]string); ok && v == "[]" {
			*to = []string{}
			return nil
		}
		return json.Unmarshal([]byte(v), d.to)
	case []byte:
		return json.Unmarshal(v, d.to)
	}
	return fmt.Errorf("a document is %T", v)
}

// text is a value as JSON text. What the store keeps is made of maps, slices, strings and numbers,
// which always encode.
func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("a %T cannot be stored: %v", v, err))
	}
	return string(b)
}
