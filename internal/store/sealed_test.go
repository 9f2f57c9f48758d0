package store

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAPlaceHoldsOneSealedValue(t *testing.T) {
	eachStore(t, func(t *testing.T, s *Store, _ Options) {
		first := Sealed{Place: "secret/1", KeyID: "old", Value: "s1.old.x", UpdatedAt: at(1)}
		second := Sealed{Place: "secret/1", KeyID: "new", Value: "s1.new.y", UpdatedAt: at(2)}
		update(t, s, func(tx *Tx) error { return tx.InsertSealed(t.Context(), first) })
		if err := s.Update(t.Context(), func(tx *Tx) error { return tx.InsertSealed(t.Context(), second) }); !errors.Is(err, ErrConflict) {
			t.Errorf("a second value in the place: %v, want ErrConflict", err)
		}
		update(t, s, func(tx *Tx) error { return tx.PutSealed(t.Context(), second) })
		got, err := s.Sealed(t.Context(), "secret/1")
		if diff := cmp.Diff(second, got); err != nil || diff != "" {
			t.Errorf("err %v (-want +got):\n%s", err, diff)
		}
		for range 2 { // to forget what is not there is fine
			update(t, s, func(tx *Tx) error { return tx.DeleteSealed(t.Context(), "secret/1") })
		}
		if _, err := s.Sealed(t.Context(), "secret/1"); !errors.Is(err, ErrNotFound) {
			t.Errorf("after it was deleted: %v", err)
		}
	})
}

func TestValuesOfOtherKeysComeInPages(t *testing.T) {
	eachStore(t, func(t *testing.T, s *Store, _ Options) {
		const n = 501
		update(t, s, func(tx *Tx) error {
			for i := range n {
				if err := tx.PutSealed(t.Context(), Sealed{Place: fmt.Sprintf("p/%03d", i), KeyID: "old"}); err != nil {
					return err
				}
			}
			return tx.PutSealed(t.Context(), Sealed{Place: "p/new", KeyID: "new"})
		})
		first, err := s.SealedByOther(t.Context(), "new", "")
		if err != nil || len(first) != 500 {
			t.Fatalf("first page: %d values, %v", len(first), err)
		}
		second, err := s.SealedByOther(t.Context(), "new", first[499].Place)
		if err != nil || len(second) != 1 || second[0].Place != "p/500" {
			t.Errorf("second page: %v, %v", second, err)
		}
	})
}

func TestAnOrganizationHasOneApp(t *testing.T) {
	eachStore(t, func(t *testing.T, s *Store, _ Options) {
		update(t, s, insert(t.Context(), "o"))
		for _, want := range []*ForgeApp{{AppID: "1", APIURL: "https://x", UpdatedBy: "Ana", UpdatedAt: at(1)}, {AppID: "2"}, nil} {
			update(t, s, func(tx *Tx) error { return tx.UpdateForgeApp(t.Context(), "o", want) })
			got, err := s.OrganizationByID(t.Context(), "o")
			if diff := cmp.Diff(want, got.ForgeApp); err != nil || diff != "" {
				t.Errorf("err %v (-want +got):\n%s", err, diff)
			}
		}
	})
}
