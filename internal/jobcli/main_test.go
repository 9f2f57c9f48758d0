package jobcli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

// run is how a command ended.
type run struct {
	status   int
	out, err string
}

// job is where a test runs commands: a directory, an environment and a server.
type job struct {
	dir    string
	env    environ
	server http.Handler
	stdin  io.Reader // nil: nothing is piped in
}

func newJob(t *testing.T, server http.HandlerFunc) *job {
	t.Helper()
	return &job{dir: t.TempDir(), server: server, env: environ{
		"BUILDKITE_JOB_ID": "J", "BUILDKITE_BUILD_ID": "B", "BUILDKITE_STEP_ID": "S",
		"BUILDKITE_AGENT_ACCESS_TOKEN": "tok", "BUILDKITE_AGENT_ENDPOINT": "http://server/v3",
		"PATH": os.Getenv("PATH"), "HOME": t.TempDir(),
	}}
}

func (j *job) run(ctx context.Context, args ...string) run {
	var out, err bytes.Buffer
	p := &program{
		name: "buildkite-agent",
		env:  j.env, dir: j.dir, stdio: Stdio{In: j.stdin, Out: &out, Err: &err},
		http: &http.Client{Transport: inMemory{j.server}},
	}
	status := p.main(ctx, args)
	return run{status, out.String(), err.String()}
}

// inMemory carries requests to a handler without a network, so that retries
// can be tested on a synctest clock.
type inMemory struct{ handler http.Handler }

func (m inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.RequestURI = r.URL.RequestURI()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	rec := httptest.NewRecorder()
	m.handler.ServeHTTP(rec, r)
	return rec.Result(), nil
}

// call is a request as the server saw it.
type call struct{ line, body string }

// recorder answers with status and body and keeps the requests.
func recorder(t *testing.T, status int, body string) (http.HandlerFunc, *[]call) {
	var calls []call
	return func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("reading request: %v", err)
		}
		calls = append(calls, call{r.Method + " " + r.RequestURI, strings.TrimSpace(string(b))})
		answer(w, status, body)
	}, &calls
}

func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	io.WriteString(w, body) //nolint:errcheck // a recorder
}

func message(text string) string {
	b, err := json.Marshal(map[string]string{"message": text})
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args   []string
		status int
		out    string // a part of it
		err    string
	}{
		"version for plugins":   {[]string{"--version"}, 0, "buildkite-agent version 3.138.1", ""},
		"overview":              {nil, 0, "pipeline upload", ""},
		"overview of a group":   {[]string{"artifact"}, 0, "artifact shasum", ""},
		"help of a group":       {[]string{"artifact", "--help"}, 0, "artifact shasum", ""},
		"help of a command":     {[]string{"meta-data", "get", "--help"}, 0, "--default", ""},
		"unknown command":       {[]string{"frobnicate"}, 1, "", `unknown command "frobnicate"`},
		"unknown in a group":    {[]string{"artifact", "burn"}, 1, "", "artifact download"},
		"unknown flag":          {[]string{"stop", "--nope"}, 1, "", "stop: flag provided but not defined: -nope (see buildkite-agent stop --help)"},
		"malformed flag":        {[]string{"annotate", "--priority", "high"}, 1, "", "invalid value"},
		"missing argument":      {[]string{"meta-data", "get"}, 1, "", "no meta-data key"},
		"malformed endpoint":    {[]string{"stop", "--endpoint", "ftp//x"}, 1, "", `--endpoint "ftp//x" is not a URL such as`},
		"custom storage":        {[]string{"artifact", "upload", "x", "gs://b/p"}, 1, "", "use the server's own storage"},
		"unquoted pattern":      {[]string{"artifact", "upload", "a.txt", "b.txt"}, 1, "", "quote the pattern"},
		"signing key":           {[]string{"pipeline", "upload", "--signing-aws-kms-key", "k"}, 1, "", "does not upload unsigned what should be signed"},
		"download without dir":  {[]string{"artifact", "download", "x"}, 1, "", "want a query and a directory"},
		"download to no dir":    {[]string{"artifact", "download", "x", "nodir"}, 1, "", "directory to download to"},
		"no job API":            {[]string{"env", "set", "A=b"}, 1, "", "offers this job no job API"},
		"redactor without it":   {[]string{"redactor", "add"}, 1, "", "do not print the value"},
		"negative promise":      {[]string{"job", "promise-failure", "0"}, 1, "", `exit status "0": want a whole number above 0`},
		"blank meta-data":       {[]string{"meta-data", "set", "k", " "}, 1, "", `the value of meta-data "k" is blank`},
		"meta-data without =":   {[]string{"meta-data", "set-batch", "k"}, 1, "", "want key=value"},
		"malformed format":      {[]string{"artifact", "search", "x", "--format", `\`}, 1, "", "malformed escape sequence"},
		"malformed pattern":     {[]string{"annotate", "x", "--redacted-vars", "A["}, 1, "", `--redacted-vars pattern "A[": syntax error in pattern`},
		"unknown secret format": {[]string{"secret", "get", "x", "--format", "xml"}, 1, "", "want default, json or env"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("unexpected request %s", r.RequestURI) })
			got := j.run(t.Context(), tt.args...)
			if got.status != tt.status || !strings.Contains(got.out, tt.out) || !strings.Contains(got.err, tt.err) {
				t.Errorf("status %d, want %d\nstdout (want %q):\n%s\nstderr (want %q):\n%s", got.status, tt.status, tt.out, got.out, tt.err, got.err)
			}
		})
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	t.Parallel()
	j := newJob(t, nil)
	for name, want := range map[string]string{
		"BUILDKITE_AGENT_ACCESS_TOKEN": "no --agent-access-token: the agent sets it for commands inside a job by the environment variable BUILDKITE_AGENT_ACCESS_TOKEN",
		"BUILDKITE_AGENT_ENDPOINT":     "no --endpoint",
		"BUILDKITE_JOB_ID":             "no --job",
	} {
		kept := j.env[name]
		delete(j.env, name)
		if got := j.run(t.Context(), "annotate", "x"); got.status != 1 || !strings.Contains(got.err, want) {
			t.Errorf("without %s: status %d, stderr %q, want %q", name, got.status, got.err, want)
		}
		j.env[name] = kept
	}
	h, _ := recorder(t, http.StatusUnauthorized, message("token revoked"))
	j.server = h
	if got := j.run(t.Context(), "annotate", "x"); !strings.Contains(got.err, "token revoked\nthe server does not accept this token (any more)") {
		t.Errorf("stderr = %q", got.err)
	}
}

func TestHandlesItsCommandsAndTheirGroups(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]bool{
		"meta-data get x": true, "stop": true, "annotate": true, "annotation remove": true,
		"meta-data": true, "tool --help": true,
		"run": false, "": false, "agent start": false, "--help": false,
	} {
		if got := Handles(strings.Fields(line)); got != want {
			t.Errorf("Handles(%q) = %t, want %t", line, got, want)
		}
	}
}

func TestFlagsAndVariables(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		env  environ
		args []string
		want string // the annotation sent
		err  string
	}{
		"flags after arguments":   {nil, []string{"body", "--style", "info"}, `{"body":"body","style":"info","priority":3,"scope":"build"}`, ""},
		"one dash":                {nil, []string{"-style=info", "body"}, `{"body":"body","style":"info","priority":3,"scope":"build"}`, ""},
		"arguments that look so":  {nil, []string{"--style", "info", "--", "--append"}, `{"body":"--append","style":"info","priority":3,"scope":"build"}`, ""},
		"a variable":              {environ{"BUILDKITE_ANNOTATION_STYLE": "error", "BUILDKITE_ANNOTATION_APPEND": "true"}, []string{"b"}, `{"body":"b","style":"error","append":true,"priority":3,"scope":"build"}`, ""},
		"the command line wins":   {environ{"BUILDKITE_ANNOTATION_STYLE": "error", "BUILDKITE_ANNOTATION_APPEND": "true"}, []string{"b", "--style=info", "--append=false"}, `{"body":"b","style":"info","priority":3,"scope":"build"}`, ""},
		"an empty bool variable":  {environ{"BUILDKITE_ANNOTATION_APPEND": ""}, []string{"b"}, `{"body":"b","priority":3,"scope":"build"}`, ""},
		"an unreadable variable":  {environ{"BUILDKITE_ANNOTATION_PRIORITY": "top"}, []string{"b"}, "", `environment variable BUILDKITE_ANNOTATION_PRIORITY is "top", want a whole number`},
		"only the style":          {nil, []string{"--style", "info"}, `{"style":"info","priority":3,"scope":"build"}`, ""},
		"flags scripts pass on":   {nil, []string{"b", "--no-color", "--debug-http", "--no-http2", "--experiment", "a,b"}, `{"body":"b","priority":3,"scope":"build"}`, ""},
		"secrets of the job":      {environ{"MY_TOKEN": "hunter22", "SHORT_TOKEN": "abc"}, []string{"x hunter22 abc"}, `{"body":"x [REDACTED] abc","priority":3,"scope":"build"}`, ""},
		"secrets by other names":  {environ{"MY_TOKEN": "hunter22", "MINE": "xyzzy12"}, []string{"--redacted-vars", "MI*", "hunter22 xyzzy12"}, `{"body":"hunter22 [REDACTED]","priority":3,"scope":"build"}`, ""},
		"a longer secret first":   {environ{"A_TOKEN": "hunter", "B_TOKEN": "hunter22"}, []string{"hunter22"}, `{"body":"[REDACTED]","priority":3,"scope":"build"}`, ""},
		"secrets are not guarded": {environ{"MY_TOKEN": "hunter22"}, []string{"hunter22", "--redacted-vars", ""}, `{"body":"hunter22","priority":3,"scope":"build"}`, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, calls := recorder(t, http.StatusCreated, "")
			j := newJob(t, h)
			for name, value := range tt.env {
				j.env[name] = value
			}
			got := j.run(t.Context(), append([]string{"annotate"}, tt.args...)...)
			if tt.err != "" {
				if got.status != 1 || !strings.Contains(got.err, tt.err) {
					t.Errorf("status %d, stderr %q, want %q", got.status, got.err, tt.err)
				}
				return
			}
			if got.status != 0 || len(*calls) != 1 || (*calls)[0].body != tt.want {
				t.Errorf("status %d, stderr %q, calls %q, want %q", got.status, got.err, *calls, tt.want)
			}
		})
	}
}

func TestTooLongAnnotationIsRefusedBeforeItIsSent(t *testing.T) {
	t.Parallel()
	j := newJob(t, nil)
	j.stdin = strings.NewReader(strings.Repeat("x", maxAnnotation+1))
	if got := j.run(t.Context(), "annotate"); got.status != 1 || !strings.Contains(got.err, "the limit is 1048576") {
		t.Errorf("status %d, stderr %q", got.status, got.err)
	}
}

func TestServerChosenHeadersReachTheServer(t *testing.T) {
	t.Parallel()
	var got http.Header
	j := newJob(t, func(_ http.ResponseWriter, r *http.Request) { got = r.Header })
	j.env["BUILDKITE_REQUEST_HEADER_BUILDKITE_TENANT_ID"] = "7"
	if r := j.run(t.Context(), "resume"); r.status != 0 || got.Get("Buildkite-Tenant-Id") != "7" {
		t.Errorf("status %d, headers %v", r.status, got)
	}
}

func FuzzParseEnviron(f *testing.F) {
	for _, seed := range []string{"A=b", "=C:=x", "=", "", "A", "A=", "A==b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, pair string) {
		for name, value := range parseEnviron([]string{pair}) {
			if name+"="+value != pair || name == "" {
				t.Errorf("%q was read as %q and %q", pair, name, value)
			}
		}
	})
}

func BenchmarkStart(b *testing.B) {
	env := os.Environ()
	for b.Loop() {
		if Main(b.Context(), "buildkite-agent", []string{"env", "dump"}, env, Stdio{Out: io.Discard, Err: io.Discard}) != 0 {
			b.Fatal("env dump ended with an error")
		}
	}
}
