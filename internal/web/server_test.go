package web

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/auth"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/joblog"
	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/secret"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/store/storetest"
)

// site is a whole server of pages on a real database, seen through a browser's
// cookies.
type site struct {
	*engine.Engine
	t       testing.TB
	logs    *joblog.Store
	url     string
	client  *http.Client
	handler http.Handler
	org     store.Organization
	owner   store.User
	token   store.AgentToken
}

func newSite(t testing.TB) *site {
	t.Helper()
	ctx := t.Context()
	dir := t.TempDir()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	db := must(store.Open(ctx, storetest.SQLite(t)))(t)
	logs := must(joblog.Open(filepath.Join(dir, "logs"), joblog.Options{}, log))(t)
	hub := &live.Hub{}
	s := &site{t: t, logs: logs, Engine: engine.New(engine.Config{
		Store: db, Hub: hub, Log: log, Now: time.Now, OpenQueues: true, Sealer: must(secret.NewSealer(make([]byte, secret.KeyLength)))(t),
	})}
	boot := must(s.Bootstrap(ctx, engine.Bootstrap{Organization: "main"}))(t)
	s.org = must(db.Organization(ctx, "main"))(t)
	s.owner = must(db.FirstUser(ctx))(t)
	s.token = must(db.AgentToken(ctx, secret.HashToken(boot.AgentToken)))(t)
	handler := must(New(Deps{
		Store: db, Engine: s.Engine, Auth: &auth.Auth{Store: db, Now: time.Now}, Logs: logs, Hub: hub, Log: log, Now: time.Now, Zone: time.UTC, BaseURL: "https://ci.test",
		SendArtifact: func(w http.ResponseWriter, _ *http.Request, a store.Artifact) error {
			_, err := io.WriteString(w, "hello\n")
			if a.Path == "torn.txt" {
				err = errors.New("the rest of the file cannot be read")
			}
			return err
		},
	}))(t)
	srv := httptest.NewServer(handler)
	s.handler = handler
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
		if err := logs.Close(); err != nil {
			t.Errorf("closing the logs: %v", err)
		}
		if err := db.Close(); err != nil {
			t.Errorf("closing the store: %v", err)
		}
	})
	s.url = srv.URL
	s.client = &http.Client{Jar: must(cookiejar.New(nil))(t)}
	return s
}

// ownersSite is a site whose owner is signed in.
func ownersSite(t testing.TB) *site {
	t.Helper()
	s := newSite(t)
	s.signIn()
	return s
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// signIn lets the owner in by a one-time link.
func (s *site) signIn() {
	s.t.Helper()
	code := must(s.NewSignInLink(s.t.Context(), s.owner.ID, time.Now().Add(time.Hour)))(s.t)
	s.post("/sign-in", url.Values{"code": {code}, "next": {"/main"}}, http.StatusOK)
}

func (s *site) get(path string, want int) string {
	s.t.Helper()
	return s.read(must(s.client.Get(s.url+path))(s.t), want)
}

func (s *site) post(path string, form url.Values, want int) string {
	s.t.Helper()
	return s.read(must(s.client.PostForm(s.url+path, form))(s.t), want)
}

func (s *site) read(res *http.Response, want int) string {
	s.t.Helper()
	defer res.Body.Close()
	body := string(must(io.ReadAll(res.Body))(s.t))
	if res.StatusCode != want {
		s.t.Fatalf("%s %s: %d, want %d\n%.400s", res.Request.Method, res.Request.URL.Path, res.StatusCode, want, body)
	}
	return body
}

func (s *site) pipeline(slug, configuration string) store.Pipeline {
	s.t.Helper()
	return must(s.CreatePipeline(s.t.Context(), engine.CreatePipeline{OrganizationID: s.org.ID, Name: slug, Repository: "https://example.test/" + slug + ".git", Configuration: configuration}))(s.t)
}

func (s *site) build(p store.Pipeline) store.Build {
	s.t.Helper()
	return must(s.CreateBuild(s.t.Context(), engine.CreateBuild{PipelineID: p.ID, Source: "ui", Message: "Reject zero windows", Commit: strings.Repeat("a3f9c1e", 5) + "00000", Author: store.Person{ID: s.owner.ID, Name: s.owner.Name, Email: s.owner.Email}, CreatorID: s.owner.ID}))(s.t)
}

func (s *site) job(b store.Build, key string) store.Job {
	s.t.Helper()
	step := must(s.Store.StepByKey(s.t.Context(), b.ID, key))(s.t)
	return must(s.Store.JobsOfStep(s.t.Context(), step.ID))(s.t)[0]
}

func (s *site) start(j store.Job) {
	s.t.Helper()
	ctx := s.t.Context()
	a, _, err := s.RegisterAgent(ctx, engine.RegisterAgent{Token: s.token, Name: "agent-%random"})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.ConnectAgent(ctx, a.ID); err != nil {
		s.t.Fatal(err)
	}
	if !must(s.AssignJob(ctx, j.ID, a.ID))(s.t) {
		s.t.Fatalf("job %s was not assigned", j.ID)
	}
	must(s.AcceptJob(ctx, j.ID, a.ID))(s.t)
	if err := s.StartJob(ctx, j.ID, time.Now()); err != nil {
		s.t.Fatal(err)
	}
}

// print appends text to a job's log.
func (s *site) print(j store.Job, sequence, offset int64, text string) {
	s.t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	if _, err := io.WriteString(z, text); err != nil {
		s.t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		s.t.Fatal(err)
	}
	must(s.logs.Append(s.t.Context(), j.ID, joblog.Chunk{Sequence: sequence, Offset: offset, Size: int64(len(text)), Gzip: buf.Bytes()}))(s.t)
}

func (s *site) finish(j store.Job, exit int) {
	s.t.Helper()
	must(s.FinishJob(s.t.Context(), engine.FinishJob{JobID: j.ID, ExitStatus: exit}))(s.t)
	if err := s.logs.Finish(s.t.Context(), j.ID); err != nil {
		s.t.Fatal(err)
	}
}

const testPipeline = `steps:
- group: Checks
  steps:
  - {label: ":lint: lint", command: make lint, key: lint}
- {label: ":test: unit", command: make test, key: unit}
- {label: "shards", command: make shard, key: shards, parallelism: 8}
- wait
- block: Release?
  key: gate
  prompt: Which ring first?
  fields:
  - {select: Ring, key: ring, options: [{label: Canary, value: canary}, {label: All, value: all}]}
  - {text: Note, key: note, required: false}
- {label: ":deploy: ship", command: make ship, key: ship}
`

const testLog = "~~~ Preparing working directory\n$ git clone\n--- Compiling\n\x1b[32mok\x1b[0m a\n+++ Testing\n\x1b[38;5;208mwarm\x1b[0m\nerror: one test failed <script>alert(1)</script>\n^^^ +++\nbye\n^^^ +++\n"

// seeded is a site with a build that has one failed, one running and eight
// queued jobs.
func seeded(t testing.TB) (*site, store.Build) {
	t.Helper()
	s := newSite(t)
	s.signIn()
	b := s.build(s.pipeline("test", testPipeline))
	s.start(s.job(b, "lint"))
	s.start(s.job(b, "unit"))
	s.print(s.job(b, "unit"), 1, 0, testLog)
	s.finish(s.job(b, "unit"), 1)
	return s, b
}

// A stranger is asked who they are, and learns nothing of what is here.
func TestPagesAskWhoIsThere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.pipeline("secret-project", testPipeline)
	for _, path := range []string{"/", "/main", "/main/secret-project", "/main/builds", "/nowhere", "/main/secret-project/builds/1"} {
		body := s.get(path, 200)
		if !strings.Contains(body, "<h1>Sign in</h1>") || strings.Contains(body, "main</a>") {
			t.Errorf("%s shows more than a sign-in form", path)
		}
	}
}

// The sign-in link works once and leads to making an account, with which one
// can sign in from then on.
func TestFirstAccount(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	code := must(s.NewSignInLink(t.Context(), s.owner.ID, time.Now().Add(time.Hour)))(t)
	if body := s.get("/sign-in?code="+code, 200); !strings.Contains(body, "Continue") {
		t.Fatal("the link's page has no button")
	}
	if body := s.post("/sign-in", url.Values{"code": {code}}, 200); !strings.Contains(body, "Make your account") {
		t.Fatalf("the link leads to %.300s", body)
	}
	if body := s.post("/setup", url.Values{"handle": {"ana"}, "email": {"Ana@Example.com"}, "password": {"short"}}, 422); !strings.Contains(body, "fewer than 12") {
		t.Error("a short password is not explained")
	}
	s.post("/setup", url.Values{"handle": {"ana"}, "email": {"Ana@Example.com"}, "password": {"correct horse battery"}}, 200)
	s.post("/sign-out", nil, 200)
	s.post("/sign-in", url.Values{"code": {code}}, 422)
	wrong := s.post("/sign-in", url.Values{"email": {"ana@example.com"}, "password": {"wrong"}}, 422)
	unknown := s.post("/sign-in", url.Values{"email": {"eve@example.com"}, "password": {"wrong"}}, 422)
	if strings.ReplaceAll(unknown, "eve@", "ana@") != wrong && len(unknown) != len(wrong) {
		t.Error("a wrong password and an unknown address have different answers")
	}
	if body := s.post("/sign-in", url.Values{"email": {"ANA@example.com"}, "password": {"correct horse battery"}, "next": {"//evil.test"}}, 200); !strings.Contains(body, "<h1>Pipelines</h1>") {
		t.Errorf("signing in leads to %.300s", body)
	}
}

// Another site cannot make a browser change anything.
func TestFormsOfOtherSitesAreRefused(t *testing.T) {
	t.Parallel()
	s, b := seeded(t)
	r := must(http.NewRequest("POST", s.url+fmt.Sprintf("/main/test/builds/%d/cancel", b.Number), nil))(t)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	r.Header.Set("Origin", "https://evil.test")
	s.read(must(s.client.Do(r))(t), http.StatusForbidden)
	for _, rt := range (&server{}).routes() {
		method, path, _ := strings.Cut(rt.pattern, " ")
		if method != http.MethodPost {
			continue
		}
		r := must(http.NewRequest(method, s.url+path, nil))(t)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		s.read(must(s.client.Do(r))(t), http.StatusForbidden)
	}
	if got := must(s.Store.Build(t.Context(), b.ID))(t); got.State == "canceled" || got.State == "canceling" {
		t.Error("the build was canceled")
	}
}

// Following every link from every page finds no page that is missing or
// unsound.
func TestCrawl(t *testing.T) {
	t.Parallel()
	s, b := seeded(t)
	start := []string{
		"/main", "/sign-in", "/setup", "/main/test/builds/1", "/main/test/builds/latest", "/main/test/builds/new", "/main/new",
		fmt.Sprintf("/main/test/builds/1/jobs/%s?q=error&ts=1", s.job(b, "unit").ID), fmt.Sprintf("/main/test/builds/1/jobs/%s", s.job(b, "gate").ID), "/main/test/builds/1/cancel",
	}
	seen := map[string]bool{}
	for len(start) > 0 && len(seen) < 400 {
		path := start[0]
		start = start[1:]
		if seen[path] {
			continue
		}
		seen[path] = true
		res := must(s.client.Get(s.url + path))(t)
		body := s.read(res, 200)
		if !strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") || strings.Contains(path, "/lines?") {
			continue
		}
		for _, problem := range soundness(t, []byte(body)) {
			t.Errorf("%s: %s", path, problem)
		}
		for _, link := range links(t, body) {
			u := must(res.Request.URL.Parse(link))(t)
			if u.Host == res.Request.URL.Host {
				start = append(start, u.RequestURI())
			}
		}
	}
	t.Logf("%d pages", len(seen))
}

// The build's page opens on the first error of the job that failed, with
// hostile text as text.
func TestBuildPageOpensOnWhatFailed(t *testing.T) {
	t.Parallel()
	s, _ := seeded(t)
	body := s.get("/main/test/builds/1", 200)
	for _, want := range []string{"First error, 7", `class="ln er" id="L7"`, "&lt;script&gt;alert(1)", "term-fgx208", "Failing", "exit 1", `data-groups="1-2m 3-4 5-8o:1"`, "0 of 8"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

// A range of lines has one element a line, in order, and group heads where
// groups begin.
func TestLinesAreOneElementEach(t *testing.T) {
	t.Parallel()
	s, b := seeded(t)
	base := "/main/test/builds/1/jobs/" + s.job(b, "unit").ID
	got := strings.Split(strings.TrimSuffix(s.get(base+"/lines?from=1&count=2000", 200), "\n"), "\n")
	if len(got) != 8 || !strings.HasPrefix(got[2], `<button class="lg"`) || !strings.HasPrefix(got[3], `<div class="ln"`) {
		t.Errorf("%d lines:\n%s", len(got), strings.Join(got, "\n"))
	}
	s.get(base+"/lines?from=0&count=10", 400)
	s.get(base+"/lines?from=1&count=100000", 400)
	if raw := s.get(base+"/raw", 200); raw != testLog {
		t.Errorf("raw log %q", raw)
	}
	for ask, want := range map[string]string{
		"q=test":               `{"hits":[5,7],"next":0,"problem":""}`,
		"q=test&from=6":        `{"hits":[7],"next":0,"problem":""}`,
		"q=%2Ft.st$%7CTEST%2F": `{"hits":[],"next":0,"problem":""}`,
		"q=%2F(%2F":            `{"hits":[],"next":0,"problem":"bad pattern: missing closing ): ("}`,
	} {
		if hits := s.get(base+"/search?"+ask, 200); strings.TrimSpace(hits) != want {
			t.Errorf("search %s: %s, want %s", ask, hits, want)
		}
	}
	s.get(base+"/search?q=test&from=0", 400)
	s.get(base+"/at?ms=noon", 400)
}

// A log opens at a line or at a time of day, without script too.
func TestALogOpensAtALineOrATime(t *testing.T) {
	t.Parallel()
	s, b := seeded(t)
	lint := s.job(b, "lint")
	base, began := "/main/test/builds/1/jobs/"+lint.ID, lint.StartedAt.UTC()
	var text strings.Builder
	for n := range 5 {
		fmt.Fprintf(&text, "\x1b_bk;t=%d\aline %d\n", began.Add(time.Duration(n)*time.Minute).UnixMilli(), n+1)
	}
	s.print(lint, 1, 0, text.String())
	for asked, first := range map[string]int{
		"3": 3, "99": 5, began.Add(150 * time.Second).Format("15:04:05"): 4, began.Add(3 * time.Hour).Format("15:04"): 5, "soon": 1,
	} {
		body := s.get(base+"?line="+url.QueryEscape(asked), 200)
		if !strings.Contains(body, fmt.Sprintf(`data-first="%d"`, first)) || strings.Contains(body, fmt.Sprintf(`id="L%d"`, first-1)) {
			t.Errorf("%s does not open at line %d", asked, first)
		}
	}
	at := began.Add(61 * time.Second).UnixMilli()
	if got := s.get(fmt.Sprintf("%s/at?ms=%d", base, at), 200); strings.TrimSpace(got) != `{"line":3}` {
		t.Errorf("the line at a time: %s", got)
	}
}

// A log that was removed says why, in place of its lines.
func TestALogThatIsGoneSaysWhy(t *testing.T) {
	t.Parallel()
	s, b := seeded(t)
	unit := s.job(b, "unit")
	if err := errors.Join(s.logs.Delete(t.Context(), unit.ID), s.DropLog(t.Context(), unit, engine.LogDeleted, "Ada deleted the log <today>.")); err != nil {
		t.Fatal(err)
	}
	base := "/main/test/builds/1/jobs/" + unit.ID
	if body := s.get(base, 200); !strings.Contains(body, "The log is gone") || !strings.Contains(body, "Ada deleted the log &lt;today&gt;.") {
		t.Error("the page does not say why")
	}
	if body := s.get(base+"/raw", 404); !strings.Contains(body, "Ada deleted the log") {
		t.Errorf("raw: %s", body)
	}
	if hits := s.get(base+"/search?q=x", 200); strings.TrimSpace(hits) != `{"hits":[],"next":0,"problem":""}` {
		t.Errorf("search: %s", hits)
	}
	s.get(base+"/lines?from=1&count=10", 404)
	s.get(base+"/at?ms=1", 404)
}

// The forms do what they say, without script.
func TestForms(t *testing.T) {
	t.Parallel()
	s, b := seeded(t)
	build := "/main/test/builds/1"
	if body := s.post(build+"/retry", nil, 200); !strings.Contains(body, "unit") {
		t.Error("retrying does not lead back to the build")
	}
	if got := s.job(b, "unit"); got.Retries != 1 {
		t.Errorf("retries = %d, want 1", got.Retries)
	}
	s.post(build+"/jobs/"+s.job(b, "lint").ID+"/cancel", nil, 200)
	if body := s.post("/main/test/builds", url.Values{"branch": {"main"}, "commit": {"HEAD"}, "message": {"By hand"}, "env": {"A=1\n2B=x"}}, 422); !strings.Contains(body, "is not a variable name") || !strings.Contains(body, "By hand") {
		t.Error("a wrong variable is not explained on the form")
	}
	if body := s.post("/main/test/builds", url.Values{"branch": {"main"}, "commit": {"HEAD"}, "message": {"By hand"}, "env": {"A=1"}}, 200); !strings.Contains(body, "By hand") {
		t.Error("a new build does not lead to its page")
	}
	s.post("/main/test/builds/2/rebuild", nil, 200)
	if body := s.get("/main/test/builds/3", 200); !strings.Contains(body, "rebuild of #2") {
		t.Error("a rebuild does not name its origin")
	}
	if body := s.post("/main/test/builds/3/cancel", nil, 200); !strings.Contains(body, "Canceled") {
		t.Error("canceling does not show")
	}
	s.post("/main/test/builds/3/cancel", nil, http.StatusConflict)
	if body := s.post("/main/new", url.Values{"name": {"Docs"}, "repository": {"https://example.test/d.git"}, "branch": {"main"}, "configuration": {"steps:\n- comand: x\n- {"}}, 422); !strings.Contains(body, "line ") {
		t.Error("a broken configuration does not name its line")
	}
	s.post("/main/new", url.Values{"name": {"Docs"}, "repository": {"https://example.test/d.git"}, "branch": {"main"}}, 200)
}

// A block step's answers are checked, come back as typed, and then let the
// build go on.
func TestUnblock(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.signIn()
	b := s.build(s.pipeline("gate", "steps:\n- block: Release?\n  key: gate\n  fields:\n  - {text: Name, key: name}\n  - {text: Note, key: note, required: false}\n- {command: x, key: x}\n"))
	path := "/main/gate/builds/1/jobs/" + s.job(b, "gate").ID
	if body := s.get("/main/gate/builds/1", 200); !strings.Contains(body, `action="`+path+`/unblock"`) {
		t.Fatal("the question is not open on the build's page")
	}
	if body := s.get("/main", 200); !strings.Contains(body, "Needs a person") || !strings.Contains(body, "Release?") {
		t.Error("the home page does not say that the build waits for an answer")
	}
	if body := s.post(path+"/unblock", url.Values{"note": {"hi there"}}, 422); !strings.Contains(body, "hi there") || !strings.Contains(body, `role="alert"`) {
		t.Error("a missing answer is not explained beside what was typed")
	}
	s.post(path+"/unblock", url.Values{"name": {"v1"}, "note": {""}}, 200)
	if got := s.job(b, "x").State; got != "scheduled" {
		t.Errorf("the next job is %s", got)
	}
}

// What a reader saves must not end in a page that tells of a fault, nor look whole where the rest could not be read.
func TestAFileThatFailsMidwayIsAborted(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.signIn()
	b := s.build(s.pipeline("files", "steps:\n- {command: x, key: x}\n"))
	j := s.job(b, "x")
	s.start(j)
	a := must(s.CreateArtifacts(t.Context(), j, "batch", []store.Artifact{{Path: "torn.txt", SHA256: strings.Repeat("0", 64)}}))(t)[0]
	must(s.ArtifactArrived(t.Context(), a.ID, "blob"))(t)
	must(0, s.SetArtifactStates(t.Context(), j, map[string]string{a.ID: "finished"}))(t)
	resp, err := s.client.Get(s.url + "/main/files/builds/1/artifacts/" + a.ID)
	if err != nil {
		return // not even the status arrived
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("a file of %d bytes was read, and no error: %.200q", len(body), body)
	}
}
