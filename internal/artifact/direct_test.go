package artifact_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/artifact"
	"github.com/slipway-ci/slipway/internal/blob/s3"
	"github.com/slipway-ci/slipway/internal/s3test"
	"github.com/slipway-ci/slipway/internal/store"
)

// newBucket is a world whose files are in an S3-compatible store, in parts of up to 10 MiB.
func newBucket(t testing.TB) *world {
	t.Helper()
	url, bucket := s3test.Bucket(t)
	direct := must(s3.Open(t.Context(), s3.Config{
		Bucket: bucket, Endpoint: url, Region: s3test.Region, PathStyle: true, AccessKey: s3test.AccessKey, SecretKey: s3test.SecretKey,
	}))(t)
	return newWorld(t, func(c *artifact.Config) { c.Blobs, c.Direct, c.PartSize = direct, direct, 10<<20 })
}

// request does what an agent does with an address of storage.
func request(t testing.TB, method, url, body string) (*http.Response, string) {
	t.Helper()
	req := must(http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body)))(t)
	client := &http.Client{}
	res := must(client.Do(req))(t)
	defer res.Body.Close()
	return res, string(must(io.ReadAll(res.Body))(t))
}

// direct sends a file in parts straight to the object store.
func (w *world) direct(t testing.TB, f store.Artifact, text string) []s3.Part {
	t.Helper()
	urls := must(w.PartURLs(t.Context(), "", w.now(t, f)))(t)
	var out []s3.Part
	size, longer, at := len(text)/len(urls), len(text)%len(urls), 0
	for i, url := range urls {
		end := at + size
		if i < longer {
			end++
		}
		res, body := request(t, http.MethodPut, url, text[at:end])
		if res.StatusCode != http.StatusOK {
			t.Fatalf("part %d: %s %s", i+1, res.Status, body)
		}
		out, at = append(out, s3.Part{Number: i + 1, ETag: res.Header.Get("ETag")}), end
	}
	return out
}

func TestFilesGoStraightToTheObjectStoreAndComeFromIt(t *testing.T) {
	t.Parallel()
	w := newBucket(t)
	text := strings.Repeat("0123456789abcdef", 11<<16) // 11 MiB
	f := w.announce(t, "out/page.html", text)
	if !w.InParts(f) || !w.InParts(w.announce(t, "small", "x")) || w.InParts(w.announce(t, "empty", "")) {
		t.Error("all but empty files go in parts")
	}
	again := must(w.PartURLs(t.Context(), "", w.now(t, f)))(t) // an agent that did not get the first answer
	parts := w.direct(t, f, text)
	if len(parts) != 2 || w.now(t, f).Upload == "" || !strings.Contains(again[0], w.now(t, f).Upload) {
		t.Fatalf("%d parts of the upload %q, addresses of the first call %v", len(parts), w.now(t, f).Upload, again)
	}
	for range 2 { // the second time it is there
		must(0, w.Finish(t.Context(), w.now(t, f), parts))(t)
	}
	w.finish(t, f)
	rec := httptest.NewRecorder()
	must(0, w.Send(rec, httptest.NewRequest(http.MethodGet, "/", http.NoBody), w.now(t, f)))(t)
	if rec.Code != http.StatusFound {
		t.Fatalf("status %d, want a redirect", rec.Code)
	}
	res, got := request(t, http.MethodGet, rec.Header().Get("Location"), "")
	if got != text || res.Header.Get("Content-Type") != "text/plain" || res.Header.Get("Content-Disposition") != "attachment; filename=page.html" {
		t.Errorf("%s, %d bytes, %v", res.Status, len(got), res.Header)
	}
	rec = httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
	r.Header.Set("Range", "bytes=5-8")
	must(0, w.Stream(rec, r, w.now(t, f)))(t)
	if rec.Code != http.StatusPartialContent || rec.Body.String() != "5678" {
		t.Errorf("through the server: %d %q", rec.Code, rec.Body)
	}
}

func TestTheObjectStoreKeepsOnlyWhatWasAnnounced(t *testing.T) {
	t.Parallel()
	w := newBucket(t)
	for _, other := range []string{"othercontent", "other"} {
		f := w.announce(t, "file", "some content")
		parts := w.direct(t, f, other)
		if err := w.Finish(t.Context(), w.now(t, f), parts); refused(err) == "" {
			t.Errorf("%q in place of the content: %v", other, err)
		}
		if err := w.Finish(t.Context(), w.now(t, f), parts); !strings.Contains(refused(err), "given up") {
			t.Errorf("the same again: %v", err)
		}
	}
	f := w.announce(t, "file", "some content")
	if err := w.Finish(t.Context(), f, []s3.Part{{Number: 1, ETag: "x"}}); refused(err) == "" {
		t.Errorf("an upload that was not begun: %v", err)
	}
	if keys := w.keys(t, ""); len(keys) != 0 {
		t.Errorf("kept %v", keys)
	}
	empty := w.upload(t, "empty", "")
	if rec := httptest.NewRecorder(); w.Stream(rec, httptest.NewRequest(http.MethodGet, "/", http.NoBody), empty) != nil || rec.Code != 200 {
		t.Errorf("an empty file answers %d", rec.Code)
	}
}

func TestTheObjectStoreKeepsEqualFilesOnceAndLetsGoOfThem(t *testing.T) {
	t.Parallel()
	w := newBucket(t)
	var files []store.Artifact
	for _, name := range []string{"a", "b"} {
		f := w.announce(t, name, "the same")
		must(0, w.Finish(t.Context(), f, w.direct(t, f, "the same")))(t)
		files = append(files, w.now(t, f))
	}
	if files[0].Blob != files[1].Blob || len(w.keys(t, "")) != 1 {
		t.Errorf("%s and %s, kept %v", files[0].Blob, files[1].Blob, w.keys(t, ""))
	}
	for _, f := range files {
		must(0, w.Engine.DeleteArtifact(t.Context(), f.ID))(t)
	}
	run(t, w.Release)
	if keys := w.keys(t, ""); len(keys) != 0 {
		t.Errorf("left %v", keys)
	}
	begun := w.announce(t, "begun", "never told of")
	urls := must(w.PartURLs(t.Context(), "", begun))(t)
	w.advance(25 * time.Hour)
	run(t, w.GiveUp)
	if res, _ := request(t, http.MethodPut, urls[0], "never told of"); res.StatusCode < 400 {
		t.Errorf("a part of what was given up: %s", res.Status)
	}
}
