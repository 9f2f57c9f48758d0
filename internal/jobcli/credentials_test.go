package jobcli

import (
	"net/http"
	"strings"
	"testing"
)

func TestGitIsGivenTheServersCredentials(t *testing.T) {
	t.Parallel()
	const asks = "protocol=https\nhost=github.com\npath=acme/app.git\nwwwauth[]=Basic realm=\"GitHub\"\n\n"
	const fails = "username=fail\npassword=fail\n\n"
	for _, c := range []struct {
		name, action, stdin string
		status              int
		answer              string
		want                run
		sent                string
	}{
		{
			"get", "get", asks, http.StatusOK, `{"token": "ghs_1"}`,
			run{0, "username=token\npassword=ghs_1\n\n", ""},
			`{"repo_url":"https://github.com/acme/app.git"}`,
		},
		{"store", "store", asks + "password=x\n", http.StatusOK, `{}`, run{0, "", ""}, ""},
		{"erase", "erase", asks, http.StatusOK, `{}`, run{0, "", ""}, ""},
		{"refused", "get", asks, http.StatusForbidden, `{"message": "not this one"}`, run{1, fails, "not this one"}, `{"repo_url":"https://github.com/acme/app.git"}`},
		{"no token", "get", asks, http.StatusOK, `{}`, run{1, fails, "no token"}, `{"repo_url":"https://github.com/acme/app.git"}`},
		{"not https", "get", strings.Replace(asks, "https", "http", 1), http.StatusOK, `{}`, run{1, fails, "over https alone"}, ""},
		{"no path", "get", "protocol=https\nhost=github.com\n\n", http.StatusOK, `{}`, run{1, fails, "useHttpPath"}, ""},
		{"nothing", "get", "", http.StatusOK, `{}`, run{1, fails, "useHttpPath"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server, calls := recorder(t, c.status, c.answer)
			j := newJob(t, server)
			j.stdin = strings.NewReader(c.stdin)
			got := j.run(t.Context(), "git-credentials-helper", c.action)
			if got.status != c.want.status || got.out != c.want.out || !strings.Contains(got.err, c.want.err) {
				t.Errorf("%+v, want %+v", got, c.want)
			}
			want := []call{{"POST /v3/jobs/J/repository_access_token", c.sent}}
			if c.sent == "" {
				want = nil
			}
			if len(*calls) != len(want) || len(want) == 1 && (*calls)[0] != want[0] {
				t.Errorf("sent %v, want %v", *calls, want)
			}
		})
	}
}

func TestTheHelperSaysWhatItLacks(t *testing.T) {
	t.Parallel()
	server, _ := recorder(t, http.StatusOK, `{}`)
	j := newJob(t, server)
	delete(j.env, "BUILDKITE_JOB_ID")
	j.stdin = strings.NewReader("protocol=https\nhost=github.com\npath=acme/app.git\n\n")
	if got := j.run(t.Context(), "git-credentials-helper", "get"); got.status != 1 || !strings.Contains(got.err, "no --job-id") || !strings.Contains(got.err, "BUILDKITE_JOB_ID") {
		t.Errorf("%+v", got)
	}
}
