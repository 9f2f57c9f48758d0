package jobcli

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/slipway-ci/slipway/internal/agent/wire"
	"github.com/slipway-ci/slipway/internal/s3test"
)

// breaking is storage that breaks off after each few bytes. Its ETag may change with every request.
type breaking struct {
	content string
	each    int
	ranges  bool
	changes bool
	asked   atomic.Int64
}

func (b *breaking) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := b.asked.Add(1)
	etag, from := `"one"`, 0
	if b.changes {
		etag = fmt.Sprintf("%q", fmt.Sprint(n))
	}
	if at := r.Header.Get("Range"); b.ranges && at != "" && r.Header.Get("If-Range") == etag {
		fmt.Sscanf(at, "bytes=%d-", &from)
		w.Header().Set("ETag", etag)
		w.WriteHeader(http.StatusPartialContent)
	} else {
		w.Header().Set("ETag", etag)
	}
	fmt.Fprint(w, b.content[from:min(len(b.content), from+b.each)])
}

// job is one that can download the file as x.
func (b *breaking) job(t *testing.T) *job {
	a := wire.Artifact{ID: "1", Path: "x", FileSize: int64(len(b.content)), SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(b.content))), URL: "http://server/store/1"}
	list, err := json.Marshal([]wire.Artifact{a})
	if err != nil {
		t.Fatal(err)
	}
	return newJob(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/store/1" {
			b.ServeHTTP(w, r)
			return
		}
		answer(w, http.StatusOK, string(list))
	})
}

func TestDownloadsGoOnWhereTheyBrokeOff(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		storage *breaking
		asked   int64
		status  int
	}{
		"with ranges":             {&breaking{content: "0123456789", each: 4, ranges: true}, 3, 0},
		"of a file that changes":  {&breaking{content: "0123456789", each: 4, ranges: true, changes: true}, 5, 1},
		"from what has no ranges": {&breaking{content: "0123456789", each: 4}, 5, 1},
		"at once":                 {&breaking{content: "0123456789", each: 10}, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := c.storage
			j := s.job(t)
			var r run
			synctest.Test(t, func(t *testing.T) { r = j.run(t.Context(), "artifact", "download", "x", ".") })
			if r.status != c.status || s.asked.Load() != c.asked {
				t.Errorf("status %d after %d requests, want %d after %d; stderr %q", r.status, s.asked.Load(), c.status, c.asked, r.err)
			}
			files := tree(t, j.dir)
			if c.status == 0 && files["x"] != s.content || c.status != 0 && len(files) != 0 {
				t.Errorf("files %v", files)
			}
		})
	}
}

func TestDestinationsAreInS3OrOnTheServer(t *testing.T) {
	t.Parallel()
	for destination, want := range map[string]string{
		"gs://bucket/x":                        "Google Cloud Storage (gs://bucket/x) are not supported",
		"rt://repository/x":                    "Artifactory (rt://repository/x) are not supported",
		"https://me.blob.core.windows.net/box": "Azure Blob Storage (https://me.blob.core.windows.net/box) are not supported",
		"ftp://host/x":                         "is no destination for artifacts: give s3://BUCKET/PATH",
		"s3://":                                "is no destination for artifacts",
	} {
		j := newJob(t, newDepot().ServeHTTP)
		writeFile(t, j.dir, "x", "x")
		if r := j.run(t.Context(), "artifact", "upload", "x", destination); r.status != 1 || !strings.Contains(r.err, want) {
			t.Errorf("%s: status %d, stderr %q, want %q", destination, r.status, r.err, want)
		}
	}
	j := newJob(t, newDepot().ServeHTTP)
	if r := j.run(t.Context(), "artifact", "upload", "x", "y"); r.status != 1 || !strings.Contains(r.err, "too many paths") {
		t.Errorf("two paths: status %d, stderr %q", r.status, r.err)
	}
}

// forward makes a request over the network.
func forward(t *testing.T, w http.ResponseWriter, r *http.Request) {
	t.Helper()
	r.RequestURI = ""
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Error(err)
		return
	}
	defer resp.Body.Close()
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	if _, err := io.Copy(w, resp.Body); err != nil {
		t.Error(err)
	}
}

func TestABucketOfTheUsersOwnKeepsArtifacts(t *testing.T) {
	t.Parallel()
	url, bucket := s3test.Bucket(t)
	d := newDepot()
	// S3 is asked by the SDK, downloads come by the command's own client.
	j := newJob(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Host == "server" {
			d.ServeHTTP(w, r)
			return
		}
		forward(t, w, r)
	})
	for name, value := range map[string]string{
		"BUILDKITE_S3_ENDPOINT": url, "BUILDKITE_S3_DEFAULT_REGION": s3test.Region, "BUILDKITE_S3_ACL": "private",
		"BUILDKITE_S3_ACCESS_KEY_ID": s3test.AccessKey, "BUILDKITE_S3_SECRET_ACCESS_KEY": s3test.SecretKey,
	} {
		j.env[name] = value
	}
	files := map[string]string{"out/small ü.txt": "text", "out/empty": "", "out/large": strings.Repeat("0123456789abcdef", 17<<16)}
	for name, text := range files {
		writeFile(t, j.dir, name, text)
	}
	if r := j.run(t.Context(), "artifact", "upload", "out/*", "s3://"+bucket+"/some/folder/"); r.status != 0 {
		t.Fatalf("upload: status %d, stderr %q", r.status, r.err)
	}
	for id, a := range d.stored {
		if a.UploadDestination != "s3://"+bucket+"/some/folder/" || !strings.HasPrefix(a.URL, "https://"+bucket+".s3.amazonaws.com/some/folder/out/") || d.states[id] != "finished" {
			t.Errorf("told of %+v, %s", a, d.states[id])
		}
	}
	j.dir = t.TempDir()
	if r := j.run(t.Context(), "artifact", "download", "out/*", "."); r.status != 0 {
		t.Fatalf("download: status %d, stderr %q", r.status, r.err)
	}
	for name, want := range files {
		if got, err := os.ReadFile(filepath.Join(j.dir, name)); err != nil || string(got) != want {
			t.Errorf("%s: %d bytes, %v, want %d", name, len(got), err, len(want))
		}
	}
	j.env["BUILDKITE_S3_ACL"] = "everybody"
	writeFile(t, j.dir, "x", "x")
	r := j.run(t.Context(), "artifact", "upload", "x", "s3://"+bucket)
	if r.status != 1 || !strings.Contains(r.err, `BUILDKITE_S3_ACL "everybody" is not one of`) {
		t.Errorf("an unknown ACL: status %d, stderr %q", r.status, r.err)
	}
}
