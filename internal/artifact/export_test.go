package artifact

import (
	"context"
	"io"

	"github.com/slipway-ci/slipway/internal/blob"
)

// NewBlobReader reads a blob of a size.
func NewBlobReader(ctx context.Context, from blob.Store, key string, size int64) io.ReadSeekCloser {
	return &blobReader{ctx: ctx, from: from, key: key, size: size}
}

// SafeType is the type that a file of a type is given out with.
func SafeType(given string) string { return safeType(given) }
