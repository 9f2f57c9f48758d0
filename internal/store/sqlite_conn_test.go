package store

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// word and tally stand for the named types of texts and numbers that rows are made of.
type (
	word  string
	tally int8
)

// echo asks SQLite for a value and puts it into dest.
func echo(t *testing.T, value, dest any) error {
	t.Helper()
	c := inMemory(t)
	r, err := c.query("SELECT $1", []any{value})
	if err != nil {
		return err
	}
	if !r.Next() {
		t.Fatalf("no row: %v", r.Err())
	}
	return errors.Join(r.Scan(dest), r.Err(), r.Close())
}

func inMemory(t *testing.T) *sqliteConn {
	t.Helper()
	c, err := openConn(":memory:")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func freshFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file with spaces?#%.db")
	s, err := Open(t.Context(), Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func into[T any](t *testing.T, value any) (T, error) {
	t.Helper()
	var got T
	err := echo(t, value, &got)
	return got, err
}

func holds[T any](t *testing.T, value any, want T) {
	t.Helper()
	got, err := into[T](t, value)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%T %v into %T: err %v (-want +got):\n%s", value, value, want, err, diff)
	}
}

func TestSQLiteKeepsValues(t *testing.T) {
	t.Parallel()
	holds(t, "x", "x")
	holds(t, "", "")
	holds(t, word("x"), word("x"))
	holds(t, "x", []byte("x"))
	holds(t, 7, 7)
	holds(t, int64(1)<<62, int64(1)<<62)
	holds(t, tally(-3), tally(-3))
	holds(t, true, true)
	holds(t, false, false)
	holds(t, []byte{0, 255}, []byte{0, 255})
	holds(t, 0.5, 0.5)
	holds(t, sql.NullInt64{}, sql.NullInt64{})
	holds(t, sql.NullInt64{Int64: 0, Valid: true}, sql.NullInt64{Int64: 0, Valid: true})
	holds(t, sql.NullString{String: "x", Valid: true}, sql.NullString{String: "x", Valid: true})
	holds(t, "x", new("x"))
	holds[*string](t, nil, nil)
	holds[any](t, 7, int64(7))
	holds[any](t, nil, nil)
}

func TestSQLiteScansInstantsAndDocuments(t *testing.T) {
	t.Parallel()
	var at time.Time
	if err := echo(t, int64(1_000_001), instant{&at}); err != nil || !at.Equal(time.UnixMicro(1_000_001)) || at.Location() != time.UTC {
		t.Errorf("instant is %v, err %v", at, err)
	}
	if err := echo(t, 0, instant{&at}); err != nil || !at.IsZero() {
		t.Errorf("instant of 0 is %v, err %v", at, err)
	}
	var list []string
	if err := echo(t, `["a"]`, document{&list}); err != nil || len(list) != 1 {
		t.Errorf("document is %v, err %v", list, err)
	}
}

func TestSQLiteRefusesValuesThatDoNotFit(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"NULL into a string":      second(into[string](t, nil)),
		"NULL into a number":      second(into[int](t, nil)),
		"text into a number":      second(into[int64](t, "7")),
		"a number into a string":  second(into[string](t, 7)),
		"a number beyond its own": second(into[tally](t, 128)),
		"bytes into a bool":       second(into[bool](t, []byte{1})),
		"a time":                  second(into[any](t, time.Now())),
		"a structure":             second(into[any](t, struct{}{})),
	} {
		if err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestSQLiteTellsOfWrongNumbersOfValues(t *testing.T) {
	t.Parallel()
	c := inMemory(t)
	if _, err := c.exec("SELECT $2, $1", []any{1}); err == nil || !strings.Contains(err.Error(), "1 values for the 2 parameters") {
		t.Errorf("err %v", err)
	}
	r, err := c.query("SELECT $2, $1", []any{1, 2})
	if err != nil || !r.Next() {
		t.Fatalf("no row: %v", err)
	}
	defer r.Close()
	var a, b int
	if err := r.Scan(&a, &b); err != nil || a != 2 || b != 1 {
		t.Errorf("parameters are mixed up: %d %d, err %v", a, b, err)
	}
	if err := r.Scan(&a); err == nil {
		t.Error("a column was left out without a word")
	}
}

func TestPoolWaitsForAConnectionNoLongerThanItsReader(t *testing.T) {
	t.Parallel()
	p := newPool(freshFile(t), 1)
	c, err := p.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.take(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("err %v", err)
	}
	p.give(c)
	if err := p.ping(t.Context()); err != nil {
		t.Error(err)
	}
	if err := errors.Join(p.close(), p.close()); err != nil {
		t.Error(err)
	}
	if err := p.ping(t.Context()); !errors.Is(err, sql.ErrConnDone) {
		t.Errorf("after close: %v", err)
	}
}

func TestReadersCannotWrite(t *testing.T) {
	t.Parallel()
	p := newPool(freshFile(t), 1)
	defer p.close()
	if _, err := list(t.Context(), p, scanString, "DELETE FROM organizations RETURNING id"); err == nil {
		t.Error("a reader deleted rows")
	}
}

func TestAReaderThatPanicsLeavesNoOldStateBehind(t *testing.T) {
	t.Parallel()
	path := freshFile(t)
	p := newPool(path, 1)
	defer p.close()
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic did not reach its caller")
			}
		}()
		err := p.together(t.Context(), []question{{query: "SELECT id FROM organizations", read: func(r rows) error {
			r.Next()
			panic("broken")
		}}})
		t.Errorf("together returned %v", err)
	}()
	w, err := openConn(path)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := w.exec("CREATE TABLE later (id TEXT)", nil); err != nil {
		t.Fatal(err)
	}
	n, err := one(t.Context(), p, scanInt, "SELECT COUNT(*) FROM sqlite_master WHERE name = 'later'")
	if err != nil || n != 1 {
		t.Errorf("what was written since is seen %d times, err %v", n, err)
	}
}
