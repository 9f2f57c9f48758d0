package store

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAReplacedEffectIsTriedAsOftenAsAnyOther(t *testing.T) {
	eachStore(t, func(t *testing.T, s *Store, _ Options) {
		effect := Effect{ID: "1", Kind: "k", Target: "t", Lane: "l", Payload: []byte(`"old"`), CreatedAt: at(0), NextAt: at(0)}
		update(t, s, func(tx *Tx) error { return tx.PutEffect(t.Context(), effect) })
		update(t, s, func(tx *Tx) error { return tx.DelayEffect(t.Context(), "1", "refused", at(60)) })
		effect.ID, effect.Payload, effect.NextAt = "2", []byte(`"new"`), at(1)
		update(t, s, func(tx *Tx) error { return tx.PutEffect(t.Context(), effect) })
		// The relay that tried the old one in vain says so late.
		update(t, s, func(tx *Tx) error { return tx.DelayEffect(t.Context(), "1", "refused", at(120)) })
		due, err := s.DueEffects(t.Context(), "l", at(1), 10)
		if err != nil || len(due) != 1 {
			t.Fatalf("%d effects are due, %v", len(due), err)
		}
		if e := due[0]; e.ID != "2" || e.Attempts != 0 || e.LastError != "" || string(e.Payload) != `"new"` {
			t.Errorf("got %+v", e)
		}
	})
}

func TestAnEffectIsClaimedOnceAndOutOfSightUntilTheClaimEnds(t *testing.T) {
	eachStore(t, func(t *testing.T, s *Store, _ Options) {
		for _, e := range []Effect{{ID: "1", Target: "1", Lane: "slow"}, {ID: "2", Target: "2", Lane: "slow"}, {ID: "3", Target: "3", Lane: "quick"}} {
			e.Kind, e.Payload, e.CreatedAt, e.NextAt = "k", []byte("{}"), at(0), at(len(e.ID)+int(e.ID[0]-'0'))
			update(t, s, func(tx *Tx) error { return tx.PutEffect(t.Context(), e) })
		}
		lanes, err := s.DueLanes(t.Context(), at(9), 10)
		if diff := cmp.Diff([]string{"slow", "quick"}, lanes); err != nil || diff != "" {
			t.Fatalf("lanes, %v (-want +got):\n%s", err, diff)
		}
		due, err := s.DueEffects(t.Context(), "slow", at(9), 10)
		if err != nil || len(due) != 2 || due[0].ID != "1" {
			t.Fatalf("due %+v, %v", due, err)
		}
		for i, want := range []bool{true, false} {
			var got bool
			update(t, s, func(tx *Tx) (err error) {
				got, err = tx.ClaimEffect(t.Context(), due[0], at(30))
				return err
			})
			if got != want {
				t.Errorf("claim %d: %v", i+1, got)
			}
		}
		for when, want := range map[time.Time]int{at(29): 1, at(30): 2} {
			if due, err := s.DueEffects(t.Context(), "slow", when, 10); err != nil || len(due) != want {
				t.Errorf("%d are due at %s, want %d: %v", len(due), when, want, err)
			}
		}
	})
}
