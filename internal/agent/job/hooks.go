package job

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/slipway-ci/slipway/internal/agent/hook"
	"github.com/slipway-ci/slipway/internal/agent/plugin"
	"github.com/slipway-ci/slipway/internal/agent/shell"
)

// everywhere runs the agent's, the repository's and the plugins' hooks.
func (x *executor) everywhere(ctx context.Context, name string) error {
	if err := x.agentHooks(ctx, name); err != nil {
		return err
	}
	if err := x.repositoryHook(ctx, name); err != nil {
		return err
	}
	return x.pluginHooks(ctx, name, x.checkouts)
}

// override runs the one hook that replaces a built-in phase, if there is one.
func (x *executor) override(ctx context.Context, name string) (bool, error) {
	for _, c := range x.checkouts {
		path, err := hook.FindIn(c.Root, c.Hooks, name)
		if err != nil {
			return false, err
		}
		if path != "" {
			return true, x.pluginHooks(ctx, name, x.checkouts)
		}
	}
	if name == "command" {
		path, err := x.repositoryHookPath(name)
		if err != nil {
			return false, err
		}
		if path != "" {
			return true, x.repositoryHook(ctx, name)
		}
	}
	if len(x.agentHookPaths(name)) == 0 {
		return false, nil
	}
	return true, x.agentHooks(ctx, name)
}

func (x *executor) agentHookPaths(name string) []string {
	var paths []string
	dirs := append([]string{x.env("BUILDKITE_HOOKS_PATH")}, strings.Split(x.env("BUILDKITE_ADDITIONAL_HOOKS_PATHS"), ",")...)
	for _, dir := range dirs {
		if path := hook.Find(strings.TrimSpace(dir), name); path != "" {
			paths = append(paths, path)
		}
	}
	return paths
}

func (x *executor) agentHooks(ctx context.Context, name string) error {
	for _, path := range x.agentHookPaths(name) {
		if err := x.hook(ctx, hook.Hook{Name: name, Scope: "agent", Path: path}); err != nil {
			return err
		}
	}
	return nil
}

func (x *executor) repositoryHookPath(name string) (string, error) {
	if x.root == "" {
		return "", nil
	}
	return hook.FindIn(x.root, filepath.Join(".buildkite", "hooks"), name)
}

func (x *executor) repositoryHook(ctx context.Context, name string) error {
	path, err := x.repositoryHookPath(name)
	if err != nil || path == "" {
		return err
	}
	if !x.Env.Bool("BUILDKITE_LOCAL_HOOKS_ENABLED", true) || x.Env.Bool("BUILDKITE_NO_LOCAL_HOOKS", false) {
		return fmt.Errorf("refusing to run %s, local hooks are disabled", path)
	}
	return x.hook(ctx, hook.Hook{Name: name, Scope: "repository", Path: path})
}

// pluginHooks runs the hook of each plugin that has it; of checkout and command
// hooks only the first, if the agent says so.
func (x *executor) pluginHooks(ctx context.Context, name string, checkouts []plugin.Checkout) error {
	seen, single := false, name == "checkout" || name == "command"
	for _, c := range checkouts {
		path, err := hook.FindIn(c.Root, c.Hooks, name)
		if err != nil {
			return err
		}
		if path == "" {
			continue
		}
		if seen && single && x.Env.Bool("BUILDKITE_STRICT_SINGLE_HOOKS", false) {
			x.Log.Warning("Ignoring additional %s hook of plugin %s", name, c.Plugin.Name())
			continue
		}
		seen = true
		h := hook.Hook{Name: name, Scope: "plugin " + c.Plugin.Name(), Path: path, Env: c.Env}
		if err := x.hook(ctx, h); err != nil {
			return err
		}
	}
	return nil
}

// hook runs one hook and makes its changes the job's.
func (x *executor) hook(ctx context.Context, h hook.Hook) error {
	h.Shell = x.env("BUILDKITE_HOOKS_SHELL")
	var effect hook.Effect
	err := x.asking(func() (err error) {
		effect, err = hook.Run(ctx, x.Shell, h)
		return err
	})
	x.Env["BUILDKITE_LAST_HOOK_EXIT_STATUS"] = strconv.Itoa(shell.ExitCode(err))
	if err != nil {
		return err
	}
	if blocked := effect.Env.Drop(protected); len(blocked) > 0 {
		x.Log.Comment("Changes to protected variables were ignored: %s", strings.Join(blocked, ", "))
	}
	x.announce(effect)
	x.Env.Apply(effect.Env)
	x.redact()
	if effect.Dir != "" {
		return x.Chdir(effect.Dir)
	}
	return nil
}

// announce names what a hook changed; the values may be secret.
func (x *executor) announce(effect hook.Effect) {
	var names []string
	for name := range effect.Env.Set {
		verb := " added"
		if _, had := x.Env[name]; had {
			verb = " changed"
		}
		names = append(names, name+verb)
	}
	for _, name := range effect.Env.Unset {
		names = append(names, name+" removed")
	}
	slices.Sort(names)
	for _, line := range names {
		x.Log.Comment("%s", line)
	}
}

// protected reports variables that nothing in a job can change, because the
// agent's operator decides them (env/protected.go of buildkite-agent v3.138).
func protected(name string) bool { return slices.Contains(protectedNames[:], name) }

var protectedNames = [...]string{
	"BUILDKITE_AGENT_ACCESS_TOKEN", "BUILDKITE_AGENT_DEBUG", "BUILDKITE_AGENT_ENDPOINT", "BUILDKITE_AGENT_PID",
	"BUILDKITE_BIN_PATH", "BUILDKITE_BUILD_PATH", "BUILDKITE_CHECKOUT_OVERRIDE_MODE", "BUILDKITE_COMMAND_EVAL",
	"BUILDKITE_CONFIG_PATH", "BUILDKITE_HOOKS_PATH", "BUILDKITE_HOOKS_SHELL", "BUILDKITE_LOCAL_HOOKS_ENABLED",
	"BUILDKITE_PLUGINS_ENABLED", "BUILDKITE_PLUGINS_PATH", "BUILDKITE_SHELL", "BUILDKITE_SSH_KEYSCAN",
}
