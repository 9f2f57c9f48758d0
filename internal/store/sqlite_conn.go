package store

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"time"

	"zombiezen.com/go/sqlite"
)

// busyFor is how long a connection waits for a lock of the file that another process holds, such as a backup.
const busyFor = 10 * time.Second

// sqliteConn is a connection to SQLite with the statements that it has prepared: SQLite compiles a text anew each time it sees one. One
// goroutine uses it at a time, and reads the rows of one query to their end before it asks the next.
type sqliteConn struct {
	*sqlite.Conn
	stmts map[string]*sqlite.Stmt
}

func openConn(path string, pragmas ...string) (*sqliteConn, error) {
	raw, err := sqlite.OpenConn(path, sqlite.OpenReadWrite)
	if err != nil {
		return nil, err
	}
	raw.SetBusyTimeout(busyFor)
	c := &sqliteConn{raw, map[string]*sqlite.Stmt{}}
	for _, p := range append([]string{"foreign_keys = 1", "temp_store = memory", "cache_size = -16000"}, pragmas...) {
		if _, err := c.exec("PRAGMA "+p, nil); err != nil {
			return nil, errors.Join(err, raw.Close())
		}
	}
	return c, nil
}

// statement returns a prepared statement. Close of the connection frees it.
func (c *sqliteConn) statement(q string) (*sqlite.Stmt, error) {
	if st, ok := c.stmts[q]; ok {
		return st, nil
	}
	st, err := c.Prepare(numbered(q))
	if err != nil {
		return nil, fmt.Errorf("preparing %q: %w", firstWords(q), err)
	}
	c.stmts[q] = st
	return st, nil
}

// numbered replaces each "$N", which is a name to SQLite, by "?N", its number.
func numbered(q string) string { return parameter.ReplaceAllString(q, "?$1") }

var parameter = regexp.MustCompile(`\$(\d+)`)

// exec runs a statement to its end and returns how many rows it changed.
func (c *sqliteConn) exec(q string, args []any) (int64, error) {
	r, err := c.query(q, args)
	if err != nil {
		return 0, err
	}
	for r.Next() {
	}
	if err := errors.Join(r.Err(), r.Close()); err != nil {
		return 0, err
	}
	return int64(c.Changes()), nil
}

func (c *sqliteConn) query(q string, args []any) (*sqliteRows, error) {
	st, err := c.statement(q)
	if err != nil {
		return nil, err
	}
	if st.BindParamCount() != len(args) {
		return nil, fmt.Errorf("%d values for the %d parameters of %q", len(args), st.BindParamCount(), firstWords(q))
	}
	for i, v := range args {
		if err := bind(st, i+1, v); err != nil {
			forget(st, args)
			return nil, fmt.Errorf("parameter %d of %q: %w", i+1, firstWords(q), err)
		}
	}
	return &sqliteRows{stmt: st, args: args}, nil
}

// together asks one question after the other: a round trip costs nothing.
func (c *sqliteConn) together(questions []question) error {
	for _, v := range questions {
		if err := c.ask(v); err != nil {
			return err
		}
	}
	return nil
}

func (c *sqliteConn) ask(v question) (err error) {
	r, err := c.query(v.query, v.args)
	if err != nil {
		return fmt.Errorf("%s: %w", firstWords(v.query), err)
	}
	defer func() { err = errors.Join(err, r.Close()) }() // also where reading panics: the connection is used again
	return v.read(r)
}

// bind gives a parameter its value. What is no plain value is made one as database/sql does.
func bind(st *sqlite.Stmt, i int, v any) error {
	switch v := v.(type) {
	case string:
		st.BindText(i, v)
	case int64:
		st.BindInt64(i, v)
	case int:
		st.BindInt64(i, int64(v))
	case bool:
		st.BindBool(i, v)
	case []byte:
		st.BindBytes(i, v)
	case float64:
		st.BindFloat(i, v)
	case nil:
		st.BindNull(i)
	default:
		plain, err := driver.DefaultParameterConverter.ConvertValue(v)
		if err != nil {
			return err
		}
		if _, ok := plain.(time.Time); ok {
			return errors.New("times are stored as microseconds")
		}
		return bind(st, i, plain)
	}
	return nil
}

// forget takes back what may be large or secret of the values of a statement. To take back numbers too would cost compiling the statement
// anew: SQLite 3.54 plans by whether a number is 0 or 1 (https://gitlab.com/cznic/sqlite/-/issues/264).
func forget(st *sqlite.Stmt, args []any) {
	for i, v := range args {
		switch v.(type) {
		case string, []byte:
			st.BindNull(i + 1)
		}
	}
}

// sqliteRows are the rows of a statement under way.
type sqliteRows struct {
	stmt *sqlite.Stmt
	args []any
	err  error
	done func() // what Close ends with, if set
}

func (r *sqliteRows) Next() bool {
	if r.err != nil {
		return false
	}
	var more bool
	more, r.err = r.stmt.Step()
	return more
}

func (r *sqliteRows) Err() error { return sqliteError(r.err) }

// Close ends the statement.
func (r *sqliteRows) Close() error {
	if r.done != nil {
		defer r.done()
	}
	err := r.stmt.Reset()
	forget(r.stmt, r.args)
	if r.err != nil { // Step has told it, and has reset the statement
		return nil
	}
	return err
}

func (r *sqliteRows) Scan(dest ...any) error {
	if n := r.stmt.ColumnCount(); n != len(dest) {
		return fmt.Errorf("%d destinations for %d columns", len(dest), n)
	}
	for i, d := range dest {
		if err := r.column(i, d); err != nil {
			return fmt.Errorf("column %d: %w", i+1, err)
		}
	}
	return nil
}

// column stores one value of the row. The usual destinations come first, so that no value is put into an interface for them.
func (r *sqliteRows) column(i int, dest any) error {
	switch d := dest.(type) {
	case sql.Scanner:
		return r.scan(i, d)
	case *any:
		*d = r.value(i)
		return nil
	}
	switch r.stmt.ColumnType(i) {
	case sqlite.TypeText:
		return setText(dest, r.stmt.ColumnText(i))
	case sqlite.TypeInteger:
		return setInt(dest, r.stmt.ColumnInt64(i))
	default:
		return setOther(dest, r.value(i))
	}
}

// scan hands a value to what takes it apart itself.
func (r *sqliteRows) scan(i int, d sql.Scanner) error {
	if t, ok := d.(instant); ok && r.stmt.ColumnType(i) == sqlite.TypeInteger {
		t.set(r.stmt.ColumnInt64(i))
		return nil
	}
	return d.Scan(r.value(i))
}

// value is a value as database/sql knows it.
func (r *sqliteRows) value(i int) any {
	switch r.stmt.ColumnType(i) {
	case sqlite.TypeInteger:
		return r.stmt.ColumnInt64(i)
	case sqlite.TypeFloat:
		return r.stmt.ColumnFloat(i)
	case sqlite.TypeText:
		return r.stmt.ColumnText(i)
	case sqlite.TypeBlob:
		b := make([]byte, r.stmt.ColumnLen(i))
		r.stmt.ColumnBytes(i, b)
		return b
	default:
		return nil
	}
}

func setText(dest any, v string) error {
	switch d := dest.(type) {
	case *string:
		*d = v
	case *[]byte:
		*d = []byte(v)
	case **string:
		*d = &v
	default:
		to := reflect.ValueOf(dest)
		if to.Kind() != reflect.Pointer || to.Elem().Kind() != reflect.String {
			return fmt.Errorf("a text does not fit a %T", dest)
		}
		to.Elem().SetString(v)
	}
	return nil
}

func setInt(dest any, v int64) error {
	switch d := dest.(type) {
	case *int64:
		*d = v
	case *int:
		*d = int(v)
	case *bool:
		*d = v != 0
	default:
		to := reflect.ValueOf(dest)
		if to.Kind() != reflect.Pointer || !to.Elem().CanInt() || to.Elem().OverflowInt(v) {
			return fmt.Errorf("the number %d does not fit a %T", v, dest)
		}
		to.Elem().SetInt(v)
	}
	return nil
}

func setOther(dest, v any) error {
	switch d := dest.(type) {
	case *[]byte:
		if b, ok := v.([]byte); ok || v == nil {
			*d = b
			return nil
		}
	case **string:
		if v == nil {
			*d = nil
			return nil
		}
	case *float64:
		if f, ok := v.(float64); ok {
			*d = f
			return nil
		}
	}
	return fmt.Errorf("a %T does not fit a %T", v, dest)
}

func sqliteError(err error) error {
	switch sqlite.ErrCode(err) {
	case sqlite.ResultConstraintUnique, sqlite.ResultConstraintPrimaryKey:
		return fmt.Errorf("%w: %w", ErrConflict, err)
	}
	return err
}
