// Package blobtest holds the promises that every blob.Store keeps, as one suite.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/blob"
)

// Run tests the stores that open returns. Each call of open must return an empty store, closed by t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) blob.Store) {
	for name, test := range map[string]func(*testing.T, blob.Store){
		"a blob reads back whole":                   readsBack,
		"a range is cut at the end":                 ranges,
		"a missing key is not found":                missing,
		"delete is idempotent":                      deletes,
		"put replaces":                              replaces,
		"an interrupted put stores nothing":         interrupted,
		"an open reader outlives replacement":       outlives,
		"list is ordered by key":                    lists,
		"a list can be left early":                  leaves,
		"unusable keys are refused by every method": refuses,
		"concurrent puts leave one whole blob":      concurrent,
		"a key may be a prefix of another":          nested,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func put(t *testing.T, s blob.Store, key, content string) {
	t.Helper()
	info, err := s.Put(t.Context(), key, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	if info.Key != key || info.Size != int64(len(content)) || info.Modified.IsZero() {
		t.Errorf("Put(%s) = %+v, want size %d and a time", key, info, len(content))
	}
}

func get(t *testing.T, s blob.Store, key string, offset, length int64) string {
	t.Helper()
	r, err := s.Get(t.Context(), key, offset, length)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return string(got)
}

func keys(t *testing.T, s blob.Store, prefix string) []string {
	t.Helper()
	var got []string
	for info, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, info.Key)
	}
	return got
}

func readsBack(t *testing.T, s blob.Store) {
	for _, content := range []string{"", "x", strings.Repeat("0123456789abcdef", 1<<16)} {
		put(t, s, "a/b", content)
		if got := get(t, s, "a/b", 0, -1); got != content {
			t.Errorf("read %d bytes, want the %d put", len(got), len(content))
		}
		info, err := s.Stat(t.Context(), "a/b")
		if err != nil || info.Size != int64(len(content)) {
			t.Errorf("Stat = %+v, %v", info, err)
		}
	}
}

func ranges(t *testing.T, s blob.Store) {
	put(t, s, "k", "0123456789")
	for _, c := range []struct {
		offset, length int64
		want           string
	}{{0, 3, "012"}, {3, 4, "3456"}, {8, 5, "89"}, {10, 1, ""}, {99, -1, ""}, {4, -1, "456789"}, {0, 0, ""}} {
		if got := get(t, s, "k", c.offset, c.length); got != c.want {
			t.Errorf("Get(%d, %d) = %q, want %q", c.offset, c.length, got, c.want)
		}
	}
	if _, err := s.Get(t.Context(), "k", -1, 1); err == nil {
		t.Error("a negative offset was accepted")
	}
}

func missing(t *testing.T, s blob.Store) {
	put(t, s, "dir/present", "x")
	for _, key := range []string{"absent", "dir", "dir/absent", "dir/present/below"} {
		if _, err := s.Get(t.Context(), key, 0, -1); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("Get(%s): %v, want ErrNotFound", key, err)
		}
		if _, err := s.Stat(t.Context(), key); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("Stat(%s): %v, want ErrNotFound", key, err)
		}
	}
}

func deletes(t *testing.T, s blob.Store) {
	put(t, s, "a/b/c", "x")
	put(t, s, "a/d", "y")
	for range 2 {
		if err := s.Delete(t.Context(), "a/b/c"); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"a/d"}, keys(t, s, "")); diff != "" {
		t.Error(diff)
	}
	put(t, s, "a/b/c", "again")
	if got := get(t, s, "a/b/c", 0, -1); got != "again" {
		t.Errorf("after a new put: %q", got)
	}
}

func replaces(t *testing.T, s blob.Store) {
	put(t, s, "k", "a long first version")
	put(t, s, "k", "short")
	if got := get(t, s, "k", 0, -1); got != "short" {
		t.Errorf("got %q", got)
	}
}

func interrupted(t *testing.T, s blob.Store) {
	put(t, s, "kept", "old")
	broken := errors.New("connection lost")
	for _, key := range []string{"kept", "new"} {
		body := io.MultiReader(bytes.NewReader(make([]byte, 1<<20)), iotest.ErrReader(broken))
		if _, err := s.Put(t.Context(), key, body); !errors.Is(err, broken) {
			t.Errorf("Put(%s): %v, want the reader's error", key, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Put(ctx, "new", strings.NewReader("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("Put with a cancelled context: %v", err)
	}
	if diff := cmp.Diff([]string{"kept"}, keys(t, s, "")); diff != "" {
		t.Error(diff)
	}
	if got := get(t, s, "kept", 0, -1); got != "old" {
		t.Errorf("kept holds %q", got)
	}
}

func outlives(t *testing.T, s blob.Store) {
	put(t, s, "k", "first")
	r, err := s.Get(t.Context(), "k", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "k", "second")
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || string(got) != "first" {
		t.Errorf("read %q, %v, want the first version", got, err)
	}
}

func lists(t *testing.T, s blob.Store) {
	all := []string{"a", "a-b/x", "a.b", "a/1", "a/1/2", "a/10", "a/b/c", "ab", "b/z"}
	for _, key := range slices.Backward(all) {
		put(t, s, key, key)
	}
	for _, c := range []struct {
		prefix string
		want   []string
	}{
		{"", all},
		{"a/", []string{"a/1", "a/1/2", "a/10", "a/b/c"}},
		{"a/1", []string{"a/1", "a/1/2", "a/10"}},
		{"a/b", []string{"a/b/c"}},
		{"c", nil},
		{"../", nil},
	} {
		if diff := cmp.Diff(c.want, keys(t, s, c.prefix)); diff != "" {
			t.Errorf("List(%q) (-want +got):\n%s", c.prefix, diff)
		}
	}
}

func leaves(t *testing.T, s blob.Store) {
	for i := range 5 {
		put(t, s, fmt.Sprintf("d/%d", i), "x")
	}
	seen := 0
	for range s.List(t.Context(), "") {
		if seen++; seen == 2 {
			break
		}
	}
	if seen != 2 {
		t.Errorf("saw %d blobs", seen)
	}
}

func refuses(t *testing.T, s blob.Store) {
	bad := []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", ".tmp/x", "a b", "a\\b", "a\x00", "ä", "a+", "a%2e",
		strings.Repeat("s", 201), strings.Repeat("k/", 300) + "k",
	}
	for _, key := range bad {
		_, putErr := s.Put(t.Context(), key, strings.NewReader("x"))
		_, getErr := s.Get(t.Context(), key, 0, -1)
		_, statErr := s.Stat(t.Context(), key)
		for _, err := range []error{putErr, getErr, statErr, s.Delete(t.Context(), key)} {
			if _, ok := errors.AsType[*blob.KeyError](err); !ok {
				t.Errorf("key %q: %v, want a *KeyError", key, err)
			}
		}
	}
	if got := keys(t, s, ""); got != nil {
		t.Errorf("stored anyway: %q", got)
	}
}

func concurrent(t *testing.T, s blob.Store) {
	var wg sync.WaitGroup
	for i := range 8 {
		content := strings.Repeat(string(rune('a'+i)), 100_000)
		wg.Go(func() {
			for range 10 {
				if _, err := s.Put(t.Context(), "deep/down/k", strings.NewReader(content)); err != nil {
					t.Error(err)
				}
				if err := s.Delete(t.Context(), "deep/down/other"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got := get(t, s, "deep/down/k", 0, -1)
	if len(got) != 100_000 || strings.Trim(got, got[:1]) != "" {
		t.Errorf("%d bytes that mix several puts", len(got))
	}
}

func nested(t *testing.T, s blob.Store) {
	put(t, s, "a/b", "leaf")
	put(t, s, "a/b/c", "below")
	put(t, s, "a", "above")
	got := []string{get(t, s, "a", 0, -1), get(t, s, "a/b", 0, -1), get(t, s, "a/b/c", 0, -1)}
	if diff := cmp.Diff([]string{"above", "leaf", "below"}, got); diff != "" {
		t.Error(diff)
	}
}
