package fs_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/blob"
	"github.com/slipway-ci/slipway/internal/blob/blobtest"
	"github.com/slipway-ci/slipway/internal/blob/fs"
)

func open(t *testing.T, dir string) *fs.Store {
	t.Helper()
	s, err := fs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestFileSystemKeepsTheStorePromises(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(t *testing.T) blob.Store { return open(t, t.TempDir()) })
}

func TestLinksOutOfTheDirectoryAreNotFollowed(t *testing.T) {
	t.Parallel()
	outside, dir := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(outside, "secret+"), []byte("s"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir)
	if _, err := s.Put(t.Context(), "link/new", strings.NewReader("x")); err == nil {
		t.Error("wrote through the link")
	}
	if _, err := s.Get(t.Context(), "link/secret", 0, -1); err == nil {
		t.Error("read through the link")
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
		t.Errorf("outside holds %v, %v", entries, err)
	}
}

func TestOpenRemovesWhatAnInterruptedPutLeft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, ".tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(dir, ".tmp", "half")
	if err := os.WriteFile(half, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-25 * time.Hour)
	if err := os.Chtimes(half, old, old); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir)
	for info := range s.List(t.Context(), "") {
		t.Errorf("listed %s", info.Key)
	}
	if entries, err := os.ReadDir(filepath.Join(dir, ".tmp")); err != nil || len(entries) != 0 {
		t.Errorf(".tmp holds %v, %v", entries, err)
	}
}

// TestOpenLeavesThePutOfAnotherProcessAlone opens the directory a second time while a blob is being put.
func TestOpenLeavesThePutOfAnotherProcessAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	in, feed := io.Pipe()
	done := make(chan error)
	go func() {
		_, err := s.Put(t.Context(), "k", in)
		done <- err
	}()
	if _, err := io.WriteString(feed, "first half, "); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
	if _, err := io.WriteString(feed, "second half"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(feed.Close(), <-done); err != nil {
		t.Fatal(err)
	}
}
