package engine

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"regexp"
	"time"

	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

// Bounds of one cache entry, and of all of an organization. Beyond maxCaches, those that were not used for
// longest go.
const (
	maxCacheParts = 32
	maxCachePaths = 100
	maxCacheBlobs = 100
	maxCacheText  = 4096 // bytes of a path or of a part of a key
	maxCaches     = 20_000
	// usedPrecision is how exactly it is noted when an entry was used.
	usedPrecision = time.Hour
)

// Cache names a cache to a job: in which registry it is, of what kind of store, and its key. Clients of the
// service know one kind, store.CacheAgents; entries of different kinds do not see each other.
type Cache struct {
	JobID       string
	Registry    string // "~": the default
	Store       string
	TargetPaths []string
	Key         []store.CachePart
}

// CacheUploadTerm is after how long an entry is given up that was begun and not committed: no address for its
// bytes is good then.
const CacheUploadTerm = 24 * time.Hour

var (
	registryName = regexp.MustCompile(`^[a-z0-9]([a-z0-9_.-]{0,98}[a-z0-9])?$`)
	sha256Text   = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// errNoCache and errNoRegistry are told by their messages (api/cache.go of buildkite-agent v3.138.1): the
// first is a miss, the second an error.
func errNoCache() error    { return refuse(Missing, "Cache entry not found") }
func errNoRegistry() error { return refuse(Missing, "Cache registry not found") }

// CacheRegistry is a namespace of caches. Any name is one: it has no more to it than its caches.
type CacheRegistry struct{ ID, Name string }

// CacheRegistry returns a registry of a job's cluster.
func (e *Engine) CacheRegistry(ctx context.Context, jobID, name string) (CacheRegistry, error) {
	s, err := e.cacheSpace(ctx, Cache{JobID: jobID, Registry: name})
	if err != nil {
		return CacheRegistry{}, err
	}
	sum := sha256.Sum256([]byte("registry\n" + s.accepted.Cluster.ID + "\n" + s.registry))
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80 // a UUID of our own making (RFC 9562 §5.8)
	return CacheRegistry{fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16]), s.registry}, nil
}

// cacheSpace is what a job may see of caches. Builds whose members are trusted share a space in their
// cluster. Approved code of a stranger reads that too, but writes to a space of its own, that of its pull
// request or else of its build: what it saves must never be found by others.
type cacheSpace struct {
	accepted Accepted
	registry string
	store    string
	own      string // "": the shared one
}

func (e *Engine) cacheSpace(ctx context.Context, c Cache) (s cacheSpace, err error) {
	s.registry, s.store = c.Registry, cmp.Or(c.Store, store.CacheAgents)
	if s.registry == "~" {
		s.registry = "default"
	}
	if !registryName.MatchString(s.registry) {
		return s, errNoRegistry()
	}
	if s.store != store.CacheAgents && s.store != store.CacheServer {
		return s, refuse(Invalid, "There is no store %q for caches; there are %s and %s.", s.store, store.CacheAgents, store.CacheServer)
	}
	if s.accepted, err = e.held(ctx, c.JobID); err != nil {
		return s, err
	}
	if b := s.accepted.Build; trustProfile(b) != string(trust.ProfileMember) {
		s.own = "build " + b.ID
		if pr := b.Detail.PullRequest; pr != nil && pr.Number != "" {
			s.own = "pull request " + b.PipelineID + " " + pr.Number
		}
	}
	return s, nil
}

// addresses are the sums over the first part of a key, the first two, and so on up to the whole key.
func (s cacheSpace) addresses(space string, c Cache) []string {
	h := sha256.New()
	put(h, s.accepted.Cluster.ID, s.registry, s.store, space, fmt.Sprint(len(c.TargetPaths)))
	put(h, c.TargetPaths...)
	out := make([]string, len(c.Key))
	for i, part := range c.Key {
		put(h, part.Value)
		out[i] = hex.EncodeToString(h.Sum(nil))
	}
	return out
}

// put writes texts so that no others make the same sum.
func put(h hash.Hash, texts ...string) {
	for _, t := range texts {
		fmt.Fprintf(h, "%d:%s", len(t), t) // never fails (hash.Hash)
	}
}

// spaces are where a job looks, its own first.
func (s cacheSpace) spaces() []string {
	if s.own == "" {
		return []string{""}
	}
	return []string{s.own, ""}
}

func checkCache(c Cache) error {
	switch {
	case len(c.TargetPaths) == 0 || len(c.TargetPaths) > maxCachePaths:
		return refuse(Invalid, "A cache has 1 to %d target_paths; this one has %d.", maxCachePaths, len(c.TargetPaths))
	case len(c.Key) == 0 || len(c.Key) > maxCacheParts:
		return refuse(Invalid, "The cache_key has 1 to %d parts; this one has %d.", maxCacheParts, len(c.Key))
	}
	for _, p := range c.TargetPaths {
		if p == "" || len(p) > maxCacheText {
			return refuse(Invalid, "A path of target_paths has 1 to %d bytes.", maxCacheText)
		}
	}
	for _, p := range c.Key {
		if len(p.Value) > maxCacheText {
			return refuse(Invalid, "A part of the cache_key has %d bytes at most.", maxCacheText)
		}
	}
	return nil
}

// PeekCache returns the entry with exactly a key.
func (e *Engine) PeekCache(ctx context.Context, c Cache) (store.CacheEntry, error) {
	s, err := e.cacheSpace(ctx, c)
	if err == nil {
		err = checkCache(c)
	}
	if err != nil {
		return store.CacheEntry{}, err
	}
	return e.exactCache(ctx, s, c)
}

func (e *Engine) exactCache(ctx context.Context, s cacheSpace, c Cache) (v store.CacheEntry, err error) {
	for _, space := range s.spaces() {
		all := s.addresses(space, c)
		if v, err = e.Store.CacheEntryAt(ctx, all[len(all)-1]); !errors.Is(err, store.ErrNotFound) {
			return v, err
		}
	}
	return v, errNoCache()
}

// RetrieveCache returns the entry with exactly a key, or else the one that has as many of its first parts as
// any, all mandatory ones at least, and was saved last. It counts as used, and ends when it was not used
// again until the time that is returned.
func (e *Engine) RetrieveCache(ctx context.Context, c Cache) (v store.CacheEntry, fallback bool, expires time.Time, err error) {
	s, err := e.cacheSpace(ctx, c)
	if err == nil {
		err = checkCache(c)
	}
	if err != nil {
		return v, false, expires, err
	}
	v, err = e.exactCache(ctx, s, c)
	if r, ok := errors.AsType[*Refused](err); ok && r.Why == Missing {
		fallback = true
		v, err = e.similarCache(ctx, s, c)
	}
	if err != nil {
		return v, false, expires, err
	}
	settings, err := SettingsOf(s.accepted.Organization)
	if err != nil {
		return v, false, expires, err
	}
	return v, fallback, e.Now().AddDate(0, 0, settings.CacheRetentionDays), e.cacheUsed(ctx, v)
}

func (e *Engine) similarCache(ctx context.Context, s cacheSpace, c Cache) (v store.CacheEntry, err error) {
	mandatory := 1
	for i, p := range c.Key {
		if p.Mandatory {
			mandatory = i + 1
		}
	}
	for n := len(c.Key) - 1; n >= mandatory; n-- {
		for _, space := range s.spaces() {
			v, err = e.Store.CacheEntryLike(ctx, s.addresses(space, c)[n-1])
			if !errors.Is(err, store.ErrNotFound) {
				return v, err
			}
		}
	}
	return v, errNoCache()
}

func (e *Engine) cacheUsed(ctx context.Context, v store.CacheEntry) error {
	now := e.Now()
	if now.Sub(v.UsedAt) < usedPrecision {
		return nil
	}
	err := e.Store.Update(ctx, func(tx *store.Tx) error { return tx.CacheEntryUsed(ctx, v.ID, now) })
	if errors.Is(err, store.ErrNotFound) { // gone since: the job was first
		return nil
	}
	return err
}
