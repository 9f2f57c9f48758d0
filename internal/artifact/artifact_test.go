package artifact_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/slipway-ci/slipway/internal/artifact"
	"github.com/slipway-ci/slipway/internal/blob/s3"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/store"
)

func refused(err error) string {
	if r, ok := errors.AsType[*engine.Refused](err); ok {
		return r.Message
	}
	return ""
}

func TestPartsMakeTheFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, text := range []string{"0123456789a", strings.Repeat("abc", 33), strings.Repeat("x", 20)} {
		f := w.announce(t, "file", text)
		if !w.InParts(f) {
			t.Fatalf("%d bytes are not sent in parts", len(text))
		}
		parts := w.parts(t, f, text)
		slices.Reverse(parts)
		for range 2 { // the second time it is there
			must(0, w.Finish(t.Context(), w.now(t, f), parts))(t)
		}
		w.finish(t, f)
		w.wantContent(t, f, text)
		if left := w.keys(t, "parts/"); len(left) != 0 {
			t.Errorf("parts %v are left", left)
		}
	}
}

func TestWhatIsNotAsAnnouncedIsNotPutTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	text := "0123456789abcde" // two parts, of 8 and 7 bytes
	f := w.announce(t, "file", text)
	if err := w.Finish(t.Context(), f, nil); !strings.Contains(refused(err), "has not arrived") {
		t.Errorf("without parts: %v", err)
	}
	parts := w.parts(t, f, text)
	for name, c := range map[string]struct {
		parts []s3.Part
		want  string
	}{
		"too few":       {parts[:1], "the parts 1 to 2"},
		"one twice":     {[]s3.Part{parts[0], parts[0]}, "the parts 1 to 2"},
		"too many":      {append(slices.Clone(parts), s3.Part{Number: 3}), "the parts 1 to 2"},
		"another's tag": {[]s3.Part{parts[0], {Number: 2, ETag: parts[0].ETag}}, "has the ETag"},
	} {
		if err := w.Finish(t.Context(), f, c.parts); !strings.Contains(refused(err), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	for _, short := range []string{"", "012345", "012345678"} {
		if _, err := w.ReceivePart(t.Context(), f, 1, strings.NewReader(short)); refused(err) == "" {
			t.Errorf("a part of %d bytes: %v", len(short), err)
		}
	}
	for _, number := range []int{0, 3, -1} {
		if _, err := w.ReceivePart(t.Context(), f, number, strings.NewReader("01234567")); refused(err) == "" {
			t.Errorf("part %d: %v", number, err)
		}
	}
	parts[0].ETag = must(w.ReceivePart(t.Context(), f, 1, strings.NewReader("01234567")))(t)
	other := must(w.ReceivePart(t.Context(), f, 2, strings.NewReader("8901234")))(t)
	if err := w.Finish(t.Context(), f, []s3.Part{parts[0], {Number: 2, ETag: other}}); !strings.Contains(refused(err), "SHA-256") {
		t.Errorf("other bytes: %v", err)
	}
	if f = w.now(t, f); f.Blob != "" || len(w.keys(t, "blobs/")) != 0 {
		t.Errorf("kept all the same: %+v", f)
	}
	// The right part again makes it right.
	parts[1].ETag = must(w.ReceivePart(t.Context(), f, 2, strings.NewReader(text[8:])))(t)
	must(0, w.Finish(t.Context(), f, parts))(t)
	w.wantContent(t, f, text)
}

func TestAnUploadThatBreaksOffLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.announce(t, "file", "content")
	body := io.MultiReader(strings.NewReader("cont"), iotest.ErrReader(errors.New("connection reset")))
	if err := w.Receive(t.Context(), f, body); err == nil {
		t.Error("half a file was taken")
	}
	if keys := w.keys(t, ""); len(keys) != 0 {
		t.Errorf("left %v", keys)
	}
}

func TestEqualFilesAreKeptOnceUntilNobodyHasThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := w.upload(t, "a", "the same"), w.upload(t, "b", "the same")
	other := w.upload(t, "c", "something else")
	if first.Blob != second.Blob || len(w.keys(t, "blobs/")) != 2 {
		t.Fatalf("%s and %s, keys %v", first.Blob, second.Blob, w.keys(t, ""))
	}
	must(0, w.Engine.DeleteArtifact(t.Context(), first.ID))(t)
	run(t, w.Release)
	w.wantContent(t, second, "the same")
	if _, got := w.content(t, first); !strings.Contains(got, "deleted") {
		t.Errorf("the deleted file answers %q", got)
	}
	must(0, w.Engine.DeleteArtifact(t.Context(), second.ID))(t)
	// Bytes that are dead are not referred to again, though they are still there.
	third := w.upload(t, "d", "the same")
	run(t, w.Release)
	w.wantContent(t, third, "the same")
	w.wantContent(t, other, "something else")
	if keys := w.keys(t, "blobs/"); len(keys) != 2 {
		t.Errorf("kept %v, want two", keys)
	}
	if used := must(w.db.ArtifactUsage(t.Context(), w.org.ID))(t); used != int64(len("the same")+len("something else")) {
		t.Errorf("%d bytes are counted", used)
	}
}

// Uploads, deletions and the passes run side by side; afterwards every file that is not deleted has its
// bytes, and no other bytes are left.
func TestNoFileLosesItsBytesToAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const files, contents = 60, 3
	all := make([]store.Artifact, files)
	for i := range all {
		all[i] = w.announce(t, fmt.Sprint("file-", i), fmt.Sprint("content ", i%contents))
	}
	var wg sync.WaitGroup
	for i, f := range all {
		wg.Go(func() {
			if err := w.Receive(t.Context(), f, strings.NewReader(fmt.Sprint("content ", i%contents))); err != nil && !strings.Contains(err.Error(), "again") {
				t.Error(err)
			}
			if i%3 != 0 {
				if err := w.Engine.DeleteArtifact(t.Context(), f.ID); err != nil {
					t.Error(err)
				}
			}
		})
		if i%5 == 0 {
			wg.Go(func() {
				if _, err := w.Release(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	run(t, w.Release)
	held := map[string]bool{}
	for i, f := range all {
		f = w.now(t, f)
		if f.Blob == "" {
			continue
		}
		held[f.Blob] = true
		w.wantContent(t, f, fmt.Sprint("content ", i%contents))
	}
	if keys := w.keys(t, "blobs/"); len(keys) != len(held) || len(held) == 0 {
		t.Errorf("%d keys for %d blobs that files have", len(keys), len(held))
	}
}

func TestFilesAreKeptForAsLongAsWasDecided(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.upload(t, "old", "old")
	w.advance(40 * 24 * time.Hour)
	young := w.upload(t, "young", "young")
	run(t, w.Expire)
	w.wantContent(t, old, "old")
	w.decide(t, `{"artifact_retention_days": 30}`)
	must(w.Engine.UpdatePipeline(t.Context(), w.pl.ID, func(p store.Pipeline) store.Pipeline {
		p.Settings = []byte(`{"artifact_retention_days": 50}`)
		return p
	}))(t)
	run(t, w.Expire)
	w.wantContent(t, old, "old")
	must(w.Engine.UpdatePipeline(t.Context(), w.pl.ID, func(p store.Pipeline) store.Pipeline {
		p.Settings = []byte(`{}`)
		return p
	}))(t)
	run(t, w.Expire)
	run(t, w.Release)
	if got := w.now(t, old); got.State != "expired" || got.Blob != "" {
		t.Errorf("after its time: %+v", got)
	}
	w.wantContent(t, young, "young")
	if keys := w.keys(t, "blobs/"); len(keys) != 1 {
		t.Errorf("kept %v", keys)
	}
}

func TestFilesExpireInEveryOrganization(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.upload(t, "old", "old")
	w.decide(t, `{"artifact_retention_days": 30}`)
	err := w.db.Update(t.Context(), func(tx *store.Tx) (err error) {
		for i := range 120 {
			o := store.Organization{ID: w.Engine.NewID(), Slug: fmt.Sprintf("a%04d", i), Name: "A", Settings: []byte(`{}`)}
			err = errors.Join(err, tx.InsertOrganization(t.Context(), o))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	w.advance(40 * 24 * time.Hour)
	run(t, w.Expire)
	if got := w.now(t, old); got.State != "expired" {
		t.Errorf("the file of the organization behind all others is %s", got.State)
	}
}

func TestUploadsThatNobodyTellsOfAreGivenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	text := strings.Repeat("0123456789", 3)
	f := w.announce(t, "file", text)
	w.parts(t, f, text)
	run(t, w.GiveUp)
	if got := w.now(t, f); got.State != "new" || len(w.keys(t, "parts/")) != 3 {
		t.Fatalf("too early: %+v, parts %v", got, w.keys(t, "parts/"))
	}
	w.age(t, time.Hour)
	w.advance(25 * time.Hour)
	run(t, w.GiveUp)
	if got := w.now(t, f); got.State != "error" || len(w.keys(t, "")) != 0 {
		t.Errorf("%+v, left %v", got, w.keys(t, ""))
	}
}

// A process may end after it put bytes and before it recorded them.
func TestBytesThatNoRowHasGoAfterAWeek(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.upload(t, "file", "content")
	lost := "blobs/" + sumOf("lost")[:2] + "/" + sumOf("lost") + "-of-nobody"
	must(w.blobs.Put(t.Context(), lost, strings.NewReader("lost")))(t)
	pass := w.Orphans()
	around := func() {
		for range 256 {
			run(t, pass)
		}
	}
	around()
	if len(w.keys(t, "blobs/")) != 2 {
		t.Fatal("went too early")
	}
	w.age(t, 8*24*time.Hour)
	around()
	w.wantContent(t, f, "content")
	if keys := w.keys(t, "blobs/"); len(keys) != 1 || keys[0] != f.Blob {
		t.Errorf("left %v", keys)
	}
}

func TestLimitsOfAnOrganization(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.decide(t, `{"max_artifact_mib": 2, "max_artifacts_per_job": 3, "max_artifact_mib_per_job": 4, "max_artifact_mib_in_total": 3}`)
	ask := func(sizes ...int64) error {
		files := make([]store.Artifact, len(sizes))
		for i, size := range sizes {
			files[i] = store.Artifact{Path: "f", Size: size, SHA256: sumOf("")}
		}
		_, err := w.Engine.CreateArtifacts(t.Context(), w.job, w.Engine.NewID(), files)
		return err
	}
	const mib = 1 << 20
	for want, err := range map[string]error{
		"max_artifact_mib)":           ask(2*mib + 1),
		"max_artifacts_per_job)":      ask(1, 1, 1, 1),
		"max_artifact_mib_per_job)":   ask(2*mib, 2*mib, 1),
		"(max_artifact_mib_in_total)": ask(2*mib, 2*mib),
	} {
		r, ok := errors.AsType[*engine.Refused](err)
		if !ok || r.Why != engine.Forbidden || !strings.Contains(r.Message, want) {
			t.Errorf("%v, want one that names %s", err, want)
		}
	}
	// Each fits when it is announced, not both when they arrive.
	text := strings.Repeat("x", 2*mib-1)
	first, second := w.announce(t, "a", text), w.announce(t, "b", text)
	must(0, w.Receive(t.Context(), first, strings.NewReader(text)))(t)
	if err := w.Receive(t.Context(), second, strings.NewReader(text)); !strings.Contains(refused(err), "max_artifact_mib_in_total") {
		t.Errorf("over the quota: %v", err)
	}
	must(0, w.Engine.DeleteArtifact(t.Context(), first.ID))(t)
	must(0, w.Receive(t.Context(), second, strings.NewReader(text)))(t)
}

func TestDownloadsResume(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.upload(t, "out/page.html", "0123456789")
	etag := `"` + f.SHA256 + `"`
	for name, c := range map[string]struct {
		header map[string]string
		status int
		want   string
	}{
		"whole":              {nil, 200, "0123456789"},
		"range":              {map[string]string{"Range": "bytes=3-5"}, 206, "345"},
		"rest":               {map[string]string{"Range": "bytes=7-"}, 206, "789"},
		"rest of the same":   {map[string]string{"Range": "bytes=7-", "If-Range": etag}, 206, "789"},
		"rest of another":    {map[string]string{"Range": "bytes=7-", "If-Range": `"other"`}, 200, "0123456789"},
		"known":              {map[string]string{"If-None-Match": etag}, 304, ""},
		"behind the end":     {map[string]string{"Range": "bytes=10-"}, 416, "The file has 10 bytes, and none in the range that was asked for."},
		"all of it":          {map[string]string{"Range": "bytes=0-"}, 206, "0123456789"},
		"first":              {map[string]string{"Range": "bytes=0-0"}, 206, "0"},
		"last nothing":       {map[string]string{"Range": "bytes=-0"}, 416, "The file has 10 bytes, and none in the range that was asked for."},
		"backwards":          {map[string]string{"Range": "bytes=5-2"}, 416, "The file has 10 bytes, and none in the range that was asked for."},
		"another unit":       {map[string]string{"Range": "lines=1-2"}, 200, "0123456789"},
		"changed meanwhile":  {map[string]string{"If-Match": `"other"`}, 412, "The file is not the one that the request's conditions speak of."},
		"ranges without end": {map[string]string{"Range": "bytes=0-0" + strings.Repeat(",1-1", 100)}, 200, "0123456789"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		for k, v := range c.header {
			r.Header.Set(k, v)
		}
		rec := httptest.NewRecorder()
		status, text := 0, ""
		if err := w.Send(rec, r, f); err != nil {
			status, text = httperr.Of(err).Status, httperr.Of(err).Message
		}
		text += rec.Body.String()
		if status == 0 {
			status = rec.Code
		}
		if status != c.status || text != c.want {
			t.Errorf("%s: %d %q, want %d %q", name, status, text, c.status, c.want)
		}
	}
	rec := httptest.NewRecorder()
	must(0, w.Send(rec, httptest.NewRequest(http.MethodHead, "/", http.NoBody), f))(t)
	for name, want := range map[string]string{"Content-Length": "10", "ETag": etag, "Accept-Ranges": "bytes"} {
		if got := rec.Header().Get(name); got != want {
			t.Errorf("HEAD: %s is %q, want %q", name, got, want)
		}
	}
}

func TestNoTypeThatABrowserExecutesIsGivenOut(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"text/html":                             "text/plain",
		"text/html; charset=utf-8":              "text/plain; charset=utf-8",
		"text/css":                              "text/plain",
		"text/javascript":                       "text/plain",
		"image/svg+xml":                         "text/plain",
		"application/xhtml+xml":                 "text/plain",
		"application/xml":                       "text/plain",
		"application/javascript":                "application/octet-stream",
		"application/pdf":                       "application/octet-stream",
		"multipart/x-mixed-replace; boundary=x": "application/octet-stream",
		"image/png":                             "image/png",
		"TEXT/PLAIN":                            "text/plain",
		"":                                      "application/octet-stream",
		"text/html\r\nX-Evil: 1":                "application/octet-stream",
		"nonsense":                              "application/octet-stream",
	} {
		if got := artifact.SafeType(given); got != want {
			t.Errorf("%q is given out as %q, want %q", given, got, want)
		}
	}
}

func TestBlobsCanBeSoughtIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	text := strings.Repeat("0123456789", 100)
	must(w.blobs.Put(t.Context(), "k", strings.NewReader(text)))(t)
	r := artifact.NewBlobReader(t.Context(), w.blobs, "k", int64(len(text)))
	must(0, iotest.TestReader(r, []byte(text)))(t)
	must(0, r.Close())(t)
}
