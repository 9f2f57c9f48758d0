// Package engine is the one place that changes the state of builds, steps, jobs and agents. Doors
// and passes call its operations; each operation is one file and one transaction, but for those that say that they go step by step.
//
// Promises:
//
//   - An operation whose error is nil is durable when it returns, an offer (AssignJobs) with what is written next; a transaction
//     that fails changed nothing.
//   - Whatever an agent or a client may repeat is idempotent by a key it sends: a job's id and its
//     holder, an upload's uuid, an artifact batch's id.
//   - What a caller may expect to be told no for is a *Refused with a sentence for people; any other
//     error is a fault of ours or of the database.
//   - Hints (package live) go out after the commit and may be lost. External effects are rows of the
//     outbox, written in the same transaction.
//   - An operation on a build locks the build's row first, so operations on one build never
//     interleave; agents' rows are locked after builds', never before.
//
// PostgreSQL runs operations side by side, and ends one of two that wait for each other after a second. So locks are taken in the order
// of this list, and several of a kind in the order of their keys; a write is a lock too, and to refer to a row is none (package store):
//
//   - agent tokens, clusters, queues; organizations and clusters before what is counted for them;
//   - teams, before what belongs to them;
//   - a schedule or an address that makes a build, artifacts, cache entries;
//   - builds, and then what belongs to them;
//   - pipelines, of which an operation locks one alone, also to take a build's number;
//   - agents, which operations of one build that share a transaction lock as they come (docs/adr/0036-updates-of-one-build-share.md);
//   - concurrency groups;
//   - blobs, then what an organization's artifacts and caches use.
//
// What is read to be changed is locked first, and what must not be there twice has a unique index: SQLite, where one operation writes
// at a time, does not show where either is missing.
package engine

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/secret"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

// Config says how an engine behaves. All fields are required unless they say otherwise.
type Config struct {
	Store *store.Store
	Hub   *live.Hub
	Log   *slog.Logger
	Now   func() time.Time
	// Sealer seals what must not be read from the database, and makes the tokens of jobs. It may be set until the first
	// operation that does one of these; nil where there is none.
	Sealer *secret.Sealer
	// Mail says that the server can send mail; builds that ask for it are told if not.
	Mail bool
	// OpenQueues lets a registering agent make the queue that it names, whatever its organization decided.
	OpenQueues bool
	// Policy is the organization's trust policy; the zero value trusts members alone.
	Policy trust.Policy
	// OfferTerm is how long an assigned job waits to be accepted; 0: 30 s.
	OfferTerm time.Duration
	// CancelTogether is how many jobs of a canceled build one transaction ends; 0: 100. Others wait for as long, on SQLite some 5 ms.
	CancelTogether int
	// LossTerm is how long an agent may be silent before it is lost; 0: 3 min.
	LossTerm time.Duration
}

// Engine performs operations. It is safe for concurrent use and holds no state of its own.
type Engine struct {
	Config
	ids idSource
}

// New returns an engine.
func New(c Config) *Engine {
	if c.OfferTerm == 0 {
		c.OfferTerm = 30 * time.Second
	}
	if c.CancelTogether == 0 {
		c.CancelTogether = 100
	}
	if c.LossTerm == 0 {
		c.LossTerm = 3 * time.Minute
	}
	return &Engine{Config: c}
}

// Why says what kind of no an operation answered.
type Why int

// The kinds of refusal.
const (
	Invalid   Why = iota // what was asked for makes no sense; the message says what would
	Missing              // what it is about does not exist
	Conflict             // the state of things does not allow it now
	Forbidden            // not for this caller
	TooMany              // asked too often; later it is allowed again
)

// Refused is an answer of no that the caller could expect. Message is for people.
type Refused struct {
	Why     Why
	Message string
	// Fields are validation errors by field, for forms and REST.
	Fields map[string]string
}

func (r *Refused) Error() string { return r.Message }

// inFull is the refusal for those who have no form: its fields too.
func (r *Refused) inFull() string {
	text := r.Message
	for _, field := range slices.Sorted(maps.Keys(r.Fields)) {
		text += ": " + field + " " + r.Fields[field]
	}
	return text
}

// maxLookedUp bounds, in bytes, the texts that rows are found by: an entry of an index of PostgreSQL has at most 2,704.
const maxLookedUp = 1000

func refuse(why Why, format string, args ...any) error {
	return &Refused{Why: why, Message: fmt.Sprintf(format, args...)}
}

// missing turns a row that is not there into an answer.
func missing(err error, format string, args ...any) error {
	if errors.Is(err, store.ErrNotFound) {
		return refuse(Missing, format, args...)
	}
	return err
}

// update runs fn in one transaction and publishes the hints it gave, if it succeeded.
func (e *Engine) update(ctx context.Context, fn func(tx *store.Tx, hint func(topics ...string)) error) error {
	return e.hinted(fn, func(fn func(*store.Tx) error) error { return e.Store.Update(ctx, fn) })
}

func (e *Engine) hinted(fn func(tx *store.Tx, hint func(topics ...string)) error, update func(func(*store.Tx) error) error) error {
	var hints map[string]struct{}
	err := update(func(tx *store.Tx) error {
		hints = map[string]struct{}{}
		return fn(tx, func(topics ...string) {
			for _, t := range topics {
				hints[t] = struct{}{}
			}
		})
	})
	if err == nil {
		e.Hub.Publish(slices.Collect(maps.Keys(hints))...)
	}
	return err
}

// NewID returns a UUIDv7 (RFC 9562 §5.7). Ids of one engine sort in the order they were made.
func (e *Engine) NewID() string { return e.ids.next(e.Now()) }

// idSource makes UUIDv7 with a counter in the 12 bits after the milliseconds.
type idSource struct {
	mu   sync.Mutex
	last uint64 // milliseconds << 12 | counter
}

func (s *idSource) next(now time.Time) string {
	s.mu.Lock()
	s.last = max(s.last+1, uint64(now.UnixMilli())<<12)
	v := s.last
	s.mu.Unlock()
	var b [16]byte
	rand.Read(b[8:]) // never fails (crypto/rand)
	binary.BigEndian.PutUint64(b[:8], v>>12<<16|0x7000|v&0xfff)
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
