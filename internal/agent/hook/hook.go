// Package hook finds and runs hook scripts, and learns what they changed.
//
// A hook written for a POSIX shell is sourced by a small wrapper, so that the
// variables it exports and the directory it changes to are the job's from then
// on. The wrapper writes the environment it ends with to a private file, NUL
// separated, and the difference to the environment it was started with is the
// hook's effect. A hook that calls exit itself ends the wrapper before that:
// with status 0 its changes are ignored and the job goes on, with another the
// job fails (both as in buildkite-agent v3.138, internal/job/hook/wrapper.go).
//
// Any other executable, a program or a script of another language, is run as it
// is and cannot change the job's environment.
package hook

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/slipway-ci/slipway/internal/agent/shell"
)

// Hook is one hook of an agent, a repository or a plugin.
type Hook struct {
	Name  string // "pre-command"
	Scope string // "agent", "repository" or "plugin docker"
	Path  string // of the script, absolute
	Env   shell.Env
	Shell string // runs hooks without a shebang; "" means bash or, without it, sh
}

// Effect is what a hook changed.
type Effect struct {
	Env shell.Diff
	Dir string // "" if the directory is the same
}

// Find returns the path of the named hook in dir, or "" if there is none.
func Find(dir, name string) string {
	if dir == "" {
		return ""
	}
	p := filepath.Join(dir, name)
	if info, err := os.Stat(p); err != nil || info.IsDir() {
		return ""
	}
	return p
}

// FindIn is Find below a directory that the hook must not lead out of, such as
// a checkout with symbolic links of an untrusted author.
func FindIn(root, dir, name string) (string, error) {
	r, err := os.OpenRoot(root)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer r.Close() //nolint:errcheck // read side
	p := filepath.Join(dir, name)
	info, err := r.Stat(p)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.IsDir() {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("%s hook: %w", name, err)
	}
	return filepath.Join(root, p), nil
}

// Run runs the hook. A hook that fails is a *shell.ExitError wrapped with the
// hook's name.
func Run(ctx context.Context, s *shell.Shell, h Hook) (Effect, error) {
	s.Log.Header("Running %s %s hook", h.Scope, h.Name)
	s.Log.Prompt("%s", shell.Quote([]string{display(s.Dir, h.Path)}))
	line, err := interpreter(h.Path)
	if err != nil {
		return Effect{}, fmt.Errorf("%s %s hook: %w", h.Scope, h.Name, err)
	}
	if line == "binary" || line != "" && !posix(line) {
		return Effect{}, named(h, runDirectly(ctx, s, h))
	}
	effect, err := runSourced(ctx, s, h, line)
	return effect, named(h, err)
}

func named(h Hook, err error) error {
	if err == nil {
		return nil
	}
	if exit, ok := errors.AsType[*shell.ExitError](err); ok && exit.Signal == 0 {
		exit.Name = fmt.Sprintf("the %s %s hook", h.Scope, h.Name)
		return exit
	}
	return fmt.Errorf("the %s %s hook: %w", h.Scope, h.Name, err)
}

func display(dir, file string) string {
	if rel, err := filepath.Rel(dir, file); err == nil && !strings.HasPrefix(rel, "..") {
		return rel
	}
	return file
}

func runDirectly(ctx context.Context, s *shell.Shell, h Hook) error {
	extra := h.Env.With(shell.Env{
		"BUILDKITE_HOOK_PHASE": h.Name,
		"BUILDKITE_HOOK_PATH":  h.Path,
		"BUILDKITE_HOOK_SCOPE": strings.Fields(h.Scope)[0],
	})
	return s.Run(ctx, extra, h.Path)
}

// interpreter returns the shebang without "#!", "" for text without one and
// "binary" for anything else.
func interpreter(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // read side
	head, err := bufio.NewReader(f).Peek(512)
	if err != nil && len(head) == 0 {
		return "", nil //nolint:nilerr // an empty file is a script that does nothing
	}
	if bytes.HasPrefix(head, []byte("#!")) {
		line, _, _ := strings.Cut(string(head[2:]), "\n")
		return strings.TrimSpace(line), nil
	}
	if bytes.IndexByte(head, 0) >= 0 {
		return "binary", nil
	}
	return "", nil
}

// posix reports whether a shebang names a shell that can source the hook.
func posix(line string) bool {
	for i, word := range strings.Fields(line) {
		base := path.Base(word)
		switch {
		case i == 0 && base == "env", strings.HasPrefix(word, "-"), strings.Contains(word, "="):
			continue
		}
		switch base {
		case "sh", "bash", "dash", "ash", "ksh", "zsh":
			return true
		}
		return false
	}
	return false
}

// wrapper sources the hook and records the environment it leaves. The path of
// env is fixed beforehand because the hook may change PATH. The variables that
// carry the wrapper's own data are removed again by effect.
const wrapper = `. "$SLIPWAY_HOOK_FILE"
SLIPWAY_HOOK_STATUS=$?
export SLIPWAY_HOOK_DIR="$PWD"
"$SLIPWAY_HOOK_ENV" -0 > "$SLIPWAY_HOOK_OUT"
exit $SLIPWAY_HOOK_STATUS
`

func runSourced(ctx context.Context, s *shell.Shell, h Hook, line string) (Effect, error) {
	dir, err := os.MkdirTemp("", "slipway-hook")
	if err != nil {
		return Effect{}, fmt.Errorf("private directory: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // in the temporary directory
	script := filepath.Join(dir, "run")
	if err := os.WriteFile(script, []byte(wrapper), 0o600); err != nil {
		return Effect{}, fmt.Errorf("hook wrapper: %w", err)
	}
	env, err := s.LookPath("env")
	if err != nil {
		return Effect{}, err
	}
	out := filepath.Join(dir, "env")
	extra := h.Env.With(shell.Env{
		"SLIPWAY_HOOK_FILE": h.Path, "SLIPWAY_HOOK_OUT": out, "SLIPWAY_HOOK_ENV": env,
	})
	argv, err := sourcing(s, h, line)
	if err != nil {
		return Effect{}, err
	}
	if err := s.Run(ctx, extra, append(argv, script)...); err != nil {
		return Effect{}, err
	}
	return effect(s, h, out)
}

// sourcing is the command that runs the wrapper: what the hook's shebang says,
// else the agent's shell for hooks.
func sourcing(s *shell.Shell, h Hook, line string) ([]string, error) {
	if argv := strings.Fields(line); len(argv) > 0 {
		return argv, nil
	}
	if argv := strings.Fields(h.Shell); len(argv) > 0 {
		return argv, nil
	}
	for _, name := range []string{"bash", "sh"} {
		if _, err := s.LookPath(name); err == nil {
			return []string{name}, nil
		}
	}
	return nil, errors.New("neither bash nor sh is on the PATH; install one or set --hooks-shell")
}

// own reports variables that say nothing about what the hook wanted: set by
// every shell, or by the wrapper.
func own(name string) bool {
	switch name {
	case "_", "SHLVL", "PWD", "OLDPWD":
		return true
	}
	return strings.HasPrefix(name, "SLIPWAY_HOOK_")
}

func effect(s *shell.Shell, h Hook, file string) (Effect, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return Effect{}, nil // the hook called exit 0
	}
	if err != nil {
		return Effect{}, fmt.Errorf("environment after the hook: %w", err)
	}
	after := shell.FromList(strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00"))
	e := Effect{Env: s.Env.With(h.Env).Diff(after)}
	if dir := after["SLIPWAY_HOOK_DIR"]; dir != s.Dir {
		e.Dir = dir
	}
	e.Env.Drop(own)
	return e, nil
}
