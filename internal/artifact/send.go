package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/blob"
	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/store"
)

// directTerm is how long the address good for that a reader is sent on to; the transfer may take longer.
const directTerm = 15 * time.Minute

// Send gives out a file, whole or in ranges, or sends the reader to where it is. Browsers must neither show
// it nor guess at what it is: it comes from whoever may run a job.
func (s *Store) Send(w http.ResponseWriter, r *http.Request, f store.Artifact) error {
	if s.Direct == nil || r.Method == http.MethodHead || !available(f) {
		return s.Stream(w, r, f)
	}
	location, err := s.Direct.SignGet(r.Context(), f.Blob, safeType(f.ContentType), attachment(f.Path), directTerm)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Location", location)
	w.WriteHeader(http.StatusFound)
	return nil
}

func available(f store.Artifact) bool { return f.Blob != "" && !f.Gone() }

// Stream is Send without sending the reader elsewhere.
func (s *Store) Stream(w http.ResponseWriter, r *http.Request, f store.Artifact) error {
	if !available(f) {
		return httperr.New(http.StatusNotFound, "The artifact has not been uploaded, or was deleted.")
	}
	if _, err := s.Blobs.Stat(r.Context(), f.Blob); errors.Is(err, blob.ErrNotFound) {
		return httperr.New(http.StatusNotFound, "The artifact's file is not there any more.")
	} else if err != nil {
		return err
	}
	heedRange(r.Header, f.Size)
	setSafe(w.Header(), f)
	content := &blobReader{ctx: r.Context(), from: s.Blobs, key: f.Blob, size: f.Size}
	answer := &refusing{ResponseWriter: &patient{w, http.NewResponseController(w)}}
	http.ServeContent(answer, r, "", f.CreatedAt, content)
	return errors.Join(answer.refusal(f), content.Close())
}

// setSafe sets the headers that keep a file from being more than a file.
func setSafe(h http.Header, f store.Artifact) {
	h.Set("Content-Type", safeType(f.ContentType))
	h.Set("Content-Disposition", attachment(f.Path))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("Cache-Control", "private, max-age=3600")
	h.Set("ETag", strconv.Quote(f.SHA256))
}

// inert are the types of files in which browsers execute nothing.
var inert = map[string]bool{
	"application/gzip": true, "application/json": true, "application/octet-stream": true, "application/x-tar": true,
	"application/zip": true, "application/zstd": true, "audio/mpeg": true, "audio/ogg": true, "audio/wav": true,
	"image/avif": true, "image/bmp": true, "image/gif": true, "image/jpeg": true, "image/png": true, "image/webp": true,
	"text/csv": true, "text/plain": true, "video/mp4": true, "video/webm": true,
}

// safeType is the type that the agent gave a file, if a browser executes nothing in it. Other text is
// plain text, and everything else bytes.
func safeType(given string) string {
	kind, parameters, err := mime.ParseMediaType(given)
	charset := map[string]string{}
	if c, ok := parameters["charset"]; ok {
		charset["charset"] = c
	}
	switch {
	case err != nil:
		return "application/octet-stream"
	case inert[kind]:
	case strings.HasPrefix(kind, "text/"), strings.HasSuffix(kind, "+xml"), strings.HasSuffix(kind, "/xml"):
		kind = "text/plain"
	default:
		return "application/octet-stream"
	}
	if text := mime.FormatMediaType(kind, charset); text != "" {
		return text
	}
	return kind
}

// IsImage says whether pages may show a file as an image.
func IsImage(f store.Artifact) bool { return strings.HasPrefix(safeType(f.ContentType), "image/") }

func attachment(name string) string {
	name = path.Base(strings.ReplaceAll(name, `\`, "/"))
	if text := mime.FormatMediaType("attachment", map[string]string{"filename": name}); text != "" {
		return text
	}
	return "attachment"
}

// patience is how long one read or write of a transfer may take.
const patience = 2 * time.Minute

// patient gives each write time of its own: a large file may take as long as it likes, a reader that takes
// nothing may not.
type patient struct {
	http.ResponseWriter
	control *http.ResponseController
}

func (p *patient) Write(b []byte) (int, error) {
	_ = p.control.SetWriteDeadline(time.Now().Add(patience)) // where it can't be moved it stays
	return p.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach what is underneath.
func (p *patient) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// blobReader reads a blob from where it was sought to.
type blobReader struct {
	ctx  context.Context // of the request; io.ReadSeeker has no place for it
	from blob.Store
	key  string
	size int64
	at   int64
	open io.ReadCloser
}

func (b *blobReader) Seek(offset int64, whence int) (int64, error) {
	to := offset
	switch whence {
	case io.SeekCurrent:
		to += b.at
	case io.SeekEnd:
		to += b.size
	}
	if to < 0 {
		return 0, fmt.Errorf("seeking to %d", to)
	}
	if to == b.at {
		return to, nil
	}
	b.at = to
	return to, b.Close()
}

func (b *blobReader) Read(p []byte) (n int, err error) {
	if b.open == nil {
		if b.open, err = b.from.Get(b.ctx, b.key, b.at, -1); err != nil {
			return 0, err
		}
	}
	n, err = b.open.Read(p)
	b.at += int64(n)
	return n, err
}

// Close closes what is open; the reader may be used again.
func (b *blobReader) Close() error {
	if b.open == nil {
		return nil
	}
	open := b.open
	b.open = nil
	return open.Close()
}
