// Package joblog keeps the logs of running and finished jobs.
//
// A log is a run of records, appended in the order in which they arrive: a chunk's sequence, offset, size, checksum and the gzip
// bytes exactly as the agent sent them. Beside a large one lies an index (where each chunk is, where lines begin, groups, errors)
// that holds nothing that cannot be rebuilt from the log; a small log is read again instead.
//
// Open keeps the records of one server in files. OpenShared keeps those of several servers in rows, and then in blobs. What follows is
// true of both but for durability, of which OpenShared tells.
//
// Order: chunks may come in any order, twice, late or never. What can be read is the text up to the first missing byte. A range
// that is still missing GapAfter after text beyond it came, or when Finish closes the log, is given up: a line of text takes its
// place, and offsets after it count that line. What comes for it later is refused.
//
// Durability: Append and Finish return after write(2), so an acknowledged chunk or end survives the death of the process; the
// files written to are synced together at most every SyncEvery, so a loss of power may take that much of acknowledged logs, and a
// log may then be unfinished whose job has ended. Close returns after a sync. A record that was not written whole is cut off when
// the log is next opened. If a sync fails, the log takes no more chunks: the agent's next chunk is refused and the failure is seen.
// A new file's own sync takes its directory entry along (ext4, XFS, Btrfs).
//
// Concurrency: one writer at a time per log, who holds its lock while writing and indexing one chunk; chunks are decompressed
// before. Readers copy the tables' headers under that lock and then read without it. One process may own a directory.
package joblog

import (
	"errors"
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/internal/joblog/lines"
	"github.com/slipway-ci/slipway/internal/live"
)

// Defaults and limits. The agent reads the chunk limit from the accepted job (chunks_max_size_bytes) and counts the log's
// size itself only to warn (buildkite-agent v3.138.1, agent/log_streamer.go), so the server must hold both limits.
const (
	DefaultMaxBytes  = 1 << 30
	DefaultMaxChunk  = 1 << 20
	DefaultMaxChunks = 1_000_000
	DefaultMaxOpen   = 1024
	DefaultSyncEvery = 100 * time.Millisecond
	// DefaultGapAfter is longer than the ten minutes for which an agent repeats a chunk (agent/log_streamer.go of v3.138.1).
	DefaultGapAfter = 12 * time.Minute
)

// Errors that say what is wrong with a call. They may be wrapped.
var (
	ErrNotFound = errors.New("the job has no log")
	ErrFinished = errors.New("the log is finished")
	ErrClosed   = errors.New("the log store is closed")
	ErrJobID    = errors.New("a job id has 1 to 64 letters, digits, hyphens and underscores")
)

// Options has a default for each zero field.
type Options struct {
	MaxBytes  int64         // of a log's text; chunks beyond are refused and the log says so
	MaxChunk  int           // of a chunk's text in bytes, at most 64 MiB
	MaxChunks int           // of a log; more are refused as if beyond MaxBytes: each takes about 50 bytes of memory while the job runs
	MaxOpen   int           // logs held open; idle ones beyond are closed, least recently used first
	SyncEvery time.Duration // least time between two syncs of the files written to
	GapAfter  time.Duration // how long a missing range may hold back the text after it
	Hub       *live.Hub     // tells readers that a log has grown; nil: one of the store's own
}

func (o Options) withDefaults() (Options, error) {
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.MaxChunk == 0 {
		o.MaxChunk = DefaultMaxChunk
	}
	if o.MaxChunks == 0 {
		o.MaxChunks = DefaultMaxChunks
	}
	if o.MaxOpen == 0 {
		o.MaxOpen = DefaultMaxOpen
	}
	if o.SyncEvery == 0 {
		o.SyncEvery = DefaultSyncEvery
	}
	if o.Hub == nil {
		o.Hub = &live.Hub{}
	}
	if o.GapAfter == 0 {
		o.GapAfter = DefaultGapAfter
	}
	if min(o.MaxBytes, int64(o.MaxChunk), int64(o.MaxChunks), int64(o.MaxOpen), int64(o.SyncEvery), int64(o.GapAfter)) < 1 || o.MaxChunk > 64<<20 {
		return o, fmt.Errorf("log store options out of range: %+v", o)
	}
	return o, nil
}

// ChunkBytes is how much text agents are asked to send at a time where a job prints much; where it prints little, they send what there is
// each second. A request costs as much as taking some 30 KB of text. A reader inflates a chunk from its start, an agent holds six of them,
// and the logs of jobs that print at once have three of them under way each.
const ChunkBytes = 512 << 10

// Chunk is a piece of a log as an agent sends it.
type Chunk struct {
	Sequence int64  // counted from 1
	Offset   int64  // of its first byte in the log, uncompressed
	Size     int64  // uncompressed bytes
	Gzip     []byte // not kept after the call
	Most     int64  // bytes of text that the log may have; 0: the store's limit
}

// Progress describes a log after an Append.
type Progress struct {
	Duplicate bool  // the chunk was there already
	First     bool  // nothing was there before: the chunk began the log
	Size      int64 // bytes of text that can be read: all up to the first missing one
	Lines     int64 // lines in that text, an unfinished last one included
}

// ChunkError refuses a chunk that is malformed in itself.
type ChunkError struct {
	Sequence int64
	Reason   string
}

func (e *ChunkError) Error() string { return fmt.Sprintf("log chunk %d: %s", e.Sequence, e.Reason) }

// ConflictError refuses a chunk that contradicts one that is there already.
type ConflictError struct {
	Sequence, Offset, Size int64 // of the refused chunk
	OtherSequence          int64
	OtherOffset, OtherSize int64
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("log chunk %d (%d bytes at %d) contradicts chunk %d (%d bytes at %d)",
		e.Sequence, e.Size, e.Offset, e.OtherSequence, e.OtherSize, e.OtherOffset)
}

// LimitError refuses a chunk that reaches past the limit of a log's size, or that would be one too many.
type LimitError struct {
	End    int64 // bytes the log would have
	Chunks bool  // the limit is a number of chunks
	Limit  int64
}

func (e *LimitError) Error() string {
	if e.Chunks {
		return fmt.Sprintf("the log has %d pieces, which is the limit; print in larger ones", e.Limit)
	}
	return fmt.Sprintf("the log would have %d bytes, the limit is %d", e.End, e.Limit)
}

// line is what the log says where it was cut.
func (e *LimitError) line() string {
	unit := "bytes"
	if e.Chunks {
		unit = "pieces"
	}
	return fmt.Sprintf("the log has reached its limit of %d %s; what follows was not kept", e.Limit, unit)
}

// Size describes a log. Text counts what Reader returns.
type Size struct {
	Text     int64
	Lines    int64 // an unfinished last line included
	Settled  int64 // lines that cannot change any more
	Finished bool
}

// Lines is a window of a log.
type Lines struct {
	Size
	Lines []lines.Line
}

// Outline is the structure of a log.
type Outline struct {
	Groups []lines.Group // the first 5,000
	Errors []int64       // the first 1,000 lines that look like an error
}

// MaxWindow is the largest number of lines that one call of Window or Tail returns.
const MaxWindow = 10_000
