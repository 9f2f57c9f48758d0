package wire_test

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/agent/wire"
)

// part is a field of a form as the server reads it.
type part struct{ Name, File, Text string }

func readForm(t *testing.T, r *http.Request) []part {
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		t.Errorf("content type: %v", err)
		return nil
	}
	form := multipart.NewReader(r.Body, params["boundary"])
	var parts []part
	for {
		p, err := form.NextPart()
		if err == io.EOF {
			return parts
		}
		if err != nil {
			t.Errorf("form: %v", err)
			return parts
		}
		text, err := io.ReadAll(p)
		if err != nil {
			t.Errorf("form: %v", err)
		}
		_, disposition, err := mime.ParseMediaType(p.Header.Get("Content-Disposition"))
		if err != nil {
			t.Errorf("disposition: %v", err)
		}
		parts = append(parts, part{p.FormName(), disposition["filename"], string(text)})
	}
}

func TestFormUploadPutsTheFileLastAndNoToken(t *testing.T) {
	t.Parallel()
	var got []part
	c := serveFunc(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.RequestURI != "/upload/a-1?sig=x" {
			t.Errorf("request = %s %s", r.Method, r.RequestURI)
		}
		if r.Header.Get("Authorization") != "" || r.ContentLength <= 0 {
			t.Errorf("authorization %q, length %d", r.Header.Get("Authorization"), r.ContentLength)
		}
		got = readForm(t, r)
		w.WriteHeader(http.StatusNoContent)
	})
	in := wire.Instructions{
		Action: wire.UploadAction{URL: strings.TrimSuffix(c.Endpoint, "/v3/") + "/ignored?sig=x", Method: "POST", Path: "/upload/a-1", FileInput: "file"},
		Data:   map[string]string{"path": "p/${artifact:path}", "a": "1"},
	}
	if err := c.UploadForm(t.Context(), in, `out/"x".txt`, strings.NewReader("hello"), 5); err != nil {
		t.Fatal(err)
	}
	want := []part{{"a", "", "1"}, {"path", "", `p/out/"x".txt`}, {"file", `out/"x".txt`, "hello"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("form (-want +got):\n%s", diff)
	}
}

func TestFormUploadOfAFileThatShrankFails(t *testing.T) {
	t.Parallel()
	c := serveFunc(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
	})
	in := wire.Instructions{Action: wire.UploadAction{URL: c.Endpoint, Method: "POST", Path: "/", FileInput: "file"}}
	if err := c.UploadForm(t.Context(), in, "x", strings.NewReader("hel"), 5); err == nil {
		t.Error("no error")
	}
}

func TestPartUpload(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		etag, content string
		fails         bool
	}{
		"stored":       {`"abc"`, "0123", false},
		"empty":        {`"abc"`, "", false},
		"without etag": {"", "0123", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := serveFunc(t, func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil || string(body) != tt.content || r.ContentLength != int64(len(tt.content)) || len(r.TransferEncoding) > 0 {
					t.Errorf("body %q, length %d, encoding %v, %v", body, r.ContentLength, r.TransferEncoding, err)
				}
				if r.Header.Get("Content-Type") != "text/plain" || r.Header.Get("Authorization") != "" {
					t.Errorf("headers = %v", r.Header)
				}
				if tt.etag != "" {
					w.Header().Set("ETag", tt.etag)
				}
			})
			action := wire.UploadAction{URL: c.Endpoint + "part", Method: "PUT", PartNumber: 3}
			got, err := c.UploadPart(t.Context(), action, "text/plain", strings.NewReader(tt.content+"more"), int64(len(tt.content)))
			if (err != nil) != tt.fails || (err == nil && got != wire.PartETag{PartNumber: 3, ETag: tt.etag}) {
				t.Errorf("UploadPart = %+v, %v", got, err)
			}
		})
	}
}

func TestDownloadFollowsRedirectsWithoutToken(t *testing.T) {
	t.Parallel()
	c := serveFunc(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("the token was sent to storage")
		}
		if r.URL.Path == "/from" {
			http.Redirect(w, r, "/to", http.StatusFound)
			return
		}
		io.WriteString(w, "content")
	})
	var got bytes.Buffer
	n, err := c.Download(t.Context(), strings.TrimSuffix(c.Endpoint, "/v3/")+"/from", &got)
	if err != nil || n != 7 || got.String() != "content" {
		t.Errorf("Download = %d, %v, %q", n, err, got.String())
	}
}

func TestTruncatedDownloadFails(t *testing.T) {
	t.Parallel()
	c := serveFunc(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "short")
	})
	if _, err := c.Download(t.Context(), c.Endpoint, io.Discard); err == nil {
		t.Error("no error")
	}
}

func TestStorageErrorsKeepSignaturesToThemselves(t *testing.T) {
	t.Parallel()
	c := serveFunc(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	closed := httptest.NewServer(nil)
	closed.Close()
	for _, target := range []string{c.Endpoint + "x?sig=hidden", closed.URL + "/x?sig=hidden"} {
		_, err := c.Download(t.Context(), target, io.Discard)
		if err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("error = %v, want one without the signature", err)
		}
	}
}
