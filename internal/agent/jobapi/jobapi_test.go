package jobapi

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/agent/shell"
)

// served is the API of a job, and what reached the job.
type served struct {
	*Server
	hidden   []string
	promised []int
}

func serve(t *testing.T) *served {
	t.Helper()
	s := &served{}
	var err error
	s.Server, err = Listen(t.TempDir(), Job{
		Redact:    func(values ...string) { s.hidden = append(s.hidden, values...) },
		Protected: func(name string) bool { return name == "GUARDED" },
		PromiseFailure: func(_ context.Context, status int, _ string) (int, error) {
			if s.promised = append(s.promised, status); status == 9 {
				return http.StatusConflict, errors.New("another was promised")
			}
			return http.StatusOK, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	s.Show(shell.Env{"OLD": "1", "GUARDED": "x"})
	return s
}

// ask makes a request and returns its answer as "status body".
func (s *served) ask(t *testing.T, token, method, path, body string) string {
	t.Helper()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", s.Socket)
	}
	c := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://job/api/current-job/v0/"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", token)
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // read side
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.Status[:3] + " " + strings.TrimSpace(string(text))
}

func TestRequests(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ method, path, body, want string }{
		{"GET", "env", "", `200 {"env":{"GUARDED":"x","OLD":"1"}}`},
		{"PATCH", "env", `{"env":{"OLD":"2","NEW":"3"}}`, `200 {"added":["NEW"],"updated":["OLD"]}`},
		{"PATCH", "env", `{"env":{"OLD":null}}`, `422 {"error":"variables can't be set to null, delete them instead: OLD"}`},
		{"PATCH", "env", `{"env":{"GUARDED":"y","NEW":"3"}}`, `422 {"error":"the agent's operator decides these variables, a job can't change them: GUARDED"}`},
		{"PATCH", "env", `{"env":{"GUARDED=y":"","A":"1"}}`, `422 {"error":"no process can have these variables, whose names are empty or hold \"=\", or which hold a zero byte: GUARDED=y"}`},
		{"PATCH", "env", `{"env":{"A":"\u0000","":"1"}}`, `422 {"error":"no process can have these variables, whose names are empty or hold \"=\", or which hold a zero byte: , A"}`},
		{"PATCH", "env", `{`, `400 {"error":"the body is not what is expected here: unexpected EOF"}`},
		{"DELETE", "env", `{"keys":["OLD","NONE"]}`, `200 {"deleted":["OLD"]}`},
		{"DELETE", "env", `{"keys":["GUARDED"]}`, `422 {"error":"the agent's operator decides these variables, a job can't change them: GUARDED"}`},
		{"PUT", "workdir", `{"workdir":"/tmp"}`, `200 {"workdir":"/tmp"}`},
		{"PUT", "workdir", `{"workdir":"sub"}`, `422 {"error":"workdir must be an absolute path, not \"sub\""}`},
		{"POST", "redactions", `{"redact":"hunter2"}`, `201 {"redacted":"hunter2"}`},
		{"POST", "promise-failure", `{"exit_status":3,"reason":"r"}`, `200 {"outcome":"declared","accepted":true,"upstream_status":200}`},
		{"POST", "promise-failure", `{"exit_status":9}`, `200 {"outcome":"declared","accepted":false,"upstream_status":409,"error":"another was promised"}`},
		{"POST", "promise-failure", `{"exit_status":0}`, `400 {"error":"exit_status must be a positive integer"}`},
	} {
		s := serve(t)
		if got := s.ask(t, "Bearer "+s.Token, tc.method, tc.path, tc.body); got != tc.want {
			t.Errorf("%s %s %s = %s, want %s", tc.method, tc.path, tc.body, got, tc.want)
		}
	}
}

// What was asked for is handed over once, as the last request left it.
func TestTake(t *testing.T) {
	t.Parallel()
	s := serve(t)
	for _, r := range [][3]string{
		{"PATCH", "env", `{"env":{"NEW":"1","GONE":"1","GUARDED":"2"}}`},
		{"PATCH", "env", `{"env":{"NEW":"2","GONE":"1"}}`},
		{"DELETE", "env", `{"keys":["GONE","OLD"]}`},
		{"PUT", "workdir", `{"workdir":"/a"}`},
		{"POST", "redactions", `{"redact":"hunter2"}`},
	} {
		s.ask(t, "Bearer "+s.Token, r[0], r[1], r[2])
	}
	changes, dir := s.Take()
	if want := (shell.Diff{Set: shell.Env{"NEW": "2"}, Unset: []string{"GONE", "OLD"}}); !cmp.Equal(changes, want) || dir != "/a" {
		t.Errorf("took %+v and %q, want %+v and /a", changes, dir, want)
	}
	if changes, dir := s.Take(); len(changes.Set)+len(changes.Unset) > 0 || dir != "" {
		t.Errorf("took %+v and %q a second time", changes, dir)
	}
	if !slices.Equal(s.hidden, []string{"hunter2"}) {
		t.Errorf("hidden are %q", s.hidden)
	}
}

func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	s := serve(t)
	for _, token := range []string{"", "Bearer", "Bearer ", "Bearer x", "Basic " + s.Token, s.Token} {
		if got := s.ask(t, token, "PATCH", "env", `{"env":{"NEW":"1"}}`); !strings.HasPrefix(got, "401 ") {
			t.Errorf("with %q: %s", token, got)
		}
	}
	if changes, _ := s.Take(); len(changes.Set) > 0 {
		t.Errorf("a refused request changed %v", changes.Set)
	}
	if info, err := os.Stat(s.dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("others may reach the socket: %v, %v", info, err)
	}
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	s := serve(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket's directory is still there: %v", err)
	}
}
