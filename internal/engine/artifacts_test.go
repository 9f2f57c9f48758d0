package engine_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/slipway-ci/slipway/internal/store"
)

// arrive records an artifact's bytes under a key.
func (w *world) arrive(t testing.TB, id, key string) string {
	used, err := w.ArtifactArrived(t.Context(), id, key)
	if err != nil {
		t.Error(err)
	}
	return used
}

func TestArtifactsWithTheSameBytesReferToOneBlobUntilTheLastIsGone(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		const n = 8
		b := w.build(t, "steps:\n- {command: a, key: a}\n")
		job := w.job(t, b, "a")
		files := make([]store.Artifact, n)
		for i := range files {
			files[i] = store.Artifact{Path: fmt.Sprint(i), SHA256: "sum", Size: 10}
		}
		made := must(w.CreateArtifacts(t.Context(), job, "batch", files))(t)
		keys := make([]string, n)
		var wg sync.WaitGroup
		for i, a := range made {
			wg.Go(func() { keys[i] = w.arrive(t, a.ID, "key-"+a.Path) })
		}
		wg.Wait()
		if slices.Sort(keys); keys[0] != keys[n-1] {
			t.Fatalf("%d artifacts with the same bytes refer to %v", n, keys)
		}
		used := func() int64 { return must(w.Store.ArtifactUsage(t.Context(), b.OrganizationID))(t) }
		if used() != 10*n {
			t.Errorf("%d bytes are counted, want %d", used(), 10*n)
		}
		for _, a := range made[:n-1] {
			wg.Go(func() {
				if err := w.DeleteArtifact(t.Context(), a.ID); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if dead := must(w.Store.DeadBlobs(t.Context(), n))(t); len(dead) != 0 {
			t.Errorf("%v are dead, though one artifact refers to it", dead)
		}
		must(0, w.DeleteArtifact(t.Context(), made[n-1].ID))(t)
		if dead := must(w.Store.DeadBlobs(t.Context(), n))(t); len(dead) != 1 || dead[0].Key != keys[0] || used() != 0 {
			t.Errorf("dead are %v and %d bytes are counted, want %s and none", dead, used(), keys[0])
		}
		_, err := w.ArtifactArrived(t.Context(), made[0].ID, "key-again")
		wantRefusal(t, err, `The artifact "0" was deleted.`)
	})
}
