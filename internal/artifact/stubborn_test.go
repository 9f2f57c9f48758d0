package artifact_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/artifact"
	"github.com/slipway-ci/slipway/internal/blob"
)

// crowd is more than a pass takes at once.
const crowd = 251

// stubborn is storage from which one key can be deleted and no other.
type stubborn struct {
	blob.Store
	but string
}

func (s *stubborn) Delete(ctx context.Context, key string) error {
	if key != s.but {
		return errors.New("it is read-only")
	}
	return s.Store.Delete(ctx, key)
}

func newStubborn(t *testing.T) (*world, *stubborn) {
	s := &stubborn{}
	w := newWorld(t, func(c *artifact.Config) { s.Store, c.Blobs = c.Blobs, s })
	return w, s
}

func TestBytesThatCannotBeDeletedKeepNoOthers(t *testing.T) {
	t.Parallel()
	w, s := newStubborn(t)
	for i := range crowd {
		f := w.upload(t, fmt.Sprint("f", i), fmt.Sprint("content ", i))
		if err := w.Engine.DeleteArtifact(t.Context(), f.ID); err != nil {
			t.Fatal(err)
		}
	}
	s.but = must(w.db.DeadBlobs(t.Context(), crowd))(t)[crowd-1].Key
	for range 2 {
		if _, err := w.Release(t.Context()); err == nil {
			t.Error("nothing is said of what cannot be deleted")
		}
	}
	if keys := w.keys(t, "blobs/"); slices.Contains(keys, s.but) || len(keys) != crowd-1 {
		t.Errorf("%d are left, want the %d that cannot be deleted", len(keys), crowd-1)
	}
}

func TestPartsThatCannotBeDeletedKeepNoOthers(t *testing.T) {
	t.Parallel()
	w, s := newStubborn(t)
	for i := range crowd {
		key := fmt.Sprintf("parts/%04d", i)
		must(w.blobs.Put(t.Context(), key, strings.NewReader("part")))(t)
	}
	w.age(t, 100*time.Hour)
	keys := w.keys(t, "parts/")
	s.but = keys[len(keys)-1]
	if _, err := w.GiveUp(t.Context()); err == nil {
		t.Error("nothing is said of what cannot be deleted")
	}
	if keys := w.keys(t, "parts/"); slices.Contains(keys, s.but) || len(keys) != crowd-1 {
		t.Errorf("%d are left, want the %d that cannot be deleted", len(keys), crowd-1)
	}
}
