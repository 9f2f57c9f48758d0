package storetest_test

import (
	"testing"

	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/store/storetest"
)

func TestEachTestHasAMigratedDatabaseOfItsOwn(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(testing.TB) store.Options{"sqlite": storetest.SQLite, "postgres": storetest.Postgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 2 {
				insert(t, open(t))
			}
		})
	}
}

// insert makes an organization, of which a database has one with a slug.
func insert(t *testing.T, o store.Options) {
	t.Helper()
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	err = s.Update(t.Context(), func(tx *store.Tx) error {
		return tx.InsertOrganization(t.Context(), store.Organization{ID: "o", Slug: "main", Name: "main"})
	})
	if err != nil {
		t.Error(err)
	}
}
