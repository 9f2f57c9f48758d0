package jobcli

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

// TestOneRequestPerCommand states what each simple command asks of the server
// and prints.
func TestOneRequestPerCommand(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args   []string
		stdin  string
		status int // of the answer
		answer string
		line   string
		body   string
		want   run
	}{
		"meta-data get": {
			args: []string{"meta-data", "get", "k"}, answer: `{"key":"k","value":"v"}`,
			line: "POST /v3/jobs/J/data/get", body: `{"key":"k"}`, want: run{0, "v", ""},
		},
		"meta-data get of a build": {
			args: []string{"meta-data", "get", "k", "--build", "B2"}, answer: `{"value":"v"}`,
			line: "POST /v3/builds/B2/data/get", body: `{"key":"k"}`, want: run{0, "v", ""},
		},
		"meta-data get, missing": {
			args: []string{"meta-data", "get", "k"}, status: 404, answer: message("No key 'k' found"),
			line: "POST /v3/jobs/J/data/get", body: `{"key":"k"}`,
			want: run{1, "", "buildkite-agent: fatal: meta-data \"k\": POST jobs/J/data/get: 404 Not Found: No key 'k' found\n"},
		},
		"meta-data get, default": {
			args: []string{"meta-data", "get", "k", "--default", "d"}, status: 404, answer: `{}`,
			line: "POST /v3/jobs/J/data/get", body: `{"key":"k"}`, want: run{0, "d", ""},
		},
		"meta-data get, empty default": {
			args: []string{"meta-data", "get", "k", "--default", ""}, status: 404, answer: `{}`,
			line: "POST /v3/jobs/J/data/get", body: `{"key":"k"}`, want: run{0, "", ""},
		},
		"meta-data exists": {
			args: []string{"meta-data", "exists", "k"}, answer: `{"exists":true}`,
			line: "POST /v3/jobs/J/data/exists", body: `{"key":"k"}`, want: run{0, "", ""},
		},
		"meta-data exists, not": {
			args: []string{"meta-data", "exists", "k"}, answer: `{"exists":false}`,
			line: "POST /v3/jobs/J/data/exists", body: `{"key":"k"}`, want: run{100, "", ""},
		},
		"meta-data keys": {
			args: []string{"meta-data", "keys"}, answer: `["a","b"]`,
			line: "POST /v3/jobs/J/data/keys", want: run{0, "a\nb\n", ""},
		},
		"meta-data set": {
			args: []string{"meta-data", "set", "k", "v"}, line: "POST /v3/jobs/J/data/set", body: `{"key":"k","value":"v"}`,
		},
		"meta-data set from input": {
			args: []string{"meta-data", "set", "k"}, stdin: "piped\n",
			line: "POST /v3/jobs/J/data/set", body: `{"key":"k","value":"piped\n"}`,
		},
		"meta-data set of a secret": {
			args: []string{"meta-data", "set", "k", "a-job-secret"}, line: "POST /v3/jobs/J/data/set", body: `{"key":"k","value":"a-[REDACTED]"}`,
			want: run{0, "", "buildkite-agent: warning: the value of meta-data \"k\" held secrets of the environment, which were replaced by [REDACTED]; if that is not wanted, give --redacted-vars ''\n"},
		},
		"meta-data set-batch": {
			args: []string{"meta-data", "set-batch", "a=1", "b=2=3"},
			line: "POST /v3/jobs/J/data/set-batch", body: `{"items":[{"key":"a","value":"1"},{"key":"b","value":"2=3"}]}`,
		},
		"annotate from input": {
			args: []string{"annotate", "--context", "c"}, stdin: "piped",
			line: "POST /v3/jobs/J/annotations", body: `{"body":"piped","context":"c","priority":3,"scope":"build"}`,
		},
		"annotation remove": {
			args: []string{"annotation", "remove"}, line: "DELETE /v3/jobs/J/annotations/default?scope=build",
		},
		"step get": {
			args: []string{"step", "get", "label"}, answer: `{"output":"Tests"}`,
			line: "POST /v3/steps/S/export", body: `{"attribute":"label","build_id":"B"}`, want: run{0, "Tests\n", ""},
		},
		"step update": {
			args: []string{"step", "update", "label", "x", "--step", "key", "--append"},
			line: "PUT /v3/steps/key", body: `{"idempotency_uuid":"*","build_id":"B","attribute":"label","value":"x","append":true}`,
		},
		"step cancel": {
			args: []string{"step", "cancel", "--force", "--force-grace-period-seconds", "3"}, answer: `{}`,
			line: "POST /v3/steps/S/cancel", body: `{"build_id":"B","force":true,"force_grace_period":3}`,
		},
		"build cancel": {args: []string{"build", "cancel"}, answer: `{"uuid":"B"}`, line: "POST /v3/builds/B/cancel"},
		"job update": {
			args: []string{"job", "update", "timeout_in_minutes", "20"}, answer: `{"id":"J"}`,
			line: "PUT /v3/jobs/J", body: `{"timeout_in_minutes":"20"}`,
		},
		"job promise-failure": {
			args: []string{"job", "promise-failure", "4", "--reason", "tests"},
			line: "PUT /v3/jobs/J/promise_failure", body: `{"exit_status":4,"reason":"tests"}`,
		},
		"job promise-failure, another": {
			args: []string{"job", "promise-failure", "4"}, status: 409, answer: message("was 3"),
			line: "PUT /v3/jobs/J/promise_failure", body: `{"exit_status":4}`,
			want: run{1, "", "buildkite-agent: fatal: another exit status was promised before: PUT jobs/J/promise_failure: 409 Conflict: was 3\n"},
		},
		"stop":   {args: []string{"stop", "--force"}, line: "POST /v3/stop", body: `{"force":true}`},
		"pause":  {args: []string{"pause", "--note", "n", "--timeout-in-minutes", "5"}, line: "POST /v3/pause", body: `{"note":"n","timeout_in_minutes":5}`},
		"resume": {args: []string{"resume"}, line: "POST /v3/resume"},
		"secret get": {
			args: []string{"secret", "get", "db", "--skip-redaction"}, answer: `{"value":"p'w"}`,
			line: "GET /v3/jobs/J/secrets?key=db", want: run{0, "p'w\n", ""},
		},
		"secret get for a shell": {
			args: []string{"secret", "get", "db", "--skip-redaction", "--format", "env"}, answer: `{"value":"p'w"}`,
			line: "GET /v3/jobs/J/secrets?key=db", want: run{0, "DB='p'\\''w'\n", ""},
		},
		"secret get, refused": {
			args: []string{"secret", "get", "db"}, status: 404, answer: message("no such secret"),
			line: "GET /v3/jobs/J/secrets?key=db",
			want: run{1, "", "buildkite-agent: fatal: secret \"db\": GET jobs/J/secrets: 404 Not Found: no such secret\n"},
		},
		"secret get without redaction": {
			args: []string{"secret", "get", "db"}, answer: `{"value":"x"}`, line: "GET /v3/jobs/J/secrets?key=db",
			want: run{1, "", "buildkite-agent: fatal: the secret is not printed because the log would show it: the agent offers this job no job API (BUILDKITE_AGENT_JOB_API_SOCKET and BUILDKITE_AGENT_JOB_API_TOKEN are not set); to print it all the same give --skip-redaction or set BUILDKITE_AGENT_SECRET_GET_SKIP_SECRET_REDACTION=true\n"},
		},
		"oidc request-token": {
			args: []string{"oidc", "request-token", "--audience", "aws", "--claim", "a,b", "--claim", "c", "--skip-redaction"}, answer: `{"token":"t.o.k"}`,
			line: "POST /v3/jobs/J/oidc/tokens", body: `{"audience":"aws","claims":["a","b","c"]}`, want: run{0, "t.o.k\n", ""},
		},
		"oidc request-token for gcp": {
			args: []string{"oidc", "request-token", "--format", "gcp", "--skip-redaction"}, answer: `{"token":"t.o.k"}`,
			line: "POST /v3/jobs/J/oidc/tokens", body: `{}`,
			want: run{0, `{"id_token":"t.o.k","token_type":"urn:ietf:params:oauth:token-type:jwt","version":1,"success":true}` + "\n", ""},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status := tt.status
			if status == 0 {
				status = http.StatusOK
			}
			h, calls := recorder(t, status, tt.answer)
			j := newJob(t, h)
			j.env["MY_SECRET"] = "job-secret"
			if tt.stdin != "" {
				j.stdin = strings.NewReader(tt.stdin)
			}
			if diff := cmp.Diff(tt.want, j.run(t.Context(), tt.args...), cmp.AllowUnexported(run{})); diff != "" {
				t.Errorf("run (-want +got):\n%s", diff)
			}
			for i := range *calls {
				(*calls)[i].body = withoutUUID((*calls)[i].body)
			}
			if diff := cmp.Diff([]call{{tt.line, tt.body}}, *calls, cmp.AllowUnexported(call{})); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}
}

// withoutUUID hides the only part of a request that differs from run to run.
func withoutUUID(body string) string {
	const field = `"idempotency_uuid":"`
	before, after, found := strings.Cut(body, field)
	if !found || len(after) < 36 {
		return body
	}
	return before + field + "*" + after[36:]
}

func TestServerFaultsAreSurvivedWithAWarning(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		faults := 2
		j := newJob(t, func(w http.ResponseWriter, _ *http.Request) {
			if faults > 0 {
				faults--
				answer(w, http.StatusBadGateway, message("restarting"))
				return
			}
			answer(w, http.StatusOK, `{"value":"v"}`)
		})
		got := j.run(t.Context(), "meta-data", "get", "k")
		want := run{0, "v", "buildkite-agent: warning: POST jobs/J/data/get: 502 Bad Gateway: restarting; attempt 1 of 10, the next in 5s\n" +
			"buildkite-agent: warning: POST jobs/J/data/get: 502 Bad Gateway: restarting; attempt 2 of 10, the next in 5s\n"}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(run{})); diff != "" {
			t.Errorf("run (-want +got):\n%s", diff)
		}
	})
}

func TestSeveralSecretsAreJSON(t *testing.T) {
	t.Parallel()
	j := newJob(t, func(w http.ResponseWriter, r *http.Request) {
		answer(w, http.StatusOK, `{"value":"<`+r.FormValue("key")+`>"}`)
	})
	want := run{0, `{"a":"<a>","b":"<b>"}` + "\n", ""}
	got := j.run(t.Context(), "secret", "get", "b", "a", "--skip-redaction")
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(run{})); diff != "" {
		t.Errorf("run (-want +got):\n%s", diff)
	}
}

func TestEnvDump(t *testing.T) {
	t.Parallel()
	j := newJob(t, nil)
	j.env = environ{"A": "<b>", "C": "d\ne"}
	if got := j.run(t.Context(), "env", "dump"); got.out != `{"A":"<b>","C":"d\ne"}`+"\n" {
		t.Errorf("stdout = %q", got.out)
	}
	if got := j.run(t.Context(), "env", "get", "A"); got.out != "<b>\n" || got.status != 0 {
		t.Errorf("env get without a job API: status %d, stdout %q", got.status, got.out)
	}
}

// jobSocket serves the job API of an agent and keeps the requests.
func jobSocket(t *testing.T, j *job, respond string) *[]call {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var calls []call
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer sesame" {
			answer(w, http.StatusUnauthorized, `{"error":"who are you"}`)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		calls = append(calls, call{r.Method + " " + r.RequestURI, string(body)})
		answer(w, http.StatusOK, respond)
	}))
	s.Listener.Close() //nolint:errcheck // replaced
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	j.env["BUILDKITE_AGENT_JOB_API_SOCKET"], j.env["BUILDKITE_AGENT_JOB_API_TOKEN"] = socket, "sesame"
	return &calls
}

func TestJobAPI(t *testing.T) {
	t.Parallel()
	const base = " /api/current-job/v0/"
	tests := map[string]struct {
		args   []string
		stdin  string
		answer string
		calls  []call
		want   run
	}{
		"get one":     {[]string{"env", "get", "A"}, "", `{"env":{"A":"1","B":"2"}}`, []call{{"GET" + base + "env", "null"}}, run{0, "1\n", ""}},
		"get all":     {[]string{"env", "get"}, "", `{"env":{"B":"2","A":"1"}}`, []call{{"GET" + base + "env", "null"}}, run{0, "A=1\nB=2\n", ""}},
		"get missing": {[]string{"env", "get", "A", "X", "--format", "json"}, "", `{"env":{"A":"1"}}`, []call{{"GET" + base + "env", "null"}}, run{1, "{\"A\":\"1\"}\n", "buildkite-agent: warning: \"X\" is not set\n"}},
		"set": {
			[]string{"env", "set", "A=1", "B=x=y"},
			"", `{"added":["B"],"updated":["A"]}`,
			[]call{{"PATCH" + base + "env", `{"env":{"A":"1","B":"x=y"}}`}},
			run{0, "Added:\n+ B\nUpdated:\n~ A\n", ""},
		},
		"set from input": {
			[]string{"env", "set", "--input-format=json", "--output-format=quiet", "-"},
			`{"A":"1"}` + "\n", `{}`,
			[]call{{"PATCH" + base + "env", `{"env":{"A":"1"}}`}},
			run{0, "", ""},
		},
		"unset":   {[]string{"env", "unset", "A"}, "", `{"deleted":["A"]}`, []call{{"DELETE" + base + "env", `{"keys":["A"]}`}}, run{0, "Unset:\n- A\n", ""}},
		"workdir": {[]string{"workdir", "set", "/"}, "", `{"workdir":"/"}`, []call{{"PUT" + base + "workdir", `{"workdir":"/"}`}}, run{0, "/\n", ""}},
		"redactor": {
			[]string{"redactor", "add"},
			" s3cret \n", `{"redacted":"s3cret"}`,
			[]call{{"POST" + base + "redactions", `{"redact":"s3cret"}`}},
			run{0, "", ""},
		},
		"redactor, JSON by name": {
			[]string{"redactor", "add", "--format", "json", "--apply-vars-filter"},
			`{"A_TOKEN":"s3cret","B":"public"}`, `{}`,
			[]call{{"POST" + base + "redactions", `{"redact":"s3cret"}`}},
			run{0, "", ""},
		},
		"redactor, not JSON": {
			[]string{"redactor", "add", "--format", "json"},
			`s3cret`, `{}`, nil,
			run{1, "", "buildkite-agent: fatal: the input is not a JSON object whose values are texts\n"},
		},
		"secret is hidden before it is printed": {
			[]string{"secret", "get", "db"},
			"", `{}`,
			[]call{{"POST" + base + "redactions", `{"redact":"from the server"}`}},
			run{0, "from the server\n", ""},
		},
		"token is hidden before it is printed": {
			[]string{"oidc", "request-token"},
			"", `{}`,
			[]call{{"POST" + base + "redactions", `{"redact":"tok"}`}},
			run{0, "tok\n", ""},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, _ := recorder(t, http.StatusOK, `{"value":"from the server","token":"tok"}`)
			j := newJob(t, h)
			calls := jobSocket(t, j, tt.answer)
			if tt.stdin != "" {
				j.stdin = strings.NewReader(tt.stdin)
			}
			got := j.run(t.Context(), tt.args...)
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(run{})); diff != "" {
				t.Errorf("run (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.calls, *calls, cmp.AllowUnexported(call{})); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}
}

func TestJobAPIRefusalIsShown(t *testing.T) {
	t.Parallel()
	j := newJob(t, nil)
	jobSocket(t, j, "{}")
	j.env["BUILDKITE_AGENT_JOB_API_TOKEN"] = "wrong"
	if got := j.run(t.Context(), "env", "set", "A=b"); got.status != 1 || got.err != "buildkite-agent: fatal: job API env: who are you (status 401)\n" {
		t.Errorf("status %d, stderr %q", got.status, got.err)
	}
}

func TestUUIDsAreRandom(t *testing.T) {
	t.Parallel()
	a, b := newUUID(), newUUID()
	if a == b || len(a) != 36 || a[14] != '4' {
		t.Errorf("uuids %q and %q", a, b)
	}
}
