package dbtest_test

import (
	"context"
	"io"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/slipway-ci/slipway/internal/dbtest"
)

func TestEachTestHasAnEmptyDatabase(t *testing.T) {
	t.Parallel()
	first, second := dbtest.Postgres(t), dbtest.Postgres(t)
	query(t, first, `CREATE TABLE builds (id TEXT)`)
	query(t, second, `CREATE TABLE builds (id TEXT)`)
}

func TestTemplateIsFilledOnceAndCopiedForEachTest(t *testing.T) {
	t.Parallel()
	runs := 0
	migrate := func(dsn string) error {
		runs++
		query(t, dsn, `CREATE TABLE builds (id TEXT)`)
		return nil
	}
	for range 3 {
		query(t, dbtest.Template(t, "builds", migrate), `INSERT INTO builds VALUES ('1')`)
	}
	if runs != 1 {
		t.Errorf("migrate ran %d times, want 1", runs)
	}
}

func TestDatabaseIsDroppedWithOpenConnections(t *testing.T) {
	t.Parallel()
	var dsn string
	t.Run("inner", func(t *testing.T) {
		dsn = dbtest.Postgres(t)
		conn := open(t, dsn)
		t.Cleanup(func() { conn.Close(context.Background()) })
	})
	if conn, err := pgx.Connect(t.Context(), dsn); err == nil {
		conn.Close(t.Context())
		t.Errorf("%s still exists after its test", dsn)
	}
}

func TestServerLeavesNothingWhenItsOwnerIsGone(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "./postgres.sh")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 200)
	n, err := stdout.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	dsn := strings.TrimSpace(string(line[:n]))
	query(t, dsn, `SELECT 1`)

	stdin.Close()
	if _, err := io.Copy(io.Discard, stdout); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(u.Query().Get("host")); !os.IsNotExist(err) {
		t.Errorf("the server's directory after its end: %v, want it gone", err)
	}
}

func open(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func query(t *testing.T, dsn, statement string) {
	t.Helper()
	conn := open(t, dsn)
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}
