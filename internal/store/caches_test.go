package store

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// cacheAt is an entry of the seeded organization that was made at a time, with one prefix.
func cacheAt(id, kind, address, prefix string, made time.Time) CacheEntry {
	return CacheEntry{
		ID: id, OrganizationID: "o", JobID: "j", Store: kind, Address: address, Prefixes: []string{prefix}, Size: 10,
		Spec: CacheSpec{TargetPaths: []string{"p"}, Key: []CachePart{{"a", true}}}, CreatedAt: made, UsedAt: made,
	}
}

func TestCacheEntriesAreFoundByAddressAndPrefix(t *testing.T) {
	eachStore(t, func(t *testing.T, s *Store, _ Options) {
		seed(t, s)
		first, second := cacheAt("1", CacheServer, "a1", "a", at(1)), cacheAt("2", CacheAgents, "a2", "a", at(2))
		update(t, s, func(tx *Tx) error {
			return errors.Join(tx.InsertJob(t.Context(), job("j")), tx.InsertCacheEntry(t.Context(), first), tx.InsertCacheEntry(t.Context(), second))
		})
		if _, err := s.CacheEntryAt(t.Context(), "a1"); !errors.Is(err, ErrNotFound) {
			t.Errorf("before it was committed: %v", err)
		}
		update(t, s, func(tx *Tx) error {
			return errors.Join(tx.CommitCacheEntry(t.Context(), "1", at(4)), tx.CommitCacheEntry(t.Context(), "2", at(3)), tx.CacheEntryUsed(t.Context(), "2", at(9)))
		})
		got, err := s.CacheEntryLike(t.Context(), "a")
		first.Prefixes, first.CommittedAt = nil, at(4)
		if diff := cmp.Diff(first, got); err != nil || diff != "" {
			t.Errorf("what was saved last, %v (-want +got):\n%s", err, diff)
		}
		update(t, s, func(tx *Tx) error {
			return tx.InsertCacheEntry(t.Context(), cacheAt("3", CacheServer, "a1", "a", at(5)))
		})
		if err := s.Update(t.Context(), func(tx *Tx) error { return tx.CommitCacheEntry(t.Context(), "3", at(5)) }); !errors.Is(err, ErrConflict) {
			t.Errorf("two at one address: %v, want ErrConflict", err)
		}
		if entries, bytes, err := s.CacheTotals(t.Context(), "o"); entries != 3 || bytes != 20 || err != nil {
			t.Errorf("%d entries with %d bytes, %v", entries, bytes, err)
		}
		for kind, want := range map[string]string{"": "1", CacheAgents: "2"} {
			if v, err := s.OldestCacheEntry(t.Context(), "o", kind); v.ID != want || err != nil {
				t.Errorf("the oldest of %q is %s, %v", kind, v.ID, err)
			}
		}
		if old, err := s.UnusedCacheEntries(t.Context(), "o", at(6), 10); len(old) != 2 || err != nil {
			t.Errorf("unused: %v, %v", old, err)
		}
		if open, err := s.OpenCacheEntries(t.Context(), at(6), 10); len(open) != 1 || open[0].ID != "3" || err != nil {
			t.Errorf("open: %v, %v", open, err)
		}
		for range 2 {
			update(t, s, func(tx *Tx) error { return tx.DeleteCacheEntry(t.Context(), "1") })
		}
		if v, err := s.CacheEntryLike(t.Context(), "a"); v.ID != "2" || err != nil {
			t.Errorf("after the first was deleted: %+v, %v", v, err)
		}
		if entries, bytes, err := s.CacheTotals(t.Context(), "o"); entries != 2 || bytes != 10 || err != nil {
			t.Errorf("after the first was deleted: %d entries with %d bytes, %v", entries, bytes, err)
		}
		if entries, bytes, err := s.CacheTotals(t.Context(), "another"); entries != 0 || bytes != 0 || err != nil {
			t.Errorf("where nothing was saved: %d entries with %d bytes, %v", entries, bytes, err)
		}
	})
}

func TestBytesOfACacheLiveAsLongAsIt(t *testing.T) {
	eachStore(t, func(t *testing.T, s *Store, _ Options) {
		seed(t, s)
		v := cacheAt("1", CacheServer, "a1", "a", at(1))
		v.Blob = "k"
		update(t, s, func(tx *Tx) error {
			_, err := tx.InsertBlob(t.Context(), Blob{Key: "k", SHA256: "s"})
			return errors.Join(tx.InsertJob(t.Context(), job("j")), tx.InsertCacheEntry(t.Context(), v), err)
		})
		for _, want := range []int{0, 1} {
			update(t, s, func(tx *Tx) error { return tx.KillBlob(t.Context(), "k", at(2)) })
			if dead, err := s.DeadBlobs(t.Context(), 10); len(dead) != want || err != nil {
				t.Errorf("%d dead blobs, want %d: %v", len(dead), want, err)
			}
			update(t, s, func(tx *Tx) error { return tx.DeleteCacheEntry(t.Context(), "1") })
		}
	})
}
