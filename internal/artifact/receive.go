package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"net/http"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/store"
)

// Receive takes the whole of a file. What is not as announced is refused and leaves nothing.
func (s *Store) Receive(ctx context.Context, f store.Artifact, content io.Reader) error {
	if f.Gone() {
		return gone(f)
	}
	return s.keep(ctx, f, content, s.Engine.ArtifactArrived)
}

func gone(f store.Artifact) error {
	return &engine.Refused{Why: engine.Missing, Message: fmt.Sprintf("The artifact %q was deleted.", f.Path)}
}

// keep stores a file's bytes, or only reads them if they are here.
func (s *Store) keep(ctx context.Context, f store.Artifact, from io.Reader, record recorder) error {
	content, key := &checkedReader{from: from, want: f, sum: sha256.New()}, ""
	_, err := s.DB.LiveBlob(ctx, f.SHA256, f.Size)
	switch {
	case err == nil:
		_, err = io.Copy(io.Discard, content)
	case errors.Is(err, store.ErrNotFound):
		key = keyOf(f)
		_, err = s.Blobs.Put(ctx, key, content)
	}
	if err == nil {
		err = s.arrived(ctx, f, key, record)
	}
	if err != nil {
		return fmt.Errorf("storing artifact %s: %w", f.ID, err)
	}
	return nil
}

// checkedReader fails at the end unless what it read has the size and sum announced.
type checkedReader struct {
	from io.Reader
	want store.Artifact
	sum  hash.Hash
	read int64
}

func (c *checkedReader) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.read += int64(n)
	c.sum.Write(p[:n]) // never fails (hash.Hash)
	switch {
	case c.read > c.want.Size, err == io.EOF && c.read < c.want.Size:
		return n, invalid("The file %q has not the %d bytes that were announced.", c.want.Path, c.want.Size)
	case err == io.EOF && hex.EncodeToString(c.sum.Sum(nil)) != c.want.SHA256:
		return n, invalid("The file %q has not the SHA-256 sum that was announced; it was changed while it was uploaded.", c.want.Path)
	case err != nil && err != io.EOF:
		return n, broken(err)
	}
	return n, err
}

func invalid(format string, args ...any) error {
	return &engine.Refused{Why: engine.Invalid, Message: fmt.Sprintf(format, args...)}
}

// broken is what an upload fails with that ended too soon. Refusals stay what they are.
func broken(err error) error {
	if _, refused := errors.AsType[*engine.Refused](err); refused {
		return err
	}
	return httperr.New(http.StatusBadRequest, "The upload broke off: %v", err)
}

// ReceivePart takes one part of a file, numbered from 1, and returns its ETag. The same part again takes
// the place of the first, so that parts never have more bytes than the file.
func (s *Store) ReceivePart(ctx context.Context, f store.Artifact, number int, content io.Reader) (string, error) {
	switch {
	case f.Gone():
		return "", gone(f)
	case number < 1 || f.Size == 0 || number > s.parts(f):
		return "", invalid("The file %q has no part %d.", f.Path, number)
	}
	part := &partReader{from: content, left: s.partLength(f, number), sum: crc32.New(castagnoli)}
	if f.Blob != "" {
		_, err := io.Copy(io.Discard, part)
		return part.etag(), err
	}
	if _, err := s.Blobs.Put(ctx, partKey(f, number), part); err != nil {
		return "", fmt.Errorf("storing part %d of artifact %s: %w", number, f.ID, err)
	}
	return part.etag(), nil
}

func partKey(f store.Artifact, number int) string {
	return fmt.Sprintf("%s%s/%d", partPrefix, f.ID, number)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// partReader fails at the end unless it read as many bytes as the part has.
type partReader struct {
	from io.Reader
	left int64
	sum  hash.Hash32
}

func (p *partReader) Read(b []byte) (int, error) {
	n, err := p.from.Read(b)
	p.left -= int64(n)
	p.sum.Write(b[:n]) // never fails (hash.Hash)
	switch {
	case p.left < 0, err == io.EOF && p.left > 0:
		return n, invalid("The part has %d bytes too few; negative: too many. Parts are equal but for a byte, the longer ones first.", p.left)
	case err != nil && err != io.EOF:
		return n, broken(err)
	}
	return n, err
}

// etag tells parts apart. It is no protection: the sum of the whole file decides.
func (p *partReader) etag() string { return fmt.Sprintf(`"%08x"`, p.sum.Sum32()) }
