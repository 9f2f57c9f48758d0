package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// MaxFormBytes is the largest artifact that a form upload carries
// (internal/artifact/bk_uploader.go of buildkite-agent v3.138.1).
const MaxFormBytes = 5 << 30

// pathVariable is replaced in form fields by the artifact's path.
const pathVariable = "${artifact:path}"

// UploadForm sends content, of exactly size bytes, as multipart/form-data: the
// fields of in.Data first, the file last, because object stores stop reading
// fields at the file. The path of the action's URL is replaced by its Path.
func (c *Client) UploadForm(ctx context.Context, in Instructions, artifactPath string, content io.Reader, size int64) error {
	target, err := url.Parse(in.Action.URL)
	if err != nil {
		return fmt.Errorf("upload URL: %w", err)
	}
	target.Path, target.RawPath = in.Action.Path, ""
	var head bytes.Buffer
	form := multipart.NewWriter(&head)
	if err := writeForm(form, in, artifactPath); err != nil {
		return fmt.Errorf("upload form: %w", err)
	}
	tail := "\r\n--" + form.Boundary() + "--\r\n"
	length := int64(head.Len()) + size + int64(len(tail))
	body := io.MultiReader(&head, io.LimitReader(content, size), strings.NewReader(tail))
	req, err := http.NewRequestWithContext(ctx, in.Action.Method, target.String(), body)
	if err != nil {
		return fmt.Errorf("upload request: %w", err)
	}
	req.ContentLength = length
	req.Header.Set("Content-Type", form.FormDataContentType())
	_, err = c.transfer(req)
	return err
}

func writeForm(form *multipart.Writer, in Instructions, artifactPath string) error {
	for _, name := range slices.Sorted(maps.Keys(in.Data)) {
		if err := form.WriteField(name, strings.ReplaceAll(in.Data[name], pathVariable, artifactPath)); err != nil {
			return err
		}
	}
	_, err := form.CreateFormFile(in.Action.FileInput, artifactPath)
	return err
}

// UploadPart sends one part, of exactly size bytes, and returns its ETag.
func (c *Client) UploadPart(ctx context.Context, a UploadAction, contentType string, content io.Reader, size int64) (PartETag, error) {
	req, err := http.NewRequestWithContext(ctx, a.Method, a.URL, io.LimitReader(content, size))
	if err != nil {
		return PartETag{}, fmt.Errorf("upload request of part %d: %w", a.PartNumber, err)
	}
	// Without a length the part would be sent chunked, which object stores refuse.
	req.ContentLength = size
	if size == 0 {
		req.Body = http.NoBody
	}
	req.Header.Set("Content-Type", contentType)
	h, err := c.transfer(req)
	if err != nil {
		return PartETag{}, err
	}
	if h.Get("ETag") == "" {
		return PartETag{}, errors.New("storage answered a part upload without an ETag")
	}
	return PartETag{PartNumber: a.PartNumber, ETag: h.Get("ETag")}, nil
}

// Download copies the file at rawURL to w. It follows redirects; a body shorter
// than announced is an error.
func (c *Client) Download(ctx context.Context, rawURL string, w io.Writer) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, http.NoBody)
	if err != nil {
		return 0, fmt.Errorf("download URL: %w", err)
	}
	resp, err := c.storage(req)
	if err != nil {
		return 0, err
	}
	defer drain(resp.Body)
	return io.Copy(w, resp.Body)
}

// OpenFrom asks for the file at rawURL from an offset on, if it is still the one with an ETag. An answer with
// status 206 goes on from the offset, any other begins anew: the file is another, storage cannot go on, or etag
// is "". The caller closes the body.
func (c *Client) OpenFrom(ctx context.Context, rawURL string, offset int64, etag string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("download URL: %w", err)
	}
	if offset > 0 && etag != "" {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
		req.Header.Set("If-Range", etag)
	}
	resp, err := c.storage(req)
	if Status(err) == http.StatusRequestedRangeNotSatisfiable {
		return c.OpenFrom(ctx, rawURL, 0, "")
	}
	return resp, err
}

// transfer sends to artifact storage and returns the headers of its answer.
func (c *Client) transfer(req *http.Request) (http.Header, error) {
	resp, err := c.storage(req)
	if err != nil {
		return nil, err
	}
	drain(resp.Body)
	return resp.Header, nil
}

// storage makes a request to artifact storage; the caller closes the body. The
// query of its URL stays out of errors, because it may hold a signature that
// authorises whoever reads the log.
func (c *Client) storage(req *http.Request) (*http.Response, error) {
	req.Header.Set("User-Agent", c.UserAgent)
	resp, err := c.HTTP.Do(req)
	if failed, ok := errors.AsType[*url.Error](err); ok {
		failed.URL, _, _ = strings.Cut(failed.URL, "?")
	}
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer drain(resp.Body)
	return nil, errorFrom(resp, call{method: req.Method, path: req.URL.Host + req.URL.Path})
}
