package store

import (
	"errors"
	"path/filepath"
	"testing"
)

// On PostgreSQL each question may see more than the one before, which saves a transaction's round trips.
func TestViewOfSQLiteIsOneState(t *testing.T) {
	t.Parallel()
	s := reopen(t, Options{Path: filepath.Join(t.TempDir(), "slipway.db")})
	ctx := t.Context()
	update(t, s, insert(ctx, "before"))
	err := s.View(ctx, func(r Reader) error {
		_, there := r.OrganizationByID(ctx, "before")
		update(t, s, insert(ctx, "meanwhile"))
		if _, err := r.OrganizationByID(ctx, "meanwhile"); !errors.Is(err, ErrNotFound) {
			t.Errorf("a view sees what was committed after its first question: err %v", err)
		}
		return there
	})
	if err != nil {
		t.Fatal(err)
	}
	if !has(t, s, "meanwhile") {
		t.Error("after a view its state is still read")
	}
}

func TestViewReadsAndTellsOfErrors(t *testing.T) {
	eachStore(t, func(t *testing.T, s *Store, _ Options) {
		ctx := t.Context()
		update(t, s, insert(ctx, "here"))
		broken := errors.New("broken")
		err := s.View(ctx, func(r Reader) error {
			_, there := r.OrganizationByID(ctx, "here")
			return errors.Join(there, broken)
		})
		if !errors.Is(err, broken) || errors.Is(err, ErrNotFound) {
			t.Errorf("err %v", err)
		}
	})
}
