package agentapi

import (
	"net/http"
	"time"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/store"
)

// Caches are saved and found as api/cache.go of v3.138.1 asks. Agents of the service know stores that they
// reach by themselves, and the server keeps the index alone. A client that asks with ?store=server keeps its
// bytes here: store answers with an address that takes them with PUT, retrieve with one that gives them.

// maxCacheBody bounds a request about a cache, in bytes.
const maxCacheBody = 1 << 20

// cacheJSON is what clients send of an entry.
type cacheJSON struct {
	TargetPaths []string          `json:"target_paths"`
	Key         []store.CachePart `json:"cache_key"`
	Blobs       []store.CacheBlob `json:"blobs"`
	Platform    string            `json:"platform"`
}

// entryJSON is an entry that was found.
type entryJSON struct {
	TargetPaths  []string          `json:"target_paths"`
	Key          []store.CachePart `json:"cache_key"`
	Blobs        []store.CacheBlob `json:"blobs"`
	Store        string            `json:"store"`
	ExpiresAt    *time.Time        `json:"expires_at,omitempty"` // when it was not used until then
	Fallback     bool              `json:"fallback"`
	Multipart    bool              `json:"multipart"`
	Instructions []string          `json:"download_instructions"`
	Message      string            `json:"message"`
}

// readCache is the cache that a request is about, and what else it says.
func readCache(w http.ResponseWriter, r *http.Request, c caller) (engine.Cache, cacheJSON, error) {
	var body cacheJSON
	err := httperr.Decode(w, r, maxCacheBody, &body)
	return engine.Cache{
		JobID: c.job.ID, Registry: r.PathValue("registry"), Store: r.URL.Query().Get("store"), TargetPaths: body.TargetPaths, Key: body.Key,
	}, body, err
}

func (a *Server) cacheRegistry(w http.ResponseWriter, r *http.Request, c caller) error {
	kind := store.CacheAgents
	if r.URL.Query().Get("store") == store.CacheServer {
		kind = store.CacheServer
	}
	v, err := a.Engine.CacheRegistry(r.Context(), c.job.ID, r.PathValue("registry"))
	if err != nil {
		return err
	}
	return httperr.JSON(w, http.StatusOK, map[string]string{"uuid": v.ID, "name": v.Name, "store": kind})
}

func (a *Server) peekCache(w http.ResponseWriter, r *http.Request, c caller) error {
	q, _, err := readCache(w, r, c)
	if err != nil {
		return err
	}
	v, err := a.Engine.PeekCache(r.Context(), q)
	if err != nil {
		return err
	}
	return httperr.JSON(w, http.StatusOK, entry(v, "The cache exists."))
}

func entry(v store.CacheEntry, message string) entryJSON {
	return entryJSON{
		TargetPaths: v.Spec.TargetPaths, Key: v.Spec.Key, Blobs: v.Spec.Blobs, Store: v.Store, Instructions: []string{}, Message: message,
	}
}

func (a *Server) retrieveCache(w http.ResponseWriter, r *http.Request, c caller) error {
	q, _, err := readCache(w, r, c)
	if err != nil {
		return err
	}
	v, fallback, expires, err := a.Engine.RetrieveCache(r.Context(), q)
	if err != nil {
		return err
	}
	out := entry(v, "The cache was found.")
	out.Fallback, out.ExpiresAt = fallback, &expires
	if v.Store == store.CacheServer {
		out.Instructions = []string{a.Artifacts.CacheURL(a.base(r), http.MethodGet, v)}
	}
	return httperr.JSON(w, http.StatusOK, out)
}

func (a *Server) saveCache(w http.ResponseWriter, r *http.Request, c caller) error {
	q, body, err := readCache(w, r, c)
	if err != nil {
		return err
	}
	v, err := a.Engine.SaveCache(r.Context(), q, body.Blobs, body.Platform)
	if err != nil {
		return err
	}
	instructions := []string{}
	if v.Store == store.CacheServer {
		instructions = append(instructions, a.Artifacts.CacheURL(a.base(r), http.MethodPut, v))
	}
	return httperr.JSON(w, http.StatusOK, map[string]any{
		"upload_id": v.ID, "multipart": false, "upload_instructions": instructions, "message": "Send the bytes, then commit.",
	})
}

func (a *Server) commitCache(w http.ResponseWriter, r *http.Request, c caller) error {
	var body struct {
		UploadID string `json:"upload_id"`
	}
	if err := httperr.Decode(w, r, maxCacheBody, &body); err != nil {
		return err
	}
	if err := a.Engine.CommitCache(r.Context(), c.job.ID, body.UploadID); err != nil {
		return err
	}
	return httperr.JSON(w, http.StatusOK, map[string]string{"message": "The cache can be found."})
}

func (a *Server) expireCache(w http.ResponseWriter, r *http.Request, c caller) error {
	q, _, err := readCache(w, r, c)
	if err != nil {
		return err
	}
	if err := a.Engine.ExpireCache(r.Context(), q); err != nil {
		return err
	}
	return ok(w)
}

// receiveCache takes the bytes of an entry, the body.
func (a *Server) receiveCache(w http.ResponseWriter, r *http.Request, c caller) error {
	body := patient(w, http.MaxBytesReader(w, r.Body, c.cache.Size+1))
	if err := a.Artifacts.ReceiveCache(r.Context(), c.cache, body); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *Server) sendCache(w http.ResponseWriter, r *http.Request, c caller) error {
	return a.Artifacts.SendCache(w, r, c.cache)
}
