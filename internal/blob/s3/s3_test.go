package s3_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/slipway-ci/slipway/internal/blob"
	"github.com/slipway-ci/slipway/internal/blob/blobtest"
	"github.com/slipway-ci/slipway/internal/blob/s3"
	"github.com/slipway-ci/slipway/internal/s3test"
)

func open(t *testing.T) *s3.Store {
	t.Helper()
	url, bucket := s3test.Bucket(t)
	s, err := s3.Open(t.Context(), s3.Config{
		Bucket: bucket, Prefix: "some/where/", Endpoint: url, Region: s3test.Region, PathStyle: true,
		AccessKey: s3test.AccessKey, SecretKey: s3test.SecretKey,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestBucketsKeepTheStorePromises(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(t *testing.T) blob.Store { return open(t) })
}

func TestALargeBlobIsPutInParts(t *testing.T) {
	t.Parallel()
	s := open(t)
	content := bytes.Repeat([]byte("0123456789abcdef"), 17<<16) // 17 MiB
	info, err := s.Put(t.Context(), "large", bytes.NewReader(content))
	if err != nil || info.Size != int64(len(content)) {
		t.Fatalf("%+v, %v", info, err)
	}
	r, err := s.Get(t.Context(), "large", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, content) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	broken := errors.New("connection lost")
	if _, err := s.Put(t.Context(), "half", io.MultiReader(bytes.NewReader(content), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("%v, want the reader's error", err)
	}
	if _, err := s.Stat(t.Context(), "half"); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("half a blob: %v", err)
	}
}

func TestAMissingBucketIsNamed(t *testing.T) {
	t.Parallel()
	url, _ := s3test.Bucket(t)
	s, err := s3.Open(t.Context(), s3.Config{Bucket: "nowhere", Endpoint: url, PathStyle: true, AccessKey: s3test.AccessKey, SecretKey: s3test.SecretKey})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("%v, want an error that names the bucket", err)
	}
}

// send makes a request as an agent does: without credentials.
func send(t *testing.T, method, url, body string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "text/html")
	client := &http.Client{}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

func TestSignedAddressesTakePartsAndGiveTheBlob(t *testing.T) {
	t.Parallel()
	s := open(t)
	ctx := t.Context()
	contents := []string{strings.Repeat("x", 5<<20), "the end"}
	upload := must(s.Begin(ctx, "k"))(t)
	var parts []s3.Part
	for i, text := range contents {
		url := must(s.SignPart(ctx, "k", upload, i+1, time.Minute))(t)
		res := send(t, http.MethodPut, url, text)
		if res.StatusCode != http.StatusOK || res.Header.Get("ETag") == "" {
			t.Fatalf("part %d: %s", i+1, res.Status)
		}
		parts = append(parts, s3.Part{Number: i + 1, ETag: res.Header.Get("ETag")})
	}
	forged := strings.Replace(must(s.SignPart(ctx, "k", upload, 1, time.Minute))(t), "partNumber=1", "partNumber=2", 1)
	if res := send(t, http.MethodPut, forged, "y"); res.StatusCode != http.StatusForbidden {
		t.Errorf("an address that was changed: %s, want 403", res.Status)
	}
	var wrong *s3.PartsError
	if err := s.Complete(ctx, "k", upload, []s3.Part{{Number: 1, ETag: `"00000000000000000000000000000000"`}}); !errors.As(err, &wrong) {
		t.Errorf("complete with another's ETag: %v", err)
	}
	for range 2 { // the second time it is done
		if err := s.Complete(ctx, "k", upload, parts); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Abort(ctx, "k", upload); err != nil {
		t.Errorf("abort of what is complete: %v", err)
	}
	late := send(t, http.MethodPut, must(s.SignPart(ctx, "k", upload, 1, time.Minute))(t), "other")
	if late.StatusCode != http.StatusNotFound {
		t.Errorf("a part after the end: %s, want 404", late.Status)
	}
	res := send(t, http.MethodGet, must(s.SignGet(ctx, "k", "text/plain", "attachment; filename=a.txt", time.Minute))(t), "")
	got := must(io.ReadAll(res.Body))(t)
	if string(got) != contents[0]+contents[1] || res.Header.Get("Content-Type") != "text/plain" || res.Header.Get("Content-Disposition") != "attachment; filename=a.txt" {
		t.Errorf("%s, %d bytes, %v", res.Status, len(got), res.Header)
	}
}

func TestOldUploadsAreGivenUp(t *testing.T) {
	t.Parallel()
	s := open(t)
	ctx := t.Context()
	upload := must(s.Begin(ctx, "blobs/k"))(t)
	gone := func() bool {
		url := must(s.SignPart(ctx, "blobs/k", upload, 1, time.Minute))(t)
		return send(t, http.MethodPut, url, "text").StatusCode == http.StatusNotFound
	}
	must(0, s.AbortBefore(ctx, "blobs/", time.Now().Add(-time.Hour)))(t)
	must(0, s.AbortBefore(ctx, "others/", time.Now().Add(time.Hour)))(t)
	if gone() {
		t.Fatal("given up too early")
	}
	must(0, s.AbortBefore(ctx, "blobs/", time.Now().Add(time.Hour)))(t)
	if !gone() {
		t.Error("the old upload is still there")
	}
}

// must returns a function that ends the test if there was an error.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
