package agentapi_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/agent/wire"
	"github.com/slipway-ci/slipway/internal/agentapi"
	"github.com/slipway-ci/slipway/internal/ci"
)

// The tests of this file hold what surprises whoever serves the official agent (v3.138.1): each of these
// facts has ended an agent, lost a job or lost a part of a log somewhere.

// decoded is the JSON object that a request answers with.
func (w *world) decoded(token, method, path, body string, want int) map[string]any {
	w.t.Helper()
	got := w.do(token, method, path, body)
	v := map[string]any{}
	if err := json.Unmarshal([]byte(got.body), &v); err != nil || got.status != want {
		w.t.Fatalf("%s %s: %d %q, want a %d with an object: %v", method, path, got.status, got.body, want, err)
	}
	return v
}

func TestMustKnow01_IntervalsArePositiveIntegers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.decoded(registrationToken, "POST", "/v3/register", `{"name":"a"}`, 200)
	for _, name := range []string{"ping_interval", "heartbeat_interval", "job_status_interval"} {
		n, ok := v[name].(float64)
		if !ok || n <= 0 || n != float64(int(n)) {
			t.Errorf("%s = %v, want a positive integer", name, v[name])
		}
	}
}

func TestMustKnow02And03And04And06_AcceptingGivesAllThatAJobNeeds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, j := w.agent(), w.job(w.build("steps:\n- command: echo '{{matrix}}'\n  matrix: [x]\n"))
	w.assign(j, a)
	v := w.decoded(a.AccessToken, "PUT", "/v3/jobs/"+j.ID+"/accept", "", 200)
	if n, ok := v["chunks_max_size_bytes"].(float64); !ok || n <= 0 {
		t.Errorf("chunks_max_size_bytes = %v: the agent would never finish the job", v["chunks_max_size_bytes"])
	}
	env := v["env"].(map[string]any)
	for _, name := range []string{
		"BUILDKITE_JOB_ID", "BUILDKITE_REPO", "BUILDKITE_COMMIT", "BUILDKITE_BRANCH", "BUILDKITE_AGENT_NAME",
		"BUILDKITE_ORGANIZATION_SLUG", "BUILDKITE_PIPELINE_SLUG", "BUILDKITE_PIPELINE_PROVIDER", "BUILDKITE_AGENT_ID",
	} {
		if s, ok := env[name].(string); !ok || s == "" {
			t.Errorf("env %s = %v, want a text: bootstrap refuses otherwise", name, env[name])
		}
	}
	if env["BUILDKITE_AGENT_NAME"] != a.Name || env["BUILDKITE_AGENT_META_DATA_QUEUE"] != "default" {
		t.Errorf("env names agent %v of queue %v, want %s of default", env["BUILDKITE_AGENT_NAME"], env["BUILDKITE_AGENT_META_DATA_QUEUE"], a.Name)
	}
	step := v["step"].(map[string]any)
	if env["BUILDKITE_COMMAND"] != "echo 'x'" || step["command"] != "echo '{{matrix}}'" {
		t.Errorf("the command is %v of the step %v, want it filled in, and the step as it was uploaded", env["BUILDKITE_COMMAND"], step["command"])
	}
}

func TestMustKnow05_WhatIsNoPullRequestSaysFalse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if got := w.running().job.Env["BUILDKITE_PULL_REQUEST"]; got != "false" {
		t.Errorf("BUILDKITE_PULL_REQUEST = %q, want false", got)
	}
}

func TestMustKnow09_ChunksAreNeverRefusedForLoad(t *testing.T) {
	t.Parallel()
	for _, rt := range agentapi.Routes() {
		for _, s := range rt.Statuses {
			if s == http.StatusTooManyRequests {
				t.Errorf("%s %s answers 429; an agent drops a chunk for good then, and 503 does as well elsewhere", rt.Method, rt.Path)
			}
		}
	}
}

// TestMustKnow10 walks the calls whose answer the client decodes.
func TestMustKnow10_WhatIsDecodedIsNeverEmpty(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.running()
	job, build := "/v3/jobs/"+h.job.ID, "/v3/builds/"+h.build.ID
	for _, c := range []struct{ token, method, path, body string }{
		{h.agent.AccessToken, "GET", "/v3/ping", ""},
		{h.agent.AccessToken, "POST", "/v3/heartbeat", `{"sent_at":"2026-11-23T12:00:00Z"}`},
		{h.Token, "GET", job, ""},
		{h.Token, "POST", job + "/data/set", `{"key":"k","value":"v"}`},
		{h.Token, "POST", job + "/data/get", `{"key":"k"}`},
		{h.Token, "POST", job + "/data/exists", `{"key":"k"}`},
		{h.Token, "POST", job + "/data/keys", ""},
		{h.Token, "GET", build + "/artifacts/search?query=*", ""},
		{h.Token, "POST", "/v3/steps/one/export", `{}`},
		{h.Token, "POST", "/v3/steps/one/cancel", `{}`},
	} {
		got := w.do(c.token, c.method, c.path, c.body)
		if got.status != 200 || !json.Valid([]byte(got.body)) || !strings.HasPrefix(got.header.Get("Content-Type"), "application/json") {
			t.Errorf("%s %s: %d %q of type %q, want JSON", c.method, c.path, got.status, got.body, got.header.Get("Content-Type"))
		}
	}
}

func TestMustKnow11_OnlyAnEndedSessionKillsAnAgent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.agent()
	for _, path := range []string{"/v3/ping", "/v3/heartbeat"} {
		method := map[bool]string{true: "GET", false: "POST"}[path == "/v3/ping"]
		if got := w.do(a.AccessToken, method, path, ""); got.status != 200 {
			t.Errorf("%s of a live session: %d", path, got.status)
		}
	}
	if err := w.LoseAgent(t.Context(), a.ID, "silent"); err != nil {
		t.Fatal(err)
	}
	if got := w.do(a.AccessToken, "GET", "/v3/ping", ""); got.status != 401 {
		t.Errorf("ping of a lost agent: %d, want 401", got.status)
	}
}

func TestMustKnow13_NoTokenForARepositoryIsFinal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.running()
	got := w.do(h.Token, "POST", "/v3/jobs/"+h.job.ID+"/repository_access_token", `{"repo_url":"https://example.test/x.git"}`)
	if got.status < 400 || got.status == 429 || got.status >= 500 {
		t.Errorf("repository_access_token: %d; the agent's second try always fails", got.status)
	}
}

func TestMustKnow14_ASearchWithoutResultsIsAnEmptyList(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.running()
	got := w.do(h.Token, "GET", "/v3/builds/"+h.build.ID+"/artifacts/search?query=nothing&state=finished", "")
	if got.status != 200 || strings.TrimSpace(got.body) != "[]" {
		t.Errorf("search: %d %s, want 200 []", got.status, got.body)
	}
}

func TestMustKnow17_TheServerRemembersWhyAJobWasStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.held(w.build("steps:\n- command: sleep\n  timeout_in_minutes: 1\n"))
	w.advance(2 * time.Minute)
	if err := w.TimeOutJob(t.Context(), h.job.ID); err != nil {
		t.Fatal(err)
	}
	if s := must(h.JobState(t.Context(), h.job.ID))(t); s != "timing_out" {
		t.Errorf("state = %q, want timing_out", s)
	}
	w.decoded(h.Token, "PUT", "/v3/jobs/"+h.job.ID+"/finish", `{"exit_status":"-1","signal":"SIGTERM","signal_reason":"cancel","chunks_failed_count":0}`, 200)
	if got := must(w.Store.Job(t.Context(), h.job.ID))(t); got.State != ci.JobTimedOut {
		t.Errorf("the job is %s, want timed_out though the agent says cancel", got.State)
	}
}

func TestMustKnow18_AnExitStatusIsATextInFinishAndANumberInAPromise(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.running()
	job := "/v3/jobs/" + h.job.ID
	for body, want := range map[string]int{
		`{"exit_status":0}`: 422, `{"exit_status":-1}`: 422, `{}`: 422, `{"exit_status":"4"}`: 400,
		`{"exit_status":4,"reason":"` + strings.Repeat("r", 5000) + `"}`: 422,
	} {
		if got := w.do(h.Token, "PUT", job+"/promise_failure", body); got.status != want {
			t.Errorf("promise %s: %d, want %d", body, got.status, want)
		}
	}
	for _, want := range []int{204, 204} { // an answer may be lost
		if got := w.do(h.Token, "PUT", job+"/promise_failure", `{"exit_status":4,"reason":"because"}`); got.status != want {
			t.Errorf("promise: %d, want %d", got.status, want)
		}
	}
	if got := w.do(h.Token, "PUT", job+"/promise_failure", `{"exit_status":5}`); got.status != 409 {
		t.Errorf("another promise: %d, want 409", got.status)
	}
	if got := w.do(h.Token, "PUT", job+"/finish", `{"exit_status":0}`); got.status != 400 {
		t.Errorf("finish with a number: %d, want 400", got.status)
	}
	w.decoded(h.Token, "PUT", job+"/finish", `{"exit_status":"0","chunks_failed_count":0}`, 200)
	if got := must(w.Store.Job(t.Context(), h.job.ID))(t); got.ExitStatus == nil || *got.ExitStatus != 4 || got.Reason != "because" {
		t.Errorf("the job ended with %v and the reason %q, want the promised 4 and why", got.ExitStatus, got.Reason)
	}
}

func TestMustKnow19_NamesAreExpandedAndUnique(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	register := func(name string) string {
		r := must(w.client(registrationToken).Register(t.Context(), wire.RegisterRequest{Name: name, Hostname: "h1", PID: 42}))(t)
		return r.Name
	}
	for pattern, want := range map[string]string{
		"%hostname-%pid": `^h1-42$`, "r-%random": `^r-[a-z0-9]{6}$`, "": `^h1-[a-z0-9]{6}$`, "plain-1": `^plain-1$`,
	} {
		if got := register(pattern); !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("name %q becomes %q, want %s", pattern, got, want)
		}
	}
	if got := register("plain-1"); !regexp.MustCompile(`^plain-1-[a-z0-9]{6}$`).MatchString(got) {
		t.Errorf("a second plain-1 is called %q: the two would share a checkout", got)
	}
}

func TestMustKnow20_TheServersVariablesWin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.held(w.build("steps:\n- command: true\n  env: {BUILDKITE_JOB_ID: mine, CI: 'no', OWN: kept}\n"))
	if e := h.job.Env; e["BUILDKITE_JOB_ID"] != h.job.ID || e["CI"] != "true" || e["OWN"] != "kept" {
		t.Errorf("env = %s, %s, %s; want the server's id and CI, and the user's own", e["BUILDKITE_JOB_ID"], e["CI"], e["OWN"])
	}
	// What a job does not have is not there, whoever says so: who unblocked it, of which group it is, what its agent is tagged with.
	h = w.held(w.build(`env: {BUILDKITE_UNBLOCKER: me, BUILDKITE_PLUGINS: '[{"x#v1":null}]', BUILDKITE_GITHUB_EVENT: push}
steps:
- command: true
  env: {BUILDKITE_GROUP_KEY: g, BUILDKITE_LABEL: l, BUILDKITE_COMMIT_RESOLVED: "true", BUILDKITE_AGENT_META_DATA_GPU: "yes", BUILDKITE_GIT_CLEAN_FLAGS: -x}
`))
	for _, name := range []string{"UNBLOCKER", "PLUGINS", "GITHUB_EVENT", "GROUP_KEY", "LABEL", "COMMIT_RESOLVED", "AGENT_META_DATA_GPU"} {
		if v, there := h.job.Env["BUILDKITE_"+name]; there {
			t.Errorf("BUILDKITE_%s = %q, want none", name, v)
		}
	}
	if got := h.job.Env["BUILDKITE_GIT_CLEAN_FLAGS"]; got != "-x" {
		t.Errorf("a variable that users may set is %q", got)
	}
}

// TestNobodyIsSlowedDownByOthersBehindTheSameProxy: to the server all of them have the proxy's address. An agent whose job was given up is
// told so at once, however many wrong tokens others try.
func TestNobodyIsSlowedDownByOthersBehindTheSameProxy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.running()
	slowed := 0
	for range 100 {
		if w.do("made-up", "GET", "/v3/ping", "").status == http.StatusServiceUnavailable {
			slowed++
		}
	}
	if slowed == 0 {
		t.Error("who repeats a wrong token is not slowed down")
	}
	if err := w.LoseAgent(t.Context(), h.agent.ID, "silent"); err != nil {
		t.Fatal(err)
	}
	if got := w.do(h.Token, "GET", "/v3/jobs/"+h.job.ID, ""); got.status != 401 {
		t.Errorf("the state of a lost job: %d, want 401, by which its agent ends it", got.status)
	}
}
