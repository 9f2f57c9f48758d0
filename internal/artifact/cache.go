package artifact

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// CachePath is the path of a cache entry's address.
func CachePath(v store.CacheEntry) string { return "/caches/" + v.ID }

// fileOf is the file that a cache entry in the server's own storage is.
func fileOf(v store.CacheEntry) store.Artifact {
	b := v.Spec.Blobs[0]
	return store.Artifact{
		ID: v.ID, Path: "cache", SHA256: b.Digest.Value, Size: b.Size, Blob: v.Blob, State: "finished",
		ContentType: "application/octet-stream", CreatedAt: v.CreatedAt,
	}
}

// CacheURL is an address below base that whoever has it may use for 12 hours with one method: PUT sends an
// entry's bytes, GET fetches them.
func (s *Store) CacheURL(base, method string, v store.CacheEntry) string {
	return s.URL(base, method, CachePath(v), fileOf(v))
}

// SignedCache is the entry with the id that the request's path has, if its address is signed for it.
func (s *Store) SignedCache(r *http.Request, id string) (store.CacheEntry, error) {
	v, err := s.DB.CacheEntry(r.Context(), id)
	if errors.Is(err, store.ErrNotFound) || err == nil && v.Store != store.CacheServer {
		return v, badLink()
	}
	if err != nil {
		return v, err
	}
	return v, s.checkLink(r, fileOf(v))
}

// ReceiveCache takes the bytes of an entry. What is not as announced is refused and leaves nothing; what is
// there already is only read.
func (s *Store) ReceiveCache(ctx context.Context, v store.CacheEntry, content io.Reader) error {
	return s.keep(ctx, fileOf(v), content, s.Engine.CacheArrived)
}

// SendCache gives out the bytes of an entry, whole or in ranges, or sends the reader to where they are.
func (s *Store) SendCache(w http.ResponseWriter, r *http.Request, v store.CacheEntry) error {
	if v.CommittedAt.IsZero() {
		return &engine.Refused{Why: engine.Missing, Message: "The cache was not committed."}
	}
	return s.Send(w, r, fileOf(v))
}
