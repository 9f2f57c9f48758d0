package store

import "testing"

func TestAReplacedEffectIsTriedAsOftenAsAnyOther(t *testing.T) {
	eachStore(t, func(t *testing.T, s *Store, _ Options) {
		effect := Effect{ID: "1", Kind: "k", Target: "t", Payload: []byte(`"old"`), CreatedAt: at(0), NextAt: at(0)}
		update(t, s, func(tx *Tx) error { return tx.PutEffect(t.Context(), effect) })
		update(t, s, func(tx *Tx) error { return tx.DelayEffect(t.Context(), "1", "refused", at(60)) })
		effect.ID, effect.Payload, effect.NextAt = "2", []byte(`"new"`), at(1)
		update(t, s, func(tx *Tx) error { return tx.PutEffect(t.Context(), effect) })
		// The relay that tried the old one in vain says so late.
		update(t, s, func(tx *Tx) error { return tx.DelayEffect(t.Context(), "1", "refused", at(120)) })
		due, err := s.DueEffects(t.Context(), at(1), 10)
		if err != nil || len(due) != 1 {
			t.Fatalf("%d effects are due, %v", len(due), err)
		}
		if e := due[0]; e.ID != "2" || e.Attempts != 0 || e.LastError != "" || string(e.Payload) != `"new"` {
			t.Errorf("got %+v", e)
		}
	})
}
