package engine_test

import (
	"errors"
	"testing"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/secret"
)

// sealer makes a sealer with keys that are repeated letters.
func sealer(t testing.TB, keys ...byte) *secret.Sealer {
	t.Helper()
	var all [][]byte
	for _, k := range keys {
		key := make([]byte, secret.KeyLength)
		key[0] = k
		all = append(all, key)
	}
	return must(secret.NewSealer(all...))(t)
}

func TestANewSealingKeyTakesOverAndTheOldOneCanGo(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		w.Sealer = sealer(t, 'a')
		for range 2 {
			if err := w.CheckSealing(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		w.Sealer = sealer(t, 'b')
		if err := w.CheckSealing(t.Context()); !errors.Is(err, engine.ErrOtherSealingKey) {
			t.Fatalf("with another key: %v", err)
		}
		w.Sealer = sealer(t, 'b', 'a')
		if err := w.CheckSealing(t.Context()); err != nil {
			t.Fatalf("with both keys: %v", err)
		}
		w.Sealer = sealer(t, 'b')
		if err := w.CheckSealing(t.Context()); err != nil {
			t.Errorf("with the new key alone: %v", err)
		}
		w.Sealer = sealer(t, 'a')
		if err := w.CheckSealing(t.Context()); !errors.Is(err, engine.ErrOtherSealingKey) {
			t.Errorf("with the old key: %v", err)
		}
	})
}
