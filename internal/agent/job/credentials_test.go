package job

import (
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/agent/shell"
)

// private serves the repository of a place over HTTPS to who has the password, and returns its address.
func (p *place) private(t *testing.T, password string) string {
	t.Helper()
	commit(t, p.repo)
	if out, err := exec.Command("git", "-C", p.repo, "update-server-info").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	files := http.StripPrefix("/acme/app.git", http.FileServer(http.Dir(filepath.Join(p.repo, ".git"))))
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, got, _ := r.BasicAuth(); user != "token" || got != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="forge"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	p.env["GIT_SSL_NO_VERIFY"] = "true"
	return server.URL + "/acme/app.git"
}

func TestAPrivateRepositoryIsCheckedOutWithTheServersCredentials(t *testing.T) {
	t.Parallel()
	const flag = "BUILDKITE_USE_REPOSITORY_PROVIDER_GIT_CREDENTIALS"
	for _, c := range []struct {
		name     string
		env      shell.Env
		hook     string
		password string
		status   int
		want     string
	}{
		{"asked for", shell.Env{flag: "true"}, "", "t0ken", 0, "hello"},
		{"by the older name", shell.Env{"BUILDKITE_USE_GITHUB_APP_GIT_CREDENTIALS": "true"}, "", "t0ken", 0, "hello"},
		{"beside a configuration of the job's own", shell.Env{flag: "true", "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "slip.way", "GIT_CONFIG_VALUE_0": "kept"}, "", "t0ken", 0, "kept"},
		{"not asked for", nil, "", "t0ken", 128, "could not read Username"},
		{"turned off by a hook", shell.Env{flag: "true"}, "export " + flag + "=false", "t0ken", 128, "could not read Username"},
		{"refused", shell.Env{flag: "true"}, "", "another", 128, "Authentication failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			p.env["BUILDKITE_REPO"] = p.private(t, c.password)
			p.env["BUILDKITE_COMMAND"] = "cat README; git config slip.way || true"
			// What the helper is told is what it would ask the server about.
			tool := filepath.Join(p.temp, "it's a tool")
			p.write(t, p.temp, "it's a tool", "#!/bin/sh\n[ \"$1 $2\" = 'git-credentials-helper get' ] && grep -q '^path=acme/app.git' && printf 'username=token\\npassword=t0ken\\n\\n'\n")
			p.write(t, p.hooks, "environment", c.hook)
			p.env = p.env.With(c.env)
			r := Run(t.Context(), Config{ID: "j", Env: p.env, Log: &p.log, Tool: tool})
			if log := p.log.String(); r.Status != c.status || !strings.Contains(log, c.want) {
				t.Errorf("ended with %+v, want %d and %q:\n%s", r, c.status, c.want, log)
			}
		})
	}
}

// Over SSH a pipeline may ask for the server's credentials too: its address is then taken for the one over HTTPS.
func TestSSHAddressesBecomeHTTPS(t *testing.T) {
	t.Parallel()
	for repository, want := range map[string]string{
		"git@github.com:acme/app.git":           "url.https://github.com/.insteadOf=git@github.com:",
		"ssh://git@forge.acme.test/app/lib.git": "url.https://forge.acme.test/.insteadOf=ssh://git@forge.acme.test/",
		"https://forge.acme.test/app/lib.git":   "credential.https://forge.acme.test.useHttpPath=true",
		"/srv/git/app.git":                      "=",
	} {
		p := newPlace(t)
		x := &executor{Shell: &shell.Shell{Env: p.env, Log: shell.NewLog(&p.log)}}
		p.env["BUILDKITE_REPO"], p.env["BUILDKITE_USE_REPOSITORY_PROVIDER_GIT_CREDENTIALS"] = repository, "true"
		x.useCredentials()
		if got := p.env["GIT_CONFIG_KEY_0"] + "=" + p.env["GIT_CONFIG_VALUE_0"]; got != want {
			t.Errorf("%s: %s, want %s", repository, got, want)
		}
	}
}
