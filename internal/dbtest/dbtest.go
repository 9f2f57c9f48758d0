// Package dbtest gives each test an empty database on a real PostgreSQL server.
//
// The server is the one that SLIPWAY_TEST_POSTGRES names, which must be a
// throwaway one: databases made as templates stay on it. Without the variable
// the first test of a process starts a server, and all tests of that process
// share it. It lives in a directory under /tmp, listens on a Unix socket only,
// does not sync to disk, and ends with the process however that dies, because
// it waits on a pipe from it.
//
// PostgreSQL is required. A test that asks for it where it is not installed
// fails and says what to install; it is never skipped.
package dbtest

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

//go:embed postgres.sh
var script string

// current is the server of this process, started by the first test that asks.
var current = sync.OnceValues(connect)

// Postgres returns the URL of an empty database for t alone. It is dropped when
// t ends, whether or not connections to it are still open.
func Postgres(t testing.TB) string {
	t.Helper()
	return database(t, func(*server) (string, error) { return "template0", nil })
}

// Template is Postgres with a database that starts as a copy of what migrate
// made. Migrate runs once per process and name, on an empty database, and must
// have closed its connections when it returns; a copy takes some 50 ms.
func Template(t testing.TB, name string, migrate func(dsn string) error) string {
	t.Helper()
	return database(t, func(s *server) (string, error) { return s.template(name, migrate) })
}

func database(t testing.TB, template func(*server) (string, error)) string {
	t.Helper()
	s, err := current()
	if err != nil {
		t.Fatalf("PostgreSQL for tests: %v", err)
	}
	from, err := template(s)
	if err != nil {
		t.Fatalf("database template: %v", err)
	}
	name, err := s.create(t.Context(), from)
	if err != nil {
		t.Fatalf("database for the test: %v", err)
	}
	t.Cleanup(func() {
		// The test's own context has ended by now.
		if err := s.drop(context.WithoutCancel(t.Context()), name); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
	return s.dsn(name)
}

// Poison lets no row of a table of a database be changed or deleted whose key is among some, as if something of each were broken,
// until the function is called that it returns.
func Poison(t testing.TB, dsn, table, key string, keys []string) (heal func()) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(), `CREATE TABLE poisoned AS SELECT unnest($1::text[]) AS key`, keys); err != nil {
		t.Fatal(err)
	}
	heal = func() {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.WithoutCancel(t.Context()))
		if _, err := conn.Exec(t.Context(), `DELETE FROM poisoned`); err != nil {
			t.Fatal(err)
		}
	}
	statements := `CREATE FUNCTION poison() RETURNS trigger AS $$ BEGIN
			IF EXISTS (SELECT 1 FROM poisoned WHERE key = OLD.` + quote(key) + `) THEN RAISE EXCEPTION 'poisoned'; END IF;
			IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
			RETURN NEW; END $$ LANGUAGE plpgsql;
		CREATE TRIGGER poison BEFORE UPDATE OR DELETE ON ` + quote(table) + ` FOR EACH ROW EXECUTE FUNCTION poison()`
	if _, err := conn.Exec(t.Context(), statements); err != nil {
		t.Fatal(err)
	}
	return heal
}

// Deadlocks returns how often PostgreSQL ended one of two transactions of a database that waited for each other. It waits for all other
// sessions to end, which tell of what they counted with their end.
func Deadlocks(t testing.TB, dsn string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	for others := 1; others > 0; {
		err := conn.QueryRow(t.Context(), `SELECT deadlocks, (SELECT COUNT(*) FROM pg_stat_activity a WHERE a.datname = d.datname
			AND a.pid <> pg_backend_pid() AND a.backend_type = 'client backend') FROM pg_stat_database d WHERE d.datname = current_database()`).Scan(&n, &others)
		if err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// server is a running PostgreSQL, its own or one named by the environment.
type server struct {
	admin  url.URL // of the database in which CREATE DATABASE is run
	prefix string  // of every name made by this process
	serial atomic.Int64
	// alive is the pipe that ends a server of our own. It is kept from the
	// garbage collector, which would close it.
	alive io.Closer

	mu        sync.Mutex
	templates map[string]func() (string, error)
}

func connect() (*server, error) {
	dsn := os.Getenv("SLIPWAY_TEST_POSTGRES")
	var alive io.Closer
	if dsn == "" {
		var err error
		if dsn, alive, err = start(); err != nil {
			return nil, err
		}
	}
	admin, err := url.Parse(dsn)
	if err != nil {
		return nil, fmt.Errorf("parse SLIPWAY_TEST_POSTGRES: %w", err)
	}
	return &server{
		admin: *admin,
		// Process ids repeat between containers that share a server.
		prefix:    fmt.Sprintf("t%d_%x_", os.Getpid(), time.Now().UnixNano()),
		alive:     alive,
		templates: map[string]func() (string, error){},
	}, nil
}

// start runs the script and returns the URL that it prints, and the pipe whose
// end, by Close or by the end of this process, ends the server.
func start() (string, io.Closer, error) {
	cmd := exec.Command("sh", "-c", script)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return "", nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	line = strings.TrimSpace(line)
	if reason, bad := strings.CutPrefix(line, "error: "); bad {
		return "", nil, errors.New(reason)
	}
	return line, stdin, nil
}

// template returns the name of the database that migrate filled, making it at
// the first call with this name.
func (s *server) template(name string, migrate func(dsn string) error) (string, error) {
	s.mu.Lock()
	made, ok := s.templates[name]
	if !ok {
		made = sync.OnceValues(func() (string, error) {
			db, err := s.create(context.Background(), "template0")
			if err != nil {
				return "", err
			}
			return db, migrate(s.dsn(db))
		})
		s.templates[name] = made
	}
	s.mu.Unlock()
	return made()
}

func (s *server) create(ctx context.Context, template string) (string, error) {
	name := fmt.Sprintf("%s%d", s.prefix, s.serial.Add(1))
	return name, s.exec(ctx, "CREATE DATABASE "+quote(name)+" TEMPLATE "+quote(template))
}

func (s *server) drop(ctx context.Context, name string) error {
	return s.exec(ctx, "DROP DATABASE "+quote(name)+" WITH (FORCE)")
}

func (s *server) exec(ctx context.Context, statement string) error {
	conn, err := pgx.Connect(ctx, s.admin.String())
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}

// dsn returns the URL of the named database on s.
func (s *server) dsn(name string) string {
	u := s.admin
	u.Path = "/" + name
	return u.String()
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }
