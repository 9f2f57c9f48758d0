package restapi_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
)

type buildView struct {
	ID, State, Commit, Branch, Message string
	Number                             int
	Blocked                            bool
	BlockedState                       string            `json:"blocked_state"`
	MetaData                           map[string]string `json:"meta_data"`
	Env                                map[string]string
	Author                             struct{ Name, Email string }
	PullRequest                        *struct{ ID string }  `json:"pull_request"`
	RebuiltFrom                        *struct{ Number int } `json:"rebuilt_from"`
	Jobs                               []jobView
	Pipeline                           *pipelineView
	Retried                            int `json:"retried_jobs_count"`
}

type jobView struct {
	ID, Type, State, Command string
	StepKey                  string  `json:"step_key"`
	Retried                  bool    `json:"retried"`
	RetriesCount             int     `json:"retries_count"`
	RetryType                *string `json:"retry_type"`
	ParallelTotal            *int    `json:"parallel_group_total"`
	Unblockable              bool
	Priority                 struct{ Number int }
}

// A build is made from a body whatever its Content-Type, with numbers where texts belong.
func TestCreateBuildTakesWhatClientsSend(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pl := w.pipeline(t, "hello", "steps: [{command: a}]")
	body := `{"commit":"HEAD","branch":"topic","message":"m","author":{},"clean_checkout":false,"ignore_pipeline_branch_filters":false,
		"pull_request_id":"12","env":{"N":1,"B":true},"meta_data":{"k":7},"unknown":{}}`
	got := w.call(t, apiToken, "POST", "/v2/pipelines/"+pl.ID+"/builds", body, "Content-Type", "application/x-www-form-urlencoded")
	if got.StatusCode != http.StatusCreated {
		t.Fatalf("status %d: %s", got.StatusCode, got.text)
	}
	b := decode[buildView](t, got.text)
	if b.Number != 1 || b.Branch != "topic" || b.PullRequest.ID != "12" || b.Env["N"] != "1" || b.Env["B"] != "true" || b.MetaData["k"] != "7" || b.Author.Name != "Owner" {
		t.Errorf("%+v", b)
	}
	if again := get[buildView](t, w, main+"/pipelines/hello/builds/"+b.ID); again.Number != 1 {
		t.Errorf("by id: %+v", again)
	}
	w.ask(t, "POST", main+"/pipelines/hello/builds", `{"commit":"HEAD","branch":"b","author":"Ada <ada@example.test>","pull_request_id":3}`, 201)
}

func TestCancelAndRebuild(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.build(t, w.pipeline(t, "hello", "steps: [{command: a}]"))
	if b := decode[buildView](t, w.ask(t, "PUT", main+"/pipelines/hello/builds/1/cancel", "", 200).text); b.State != "canceled" {
		t.Errorf("state %s", b.State)
	}
	if e := decode[errorBody](t, w.ask(t, "PUT", main+"/pipelines/hello/builds/1/cancel", "", 422).text); !strings.Contains(e.Message, "already finished") {
		t.Errorf("message %q", e.Message)
	}
	if b := decode[buildView](t, w.ask(t, "PUT", main+"/pipelines/hello/builds/1/rebuild", "", 200).text); b.Number != 2 || b.RebuiltFrom.Number != 1 {
		t.Errorf("%+v", b)
	}
}

func TestRetryFailedJobs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.build(t, w.pipeline(t, "hello", `steps:
- {command: a, key: good}
- {command: b, key: bad}
- {command: c, key: soft, soft_fail: true}
- {command: d, key: final, retry: {manual: false}}
`))
	a := w.agent(t, "a1")
	for key, exit := range map[string]int{"good": 0, "bad": 1, "soft": 1, "final": 1} {
		w.run(t, w.job(t, b, key), a, exit)
	}
	got := decode[buildView](t, w.ask(t, "PUT", main+"/pipelines/hello/builds/1/retry_failed_jobs", "", http.StatusAccepted).text)
	if got.Retried != 1 || got.State != "failing" {
		t.Errorf("retried %d, build %s", got.Retried, got.State)
	}
	got = decode[buildView](t, w.ask(t, "PUT", main+"/pipelines/hello/builds/1/retry_failed_jobs", `{"states":"failed, soft_failed"}`, http.StatusAccepted).text)
	if got.Retried != 1 {
		t.Errorf("retried %d, want the soft failed one", got.Retried)
	}
	if shown := get[buildView](t, w, main+"/pipelines/hello/builds/1"); len(shown.Jobs) != 4 {
		t.Errorf("%d jobs, want the retried ones hidden", len(shown.Jobs))
	}
	all := get[buildView](t, w, main+"/pipelines/hello/builds/1?include_retried_jobs=true")
	i := slices.IndexFunc(all.Jobs, func(j jobView) bool { return j.StepKey == "bad" && j.RetriesCount == 1 })
	if len(all.Jobs) != 6 || i < 0 || *all.Jobs[i].RetryType != "manual" {
		t.Errorf("%+v", all.Jobs)
	}
}

// A walk along the links of a list meets everything once, and filters stay in the links.
func TestPagesOfBuilds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pl := w.pipeline(t, "hello", "steps: [{command: a}]")
	for i := range 7 {
		w.advance(time.Second)
		w.build(t, pl, func(op *engine.CreateBuild) { op.Branch = []string{"main", "release/1"}[i%2] })
	}
	for _, path := range []string{"/v2/builds", main + "/builds", main + "/pipelines/hello/builds"} {
		if got := walk(t, w, path+"?per_page=2&unknown=1"); got != "[7 6 5 4 3 2 1] 4" {
			t.Errorf("%s: %s", path, got)
		}
		if got := walk(t, w, path+"?per_page=1&branch%5B%5D=release%2F*"); got != "[6 4 2] 3" {
			t.Errorf("%s of a branch: %s", path, got)
		}
	}
	if got := w.ask(t, "GET", main+"/builds?page=9", "", 200); got.text != "[]\n" {
		t.Errorf("past the end: %s", got.text)
	}
	links := w.ask(t, "GET", main+"/builds?page=2&per_page=2&state=scheduled", "", 200).Header.Get("Link")
	want := strings.ReplaceAll(`<U?page=1&per_page=2&state=scheduled>; rel="first", <U?page=1&per_page=2&state=scheduled>; rel="prev", `+
		`<U?page=3&per_page=2&state=scheduled>; rel="next", <U?page=4&per_page=2&state=scheduled>; rel="last"`, "U", w.url+main+"/builds")
	if links != want {
		t.Errorf("Link: %s\nwant  %s", links, want)
	}
}

var next = regexp.MustCompile(`<([^>]*)>; rel="next"`)

// walk follows the links and returns the numbers of the builds met, and how many pages there were.
func walk(t *testing.T, w *world, path string) string {
	t.Helper()
	var numbers []int
	for pages := 1; ; pages++ {
		got := w.ask(t, "GET", path, "", 200)
		for _, b := range decode[[]buildView](t, got.text) {
			numbers = append(numbers, b.Number)
		}
		m := next.FindStringSubmatch(got.Header.Get("Link"))
		if m == nil {
			return fmt.Sprint(numbers, pages)
		}
		path = strings.TrimPrefix(m[1], w.url)
	}
}

func TestBuildsAreFiltered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pl := w.pipeline(t, "hello", "steps: [{command: a, key: a}]")
	blocked := w.pipeline(t, "gated", "steps: [{block: Go}]")
	hash := strings.Repeat("a", 40)
	w.build(t, pl, func(op *engine.CreateBuild) { op.Commit = hash })
	w.advance(time.Hour)
	w.build(t, pl, func(op *engine.CreateBuild) { op.MetaData = map[string]string{"release": "1"} })
	w.advance(time.Hour)
	passing := w.build(t, pl)
	w.run(t, w.job(t, passing, "a"), w.agent(t, "a1"), 0)
	w.build(t, blocked)
	for query, want := range map[string]string{
		"state=passed": "hello/3", "state[]=passed&state[]=scheduled": "hello/3 hello/2 hello/1", "state=blocked": "gated/1",
		"state=finished": "gated/1 hello/3", "state=nonsense": "", "commit=" + hash: "hello/1", "commit[]=" + hash: "hello/1",
		"created_from=2026-11-23T13:00:00Z&created_to=2026-11-23T14:00:00Z": "hello/2", "created_from=2026-11-23T14:00:00%2B01:00": "gated/1 hello/3 hello/2",
		"finished_from=2026-11-23T00:00:00Z": "hello/3", "meta_data[release]=1": "hello/2", "meta_data[release]=2": "", "creator=nobody": "",
		"branch=MAIN": "", "branch=MA*": "gated/1 hello/3 hello/2 hello/1",
	} {
		query = strings.NewReplacer("[", "%5B", "]", "%5D").Replace(query)
		var got []string
		for _, b := range get[[]buildView](t, w, main+"/builds?exclude_jobs=1&"+query) {
			if b.Jobs != nil {
				t.Errorf("%s: jobs are shown", query)
			}
			got = append(got, fmt.Sprintf("%s/%d", b.Pipeline.Slug, b.Number))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", query, got, want)
		}
	}
	if b := get[[]buildView](t, w, main+"/builds?exclude_pipeline=true")[0]; b.Pipeline != nil || len(b.Jobs) != 1 {
		t.Errorf("%+v", b)
	}
}

// A blocked build is shown in the state that it will have if nothing follows, and says that it is
// blocked.
func TestBlockedBuilds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.build(t, w.pipeline(t, "hello", "steps:\n- {block: Go, key: gate, blocked_state: running, fields: [{text: Who, key: who}]}\n- {command: a}\n"))
	got := get[buildView](t, w, main+"/pipelines/hello/builds/1")
	if got.State != "running" || !got.Blocked || got.BlockedState != "running" || !got.Jobs[0].Unblockable {
		t.Errorf("%+v", got)
	}
	gate := w.job(t, b, "gate")
	e := decode[errorBody](t, w.ask(t, "PUT", main+"/jobs/"+gate.ID+"/unblock", "{}", 422).text)
	if len(e.Errors) != 1 || e.Errors[0].Field != "who" {
		t.Errorf("%+v", e)
	}
	j := decode[jobView](t, w.ask(t, "PUT", main+"/pipelines/hello/builds/1/jobs/"+gate.ID+"/unblock?Fields=x", `{"fields":{"who":"me"}}`, 200).text)
	if j.State != "passed" || j.Unblockable {
		t.Errorf("%+v", j)
	}
	if got = get[buildView](t, w, main+"/pipelines/hello/builds/1"); got.Blocked || got.MetaData["who"] != "me" {
		t.Errorf("%+v", got)
	}
}

func TestJobsAreWalkedByCursor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.build(t, w.pipeline(t, "hello", "steps:\n- {command: a, key: a, parallelism: 5}\n- wait\n- {command: b, key: b}\n"))
	path, seen := main+"/pipelines/hello/builds/1/jobs?per_page=2&state%5B%5D=scheduled", 0
	for path != "" {
		page := get[struct {
			Items []jobView
			Links struct{ Self, Next, Prev string }
		}](t, w, path)
		seen += len(page.Items)
		if page.Links.Prev != "" {
			u := must(url.Parse(page.Links.Prev))(t)
			if before := get[struct{ Items []jobView }](t, w, u.RequestURI()); len(before.Items) != 2 {
				t.Errorf("%s has %d items", page.Links.Prev, len(before.Items))
			}
		}
		path = strings.TrimPrefix(page.Links.Next, w.url)
	}
	if seen != 5 {
		t.Errorf("met %d jobs, want 5", seen)
	}
}

func TestJobsAreReprioritizedAndCanceled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.build(t, w.pipeline(t, "hello", "steps:\n- {command: a, key: a}\n"))
	at := main + "/jobs/" + w.job(t, b, "a").ID
	if j := decode[jobView](t, w.ask(t, "PUT", at+"/reprioritize", `{"priority":5}`, 200).text); j.Priority.Number != 5 {
		t.Errorf("%+v", j)
	}
	for _, body := range []string{`{"priority":"high"}`, `{}`, `{"priority":1.5}`} {
		if e := decode[errorBody](t, w.ask(t, "PUT", at+"/reprioritize", body, 422).text); e.Message != "Priority must be an integer" {
			t.Errorf("%s: %q", body, e.Message)
		}
	}
	if e := decode[errorBody](t, w.ask(t, "PUT", at+"/retry", "", 422).text); e.Message != "Only failed, timed out or canceled jobs can be retried" {
		t.Errorf("%q", e.Message)
	}
	if j := decode[jobView](t, w.ask(t, "PUT", at+"/cancel", "", 200).text); j.State != string(ci.JobCanceled) {
		t.Errorf("%+v", j)
	}
}

// However much is on a page, the same number of statements reads it.
func TestAPageCostsTheSameHoweverMuchIsOnIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pl := w.pipeline(t, "hello", "steps:\n- {command: a, key: a, parallelism: 9}\n- wait\n- {command: b}\n")
	w.agent(t, "first") // so that no build asks who serves it
	for i := range 12 {
		b := w.build(t, pl, func(op *engine.CreateBuild) { op.CreatorID = must(w.Store.FirstUser(t.Context()))(t).ID })
		w.start(t, w.job(t, b, "a"), w.agent(t, fmt.Sprint("a", i)))
	}
	for _, path := range []string{main + "/builds", main + "/pipelines", main + "/agents", main + "/pipelines/hello/builds/1/jobs"} {
		cost := func(size int) int64 {
			before := w.asked.Load()
			w.ask(t, "GET", fmt.Sprintf("%s?per_page=%d", path, size), "", 200)
			return w.asked.Load() - before
		}
		if one, many := cost(1), cost(12); one != many || many > 16 {
			t.Errorf("%s: a page of one costs %d statements, of twelve %d", path, one, many)
		}
	}
}

func TestTriggerJobsNameTheirBuild(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pipeline(t, "child", "steps: [{command: a}]")
	b := w.build(t, w.pipeline(t, "parent", "steps: [{trigger: child, key: go, async: true}]"))
	must(0, w.TriggerBuild(t.Context(), w.job(t, b, "go").ID))(t)
	got := get[struct {
		Async bool
		Build struct {
			Number int
			URL    string
		} `json:"triggered_build"`
	}](t, w, main+"/jobs/"+w.job(t, b, "go").ID)
	if !got.Async || got.Build.Number != 1 || got.Build.URL != w.url+main+"/pipelines/child/builds/1" {
		t.Errorf("%+v", got)
	}
	child := get[struct {
		From struct {
			Slug string `json:"build_pipeline_slug"`
		} `json:"triggered_from"`
	}](t, w, main+"/pipelines/child/builds/1")
	if child.From.Slug != "parent" {
		t.Errorf("%+v", child)
	}
}

// Only a member can be named as who unblocked.
func TestUnblockerIsAMember(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.build(t, w.pipeline(t, "hello", "steps: [{block: Go, key: gate, fields: [{select: Where, key: where, multiple: true, options: [{label: A, value: a}, {label: B, value: b}]}]}]"))
	at := main + "/jobs/" + w.job(t, b, "gate").ID + "/unblock"
	e := decode[errorBody](t, w.ask(t, "PUT", at, `{"unblocker":"nobody"}`, 422).text)
	if e.Errors[0].Code != "Unblocker is not a valid user id for this organization" {
		t.Errorf("%+v", e)
	}
	owner := must(w.Store.FirstUser(t.Context()))(t)
	w.ask(t, "PUT", at, `{"unblocker":"`+owner.ID+`","fields":{"where":["a","b"]}}`, 200)
	if got := get[buildView](t, w, main+"/pipelines/hello/builds/1"); got.MetaData["where"] != "a\nb" {
		t.Errorf("%+v", got.MetaData)
	}
}

func TestABuildMayIgnoreTheBranchFilter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ask(t, "POST", main+"/pipelines", `{"name": "f", "repository": "https://example.test/f.git", "branch_configuration": "main",
		"configuration": "steps: [{command: x}]"}`, http.StatusCreated)
	got := w.ask(t, "POST", main+"/pipelines/f/builds", `{"commit": "HEAD", "branch": "topic"}`, http.StatusUnprocessableEntity)
	if !strings.Contains(got.text, "does not pass the branch filter") {
		t.Error(got.text)
	}
	w.ask(t, "POST", main+"/pipelines/f/builds", `{"commit": "HEAD", "branch": "topic", "ignore_pipeline_branch_filters": true}`, http.StatusCreated)
}

func TestAPageOfLargeBuildsIsWholeAndReadInPortions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pl := w.pipeline(t, "hello", "steps:\n- {command: a, key: a, parallelism: 40}\n")
	for range 5 {
		b := w.build(t, pl)
		values := map[string]string{}
		for i := range 35 {
			values[fmt.Sprint("key", i)] = strings.Repeat("v", 100<<10)
		}
		must(0, w.SetMetaData(t.Context(), b.ID, values))(t)
	}
	cost := func(size, want int) int64 {
		before := w.asked.Load()
		type large struct {
			Number   int
			MetaData map[string]string `json:"meta_data"`
			Jobs     []jobView
		}
		got := get[[]large](t, w, fmt.Sprintf("%s/builds?per_page=%d", main, size))
		if len(got) != want {
			t.Fatalf("%d builds, want %d", len(got), want)
		}
		for i, b := range got {
			if b.Number != 5-i || len(b.MetaData) != 35 || len(b.Jobs) != 40 {
				t.Errorf("build %d has %d keys and %d jobs", b.Number, len(b.MetaData), len(b.Jobs))
			}
		}
		return w.asked.Load() - before
	}
	if two, five := cost(2, 2), cost(9, 5); five <= 2*two {
		t.Errorf("17 MiB of meta-data were read with %d statements, 7 MiB with %d: want three portions, and one", five, two)
	}
	w.pipeline(t, "none", "steps: [{command: a}]")
	if got := w.ask(t, "GET", main+"/pipelines/none/builds", "", 200).text; got != "[]\n" {
		t.Errorf("no builds are %q", got)
	}
}

func TestAListWhoseEndCannotBeReadIsNotTakenForWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pl := w.pipeline(t, "hello", "steps:\n- {command: a}\n")
	const portions = 6 // more than what stands between the server and a client that does not read
	for range 2 * portions {
		b := w.build(t, pl)
		values := map[string]string{}
		for i := range 40 {
			values[fmt.Sprint("key", i)] = strings.Repeat("v", 100<<10)
		}
		must(0, w.SetMetaData(t.Context(), b.ID, values))(t)
	}
	req := must(http.NewRequestWithContext(t.Context(), "GET", w.url+main+"/builds", http.NoBody))(t)
	req.Header.Set("Authorization", "Bearer "+apiToken)
	resp := must(http.DefaultClient.Do(req))(t)
	defer resp.Body.Close()
	if err := w.Store.Close(); err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("%d bytes were read, and no error", len(body))
	}
}

func TestASilentAgentSaysSinceWhen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.build(t, w.pipeline(t, "hello", "steps: [{command: a, key: a}]"))
	a := w.agent(t, "a1")
	w.start(t, w.job(t, b, "a"), a)
	type agent struct {
		SilentSince *time.Time `json:"silent_since"`
	}
	since := w.Now()
	for _, want := range []*time.Time{nil, &since} {
		of := get[struct{ Agent agent }](t, w, main+"/jobs/"+w.job(t, b, "a").ID)
		for _, got := range []agent{get[agent](t, w, main+"/agents/"+a.ID), get[[]agent](t, w, main+"/agents")[0], of.Agent} {
			if (got.SilentSince == nil) != (want == nil) || want != nil && !got.SilentSince.Equal(*want) {
				t.Errorf("silent since %v, want %v", got.SilentSince, want)
			}
		}
		w.advance(91 * time.Second)
	}
	must(0, w.LoseAgent(t.Context(), a.ID, "silent"))(t)
	if got := get[agent](t, w, main+"/agents/"+a.ID); got.SilentSince != nil {
		t.Errorf("a lost agent is silent since %v", got.SilentSince)
	}
}
