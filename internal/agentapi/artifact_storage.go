package agentapi

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/blob"
	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/store"
)

const (
	// linkTerm is how long a storage URL is good for: longer than the transfer of all that a job
	// asks for at once.
	linkTerm = 12 * time.Hour
	// fileField is the form field that holds the file, always the last.
	fileField = "file"
	// formOverhead bounds what a form has beside the file, in bytes.
	formOverhead = 64 << 10
)

func artifactPath(f store.Artifact) string { return "/artifacts/" + f.ID }
func batchPath(f store.Artifact) string    { return artifactPath(f) + "/batch" }

// blobKey is where an artifact's bytes are: artifacts with the same bytes share them.
func blobKey(f store.Artifact) string { return "sha256/" + f.SHA256[:2] + "/" + f.SHA256 }

// DownloadURL is a URL that gives an artifact of the server's own storage to whoever has it, for 12
// hours. base is the server's, without a trailing slash.
func (a *Server) DownloadURL(base string, f store.Artifact) string {
	return a.signedURL(base, http.MethodGet, artifactPath(f), f)
}

// OpenArtifact reads an artifact of the server's own storage; blob.ErrNotFound if it never arrived.
func (a *Server) OpenArtifact(ctx context.Context, f store.Artifact) (io.ReadCloser, error) {
	if f.UploadDestination != "" || !f.Arrived {
		return nil, fmt.Errorf("artifact %s in %q: %w", f.ID, f.UploadDestination, blob.ErrNotFound)
	}
	return a.Blobs.Get(ctx, blobKey(f), 0, -1)
}

func (a *Server) signedURL(base, method, path string, f store.Artifact) string {
	expires := a.Now().Add(linkTerm).Unix()
	q := url.Values{
		"expires":   {strconv.FormatInt(expires, 10)},
		"signature": {hex.EncodeToString(a.signature(method, path, f, expires))},
	}
	return base + path + "?" + q.Encode()
}

// signature binds a method and path to a file and a time.
func (a *Server) signature(method, path string, f store.Artifact, expires int64) []byte {
	mac := hmac.New(sha256.New, a.SigningKey)
	fmt.Fprintf(mac, "%s\n%s\n%s\n%d\n%s\n%d", method, path, f.ID, f.Size, f.SHA256, expires)
	return mac.Sum(nil)
}

// signedArtifact is the artifact that the path names, if the request's URL is signed for it.
func (a *Server) signedArtifact(r *http.Request) (store.Artifact, error) {
	refused := httperr.New(http.StatusForbidden, "This link is not valid, or not any more.")
	expires, err := strconv.ParseInt(r.URL.Query().Get("expires"), 10, 64)
	if err != nil || a.Now().Unix() > expires {
		return store.Artifact{}, refused
	}
	given, err := hex.DecodeString(r.URL.Query().Get("signature"))
	if err != nil {
		return store.Artifact{}, refused
	}
	f, err := a.Store.Artifact(r.Context(), r.PathValue("artifact"))
	if errors.Is(err, store.ErrNotFound) {
		return f, refused
	}
	if err != nil {
		return f, err
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if f.UploadDestination != "" || !hmac.Equal(given, a.signature(method, r.URL.Path, f, expires)) {
		return f, refused
	}
	return f, nil
}

// receiveArtifact takes the file of one artifact, as a form.
func (a *Server) receiveArtifact(w http.ResponseWriter, r *http.Request, c caller) error {
	part, _, err := filePart(w, r, c.artifact.Size)
	if err != nil {
		return err
	}
	return a.keep(w, r, c.artifact, part)
}

// receiveFromBatch takes a file of the batch that the signed artifact is in. The form's path says which.
func (a *Server) receiveFromBatch(w http.ResponseWriter, r *http.Request, c caller) error {
	part, name, err := filePart(w, r, maxArtifactSize)
	if err != nil {
		return err
	}
	files, err := a.Store.ArtifactBatch(r.Context(), c.artifact.JobID, c.artifact.BatchID)
	if err != nil {
		return err
	}
	for _, f := range files {
		if f.Path == name {
			return a.keep(w, r, f, part)
		}
	}
	return httperr.New(http.StatusUnprocessableEntity, "The batch has no file %q.", name)
}

// filePart finds the file in a form and the field path before it.
func filePart(w http.ResponseWriter, r *http.Request, size int64) (file *multipart.Part, name string, err error) {
	// A large file may take longer than the server lets other requests take. Where the deadline
	// can't be moved it stays.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	r.Body = http.MaxBytesReader(w, r.Body, size+formOverhead)
	form, err := r.MultipartReader()
	if err != nil {
		return nil, "", httperr.New(http.StatusBadRequest, "The upload is not a form: %v", err)
	}
	for {
		part, err := form.NextRawPart()
		if err != nil {
			return nil, "", httperr.New(http.StatusBadRequest, "The form has no field %q: %v", fileField, err)
		}
		switch part.FormName() {
		case fileField:
			return part, name, nil
		case "path":
			text, err := io.ReadAll(io.LimitReader(part, maxPath))
			if err != nil {
				return nil, "", httperr.New(http.StatusBadRequest, "The form broke off: %v", err)
			}
			name = string(text)
		}
	}
}

// keep stores a file once it is known to be what was announced. Bytes that are there already are
// read all the same: knowing a sum must not be enough to get the file of that sum.
func (a *Server) keep(w http.ResponseWriter, r *http.Request, f store.Artifact, content io.Reader) error {
	checked := &checkedReader{from: content, want: f, sum: sha256.New()}
	_, err := a.Blobs.Stat(r.Context(), blobKey(f))
	switch {
	case err == nil:
		_, err = io.Copy(io.Discard, checked)
	case errors.Is(err, blob.ErrNotFound):
		_, err = a.Blobs.Put(r.Context(), blobKey(f), checked)
	}
	if err == nil {
		err = a.Engine.ArtifactArrived(r.Context(), f.ID)
	}
	if err != nil {
		return fmt.Errorf("storing artifact %s: %w", f.ID, err)
	}
	w.WriteHeader(http.StatusNoContent)
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
		return n, httperr.New(http.StatusUnprocessableEntity, "The file has not the %d bytes that were announced.", c.want.Size)
	case err == io.EOF && hex.EncodeToString(c.sum.Sum(nil)) != c.want.SHA256:
		return n, httperr.New(http.StatusUnprocessableEntity, "The file has not the SHA-256 sum that was announced.")
	case err != nil && err != io.EOF:
		return n, httperr.New(http.StatusBadRequest, "The upload broke off: %v", err)
	}
	return n, err
}

// sendArtifact gives out a file, whole or in ranges. Browsers must neither show it nor guess at what
// it is: it comes from whoever may run a job.
func (a *Server) sendArtifact(w http.ResponseWriter, r *http.Request, c caller) error {
	f := c.artifact
	info, err := a.Blobs.Stat(r.Context(), blobKey(f))
	if errors.Is(err, blob.ErrNotFound) || !f.Arrived || f.State == "deleted" {
		return httperr.New(http.StatusNotFound, "The artifact has not been uploaded, or was deleted.")
	}
	if err != nil {
		return err
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // as in filePart
	h := w.Header()
	h.Set("Content-Type", safeType(f.ContentType))
	h.Set("Content-Disposition", attachment(f.Path))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("Cache-Control", "private, max-age=3600")
	h.Set("ETag", `"`+f.SHA256+`"`)
	content := &blobReader{ctx: r.Context(), from: a.Blobs, key: blobKey(f), size: info.Size}
	http.ServeContent(w, r, "", f.CreatedAt, content)
	return content.Close()
}

// safeType is the type that the agent gave a file, if it is one.
func safeType(given string) string {
	kind, parameters, err := mime.ParseMediaType(given)
	if text := mime.FormatMediaType(kind, parameters); err == nil && text != "" {
		return text
	}
	return "application/octet-stream"
}

func attachment(name string) string {
	name = path.Base(strings.ReplaceAll(name, `\`, "/"))
	if text := mime.FormatMediaType("attachment", map[string]string{"filename": name}); text != "" {
		return text
	}
	return "attachment"
}

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
