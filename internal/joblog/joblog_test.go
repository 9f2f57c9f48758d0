package joblog_test

import (
	"log/slog"
	"testing"

	"github.com/slipway-ci/slipway/internal/joblog"
	"github.com/slipway-ci/slipway/internal/joblog/joblogtest"
)

func open(t testing.TB, dir string, o joblog.Options) *joblog.Store {
	t.Helper()
	s, err := joblog.Open(dir, o, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func closeStore(t testing.TB, s *joblog.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestFilesKeepTheStorePromises(t *testing.T) {
	t.Parallel()
	joblogtest.Run(t, func(t *testing.T, o joblog.Options) joblogtest.Log {
		s := open(t, t.TempDir(), o)
		t.Cleanup(func() { closeStore(t, s) })
		return s
	})
}
