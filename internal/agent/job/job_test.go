package job

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/agent/shell"
)

// place is a machine with an agent's hooks, a repository and a plugin.
type place struct {
	temp, hooks, repo, plugin string
	env                       shell.Env
	log                       bytes.Buffer
}

func newPlace(t *testing.T) *place {
	t.Helper()
	temp := t.TempDir()
	p := &place{
		temp: temp, hooks: filepath.Join(temp, "hooks"), repo: filepath.Join(temp, "repo"),
		plugin: filepath.Join(temp, "own-buildkite-plugin"),
	}
	p.env = shell.Env{
		"PATH": os.Getenv("PATH"), "HOME": temp, "TEMP": temp,
		"BUILDKITE_BUILD_PATH": filepath.Join(temp, "builds"), "BUILDKITE_HOOKS_PATH": p.hooks,
		"BUILDKITE_PLUGINS_PATH": filepath.Join(temp, "plugins"), "BUILDKITE_AGENT_NAME": "agent 1",
		"BUILDKITE_ORGANIZATION_SLUG": "org", "BUILDKITE_PIPELINE_SLUG": "pipe",
		"BUILDKITE_REPO": p.repo, "BUILDKITE_COMMIT": "HEAD", "BUILDKITE_BRANCH": "main",
		"BUILDKITE_COMMAND": "echo built-in command",
	}
	p.write(t, p.repo, "README", "hello")
	return p
}

func (p *place) write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	syscall.ForkLock.RLock() // a process that starts meanwhile would keep the file from being run
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func commit(t *testing.T, dir string) {
	t.Helper()
	script := `cd "$1" && git init -q -b main . && git add . && git -c user.name=n -c user.email=e commit -qm one`
	if out, err := exec.Command("bash", "-ec", script, "-", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func (p *place) run(t *testing.T) Result {
	t.Helper()
	commit(t, p.repo)
	if shell.Exists(p.plugin) {
		commit(t, p.plugin)
		if _, set := p.env["BUILDKITE_PLUGINS"]; !set {
			p.env["BUILDKITE_PLUGINS"] = fmt.Sprintf("[%q]", p.plugin)
		}
	}
	return Run(t.Context(), Config{
		ID: "j", Env: p.env, Log: &p.log, Tool: "/bin/false", PTY: true, Signal: syscall.SIGTERM, Grace: 5 * time.Second,
	})
}

func TestWhatDecidesTheStatusOfAJob(t *testing.T) {
	t.Parallel()
	type files map[string]string // "hooks/…", "repo/…", "plugin/…"
	for _, tc := range []struct {
		name   string
		files  files
		env    shell.Env
		status int
		want   string // in the log
		not    string // not in the log
	}{
		{"the command", nil, shell.Env{"BUILDKITE_COMMAND": "cat README; exit 4"}, 4, "hello", ""},
		{"a pre-command hook", files{"hooks/pre-command": "exit 5"}, nil, 5, "the agent pre-command hook", "built-in command"},
		{"no post-command after a failed pre-command", files{"hooks/pre-command": "exit 5", "hooks/post-command": "echo p o s t"}, nil, 5, "", "\np o s t"},
		{"a post-command hook", files{"hooks/post-command": "exit 6"}, nil, 6, "built-in command", ""},
		{"a post-command hook after a failed command", files{"hooks/post-command": "exit 6"}, shell.Env{"BUILDKITE_COMMAND": "exit 1"}, 6, "", ""},
		{"a pre-exit hook", files{"hooks/pre-exit": "exit 7"}, nil, 7, "built-in command", ""},
		{"an environment hook", files{"hooks/environment": "exit 8", "hooks/pre-exit": "echo still here"}, nil, 8, "still here", "built-in command"},
		{"a failed upload", nil, shell.Env{"BUILDKITE_ARTIFACT_PATHS": "*"}, 1, "uploading artifacts", ""},
		{"a failed upload after a failed command", nil, shell.Env{"BUILDKITE_ARTIFACT_PATHS": "*", "BUILDKITE_COMMAND": "exit 4"}, 4, "uploading artifacts", ""},
		{"no command", nil, shell.Env{"BUILDKITE_COMMAND": " "}, 1, "the step has no command", ""},
		{"a repository that is not there", nil, shell.Env{"BUILDKITE_COMMIT": "-x"}, 1, "begins with a hyphen", "built-in command"},
		{"malformed plugins", nil, shell.Env{"BUILDKITE_PLUGINS": "{}"}, 1, "not a JSON list", "built-in command"},
		{"disabled plugins", files{"plugin/hooks/command": "echo plugin"}, shell.Env{"BUILDKITE_PLUGINS_ENABLED": "false"}, 1, "--no-plugins", "built-in command"},
		{"disabled local hooks", files{"repo/.buildkite/hooks/pre-command": "echo local"}, shell.Env{"BUILDKITE_LOCAL_HOOKS_ENABLED": "false"}, 1, "local hooks are disabled", "built-in command"},
		{"an agent's command hook", files{"hooks/command": "echo agent command"}, nil, 0, "agent command", "built-in command\r"},
		{"a repository's before an agent's", files{"hooks/command": "echo agent command", "repo/.buildkite/hooks/command": "echo repository command"}, nil, 0, "\nrepository command", "\nagent command"},
		{"a plugin's before a repository's", files{"plugin/hooks/command": "exit 9", "repo/.buildkite/hooks/command": "echo repository command"}, nil, 9, "status 9", "\nrepository command"},
		{"a checkout hook", files{"hooks/checkout": "git clone -q \"$BUILDKITE_REPO\" . && echo own checkout"}, shell.Env{"BUILDKITE_COMMAND": "cat README"}, 0, "own checkout", "git fetch"},
		{"a directory from a hook", files{"hooks/pre-command": "mkdir -p sub; cd sub", "hooks/post-command": "pwd"}, shell.Env{"BUILDKITE_COMMAND": "pwd"}, 0, "/builds/agent-1/org/pipe/sub\r\n", ""},
		{"a moved checkout", files{"hooks/post-checkout": "export BUILDKITE_BUILD_CHECKOUT_PATH=$TEMP"}, shell.Env{"BUILDKITE_COMMAND": "test $PWD = $TEMP"}, 0, "changed the working directory", ""},
		{"the exit status in hooks", files{"hooks/post-command": "test $BUILDKITE_COMMAND_EXIT_STATUS = 3 && exit 0"}, shell.Env{"BUILDKITE_COMMAND": "exit 3"}, 3, "", ""},
		{"a clean checkout", files{"repo/.gitignore": "cache"}, shell.Env{"BUILDKITE_CLEAN_CHECKOUT": "true"}, 0, "Cleaning pipeline checkout", ""},
		{"no repository", nil, shell.Env{"BUILDKITE_REPO": "", "BUILDKITE_COMMAND": "test -z \"$(ls -A)\""}, 0, "BUILDKITE_REPO is empty", ""},
		{"a sh shell", nil, shell.Env{"BUILDKITE_SHELL": "/bin/sh -c", "BUILDKITE_COMMAND": "false; echo on"}, 0, "\non\r", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			dirs := map[string]string{"hooks": p.hooks, "repo": p.repo, "plugin": p.plugin}
			for name, text := range tc.files {
				top, rest, _ := strings.Cut(name, "/")
				p.write(t, dirs[top], rest, text)
			}
			p.env = p.env.With(tc.env)
			r := p.run(t)
			log := p.log.String()
			if r.Status != tc.status || !strings.Contains(log, tc.want) || tc.not != "" && strings.Contains(log, tc.not) {
				t.Errorf("ended with %+v, want %d; want %q, not %q:\n%s", r, tc.status, tc.want, tc.not, log)
			}
		})
	}
}

// canceler cancels when the log holds a text.
type canceler struct {
	mu     sync.Mutex
	log    bytes.Buffer
	text   string
	cancel func()
}

func (c *canceler) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log.Write(p)
	if strings.Contains(c.log.String(), c.text) {
		c.cancel()
	}
	return len(p), nil
}

func TestNothingNewStartsInACanceledJob(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.write(t, p.hooks, "pre-checkout", "echo now; sleep 60")
	p.write(t, p.hooks, "pre-exit", `echo "canceled: $BUILDKITE_JOB_CANCELLED"`)
	ctx, cancel := context.WithCancelCause(t.Context())
	out := &canceler{text: "now\r", cancel: func() { cancel(ErrCanceled) }}
	commit(t, p.repo)
	r := Run(ctx, Config{ID: "j", Env: p.env, Log: out, PTY: true, Signal: syscall.SIGTERM, Grace: time.Minute})
	log := out.log.String()
	if r.Status == 0 || strings.Contains(log, "built-in") || !strings.Contains(log, "canceled: true") {
		t.Errorf("ended with %+v:\n%s", r, log)
	}
}

func TestAClosedKillStartsNothing(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.write(t, p.hooks, "pre-exit", "echo too late")
	kill := make(chan struct{})
	close(kill)
	r := Run(t.Context(), Config{ID: "j", Env: p.env, Log: &p.log, Signal: syscall.SIGTERM, Kill: kill})
	if r.Status == 0 || strings.Contains(p.log.String(), "\ntoo late") {
		t.Errorf("ended with %+v:\n%s", r, p.log.String())
	}
}
