package httperr_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/slipway-ci/slipway/internal/httperr"
)

// A caller that is told to come again would otherwise write a line into the server's log with each request.
func TestOnlyFaultsAreLogged(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err    error
		logged bool
	}{
		"a refusal":       {httperr.New(http.StatusNotFound, "Not Found"), false},
		"come again":      {httperr.New(http.StatusServiceUnavailable, "Come again."), false},
		"a fault":         {errors.New("disk full"), true},
		"a fault, softly": {&httperr.Error{Status: http.StatusServiceUnavailable, Message: "Send it again.", Err: errors.New("disk full")}, true},
	} {
		var log bytes.Buffer
		render := func(w http.ResponseWriter, _ *http.Request, e *httperr.Error) { w.WriteHeader(e.Status) }
		h := httperr.Handler(slog.New(slog.NewTextHandler(&log, nil)), render, func(http.ResponseWriter, *http.Request) error { return c.err })
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/x", http.NoBody))
		if logged := log.Len() > 0; logged != c.logged {
			t.Errorf("%s: the log has %q", name, log.String())
		}
	}
}
