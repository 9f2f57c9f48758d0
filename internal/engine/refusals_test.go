package engine_test

import (
	"errors"

	"pgregory.net/rapid"

	"github.com/slipway-ci/slipway/internal/engine"
)

// wantRefusal checks that an operation said no in the given words, "" for any.
func wantRefusal(t rapid.TB, err error, message string) {
	t.Helper()
	r, ok := errors.AsType[*engine.Refused](err)
	if !ok || message != "" && r.Message != message {
		t.Errorf("got %v, want the refusal %q", err, message)
	}
}
