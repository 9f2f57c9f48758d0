package jobcli

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/slipway-ci/slipway/internal/agent/wire"
)

// depot is a server that keeps artifacts, as the protocol has it: it takes
// files of up to partSize bytes by form and larger ones in parts.
type depot struct {
	partSize int64
	base     string // of the URLs it gives out

	mu      sync.Mutex
	batches []int
	stored  map[string]wire.Artifact // by id
	parts   map[string]map[int]string
	content map[string]string
	states  map[string]string
}

func newDepot() *depot {
	return &depot{
		partSize: 1 << 20, base: "http://server",
		stored: map[string]wire.Artifact{}, parts: map[string]map[int]string{},
		content: map[string]string{}, states: map[string]string{},
	}
}

func (d *depot) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v3/jobs/J/artifacts", d.create)
	mux.HandleFunc("PUT /v3/jobs/J/artifacts", d.update)
	mux.HandleFunc("GET /v3/builds/B/artifacts/search", d.search)
	mux.HandleFunc("POST /store/{id}", d.form)
	mux.HandleFunc("PUT /store/{id}/{part}", d.part)
	mux.HandleFunc("GET /store/{id}", d.get)
	mux.ServeHTTP(w, r)
}

func (d *depot) create(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var b wire.Batch
	if err := json.NewDecoder(r.Body).Decode(&b); err != nil {
		answer(w, http.StatusBadRequest, message(err.Error()))
		return
	}
	d.batches = append(d.batches, len(b.Artifacts))
	out := wire.BatchAnswer{ID: b.ID, PerArtifact: map[string]wire.Instructions{}}
	for i, a := range b.Artifacts {
		a.ID = fmt.Sprintf("%s-%d", b.ID, i)
		a.JobID, a.UploadDestination = "J", b.UploadDestination
		if b.UploadDestination == "" {
			a.URL = d.base + "/store/" + a.ID
		}
		a.CreatedAt = time.Date(2026, 11, 23, 8, 0, len(d.stored), 0, time.UTC)
		d.stored[a.ID] = a
		out.ArtifactIDs = append(out.ArtifactIDs, a.ID)
		out.PerArtifact[a.ID] = d.instructions(a, b.MultipartSupported)
	}
	text, err := json.Marshal(out)
	if err != nil {
		text = []byte(err.Error())
	}
	answer(w, http.StatusCreated, string(text))
}

func (d *depot) instructions(a wire.Artifact, parts bool) wire.Instructions {
	if !parts || a.FileSize <= d.partSize {
		return wire.Instructions{
			Action: wire.UploadAction{URL: d.base, Method: "POST", Path: "/store/" + a.ID, FileInput: "file"},
			Data:   map[string]string{"sig": "s", "path": "${artifact:path}"},
		}
	}
	var in wire.Instructions
	for n := (a.FileSize + d.partSize - 1) / d.partSize; n > 0; n-- {
		in.Actions = append(in.Actions, wire.UploadAction{URL: fmt.Sprintf("%s/store/%s/%d", d.base, a.ID, n), Method: "PUT", PartNumber: int(n)})
	}
	return in
}

func (d *depot) form(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.stored[r.PathValue("id")]
	file, _, err := r.FormFile("file")
	if err != nil || r.FormValue("path") != a.Path || strings.HasPrefix(a.Path, "broken") {
		answer(w, http.StatusForbidden, message(fmt.Sprint("refused ", a.Path, err)))
		return
	}
	text, err := io.ReadAll(file)
	if err != nil {
		answer(w, http.StatusBadRequest, message(err.Error()))
		return
	}
	d.content[a.ID] = string(text)
	w.WriteHeader(http.StatusNoContent)
}

func (d *depot) part(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		answer(w, http.StatusBadRequest, message(err.Error()))
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	id := r.PathValue("id")
	var n int
	fmt.Sscan(r.PathValue("part"), &n)
	if d.parts[id] == nil {
		d.parts[id] = map[int]string{}
	}
	d.parts[id][n] = string(text)
	w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(text)))
}

func (d *depot) update(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var u struct {
		Artifacts []wire.ArtifactState `json:"artifacts"`
	}
	if err := json.NewDecoder(r.Body).Decode(&u); err != nil {
		answer(w, http.StatusBadRequest, message(err.Error()))
		return
	}
	for _, s := range u.Artifacts {
		d.states[s.ID] = s.State
		for _, tag := range s.MultipartETags {
			text := d.parts[s.ID][tag.PartNumber]
			if tag.ETag != fmt.Sprintf(`"%x"`, sha256.Sum256([]byte(text))) {
				answer(w, http.StatusUnprocessableEntity, message("wrong etag"))
				return
			}
			d.content[s.ID] += text
		}
	}
}

func (d *depot) search(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	found := []wire.Artifact{}
	for id, a := range d.stored {
		if d.states[id] == r.FormValue("state") && doublestar.MatchUnvalidated(r.FormValue("query"), a.Path) {
			found = append(found, a)
		}
	}
	slices.SortFunc(found, func(a, b wire.Artifact) int { return cmp.Compare(a.Path, b.Path) })
	text, err := json.Marshal(found)
	if err != nil {
		text = []byte(err.Error())
	}
	answer(w, http.StatusOK, string(text))
}

func (d *depot) get(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	io.WriteString(w, d.content[r.PathValue("id")]) //nolint:errcheck // the client notices
}

// paths lists what the depot holds in that state.
func (d *depot) paths(state string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []string
	for id, a := range d.stored {
		if d.states[id] == state {
			out = append(out, a.Path)
		}
	}
	slices.Sort(out)
	return out
}

func TestArtifactsComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	d := newDepot()
	d.partSize = 1000
	s := httptest.NewServer(d)
	t.Cleanup(s.Close)
	d.base = s.URL
	j := newJob(t, d.ServeHTTP)
	j.env["BUILDKITE_AGENT_ENDPOINT"] = s.URL + "/v3"
	files := map[string]string{
		"out/empty.log": "", `out/a "b" ü.txt`: "quoted", "out/deep/er/x.bin": strings.Repeat("0123456789", 345),
	}
	for i := range 62 {
		files[fmt.Sprintf("out/many/%d.txt", i)] = fmt.Sprint("file ", i)
	}
	for name, text := range files {
		writeFile(t, j.dir, name, text)
	}
	// A real connection for this one.
	overNetwork := func(args ...string) run {
		var out, errs strings.Builder
		p := &program{name: "buildkite-agent", env: j.env, dir: j.dir, stdio: Stdio{Out: &out, Err: &errs}, http: wire.NewHTTPClient()}
		return run{p.main(t.Context(), args), out.String(), errs.String()}
	}
	if r := overNetwork("artifact", "upload", "nothing/*; out/**/*"); r.status != 0 || r.err != "" {
		t.Fatalf("upload: status %d, stderr %q", r.status, r.err)
	}
	if diff := gocmp.Diff([]int{30, 30, 5}, d.batches); diff != "" {
		t.Errorf("batches (-want +got):\n%s", diff)
	}
	if got := d.paths("finished"); len(got) != len(files) {
		t.Errorf("%d artifacts are finished, want %d", len(got), len(files))
	}
	j.dir = t.TempDir()
	if r := overNetwork("artifact", "download", "out/**", "."); r.status != 0 || r.err != "" {
		t.Fatalf("download: status %d, stderr %q", r.status, r.err)
	}
	if diff := gocmp.Diff(files, tree(t, j.dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// tree reads all files below dir.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(name)
		rel, _ := filepath.Rel(dir, name)
		files[filepath.ToSlash(rel)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestWhichFilesAreUploaded(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args []string
		want string
		err  string
	}{
		"one level":                    {[]string{"*"}, "a.txt b.log link.txt", ""},
		"all levels":                   {[]string{"**/*.txt"}, "a.txt d/c.txt d/e/f.txt link.txt", ""},
		"alternatives":                 {[]string{"{a,b}.*"}, "a.txt b.log", ""},
		"several patterns, once each":  {[]string{"a.*; *.txt ;b.log;"}, "a.txt b.log link.txt", ""},
		"another delimiter":            {[]string{"a.txt,b.log", "--delimiter", ","}, "a.txt b.log", ""},
		"a directory":                  {[]string{"d"}, "", ""},
		"a linked directory":           {[]string{"dirlink/*"}, "dirlink/c.txt", ""},
		"links are entered on request": {[]string{"**/f.txt", "--glob-resolve-follow-symlinks"}, "d/e/f.txt dirlink/e/f.txt", ""},
		"links are not entered":        {[]string{"**/f.txt"}, "d/e/f.txt", ""},
		"without links":                {[]string{"*.txt", "--upload-skip-symlinks"}, "a.txt", ""},
		"literal":                      {[]string{"a.txt;d/c.txt", "--literal"}, "a.txt d/c.txt", ""},
		"literal that is not there":    {[]string{"*.txt", "--literal"}, "", "no such file"},
		"nothing matches":              {[]string{"*.nope"}, "", ""},
		"malformed":                    {[]string{"a[.txt"}, "", `artifact pattern "a[.txt" is malformed`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDepot()
			j := newJob(t, d.ServeHTTP)
			for _, name := range []string{"a.txt", "b.log", "d/c.txt", "d/e/f.txt"} {
				writeFile(t, j.dir, name, name)
			}
			for link, to := range map[string]string{"link.txt": "a.txt", "dirlink": "d", "dangling": "nowhere"} {
				if err := os.Symlink(to, filepath.Join(j.dir, link)); err != nil {
					t.Fatal(err)
				}
			}
			r := j.run(t.Context(), append([]string{"artifact", "upload"}, tt.args...)...)
			if got := strings.Join(d.paths("finished"), " "); got != tt.want || (r.status == 0) != (tt.err == "") || !strings.Contains(r.err, tt.err) {
				t.Errorf("uploaded %q, want %q; status %d, stderr %q", got, tt.want, r.status, r.err)
			}
		})
	}
}

func TestAbsolutePatternsAreShownFromTheRoot(t *testing.T) {
	t.Parallel()
	d := newDepot()
	j := newJob(t, d.ServeHTTP)
	writeFile(t, j.dir, "x.json", "{}")
	full := filepath.Join(j.dir, "x.json")
	r := j.run(t.Context(), "artifact", "upload", filepath.Join(j.dir, "*.json"), "--content-type", "")
	if r.status != 0 || !slices.Equal(d.paths("finished"), []string{strings.TrimPrefix(full, "/")}) {
		t.Fatalf("status %d, stderr %q, artifacts %q", r.status, r.err, d.paths("finished"))
	}
	for _, a := range d.stored {
		want := wire.Artifact{
			Path: full[1:], AbsolutePath: full, FileSize: 2, ContentType: "application/json",
			SHA1: "bf21a9e8fbc5a3846fb05b4fa0859e0917b2202f", SHA256: "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
			ID: a.ID, URL: a.URL, JobID: "J", CreatedAt: a.CreatedAt,
		}
		if diff := gocmp.Diff(want, a); diff != "" {
			t.Errorf("artifact (-want +got):\n%s", diff)
		}
	}
}

func TestOneRefusedFileDoesNotKeepTheOthersBack(t *testing.T) {
	t.Parallel()
	d := newDepot()
	j := newJob(t, d.ServeHTTP)
	for i := range 40 {
		writeFile(t, j.dir, fmt.Sprintf("ok%02d", i), "x")
	}
	writeFile(t, j.dir, "broken", "x")
	var r run
	synctest.Test(t, func(t *testing.T) { r = j.run(t.Context(), "artifact", "upload", "*") })
	if r.status != 1 || !strings.Contains(r.err, "fatal: broken: POST server/store/") || !strings.Contains(r.err, "attempt 9 of 10") {
		t.Errorf("status %d, stderr %q", r.status, r.err)
	}
	if len(d.paths("finished")) != 40 || !slices.Equal(d.paths("error"), []string{"broken"}) {
		t.Errorf("finished %q, failed %q", d.paths("finished"), d.paths("error"))
	}
}

func TestDownloads(t *testing.T) {
	t.Parallel()
	sum := func(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }
	at := func(s int) time.Time { return time.Date(2026, 1, 1, 0, 0, s, 0, time.UTC) }
	tests := map[string]struct {
		found   []wire.Artifact // their ids are their content
		dir     string
		want    map[string]string
		problem string
	}{
		"nested":             {[]wire.Artifact{{ID: "1", Path: "a/b/c"}}, ".", map[string]string{"a/b/c": "1", "pkg/.keep": ""}, ""},
		"into its directory": {[]wire.Artifact{{ID: "1", Path: "pkg/c"}}, "pkg", map[string]string{"pkg/c": "1", "pkg/.keep": ""}, ""},
		"below another":      {[]wire.Artifact{{ID: "1", Path: "lib/c"}}, "pkg", map[string]string{"pkg/lib/c": "1", "pkg/.keep": ""}, ""},
		"Windows path":       {[]wire.Artifact{{ID: "1", Path: `a\b.txt`}}, ".", map[string]string{"a/b.txt": "1", "pkg/.keep": ""}, ""},
		"escaping path":      {[]wire.Artifact{{ID: "1", Path: "../../x"}}, "pkg", map[string]string{"pkg/x": "1", "pkg/.keep": ""}, ""},
		"absolute path":      {[]wire.Artifact{{ID: "1", Path: "/etc/x"}}, ".", map[string]string{"etc/x": "1", "pkg/.keep": ""}, ""},
		"the newest of a path": {
			[]wire.Artifact{{ID: "old", Path: "x", CreatedAt: at(1)}, {ID: "new", Path: "x", CreatedAt: at(2)}, {ID: "mid", Path: "./x", CreatedAt: at(1)}},
			".",
			map[string]string{"x": "new", "pkg/.keep": ""},
			"",
		},
		"verified":    {[]wire.Artifact{{ID: "1", Path: "x", SHA256: sum("1")}}, ".", map[string]string{"x": "1", "pkg/.keep": ""}, ""},
		"corrupt":     {[]wire.Artifact{{ID: "1", Path: "x", SHA256: sum("2")}, {ID: "3", Path: "y"}}, ".", map[string]string{"y": "3", "pkg/.keep": ""}, "x: the downloaded file has SHA-256"},
		"elsewhere":   {[]wire.Artifact{{ID: "1", Path: "x", UploadDestination: "gs://b/p"}}, ".", map[string]string{"pkg/.keep": ""}, "artifacts in Google Cloud Storage (gs://b/p) are not supported"},
		"no file":     {[]wire.Artifact{{ID: "1", Path: "/"}}, ".", map[string]string{"pkg/.keep": ""}, "its path names no file"},
		"none":        {[]wire.Artifact{}, ".", map[string]string{"pkg/.keep": ""}, `no artifact matches "q"`},
		"missing one": {[]wire.Artifact{{ID: "404", Path: "x"}}, ".", map[string]string{"pkg/.keep": ""}, "x: GET server/store/404: 404 Not Found"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t, storage(t, tt.found))
			writeFile(t, j.dir, "pkg/.keep", "")
			var r run
			synctest.Test(t, func(t *testing.T) { r = j.run(t.Context(), "artifact", "download", "q", tt.dir, "--step", "s") })
			if (r.status == 0) != (tt.problem == "") || !strings.Contains(r.err, tt.problem) {
				t.Errorf("status %d, stderr %q, want %q", r.status, r.err, tt.problem)
			}
			if diff := gocmp.Diff(tt.want, tree(t, j.dir)); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
}

// storage answers every search with found, and serves each artifact's id as
// its content; the id 404 is missing.
func storage(t *testing.T, found []wire.Artifact) http.HandlerFunc {
	for i := range found {
		found[i].URL = "http://server/store/" + found[i].ID
	}
	list, err := json.Marshal(found)
	if err != nil {
		t.Fatal(err)
	}
	return func(w http.ResponseWriter, r *http.Request) {
		id, isFile := strings.CutPrefix(r.URL.Path, "/store/")
		switch {
		case !isFile && r.URL.RawQuery != "query=q&scope=s&state=finished":
			t.Errorf("search %q", r.URL.RawQuery)
		case !isFile:
			answer(w, http.StatusOK, string(list))
		case id == "404":
			answer(w, http.StatusNotFound, "{}")
		default:
			io.WriteString(w, id) //nolint:errcheck // a recorder
		}
	}
}

func TestDownloadDoesNotLeaveThroughLinks(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	j := newJob(t, storage(t, []wire.Artifact{{ID: "1", Path: "exit/x"}}))
	if err := os.Symlink(outside, filepath.Join(j.dir, "exit")); err != nil {
		t.Fatal(err)
	}
	r := j.run(t.Context(), "artifact", "download", "q", ".", "--step", "s")
	if r.status != 1 || len(tree(t, outside)) != 0 {
		t.Errorf("status %d, stderr %q, outside %v", r.status, r.err, tree(t, outside))
	}
}

func TestSearchAndShasum(t *testing.T) {
	t.Parallel()
	two := []wire.Artifact{
		{ID: "i1", Path: "a", JobID: "j1", FileSize: 3, SHA1: "s1", SHA256: "t1", CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
		{ID: "i2", Path: "b", JobID: "j2"},
	}
	tests := map[string]struct {
		found []wire.Artifact
		args  []string
		out   string
		err   string
	}{
		"search":            {two[:1], []string{"search", "q"}, "j1 a 2026-01-02T03:04:05Z\n", ""},
		"search, formatted": {two[:1], []string{"search", "q", "--format", `"%i" %p %s %S %T %u\t%j\n`}, "\"i1\" a 3 s1 t1 http://server/store/i1\tj1\n", ""},
		"search, nothing":   {nil, []string{"search", "q"}, "", `no artifact matches "q"`},
		"search, may be":    {nil, []string{"search", "q", "--allow-empty-results"}, "", ""},
		"shasum":            {two[:1], []string{"shasum", "q"}, "s1\n", ""},
		"shasum, long":      {two[:1], []string{"shasum", "q", "--sha256"}, "t1\n", ""},
		"shasum, no long":   {two[1:], []string{"shasum", "q", "--sha256"}, "", "uploaded without a SHA-256"},
		"shasum, several":   {two, []string{"shasum", "q"}, "", "2 artifacts match"},
		"shasum, none":      {nil, []string{"shasum", "q"}, "", "no artifact matches"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := storage(t, slices.Clone(tt.found))
			j := newJob(t, func(w http.ResponseWriter, r *http.Request) {
				if all := r.FormValue("include_duplicates") == "true"; all != (tt.args[0] == "search") {
					t.Errorf("include_duplicates is %t", all)
				}
				r.URL.RawQuery = "query=q&scope=s&state=finished"
				h(w, r)
			})
			r := j.run(t.Context(), append([]string{"artifact"}, tt.args...)...)
			if r.out != tt.out || (r.status == 0) != (tt.err == "") || !strings.Contains(r.err, tt.err) {
				t.Errorf("status %d, stdout %q, stderr %q, want %q, %q", r.status, r.out, r.err, tt.out, tt.err)
			}
		})
	}
}

func TestPartsCoverTheFileInOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		d := newDepot()
		d.partSize = rapid.Int64Range(1, 50).Draw(rt, "part size")
		text := rapid.StringN(0, 200, 200).Draw(rt, "content")
		j := newJob(t, d.ServeHTTP)
		writeFile(t, j.dir, "x", text)
		if r := j.run(t.Context(), "artifact", "upload", "x"); r.status != 0 || len(d.content) != 1 {
			rt.Fatalf("status %d, stderr %q", r.status, r.err)
		}
		for _, got := range d.content {
			if got != text {
				rt.Fatalf("stored %q, want %q", got, text)
			}
		}
	})
}

func FuzzTargetStaysBelowItsDirectory(f *testing.F) {
	for _, seed := range []string{"a/b", "../x", "/etc/x", "..", "a/../../b", `..\..\x`, "..//../x", "", "d/x", "/../x", "/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		got := targetOf(name, "/w/d")
		if got.dir != "/w/d" && got.dir != "/w" {
			t.Errorf("targetOf(%q).dir = %q", name, got.dir)
		}
		// What is not local is refused; only paths without a file may be.
		if !filepath.IsLocal(got.path) && strings.Trim(got.path, "./") != "" {
			t.Errorf("targetOf(%q).path = %q", name, got.path)
		}
	})
}
