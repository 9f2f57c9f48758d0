package jobcli

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// cacheServer is a server that keeps caches: what was committed by its target paths and key.
type cacheServer struct {
	t         *testing.T
	begun     map[string]any // request of store
	bytes     []byte
	committed map[string]map[string]any
	damage    bool // of the bytes that it gives back
}

func address(m map[string]any) string {
	b, err := json.Marshal([]any{m["target_paths"], m["cache_key"]})
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (s *cacheServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Error(err)
	}
	if r.URL.Path == "/bytes" && r.Method == http.MethodPut {
		if r.Header.Get("Authorization") != "" {
			s.t.Error("storage is told the job's token")
		}
		s.bytes = body
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if r.URL.Path == "/bytes" {
		given := append([]byte{}, s.bytes...)
		given[len(given)/2] ^= map[bool]byte{true: 1}[s.damage]
		w.Write(given) //nolint:errcheck // a recorder
		return
	}
	if r.URL.Query().Get("store") != "server" {
		s.t.Errorf("%s asks for a store of the agent's own", r.URL)
	}
	var in map[string]any
	if err := json.Unmarshal(body, &in); err != nil {
		s.t.Error(err)
	}
	_, call, _ := strings.Cut(r.URL.Path, "/cache_registries/~/")
	switch call {
	case "peek", "retrieve":
		found, ok := s.committed[address(in)]
		if !ok {
			answer(w, 404, message("Cache entry not found"))
			return
		}
		found["download_instructions"] = []string{"http://server/bytes?signature"}
		b, err := json.Marshal(found)
		if err != nil {
			s.t.Error(err)
		}
		answer(w, 200, string(b))
	case "store":
		s.begun = in
		answer(w, 200, `{"upload_id":"U","upload_instructions":["http://server/bytes?signature"]}`)
	case "commit":
		s.committed[address(s.begun)] = s.begun
		answer(w, 200, `{"message":"ok"}`)
	}
}

func write(t *testing.T, mode fs.FileMode, text string, at ...string) string {
	t.Helper()
	name := filepath.Join(at...)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return name
}

// cachingJob is a job with two caches, one of a directory of its checkout and one of a file in its home.
func cachingJob(t *testing.T) (*job, *cacheServer) {
	t.Helper()
	s := &cacheServer{t: t, committed: map[string]map[string]any{}}
	j := newJob(t, s.ServeHTTP)
	write(t, 0o600, `caches:
  - name: build
    cache_key: [v1, {agent: os, fallback_limit: true}, {env: FLAVOR}, {checksum: ["*.lock", go.sum]}]
    target_paths: [target, ~/tool]
`, j.dir, ".buildkite", "cache.yml")
	write(t, 0o600, "a", j.dir, "a.lock")
	write(t, 0o600, "b", j.dir, "go.sum")
	j.env["FLAVOR"] = "debug"
	return j, s
}

func (j *job) want(t *testing.T, status int, says string, args ...string) {
	t.Helper()
	got := j.run(t.Context(), args...)
	if got.status != status || !strings.Contains(got.err, says) || got.out != "" {
		t.Fatalf("%v: status %d, out %q, err %q; want %d and %q", args, got.status, got.out, got.err, status, says)
	}
}

func TestWhatACacheSavesItRestores(t *testing.T) {
	t.Parallel()
	j, s := cachingJob(t)
	home := j.env["HOME"]
	j.want(t, 0, "Cache build not found: v1 / ", "cache", "restore")
	made := time.Date(2020, 1, 2, 3, 4, 5, 678, time.UTC)
	object := write(t, 0o444, "object", j.dir, "target", "deps", "a.o")
	write(t, 0o755, "#!/bin/sh", home, "tool")
	for _, err := range []error{
		os.Chtimes(object, made, made), os.Symlink("deps/a.o", filepath.Join(j.dir, "target", "latest")),
		os.Chmod(filepath.Dir(object), 0o555), os.Mkdir(filepath.Join(j.dir, "target", "empty"), 0o700),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := removeTree(filepath.Join(j.dir, "target")); err != nil {
			t.Error(err)
		}
	})
	j.want(t, 0, "Cache build saved, 0.0 MiB", "cache", "save")
	j.want(t, 0, "Cache build is saved already", "cache", "save", "--name", "build")
	key := s.begun["cache_key"].([]any)
	for i, mandatory := range []bool{true, true, false, false} {
		if got := key[i].(map[string]any)["mandatory"]; got != mandatory {
			t.Errorf("part %d is mandatory: %v", i, got)
		}
	}
	if err := os.Remove(filepath.Join(home, "tool")); err != nil {
		t.Fatal(err)
	}
	write(t, 0o600, "newer", j.dir, "target", "stale")
	j.want(t, 0, "Cache build restored", "cache", "restore")
	info, err := os.Stat(filepath.Join(j.dir, "target", "latest"))
	if err != nil || !info.ModTime().Equal(made) || info.Mode().Perm() != 0o444 {
		t.Errorf("the object is %v, %v", info, err)
	}
	for name, want := range map[string]fs.FileMode{"target/deps": fs.ModeDir | 0o555, "target/empty": fs.ModeDir | 0o700} {
		if info, err := os.Stat(filepath.Join(j.dir, name)); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if _, err := os.Stat(filepath.Join(j.dir, "target", "stale")); err == nil {
		t.Error("what was not saved is there still")
	}
	if info, err := os.Stat(filepath.Join(home, "tool")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the tool is %v, %v", info, err)
	}
	for _, dir := range []string{j.dir, home} {
		if left, err := filepath.Glob(filepath.Join(dir, ".*.restored-*")); err != nil || len(left) > 0 {
			t.Errorf("left over are %v, %v", left, err)
		}
	}
	j.env["FLAVOR"] = "release"
	j.want(t, 0, "not found", "cache", "restore")
}

func TestADamagedCacheIsNone(t *testing.T) {
	t.Parallel()
	j, s := cachingJob(t)
	write(t, 0o600, "object", j.dir, "target", "a.o")
	write(t, 0o600, "tool", j.env["HOME"], "tool")
	j.want(t, 0, "saved", "cache", "save")
	s.damage = true
	j.want(t, 0, "its bytes are not those that were saved", "cache", "restore")
	if _, err := os.Stat(filepath.Join(j.dir, "target", "a.o")); err != nil {
		t.Errorf("what was there is gone: %v", err)
	}
}

func TestCacheFilesThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	const good = "caches: [{name: a, cache_key: [b], target_paths: [c]}]"
	for file, want := range map[string]string{
		"caches: [{name: a-b, cache_key: [b], target_paths: [c]}]":                                                            "letters, digits and underscores",
		"caches: [{name: a, target_paths: [c]}]":                                                                              "no cache_key",
		"caches: [{name: a, cache_key: [b]}]":                                                                                 "no target_paths",
		"caches: [{name: a, cache_key: [{tape: b}], target_paths: [c]}]":                                                      "agent, checksum and env",
		"caches: [{name: a, cache_key: [{agent: weight}], target_paths: [c]}]":                                                "weight is not one of",
		"caches: [{name: a, cache_key: [{agent: os, fallback_limit: maybe}], target_paths: [c]}]":                             "true or false",
		"caches: [{name: a, cache_key: [{checksum: no.lock}], target_paths: [c]}]":                                            "no.lock",
		"caches: [{name: a, cache_key: [b], target_paths: [.]}]":                                                              "all of a home, working or root directory",
		"caches: [{name: a, cache_key: [b], target_paths: [c, c/d]}]":                                                         "overlap",
		"caches: [{name: a, cache_key: [b], target_paths: [c]}, {name: a, cache_key: [b], target_paths: [c]}]":                "two caches with one name",
		"caches: [{name: a, cache_key: [{env: A, fallback_limit: true}, {env: B, fallback_limit: true}], target_paths: [c]}]": "more than once",
		good: "no such file",
	} {
		j := newJob(t, func(http.ResponseWriter, *http.Request) { t.Error("the server was asked") })
		write(t, 0o600, file, j.dir, ".buildkite", "cache.yaml")
		j.want(t, 1, want, "cache", "save")
	}
	j := newJob(t, nil)
	j.want(t, 1, "there is no .buildkite/cache.yml", "cache", "restore")
	write(t, 0o600, good, j.dir, "my.yml")
	j.want(t, 1, `has no cache "b"`, "cache", "restore", "--cache-config-file", "my.yml", "--name", "b")
	j.want(t, 1, "keeps caches on the server alone", "cache", "save", "--cache-store-url", "s3://mine")
}

// TestAnArchiveStaysInItsTargets: whoever may write to the server's storage must not write elsewhere on an agent.
func TestAnArchiveStaysInItsTargets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	outside, target := filepath.Join(dir, "outside"), filepath.Join(dir, "in", "target")
	if err := os.Mkdir(outside, 0o700); err != nil {
		t.Fatal(err)
	}
	old := write(t, 0o600, "old", target, "old")
	top := tar.Header{Name: "0", Typeflag: tar.TypeDir, Mode: 0o755}
	for what, entries := range map[string][]tar.Header{
		"through a link": {top, {Name: "0/link", Typeflag: tar.TypeSymlink, Linkname: outside}, {Name: "0/link/evil", Typeflag: tar.TypeReg}},
		"upwards":        {top, {Name: "0/../../../outside/evil", Typeflag: tar.TypeReg}},
		"another target": {{Name: "1/evil", Typeflag: tar.TypeReg}},
		"no target":      {{Name: "/evil", Typeflag: tar.TypeReg}},
		"a device":       {top, {Name: "0/evil", Typeflag: tar.TypeChar}},
		"beside":         {top, {Name: "0/link", Typeflag: tar.TypeSymlink, Linkname: outside}, {Name: "0/../contentlink", Typeflag: tar.TypeDir, Mode: 0o777}},
	} {
		if err := unpackTargets(t.Context(), archiveOf(t, entries), []string{target}, 0); err == nil {
			t.Errorf("%s: no error", what)
		}
		if info, err := os.Stat(outside); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: the mode of what is outside: %v, %v", what, info.Mode(), err)
		}
		found, err := filepath.Glob(filepath.Join(dir, "*", "*"))
		if err != nil || len(found) != 1 || found[0] != target {
			t.Errorf("%s: there are %v, %v", what, found, err)
		}
		if _, err := os.Stat(old); err != nil {
			t.Errorf("%s: what was there is gone: %v", what, err)
		}
	}
}

// TestModesOfAnArchiveStayInItsTargets: a link may lead elsewhere where the target stands than where it was unpacked.
func TestModesOfAnArchiveStayInItsTargets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	outside := filepath.Join(dir, "content", "sub")
	if err := os.MkdirAll(outside, 0o700); err != nil {
		t.Fatal(err)
	}
	archive := archiveOf(t, []tar.Header{
		{Name: "0", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "0/link", Typeflag: tar.TypeSymlink, Linkname: "../content"},
		{Name: "0/link/sub", Typeflag: tar.TypeDir, Mode: 0o777},
	})
	if err := unpackTargets(t.Context(), archive, []string{filepath.Join(dir, "target")}, 0); err != nil {
		t.Error(err)
	}
	for path, want := range map[string]fs.FileMode{outside: 0o700, filepath.Join(dir, "target"): 0o755, filepath.Join(dir, "target", "sub"): 0o777} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want mode %v", path, info.Mode(), err, want)
		}
	}
}

func archiveOf(t *testing.T, entries []tar.Header) *bytes.Buffer {
	t.Helper()
	return packed(t, func(out *tar.Writer) (err error) {
		for _, h := range entries {
			err = errors.Join(err, out.WriteHeader(&h))
		}
		return errors.Join(err, out.Close())
	})
}

// packed is an archive of what write writes.
func packed(t *testing.T, write func(*tar.Writer) error) *bytes.Buffer {
	t.Helper()
	var archive bytes.Buffer
	z, err := zstd.NewWriter(&archive)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(write(tar.NewWriter(z)), z.Close()); err != nil {
		t.Fatal(err)
	}
	return &archive
}

// TestAnArchiveIsNoBomb: a small archive can hold very much.
func TestAnArchiveIsNoBomb(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	old := write(t, 0o600, "old", target, "old")
	top := tar.Header{Name: "0", Typeflag: tar.TypeDir, Mode: 0o755}
	many := []tar.Header{top}
	for i := range 600 {
		many = append(many, tar.Header{Name: fmt.Sprintf("0/%d", i), Typeflag: tar.TypeReg})
	}
	var wide bytes.Buffer
	z, err := zstd.NewWriter(&wide, zstd.WithWindowSize(64<<20))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(onlyError(z.Write(make([]byte, 1024))), z.Flush(), z.Close()); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		archive *bytes.Buffer
		limit   int64
		want    string
	}{
		"a huge file":           {begunArchive(t, tar.Header{Name: "0", Typeflag: tar.TypeReg, Size: 1 << 50}), 0, "more than nine tenths of the"},
		"a file":                {begunArchive(t, tar.Header{Name: "0", Typeflag: tar.TypeReg, Size: 1 << 20}), 1 << 20, "more than the 1.0 MiB that --max-unpacked-mib allows"},
		"empty files":           {archiveOf(t, many), 2 << 20, "more than the 2.0 MiB that --max-unpacked-mib allows"},
		"much to be remembered": {&wide, 0, "takes over 32.0 MiB of memory"},
	} {
		err := unpackTargets(t.Context(), c.archive, []string{target}, c.limit)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", what, err, c.want)
		}
		found, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || len(found) != 1 || found[0] != target {
			t.Errorf("%s: there are %v, %v", what, found, err)
		}
		if _, err := os.Stat(old); err != nil {
			t.Errorf("%s: what was there is gone: %v", what, err)
		}
	}
}

func onlyError(_ int, err error) error { return err }

// begunArchive is an archive that ends behind the header of its first file.
func begunArchive(t *testing.T, h tar.Header) *bytes.Buffer {
	t.Helper()
	return packed(t, func(out *tar.Writer) error { return out.WriteHeader(&h) })
}

func TestARestoreHeedsItsLimit(t *testing.T) {
	t.Parallel()
	j, _ := cachingJob(t)
	write(t, 0o600, strings.Repeat("object", 1<<18), j.dir, "target", "a.o")
	write(t, 0o600, "tool", j.env["HOME"], "tool")
	j.want(t, 0, "saved", "cache", "save")
	j.want(t, 1, "a.o: it unpacks to more than the 1.0 MiB that --max-unpacked-mib allows", "cache", "restore", "--max-unpacked-mib", "1")
	j.want(t, 1, "--max-unpacked-mib is -1; it is 0 to", "cache", "restore", "--max-unpacked-mib", "-1")
	j.want(t, 0, "restored", "cache", "restore", "--max-unpacked-mib", "2")
	j.env["SLIPWAY_CACHE_MAX_UNPACKED_MIB"] = "1"
	j.want(t, 1, "it unpacks to more than the 1.0 MiB", "cache", "restore")
}
