package secret_test

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/slipway-ci/slipway/internal/secret"
)

func keys(t interface{ Fatal(...any) }, n int) [][]byte {
	var text strings.Builder
	for range n {
		text.WriteString(secret.NewKey())
	}
	keys, err := secret.ParseKeys([]byte(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func sealer(t interface{ Fatal(...any) }, keys ...[]byte) *secret.Sealer {
	s, err := secret.NewSealer(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWhatWasSealedOpensInItsPlaceAlone(t *testing.T) {
	t.Parallel()
	k := keys(t, 2)
	rapid.Check(t, func(t *rapid.T) {
		s := sealer(t, k[0])
		value, place := rapid.SliceOf(rapid.Byte()).Draw(t, "value"), rapid.String().Draw(t, "place")
		sealed := s.Seal(value, place)
		if got, err := s.Open(sealed, place); err != nil || string(got) != string(value) {
			t.Fatalf("opened %q, %v", got, err)
		}
		if _, err := s.Open(sealed, place+"x"); !errors.Is(err, secret.ErrBroken) {
			t.Fatalf("in another place: %v", err)
		}
		if _, err := sealer(t, k[1]).Open(sealed, place); !errors.Is(err, secret.ErrOtherKey) {
			t.Fatalf("with another key: %v", err)
		}
	})
}

func TestASealedValueCannotBeChanged(t *testing.T) {
	t.Parallel()
	s := sealer(t, keys(t, 1)...)
	sealed := s.Seal([]byte("value"), "place")
	for i := range sealed {
		changed := []byte(sealed)
		changed[i] ^= 1
		got, err := s.Open(string(changed), "place")
		if !errors.Is(err, secret.ErrBroken) && !errors.Is(err, secret.ErrOtherKey) {
			t.Errorf("with byte %d changed: %q, %v", i, got, err)
		}
	}
	for _, none := range []string{"", ".", "..", "s1", sealed[:len(sealed)-5], sealed + "AAAA", "s1.." + sealed} {
		if got, err := s.Open(none, "place"); err == nil {
			t.Errorf("%q opens to %q", none, got)
		}
	}
}

func TestTheSameValueIsNeverSealedTheSame(t *testing.T) {
	t.Parallel()
	s := sealer(t, keys(t, 1)...)
	first, second := s.Seal([]byte("value"), "place"), s.Seal([]byte("value"), "place")
	if first == second {
		t.Error("two values are seen to be equal")
	}
}

func TestAnOlderKeyOpensAndTheFirstSeals(t *testing.T) {
	t.Parallel()
	k := keys(t, 2)
	older, both, newer := sealer(t, k[0]), sealer(t, k[1], k[0]), sealer(t, k[1])
	if got, err := both.Open(older.Seal([]byte("value"), "place"), "place"); err != nil || string(got) != "value" {
		t.Errorf("with both keys: %q, %v", got, err)
	}
	sealed := both.Seal([]byte("value"), "place")
	if got, err := newer.Open(sealed, "place"); err != nil || string(got) != "value" {
		t.Errorf("sealed with both keys, opened with the newer: %q, %v", got, err)
	}
	if id, err := secret.KeyOf(sealed); err != nil || id != newer.KeyID() {
		t.Errorf("sealed with key %q, %v", id, err)
	}
}

func TestKeysAreReadOrRefused(t *testing.T) {
	t.Parallel()
	one := strings.TrimSpace(secret.NewKey())
	for text, want := range map[string]int{
		one: 1, "\n" + one + "\n\n": 1, one + "," + one: 2, one + "\n" + one: 2,
		"": 0, "\n": 0, one[:20]: 0, one + one: 0, "?": 0, one + " ?": 0, "c2hvcnQ=": 0,
	} {
		got, err := secret.ParseKeys([]byte(text))
		if len(got) != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d keys, %v", text, len(got), err)
		}
	}
	if _, err := secret.NewSealer(); err == nil {
		t.Error("a sealer without a key")
	}
	if _, err := secret.NewSealer([]byte("short")); err == nil {
		t.Error("a sealer with a short key")
	}
}
