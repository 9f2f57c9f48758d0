package plugin

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/agent/shell"
)

func parseOne(t *testing.T, text string) Plugin {
	t.Helper()
	plugins, err := Parse(text)
	if err != nil || len(plugins) != 1 {
		t.Fatalf("%s: %v, %v", text, plugins, err)
	}
	return plugins[0]
}

func TestSourcesResolveToRepositories(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ source, name, id, repo, dir string }{
		{
			"github.com/buildkite-plugins/docker-compose-buildkite-plugin#v5.0.0", "docker-compose",
			"github-com-buildkite-plugins-docker-compose-buildkite-plugin-v5-0-0",
			"https://github.com/buildkite-plugins/docker-compose-buildkite-plugin", ".",
		},
		{"ssh://git@github.com/o/x.git#main", "x-git", "github-com-o-x-git-main", "ssh://git@github.com/o/x.git", "."},
		{"github.com/o/many/sub/dir#v1", "dir", "github-com-o-many-sub-dir-v1", "https://github.com/o/many", "sub/dir"},
		{"file:///srv/p.git#v1", "p-git", "srv-p-git-v1", "file:///srv/p.git", "."},
		{"/srv/plugin", "plugin", "srv-plugin", "/srv/plugin", "."},
	} {
		p := parseOne(t, `["`+tc.source+`"]`)
		repo, dir, err := p.Repository()
		if err != nil {
			t.Errorf("%s: %v", tc.source, err)
		}
		got := []string{p.Name(), p.ID(), repo, dir}
		if diff := cmp.Diff([]string{tc.name, tc.id, tc.repo, tc.dir}, got); diff != "" {
			t.Errorf("%s:\n%s", tc.source, diff)
		}
	}
}

func TestConfigurationBecomesVariables(t *testing.T) {
	t.Parallel()
	p := parseOne(t, `[{"github.com/buildkite-plugins/docker-buildkite-plugin#v1":{"image":"go","n":1.50,"on":true,
		"args":["a","b"],"opts":{"some--key":"x"},"nothing":null}}]`)
	env, err := p.Env()
	if err != nil {
		t.Fatal(err)
	}
	delete(env, "BUILDKITE_PLUGIN_CONFIGURATION")
	want := shell.Env{
		"BUILDKITE_PLUGIN_NAME":                  "DOCKER",
		"BUILDKITE_PLUGIN_DOCKER_IMAGE":          "go",
		"BUILDKITE_PLUGIN_DOCKER_N":              "1.50",
		"BUILDKITE_PLUGIN_DOCKER_ON":             "true",
		"BUILDKITE_PLUGIN_DOCKER_ARGS_0":         "a",
		"BUILDKITE_PLUGIN_DOCKER_ARGS_1":         "b",
		"BUILDKITE_PLUGIN_DOCKER_OPTS_SOME__KEY": "x",
		"BUILDKITE_PLUGIN_DOCKER_OPTS_SOME_KEY":  "x",
	}
	if diff := cmp.Diff(want, env); diff != "" {
		t.Error(diff)
	}
}

func TestMalformedPluginsAreRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`{}`, `[1]`, `["a#b#c"]`, `[{"a/b":"text"}]`, `[`} {
		if plugins, err := Parse(text); err == nil {
			t.Errorf("%s: %v", text, plugins)
		}
	}
}

func TestAPluginIsClonedOnceAtItsVersion(t *testing.T) {
	t.Parallel()
	repo := filepath.Join(t.TempDir(), "p-buildkite-plugin")
	script := `git init -q -b main "$1" && cd "$1" && mkdir hooks && echo one > hooks/command && git add . &&
		git -c user.name=n -c user.email=e commit -qm one && git tag v1 && echo two > hooks/command &&
		git -c user.name=n -c user.email=e commit -qam two`
	if out, err := exec.Command("bash", "-ec", script, "-", repo).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var log bytes.Buffer
	s := &shell.Shell{
		Env: shell.Env{"PATH": os.Getenv("PATH")}, Dir: t.TempDir(), Log: shell.NewLog(&log),
		Signal: syscall.SIGTERM, Grace: time.Second,
	}
	dir := t.TempDir()
	for range 2 {
		c, err := Clone(t.Context(), s, dir, parseOne(t, `["`+repo+`#v1"]`), false)
		if err != nil {
			t.Fatal(err, log.String())
		}
		got, err := os.ReadFile(filepath.Join(c.Root, c.Hooks, "command"))
		if err != nil || string(got) != "one\n" {
			t.Errorf("%q, %v", got, err)
		}
	}
	if n := strings.Count(log.String(), "git clone"); n != 1 {
		t.Errorf("cloned %d times", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`["github.com/o/x#v1",{"./local":{"a":[1]}}]`)
	f.Fuzz(func(t *testing.T, text string) {
		plugins, err := Parse(text)
		if err != nil {
			return
		}
		for _, p := range plugins {
			if _, err := p.Env(); err != nil {
				t.Error(err)
			}
			if strings.ContainsAny(p.ID(), "/.") {
				t.Errorf("ID %q leads out of its directory", p.ID())
			}
		}
	})
}
