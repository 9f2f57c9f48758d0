// Package blob keeps immutable byte strings by key: artifacts, finished logs, snapshots.
//
// A blob is written whole or not at all: a reader never sees part of a Put, and a Put that returned nil survives a crash
// of the process and a loss of power. Putting an existing key replaces it; readers that opened the old blob keep
// reading it. Concurrent Puts of one key are allowed and one of them wins. Choosing keys, and any promise about what a
// key stands for (a content hash, say), is the caller's business.
//
// Implementations pass blobtest.Run.
package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"
)

// ErrNotFound is returned by Get and Stat for a key that holds no blob.
var ErrNotFound = errors.New("blob not found")

// MaxKey is the longest key in bytes. Amazon S3 allows 1,024; half of it leaves room for a prefix set by configuration.
const MaxKey = 512

// maxSegment leaves room for a suffix within the 255 bytes that common file systems allow a name.
const maxSegment = 200

// Info describes a stored blob. Modified has the precision of the storage behind it, at least one second.
type Info struct {
	Key      string
	Size     int64
	Modified time.Time
}

// Store is implemented by blob/fs and by S3-compatible storage.
type Store interface {
	// Put reads r to its end and stores the bytes under key. If r or ctx ends with an error, nothing is stored.
	Put(ctx context.Context, key string, r io.Reader) (Info, error)

	// Get reads length bytes from offset, or to the end if length is negative. A range that reaches past the end is cut
	// short; an offset past the end reads nothing. The caller closes the reader.
	Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error)

	// Stat describes the blob under key.
	Stat(ctx context.Context, key string) (Info, error)

	// List yields the blobs whose keys start with prefix, in byte order of their keys. An empty prefix lists all. Blobs
	// put or deleted meanwhile may or may not appear.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]

	// Delete removes the blob under key. Deleting a key that holds nothing is not an error.
	Delete(ctx context.Context, key string) error
}

// KeyError says why a key cannot be used.
type KeyError struct {
	Key    string
	Reason string
}

func (e *KeyError) Error() string { return fmt.Sprintf("blob key %q: %s", e.Key, e.Reason) }

// CheckKey returns a *KeyError unless key is 1 to MaxKey bytes of segments joined by slashes, each segment 1 to 200 of
// the characters A-Z a-z 0-9 . _ - and not starting with a dot. Such keys need no escaping as paths, in S3 or in URLs.
func CheckKey(key string) error {
	if key == "" || len(key) > MaxKey {
		return &KeyError{key, fmt.Sprintf("length is %d, allowed are 1 to %d bytes", len(key), MaxKey)}
	}
	for segment := range strings.SplitSeq(key, "/") {
		if reason := checkSegment(segment); reason != "" {
			return &KeyError{key, reason}
		}
	}
	return nil
}

func checkSegment(s string) string {
	switch {
	case s == "":
		return "a segment is empty"
	case len(s) > maxSegment:
		return fmt.Sprintf("a segment is longer than %d bytes", maxSegment)
	case s[0] == '.':
		return "a segment starts with a dot"
	}
	for i := range len(s) {
		if !allowed(s[i]) {
			return fmt.Sprintf("character %q is not allowed", s[i])
		}
	}
	return ""
}

func allowed(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-'
}
