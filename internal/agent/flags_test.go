package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
)

func parseFlags(t *testing.T, file string, args ...string) Config {
	t.Helper()
	values, err := parseConfig(strings.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	var f Flags
	parser, err := kong.New(&f, kong.Resolvers(configFile{values: values}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(args); err != nil {
		t.Fatal(err)
	}
	c, err := f.AgentConfig("1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Not parallel: the environment is part of what is tested.
func TestFlagsBeatEnvironmentBeatsFile(t *testing.T) {
	t.Setenv("BUILDKITE_AGENT_NAME", "from-env")
	t.Setenv("BUILDKITE_AGENT_PRIORITY", "from-env")
	t.Setenv("HOME", "/home/x")
	c := parseFlags(t, `# comment
token="abc#def"
name=from-file
priority=from-file
tags="queue=gpu,os=linux"
spawn=3 # three
no-pty=true
build-path="~/builds"
unknown-key=1
`, "--name", "from-flag", "--cancel-grace-period=20")
	got := []any{c.Token, c.Name, c.Priority, c.Tags, c.Spawn, c.NoPTY, c.BuildPath, c.SignalGrace}
	want := []any{
		"abc#def", "from-flag", "from-env",
		[]string{"queue=gpu", "os=linux"},
		3, true,
		"/home/x/builds", 19 * time.Second,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTheNamedConfigurationFileIsRead(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "agent.cfg")
	if err := os.WriteFile(file, []byte("spawn=4\nname=from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args  []string
		spawn int
		err   string
	}{
		{[]string{"agent", "start", "--config", file}, 4, ""},
		{[]string{"agent", "start", "--config=" + file, "--spawn=2"}, 2, ""},
		{[]string{"agent", "start", "--config=" + file + ".missing"}, 0, "configuration file"},
		{[]string{"other", "--name=x"}, 0, ""},
	} {
		var tree struct {
			Agent struct {
				Start Flags `cmd:""`
			} `cmd:""`
			Other struct {
				Name  string `name:"name"`
				Spawn int    `name:"spawn"`
			} `cmd:""`
		}
		parser, err := kong.New(&tree, kong.Resolvers(Resolver(tc.args)))
		if err != nil {
			t.Fatal(err)
		}
		_, err = parser.Parse(tc.args)
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%q: %v", tc.args, err)
			}
			continue
		}
		if got := tree.Agent.Start.Spawn + tree.Other.Spawn; err != nil || tc.args[0] == "agent" && got != tc.spawn || tree.Other.Spawn != 0 {
			t.Errorf("%q: spawn %d, %v", tc.args, got, err)
		}
	}
}

func TestPathsDoNotDependOnTheDirectoryOfAJob(t *testing.T) {
	t.Parallel()
	s, err := Config{Token: "t", Endpoint: "http://x/v3", BuildPath: "b", HooksPath: "h"}.settings()
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{here + "/b", here + "/h", here + "/b/.plugins", ""}
	if diff := cmp.Diff(want, []string{s.BuildPath, s.HooksPath, s.PluginsPath, s.SocketsPath}); diff != "" {
		t.Error(diff)
	}
}

func TestWrongConfigurationsSayWhatToDo(t *testing.T) {
	t.Parallel()
	good := Config{Token: "t", Endpoint: "http://x/v3", BuildPath: "/b"}
	for want, change := range map[string]func(*Config){
		"--token":               func(c *Config) { c.Token = "" },
		"--build-path":          func(c *Config) { c.BuildPath = "" },
		"--queue or with":       func(c *Config) { c.Queue, c.Tags = "a", []string{"queue=b"} },
		"--spawn 1":             func(c *Config) { c.AcquireJob, c.Spawn = "j", 2 },
		"--spawn -5":            func(c *Config) { c.Spawn = -5 },
		"--ping-mode \"maybe\"": func(c *Config) { c.PingMode = "maybe" },
		"--cancel-signal":       func(c *Config) { c.CancelSignal = "SIGWHAT" },
	} {
		c := good
		change(&c)
		if _, err := c.settings(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want one with %q", err, want)
		}
	}
}

func TestOptionsThatRestrictJobsAreNotPassedOver(t *testing.T) {
	t.Parallel()
	f := Flags{Refused: Refused{SigningAWSKMS: "key"}}
	if _, err := f.AgentConfig("1"); err == nil || !strings.Contains(err.Error(), "--signing-aws-kms-key: not supported") {
		t.Errorf("got %v", err)
	}
}

func FuzzConfigFile(f *testing.F) {
	f.Add("a=\"b\"\nexport c='d' # e\n")
	f.Fuzz(func(t *testing.T, text string) {
		values, err := parseConfig(strings.NewReader(text))
		if err == nil && len(values) > strings.Count(text, "=") {
			t.Errorf("%q has %d values", text, len(values))
		}
	})
}

// A pattern with a space before it would hide nothing.
func TestSpacesAroundCommasMeanNothing(t *testing.T) {
	t.Parallel()
	c := parseFlags(t, `redacted-vars="*_A, *_B"
allowed-repositories="^x$ , ^y$"`, "--tags", "a=b, c d = e ,,", "--tags=f ")
	got := []any{c.Tags, c.RedactedVars, c.AllowedRepositories}
	want := []any{[]string{"a=b", "c d = e", "f"}, []string{"*_A", "*_B"}, []string{"^x$", "^y$"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if c := parseFlags(t, "", "--redacted-vars="); c.RedactedVars == nil || len(c.RedactedVars) > 0 {
		t.Errorf("--redacted-vars= hides %q, want none", c.RedactedVars)
	}
}
