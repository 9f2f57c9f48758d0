// Package storetest gives each test a store's database of its own that is migrated already.
//
// It is a copy of one that the process made at the first call; to migrate takes longer than most tests of what is built on the store.
// Tests of starting itself begin with an empty database instead.
package storetest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/slipway-ci/slipway/internal/dbtest"
	"github.com/slipway-ci/slipway/internal/store"
)

// SQLite returns what opens a file for t alone.
func SQLite(t testing.TB) store.Options {
	t.Helper()
	content, err := template()
	if err != nil {
		t.Fatalf("migrate a database of SQLite: %v", err)
	}
	o := store.Options{Path: filepath.Join(t.TempDir(), "slipway.db")}
	if err := os.WriteFile(o.Path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return o
}

// Postgres returns what opens a database for t alone, see [dbtest.Template].
func Postgres(t testing.TB) store.Options {
	t.Helper()
	return store.Options{Postgres: dbtest.Template(t, "store", func(dsn string) error {
		return migrate(store.Options{Postgres: dsn})
	})}
}

// template is the content of a migrated file.
var template = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "slipway-template")
	if err != nil {
		return nil, err
	}
	o := store.Options{Path: filepath.Join(dir, "slipway.db")}
	err = migrate(o)
	content, readErr := os.ReadFile(o.Path)
	return content, errors.Join(err, readErr, os.RemoveAll(dir))
})

// migrate leaves nothing of SQLite's beside the file: the last connection that is closed writes its log back.
func migrate(o store.Options) error {
	s, err := store.Open(context.Background(), o)
	if err != nil {
		return err
	}
	return s.Close()
}
