package artifact

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/store"
)

// linkTerm is how long an address is good for: longer than the transfer of all that a job asks for at
// once.
const linkTerm = 12 * time.Hour

// Path is the path of an artifact's addresses.
func Path(f store.Artifact) string { return "/artifacts/" + f.ID }

// URL is an address below base, the server's own without a trailing slash, that whoever has it may use
// for 12 hours with the one method.
func (s *Store) URL(base, method, path string, f store.Artifact) string {
	expires := s.Now().Add(linkTerm).Unix()
	q := url.Values{
		"expires":   {strconv.FormatInt(expires, 10)},
		"signature": {hex.EncodeToString(s.signature(method, path, f, expires))},
	}
	return base + path + "?" + q.Encode()
}

// DownloadURL is an address that gives a file of the server's own storage.
func (s *Store) DownloadURL(base string, f store.Artifact) string {
	return s.URL(base, http.MethodGet, Path(f), f)
}

// signature binds a method and path to a file and a time.
func (s *Store) signature(method, path string, f store.Artifact, expires int64) []byte {
	mac := hmac.New(sha256.New, s.SigningKey)
	fmt.Fprintf(mac, "%s\n%s\n%s\n%d\n%s\n%d", method, path, f.ID, f.Size, f.SHA256, expires)
	return mac.Sum(nil)
}

// Signed is the artifact with the id that the request's path has, if its address is signed for it.
func (s *Store) Signed(r *http.Request, id string) (store.Artifact, error) {
	f, err := s.DB.Artifact(r.Context(), id)
	if errors.Is(err, store.ErrNotFound) || err == nil && f.UploadDestination != "" {
		return f, badLink()
	}
	if err != nil {
		return f, err
	}
	return f, s.checkLink(r, f)
}

func badLink() error {
	return httperr.New(http.StatusForbidden, "This link is not valid, or not any more.")
}

// checkLink refuses a request whose address is not signed for a file.
func (s *Store) checkLink(r *http.Request, f store.Artifact) error {
	expires, err := strconv.ParseInt(r.URL.Query().Get("expires"), 10, 64)
	if err != nil || s.Now().Unix() > expires {
		return badLink()
	}
	given, err := hex.DecodeString(r.URL.Query().Get("signature"))
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if err != nil || !hmac.Equal(given, s.signature(method, r.URL.Path, f, expires)) {
		return badLink()
	}
	return nil
}

// InParts says whether a file is sent in parts, by an agent that can.
func (s *Store) InParts(f store.Artifact) bool {
	// An agent sends a part of nothing without a length, which S3 refuses.
	return f.Size > s.PartSize || s.Direct != nil && f.Size > 0
}

// maxParts is fewer than the 10,000 that S3 takes, to keep the list of addresses small.
const maxParts = 5000

// parts is how many parts a file is sent in.
func (s *Store) parts(f store.Artifact) int {
	size := max(s.PartSize, (f.Size+maxParts-1)/maxParts)
	return int((f.Size + size - 1) / size)
}

// partLength is the size of a part, from 1. Agents make the parts equal but for a byte (createWorkUnits in
// internal/artifact/bk_uploader.go of buildkite-agent v3.138.1).
func (s *Store) partLength(f store.Artifact, number int) int64 {
	n := int64(s.parts(f))
	length := f.Size / n
	if int64(number) <= f.Size%n {
		length++
	}
	return length
}

// PartURLs are the addresses that take a file's parts with PUT, in order.
func (s *Store) PartURLs(ctx context.Context, base string, f store.Artifact) ([]string, error) {
	if s.Direct != nil {
		return s.directParts(ctx, f)
	}
	out := make([]string, s.parts(f))
	for i := range out {
		out[i] = s.URL(base, http.MethodPut, fmt.Sprintf("%s/parts/%d", Path(f), i+1), f)
	}
	return out, nil
}

// directParts are addresses of the object store. The upload is begun once, however often it is asked for.
func (s *Store) directParts(ctx context.Context, f store.Artifact) ([]string, error) {
	if f.Upload == "" && f.Blob == "" {
		begun, err := s.Direct.Begin(ctx, keyOf(f))
		if err != nil {
			return nil, err
		}
		if f.Upload, err = s.Engine.ArtifactUploading(ctx, f.ID, begun); err != nil {
			return nil, err
		}
		if f.Upload != begun {
			s.abort(ctx, f, begun)
		}
	}
	out := make([]string, s.parts(f))
	for i := range out {
		var err error
		if out[i], err = s.Direct.SignPart(ctx, keyOf(f), f.Upload, i+1, linkTerm); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// abort gives an upload up; if that fails, the pass that looks for old ones does it.
func (s *Store) abort(ctx context.Context, f store.Artifact, upload string) {
	if err := s.Direct.Abort(ctx, keyOf(f), upload); err != nil {
		s.Log.WarnContext(ctx, "giving up an upload", "artifact", f.ID, "err", err)
	}
}
