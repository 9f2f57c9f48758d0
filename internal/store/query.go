package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/slipway-ci/slipway/internal/ci"
)

// Reader holds the queries, over a pool of connections or inside a transaction.
type Reader struct{ q querier }

type querier interface {
	// execContext returns how many rows a statement changed.
	execContext(ctx context.Context, q string, args ...any) (int64, error)
	queryContext(ctx context.Context, q string, args ...any) (rows, error)
	// later runs a write that cannot but change a row: a new one, or one that the transaction has read and locked. Its failure is told
	// by this call or by any later one of the transaction, at the latest by its commit.
	later(ctx context.Context, query string, args ...any) error
	// together asks several questions, on PostgreSQL in one round trip. Each sees what was committed before it was asked, and so what
	// an earlier one waited for. It ends with the first that fails.
	together(ctx context.Context, questions []question) error
}

// rows are what a query gives, read one after the other.
type rows interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
	Close() error
}

// question is a query and what reads its rows.
type question struct {
	query string
	args  []any
	read  func(rows) error
}

// ask is the question for the first row of a query. No row is ErrNotFound.
func ask[T any](to *T, scan func(scanner) (T, error), query string, args ...any) question {
	return question{query, storable(args), func(r rows) error {
		got, err := readAll(r, scan, query)
		if err == nil && len(got) == 0 {
			return ErrNotFound
		}
		if err == nil {
			*to = got[0]
		}
		return err
	}}
}

// askAll is the question for all rows of a query.
func askAll[T any](to *[]T, scan func(scanner) (T, error), query string, args ...any) question {
	return question{query, storable(args), func(r rows) (err error) {
		*to, err = readAll(r, scan, query)
		return err
	}}
}

// traced tells of each statement.
type traced struct {
	querier
	trace func(string)
}

func (t traced) execContext(ctx context.Context, q string, args ...any) (int64, error) {
	t.trace(q)
	return t.querier.execContext(ctx, q, args...)
}

func (t traced) queryContext(ctx context.Context, q string, args ...any) (rows, error) {
	t.trace(q)
	return t.querier.queryContext(ctx, q, args...)
}

func (t traced) later(ctx context.Context, q string, args ...any) error {
	t.trace(q)
	return t.querier.later(ctx, q, args...)
}

func (t traced) together(ctx context.Context, questions []question) error {
	for _, v := range questions {
		t.trace(v.query)
	}
	return t.querier.together(ctx, questions)
}

func firstWords(q string) string {
	q = strings.Join(strings.Fields(q), " ")
	return q[:min(len(q), 80)]
}

// scanner is a row that can be scanned.
type scanner interface{ Scan(dest ...any) error }

// list runs a query and scans every row.
func list[T any](ctx context.Context, q querier, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	r, err := q.queryContext(ctx, query, storable(args)...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", firstWords(query), err)
	}
	defer r.Close()
	return readAll(r, scan, query)
}

func readAll[T any](r rows, scan func(scanner) (T, error), query string) ([]T, error) {
	var out []T
	for r.Next() {
		v, err := scan(r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", firstWords(query), err)
		}
		out = append(out, v)
	}
	return out, r.Err()
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
	n, err := q.execContext(ctx, query, storable(args)...)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", firstWords(query), err)
	}
	return n, nil
}

// later is exec for what cannot but change a row: a new one, or one that the transaction has read and locked. What it writes is there
// for what the transaction reads next. Only with the commit itself it may turn out that there was no such row, too late to undo the rest.
func later(ctx context.Context, q querier, query string, args ...any) error {
	return q.later(ctx, query, storable(args)...)
}

// mustChange says whether a write must change a row: an INSERT that adds none is meant to, or has failed.
func mustChange(query string) bool { return !strings.HasPrefix(query, "INSERT") }

// insertRows runs an INSERT of one row for many, several at a time: always as many as leave few texts to
// be prepared, and so many that the parameters stay far below what SQLite (32,766) and PostgreSQL (65,535) allow.
func (tx *Tx) insertRows(ctx context.Context, one string, rows [][]any) error {
	for _, n := range []int{32, 8, 1} {
		if n > len(rows) {
			continue
		}
		query := ofRows(one, n)
		for ; n <= len(rows); rows = rows[n:] {
			if err := later(ctx, tx.q, query, slices.Concat(rows[:n]...)...); err != nil {
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
	i.set(n)
	return nil
}

func (i instant) set(micros int64) {
	*i.t = time.Time{}
	if micros != 0 {
		*i.t = time.UnixMicro(micros).UTC()
	}
}

// document scans JSON text into a value.
type document struct{ to any }

func (d document) Scan(v any) error {
	switch v := v.(type) {
	case string:
		if d.plain(v) {
			return nil
		}
		return json.Unmarshal([]byte(v), d.to)
	case []byte:
		return json.Unmarshal(v, d.to)
	}
	return fmt.Errorf("a document is %T", v)
}

// plain scans what comes with every job, tallies and lists of words, as text writes them, and reports whether it could: to read
// the grammar of JSON for them takes longer than to ask the database.
func (d document) plain(v string) bool {
	switch to := d.to.(type) {
	case *[]string:
		list, ok := plainWords(v)
		if ok {
			*to = list
		}
		return ok
	case *ci.Tally:
		return plainNumbers(v, to[:])
	}
	return false
}

// plainWords reads a list of strings without escapes.
func plainWords(v string) ([]string, bool) {
	if v == "[]" {
		return []string{}, true
	}
	if len(v) < len(`[""]`) || !strings.HasPrefix(v, `["`) || !strings.HasSuffix(v, `"]`) || strings.Contains(v, `\`) {
		return nil, false
	}
	words := strings.Split(v[2:len(v)-2], `","`)
	return words, strings.Count(v, `"`) == 2*len(words)
}

// plainNumbers reads a list of as many numbers. Where it cannot, it may have stored some.
func plainNumbers(v string, to []int) bool {
	v, begins := strings.CutPrefix(v, "[")
	v, ends := strings.CutSuffix(v, "]")
	for i := range to {
		number, rest, more := strings.Cut(v, ",")
		n, err := strconv.Atoi(number)
		if err != nil || more != (i < len(to)-1) {
			return false
		}
		to[i], v = n, rest
	}
	return begins && ends
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
