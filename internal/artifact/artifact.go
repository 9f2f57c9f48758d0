// Package artifact keeps the files that jobs upload, and the bytes of caches: it takes them whole or in parts, holds them against
// what was announced, gives them out, and lets go of what nobody refers to.
//
// A file is an artifact's only when all its bytes were here and had the announced size and SHA-256 sum.
// Files with the same bytes are kept once: the row of the first names the key, later ones refer to it.
// Knowing a sum is not having the file: bytes that are here already are read all the same.
//
// Addresses authorise themselves, because agents send no token to storage (internal/artifact of
// buildkite-agent v3.138.1): each is signed for a method, a path, a file and a time.
//
// Where the server keeps files in an S3-compatible store, agents send parts straight there and readers
// are sent there; the server reads each file once, to know that it is what was announced.
//
// Every step may be repeated, and the process may end between any two: bytes are put before the row that
// refers to them, rows let go of bytes before these are deleted, and passes take away what was left.
package artifact

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/internal/blob"
	"github.com/slipway-ci/slipway/internal/blob/s3"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/loop"
	"github.com/slipway-ci/slipway/internal/store"
)

// Config is what a store works with. All fields are required unless they say otherwise.
type Config struct {
	Engine *engine.Engine
	DB     *store.Store
	Blobs  blob.Store
	// Direct is Blobs if agents send and fetch files without the server in between, or nil.
	Direct *s3.Store
	Log    *slog.Logger
	Now    func() time.Time
	// SigningKey signs addresses; at least 32 random bytes that outlive a restart, or uploads under
	// way fail.
	SigningKey []byte
	// PartSize is how many bytes a part of a file below 80 GB has at most; 0: 16 MiB. Parts are equal, so they have at least half of
	// it, and S3 takes none below 5 MiB but the last.
	PartSize int64
}

// Store keeps artifacts. It is safe for concurrent use.
type Store struct {
	Config
	ctx  context.Context // ends with Close
	stop context.CancelFunc

	mu      sync.Mutex
	flights map[string]*flight // by artifact
	flying  sync.WaitGroup
	slots   chan struct{}

	opened, old loop.Rows[store.Artifact] // of the passes GiveUp and Expire
	dead        loop.Rows[store.Blob]     // of Release
}

// assemblies is how many files are put together, or read for their sum, at once.
const assemblies = 4

// Open returns a store. The caller closes it.
func Open(c Config) *Store {
	if c.PartSize == 0 {
		c.PartSize = 16 << 20
	}
	ctx, stop := context.WithCancel(context.Background())
	id := func(f store.Artifact) string { return f.ID }
	return &Store{
		Config: c, ctx: ctx, stop: stop, flights: map[string]*flight{}, slots: make(chan struct{}, assemblies),
		opened: loop.Rows[store.Artifact]{Batch: batch, ID: id}, old: loop.Rows[store.Artifact]{Batch: batch, ID: id},
		dead: loop.Rows[store.Blob]{Batch: batch, ID: func(b store.Blob) string { return b.Key }},
	}
}

// Close ends what is under way; agents will ask for it again.
func (s *Store) Close() error {
	s.stop()
	s.flying.Wait()
	return nil
}

// blobPrefix and partPrefix are where bytes lie: those of artifacts, and parts of uploads under way.
const (
	blobPrefix = "blobs/"
	partPrefix = "parts/"
)

// keyOf is where the bytes of an artifact are put if nobody else has them. It is the artifact's alone, so
// that whatever is deleted there can't be what another just put.
func keyOf(f store.Artifact) string { return blobPrefix + f.SHA256[:2] + "/" + f.SHA256 + "-" + f.ID }

// recorder is the engine's operation that records where bytes are: of artifacts or of caches.
type recorder func(ctx context.Context, id, key string) (used string, err error)

// arrived records that an artifact's bytes are under a key, or "" if somebody else's were found to be the
// same. What is not needed under the key is deleted.
func (s *Store) arrived(ctx context.Context, f store.Artifact, key string, record recorder) error {
	used, err := record(ctx, f.ID, key)
	_, refused := errors.AsType[*engine.Refused](err)
	if key == "" || used == key || err != nil && !refused {
		return err
	}
	return errors.Join(err, s.Blobs.Delete(ctx, key))
}
