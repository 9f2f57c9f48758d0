package agentapi_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/agent/wire"
	"github.com/slipway-ci/slipway/internal/agentapi"
)

func sumOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func file(path, text string) wire.Artifact {
	return wire.Artifact{Path: path, FileSize: int64(len(text)), SHA256: sumOf(text), SHA1: "1", ContentType: "text/html"}
}

// create announces files under a batch id.
func (h held) create(t *testing.T, batch string, files ...wire.Artifact) wire.BatchAnswer {
	t.Helper()
	return must(h.CreateArtifacts(t.Context(), h.job.ID, wire.Batch{ID: batch, Artifacts: files}))(t)
}

// upload announces one file, uploads it as an agent does and says that it arrived.
func (h held) upload(t *testing.T, path, text string) string {
	t.Helper()
	ctx := t.Context()
	answer := h.create(t, "batch of "+path+sumOf(text), file(path, text))
	id := answer.ArtifactIDs[0]
	storage := h.WithToken("")
	if err := storage.UploadForm(ctx, answer.PerArtifact[id], path, strings.NewReader(text), int64(len(text))); err != nil {
		t.Fatal(err)
	}
	if err := h.UpdateArtifacts(ctx, h.job.ID, []wire.ArtifactState{{ID: id, State: wire.ArtifactFinished}}); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestArtifactsGoRound(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t)
	h := w.running()
	for path, text := range map[string]string{"out/a.txt": "hello", "out/empty": "", "out/ü b.html": "hello"} {
		h.upload(t, path, text)
		found := must(h.SearchArtifacts(ctx, h.build.ID, wire.Search{Query: path, State: "finished"}))(t)
		if len(found) != 1 || found[0].JobID != h.job.ID || found[0].CreatedAt.IsZero() {
			t.Fatalf("search for %s = %+v", path, found)
		}
		var got bytes.Buffer
		must(h.WithToken("").Download(ctx, found[0].URL, &got))(t)
		if got.String() != text {
			t.Errorf("%s came back as %q, want %q", path, got.String(), text)
		}
	}
}

func TestDownloadsAreInertAndMayBePartial(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.running()
	h.upload(t, "out/page.html", "0123456789")
	found := must(h.SearchArtifacts(t.Context(), h.build.ID, wire.Search{Query: "**"}))(t)
	req := must(http.NewRequestWithContext(t.Context(), "GET", found[0].URL, http.NoBody))(t)
	req.Header.Set("Range", "bytes=3-5")
	got := w.send(req)
	if got.status != http.StatusPartialContent || got.body != "345" {
		t.Errorf("range = %d %q, want 206 345", got.status, got.body)
	}
	for name, want := range map[string]string{
		"Content-Disposition": "attachment; filename=page.html", "X-Content-Type-Options": "nosniff",
		"Content-Security-Policy": "sandbox; default-src 'none'", "Content-Type": "text/plain", "Content-Range": "bytes 3-5/10",
	} {
		if got.header.Get(name) != want {
			t.Errorf("%s = %q, want %q", name, got.header.Get(name), want)
		}
	}
	req.Method = http.MethodHead
	req.Header.Del("Range")
	if head := w.send(req); head.status != 200 || head.header.Get("Content-Length") != "10" {
		t.Errorf("HEAD = %d, length %s", head.status, head.header.Get("Content-Length"))
	}
}

func TestTheSameBatchGetsTheSameArtifacts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.running()
	first := h.create(t, "B", file("a", "1"), file("b", "2"))
	if diff := cmp.Diff(first.ArtifactIDs, h.create(t, "B", file("a", "1"), file("b", "2")).ArtifactIDs); diff != "" {
		t.Errorf("ids of the repeated batch (-first +again):\n%s", diff)
	}
	_, err := h.CreateArtifacts(t.Context(), h.job.ID, wire.Batch{ID: "B", Artifacts: []wire.Artifact{file("a", "1")}})
	if wire.Status(err) != 422 {
		t.Errorf("the batch with fewer files: %v, want 422", err)
	}
}

func TestUploadsAreWhatWasAnnounced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.running()
	answer := h.create(t, "B", file("a", "right"))
	in := answer.PerArtifact[answer.ArtifactIDs[0]]
	for name, text := range map[string]string{"422 other bytes": "wrong", "422 too long": "right and more", "422 too short": "righ"} {
		err := h.UploadForm(t.Context(), in, "a", strings.NewReader(text), int64(len(text)))
		if wire.Status(err) != 422 {
			t.Errorf("%s: %v", name, err)
		}
	}
	found := must(h.SearchArtifacts(t.Context(), h.build.ID, wire.Search{Query: "a"}))(t)
	if err := second(h.Download(t.Context(), found[0].URL, &bytes.Buffer{})); wire.Status(err) != 404 {
		t.Errorf("download of what never arrived: %v, want 404", err)
	}
}

func TestFilesComeInParts(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t)
	h := w.running()
	text := strings.Repeat("0123456789", 3) + "ab"
	batch := wire.Batch{ID: "B", Artifacts: []wire.Artifact{file("big", text), file("small", "x")}, MultipartSupported: true}
	answer := must(h.CreateArtifacts(ctx, h.job.ID, batch))(t)
	id, smallID := answer.ArtifactIDs[0], answer.ArtifactIDs[1]
	actions := answer.PerArtifact[id].Actions
	if len(actions) != 4 || len(answer.PerArtifact[smallID].Actions) != 0 {
		t.Fatalf("%d parts of the big file and %d of the small one, want 4 and a form", len(actions), len(answer.PerArtifact[smallID].Actions))
	}
	states := []wire.ArtifactState{{ID: id, State: wire.ArtifactFinished, Multipart: true}}
	for i, action := range actions {
		etag := must(h.WithToken("").UploadPart(ctx, action, "text/plain", strings.NewReader(text[8*i:8*i+8]), 8))(t)
		states[0].MultipartETags = append(states[0].MultipartETags, etag)
	}
	// One file that did not arrive keeps no other from being finished.
	lost := append(slices.Clone(states), wire.ArtifactState{ID: smallID, State: wire.ArtifactFinished})
	if err := h.UpdateArtifacts(ctx, h.job.ID, lost); wire.Status(err) != 422 {
		t.Errorf("with a file that did not arrive: %v, want 422", err)
	}
	if err := h.UpdateArtifacts(ctx, h.job.ID, states); err != nil {
		t.Errorf("the same again: %v", err)
	}
	found := must(h.SearchArtifacts(ctx, h.build.ID, wire.Search{Query: "**", State: "finished"}))(t)
	if len(found) != 1 || found[0].Path != "big" {
		t.Fatalf("finished: %+v", found)
	}
	var got bytes.Buffer
	must(h.WithToken("").Download(ctx, found[0].URL, &got))(t)
	if got.String() != text {
		t.Errorf("came back as %q, want %q", got.String(), text)
	}
	link := must(url.Parse(actions[0].URL))(t)
	link.Path = strings.Replace(link.Path, "/parts/1", "/parts/2", 1)
	if got := w.do("", "PUT", link.RequestURI(), "01234567"); got.status != http.StatusForbidden {
		t.Errorf("a part with the address of another: %d, want 403", got.status)
	}
}

func TestAJobEndsOnlyItsOwnUploads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h, other := w.running(), w.running()
	id := h.upload(t, "mine", "text")
	for _, state := range []string{wire.ArtifactFinished, wire.ArtifactFailed} {
		err := other.UpdateArtifacts(t.Context(), other.job.ID, []wire.ArtifactState{{ID: id, State: state}})
		if wire.Status(err) != http.StatusNotFound {
			t.Errorf("%s by another job: %v, want 404", state, err)
		}
	}
}

func TestPathsThatLeadElsewhereAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.running()
	for path, want := range map[string]int{
		"a/../../etc/passwd": 422, `a\..\..\x`: 422, "a/..": 422, "..": 422, "": 422, "a\x00b": 422,
		"a/..b/c..": 0, "../beside": 0, "etc/passwd": 0, `C:\out\x`: 0,
	} {
		_, err := h.CreateArtifacts(t.Context(), h.job.ID, wire.Batch{ID: path + "B", Artifacts: []wire.Artifact{file(path, "x")}})
		if wire.Status(err) != want {
			t.Errorf("%q: %v, want %d", path, err, want)
		}
	}
}

func TestFilesThatNoFormCarriesNeedParts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.running()
	big := file("big", "x")
	big.FileSize = 6 << 30
	_, err := h.CreateArtifacts(t.Context(), h.job.ID, wire.Batch{ID: "B", Artifacts: []wire.Artifact{big}})
	if wire.Status(err) != 422 || !strings.Contains(err.Error(), "in parts") {
		t.Errorf("6 GiB as a form: %v, want 422", err)
	}
	big.FileSize = 11 << 30
	_, err = h.CreateArtifacts(t.Context(), h.job.ID, wire.Batch{ID: "C", Artifacts: []wire.Artifact{big}, MultipartSupported: true})
	if wire.Status(err) != 403 || !strings.Contains(err.Error(), "max_artifact_mib") {
		t.Errorf("11 GiB: %v, want 403", err)
	}
}

// TestKnowingASumIsNotHavingTheFile holds deduplication against a job that announces another's file.
func TestKnowingASumIsNotHavingTheFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h, thief := w.running(), w.running()
	h.upload(t, "secret", "the secret")
	answer := thief.create(t, "B", file("loot", "the secret"))
	err := thief.UploadForm(t.Context(), answer.PerArtifact[answer.ArtifactIDs[0]], "loot", strings.NewReader("only a sum"), 10)
	if wire.Status(err) != 422 {
		t.Errorf("upload of other bytes: %v, want 422", err)
	}
}

// A job that announces the sum of a file which the server has, and says that it arrived, does not get
// that file; nor does it send readers elsewhere.
func TestAnnouncingAFileIsNotHavingIt(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t)
	w.running().upload(t, "theirs", "their secret")
	h := w.running()
	announced := file("mine", "their secret")
	announced.URL = "https://elsewhere.example.test/mine"
	id := h.create(t, "batch", announced).ArtifactIDs[0]
	if err := h.UpdateArtifacts(ctx, h.job.ID, []wire.ArtifactState{{ID: id, State: wire.ArtifactFinished}}); wire.Status(err) != 422 {
		t.Errorf("finished without a byte: %v, want 422", err)
	}
	found := must(h.SearchArtifacts(ctx, h.build.ID, wire.Search{Query: "mine", State: "error"}))(t)
	if len(found) != 1 || strings.Contains(found[0].URL, "elsewhere") {
		t.Fatalf("search found %+v", found)
	}
	res := must(http.Get(found[0].URL))(t)
	defer res.Body.Close()
	if res.StatusCode != http.StatusNotFound {
		t.Errorf("the file that was only announced answers %d, want 404", res.StatusCode)
	}
}

func TestStorageLinksAreBoundToWhatTheyWereMadeFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.running()
	id, otherID := h.upload(t, "a", "aaa"), h.upload(t, "b", "bbb")
	found := must(h.SearchArtifacts(t.Context(), h.build.ID, wire.Search{Query: "a"}))(t)
	link := must(url.Parse(found[0].URL))(t)
	changed := func(change func(*url.URL, url.Values)) string {
		u, q := *link, link.Query()
		change(&u, q)
		u.RawQuery = q.Encode()
		return u.RequestURI()
	}
	for name, target := range map[string]string{
		"of another file":   changed(func(u *url.URL, _ url.Values) { u.Path = "/artifacts/" + otherID }),
		"for longer":        changed(func(_ *url.URL, q url.Values) { q.Set("expires", "99999999999") }),
		"without signature": changed(func(_ *url.URL, q url.Values) { q.Del("signature") }),
		"of no file":        changed(func(u *url.URL, _ url.Values) { u.Path = "/artifacts/nope" }),
	} {
		if got := w.do("", "GET", target, ""); got.status != http.StatusForbidden {
			t.Errorf("link %s: %d, want 403", name, got.status)
		}
	}
	if got := w.do("", "POST", link.RequestURI(), ""); got.status != http.StatusForbidden {
		t.Errorf("upload with a link for download: %d, want 403", got.status)
	}
	w.advance(13 * time.Hour)
	if got := w.do("", "GET", link.RequestURI(), ""); got.status != http.StatusForbidden {
		t.Errorf("link of %s after 13 hours: %d, want 403", id, got.status)
	}
}

func TestAgentsThatKnowOnlyCommonInstructions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.running()
	answer := h.create(t, "B", file("x/a", "1"), file("x/b", "22"))
	for path, text := range map[string]string{"x/a": "1", "x/b": "22"} {
		if err := h.UploadForm(t.Context(), *answer.Common, path, strings.NewReader(text), int64(len(text))); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := h.UploadForm(t.Context(), *answer.Common, "x/c", strings.NewReader("3"), 1); wire.Status(err) != 422 {
		t.Errorf("a file that the batch has not: %v, want 422", err)
	}
}

func TestAFormWithoutAFileIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.running()
	answer := h.create(t, "B", file("a", "1"))
	action := answer.PerArtifact[answer.ArtifactIDs[0]].Action
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	if err := form.WriteField("path", "a"); err != nil {
		t.Fatal(err)
	}
	if err := form.Close(); err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[string]int{form.FormDataContentType(): 400, "text/plain": 400} {
		req := must(http.NewRequestWithContext(context.Background(), "POST", action.URL, bytes.NewReader(body.Bytes())))(t)
		req.Header.Set("Content-Type", kind)
		if got := w.send(req); got.status != want {
			t.Errorf("%s: %d, want %d", kind, got.status, want)
		}
	}
}

func TestSearch(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t)
	h := w.held(w.build("steps:\n- command: make\n  key: one\n  label: First\n  retry: {manual: {permit_on_passed: true}}\n"))
	h.upload(t, "out/a.txt", "old")
	h.upload(t, "out/sub/b.txt", "b")
	h.upload(t, "top.log", "t")
	finish(t, h)
	w.advance(time.Minute)
	must(w.RetryJob(ctx, h.job.ID, "a person"))(t)
	again := w.held(h.build)
	newest := again.upload(t, "out/a.txt", "new")
	for name, tt := range map[string]struct {
		in   wire.Search
		want []string
	}{
		"retried jobs are left out": {wire.Search{Query: "**"}, []string{"out/a.txt"}},
		"star stands for slashes":   {wire.Search{Query: "out/*", IncludeRetriedJobs: true}, []string{"out/a.txt", "out/sub/b.txt"}},
		"star in a name":            {wire.Search{Query: "*b.t?t", IncludeRetriedJobs: true}, []string{"out/sub/b.txt"}},
		"two stars":                 {wire.Search{Query: "out/**", IncludeRetriedJobs: true}, []string{"out/a.txt", "out/sub/b.txt"}},
		"a name in any folder":      {wire.Search{Query: "**/*.txt", IncludeRetriedJobs: true}, []string{"out/a.txt", "out/sub/b.txt"}},
		"star alone":                {wire.Search{Query: "*", IncludeRetriedJobs: true}, []string{"out/a.txt", "out/sub/b.txt", "top.log"}},
		"a name is not a part":      {wire.Search{Query: "a.txt", IncludeRetriedJobs: true}, []string{}},
		"alternatives":              {wire.Search{Query: "{top,out/a}.*", IncludeRetriedJobs: true}, []string{"out/a.txt", "top.log"}},
		"duplicates":                {wire.Search{Query: "out/a.txt", IncludeRetriedJobs: true, IncludeDuplicates: true}, []string{"out/a.txt", "out/a.txt"}},
		"by key":                    {wire.Search{Query: "**", Scope: "one"}, []string{"out/a.txt"}},
		"by label":                  {wire.Search{Query: "**", Scope: "First", IncludeRetriedJobs: true}, []string{"out/a.txt", "out/sub/b.txt", "top.log"}},
		"by job":                    {wire.Search{Query: "**", Scope: h.job.ID, IncludeRetriedJobs: true, IncludeDuplicates: true}, []string{"out/a.txt", "out/sub/b.txt", "top.log"}},
		"by another step":           {wire.Search{Query: "**", Scope: "two"}, []string{}},
		"unfinished":                {wire.Search{Query: "**", State: "new"}, []string{}},
		"a glob that is none":       {wire.Search{Query: "out/[a"}, []string{}},
		"leading dot":               {wire.Search{Query: "./out/a.txt"}, []string{"out/a.txt"}},
	} {
		found := must(again.SearchArtifacts(ctx, h.build.ID, tt.in))(t)
		got := make([]string, 0, len(found))
		for _, f := range found {
			got = append(got, f.Path)
		}
		slices.Sort(got)
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	found := must(again.SearchArtifacts(ctx, h.build.ID, wire.Search{Query: "out/a.txt", IncludeRetriedJobs: true}))(t)
	if len(found) != 1 || found[0].ID != newest {
		t.Errorf("latest of a path = %+v, want %s", found, newest)
	}
	_, err := again.SearchArtifacts(ctx, h.build.ID, wire.Search{Query: strings.Repeat("{o,o}", 5)})
	if wire.Status(err) != 422 {
		t.Errorf("glob whose alternatives multiply: %v, want 422", err)
	}
	if none := must(again.SearchArtifacts(ctx, "unknown", wire.Search{Query: "*"}))(t); len(none) != 0 {
		t.Errorf("artifacts of an unknown build = %+v", none)
	}
}

func TestCustomDestinationsAreEchoed(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t)
	h := w.running()
	in := wire.Batch{ID: "B", UploadDestination: "s3://bucket/x", Artifacts: []wire.Artifact{{Path: "a", FileSize: 6 << 30, URL: "https://bucket.example.test/x/a"}}}
	answer := must(h.CreateArtifacts(ctx, h.job.ID, in))(t)
	if len(answer.ArtifactIDs) != 1 || len(answer.PerArtifact) != 0 {
		t.Errorf("answer = %+v, want one id and no instructions", answer)
	}
	found := must(h.SearchArtifacts(ctx, h.build.ID, wire.Search{Query: "a"}))(t)
	if len(found) != 1 || found[0].UploadDestination != "s3://bucket/x" || found[0].URL != "https://bucket.example.test/x/a" {
		t.Errorf("search = %+v", found)
	}
}

func TestURLsAreThoseThatTheAgentReaches(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(d *agentapi.Deps) {
		d.BaseURL, d.AgentEndpoint = "https://ci.example.test", "https://agents.example.test/v3"
	})
	h := w.running()
	h.upload(t, "a", "a")
	local := strings.TrimPrefix(w.url, "http://")
	for _, c := range []struct{ name, host, header, want string }{
		{"on this machine", local, "", w.url},
		{"by a stranger's name", "evil.example.test", "", "https://ci.example.test"},
		{"by the server's URL", "ci.example.test", "", "https://ci.example.test"},
		{"through two proxies", "ci.example.test", "X-Forwarded-Proto", "https://ci.example.test"},
		{"where agents are sent", "agents.example.test", "X-Forwarded-For", "https://agents.example.test"},
		{"through a proxy that puts its own Host", local, "X-Forwarded-Proto", "https://ci.example.test"},
		{"through a proxy that tells of the client alone", local, "X-Forwarded-For", "https://ci.example.test"},
	} {
		req := must(http.NewRequestWithContext(context.Background(), "GET", w.url+"/v3/builds/"+h.build.ID+"/artifacts/search?query=a", http.NoBody))(t)
		req.Host = c.host
		req.Header.Set("Authorization", "Token "+h.Token)
		if c.header != "" {
			req.Header.Set(c.header, "http")
		}
		var found []wire.Artifact
		if err := json.Unmarshal([]byte(w.send(req).body), &found); err != nil || len(found) != 1 {
			t.Fatalf("search: %+v, %v", found, err)
		}
		if !strings.HasPrefix(found[0].URL, c.want+"/artifacts/") {
			t.Errorf("%s: %s, want one below %s", c.name, found[0].URL, c.want)
		}
	}
}

// FuzzGlobs holds that whatever a job asks for is answered, and that a path always means itself.
func FuzzGlobs(f *testing.F) {
	for _, seed := range [][2]string{{"out/**/*.txt", "out/a.txt"}, {"[", "["}, {"{a,{b", "a"}, {`a\`, `a\b`}, {"**/**/**/**/x", "a/b/c/d/e"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, glob, path string) {
		agentapi.Matches(glob, path)
		if len(path) < 100 && !strings.ContainsAny(path, "{") && !agentapi.Matches(path, path) {
			t.Errorf("%q does not mean itself", path)
		}
	})
}

// PostgreSQL holds no index entry of such a path, and the agent would repeat what a 500 answers.
func TestPathsOfArtifactsAreBounded(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		h := w.running()
		long := strings.Repeat(sumOf("a")+sumOf("b"), 24)
		_, err := h.CreateArtifacts(t.Context(), h.job.ID, wire.Batch{ID: "B", Artifacts: []wire.Artifact{file(long, "x")}})
		if wire.Status(err) != http.StatusUnprocessableEntity {
			t.Errorf("a path of %d bytes: %v, want 422", len(long), err)
		}
		h.create(t, "C", file(long[:2000], "x"))
	})
}
