// Package job runs the phases of one job on this machine.
//
// The order is that of buildkite-agent v3.138 (internal/job/executor.go):
//
//	environment hooks (agent) · plugins are cloned · environment hooks (plugins)
//	pre-checkout (agent, plugins) · checkout · post-checkout (agent, repository, plugins)
//	vendored plugins and their environment hooks
//	pre-command (agent, repository, plugins) · command · post-command (same)
//	pre-artifact (same) · artifact upload · post-artifact (same), if there are artifact paths
//	pre-exit (same)
//
// A checkout or command hook replaces the built-in behaviour; a plugin's comes
// before the repository's, and that before the agent's. The phases run in this
// process, and only hooks, git and the command are processes of their own, with
// exactly the environment in [Config.Env] and what hooks changed of it.
//
// A failed hook before the command ends the job with its status. After a failed
// command the post-command hooks and the artifact upload still run; pre-exit
// hooks always run. When the context ends, the running process is asked to
// stop, nothing new is started but post-command hooks, artifacts and pre-exit
// hooks, and these are killed when [Config.Kill] closes.
package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/slipway-ci/slipway/internal/agent/checkout"
	"github.com/slipway-ci/slipway/internal/agent/jobapi"
	"github.com/slipway-ci/slipway/internal/agent/plugin"
	"github.com/slipway-ci/slipway/internal/agent/redact"
	"github.com/slipway-ci/slipway/internal/agent/shell"
	"github.com/slipway-ci/slipway/internal/agent/wire"
)

// Config is a job and the way this agent runs jobs. Everything that hooks may
// change is a variable in Env, as the agent documents it.
type Config struct {
	ID  string
	Env shell.Env
	Log io.Writer
	// Client is authorised with the job's token.
	Client *wire.Client
	// Secrets are fetched into the environment before anything runs.
	Secrets []Secret
	// Ignored names variables of the job that the agent's own replaced.
	Ignored []string
	// RedactedVars are globs; the values of matching variables are hidden.
	RedactedVars []string
	// Tool is the agent's command line program, for uploads.
	Tool string

	PTY    bool
	Signal syscall.Signal
	Grace  time.Duration   // from Signal to SIGKILL
	Kill   <-chan struct{} // ends every process at once when closed
}

// Secret is one entry of a step's `secrets`.
type Secret struct {
	Key string `json:"key"`
	Env string `json:"environment_variable"`
}

// Result is how a job ended.
type Result struct {
	Status int
	Signal string // "SIGKILL" and the like, if a signal ended the command
	// Setup says that the job ended before any of its own code ran.
	Setup bool
}

// Causes to cancel the context of Run with.
var (
	ErrCanceled  = errors.New("the job was canceled")
	ErrTimedOut  = errors.New("the job timed out")
	ErrAgentStop = errors.New("the agent is stopping")
)

type executor struct {
	job Config
	*shell.Shell
	api       *jobapi.Server // nil where there is none
	plugins   []plugin.Plugin
	checkouts []plugin.Checkout
	root      string // the checkout, for hooks and plugins of the repository
	cleanup   []string
	command   error // how the command ended
	setup     bool
}

// Run runs the job and returns how it ended. It does not fail: whatever goes
// wrong is explained in the log and is the job's status.
func Run(ctx context.Context, c Config) Result {
	x := &executor{job: c, Shell: &shell.Shell{
		Env: c.Env, Dir: os.TempDir(), Log: shell.NewLog(c.Log),
		PTY: c.PTY, Signal: c.Signal, Grace: c.Grace, Kill: c.Kill,
	}}
	defer x.serveAPI()()
	x.redact()
	late := context.WithoutCancel(ctx)
	status := x.run(ctx, late)
	x.markCanceled(ctx)
	if err := x.everywhere(late, "pre-exit"); err != nil {
		x.Log.Error("%v", err)
		status = shell.ExitCode(err)
	}
	for _, dir := range x.cleanup {
		if err := os.RemoveAll(dir); err != nil {
			x.Log.Warning("Removing %s: %v", dir, err)
		}
	}
	r := Result{Status: status, Setup: x.setup}
	if exit, ok := errors.AsType[*shell.ExitError](x.command); ok && exit.Signal != 0 {
		r.Signal = shell.SignalName(exit.Signal)
	}
	return r
}

func (x *executor) env(name string) string { return x.Env[name] }

func (x *executor) run(ctx, late context.Context) int {
	err := x.setUp(ctx)
	if err == nil {
		err = x.prepare(ctx)
	}
	if err == nil {
		err = x.commandPhase(ctx, late)
		if uploadErr := x.artifactPhase(late); uploadErr != nil {
			x.Log.Error("%v", uploadErr)
			if err == nil && x.command == nil {
				return shell.ExitCode(uploadErr)
			}
		}
	}
	if err != nil {
		x.Log.Error("%v", err)
		return shell.ExitCode(err)
	}
	return shell.ExitCode(x.command)
}

// setUp makes the environment, the secrets included, and runs the agent's
// environment hook, which may decide what plugins are allowed.
func (x *executor) setUp(ctx context.Context) error {
	x.reportIgnored()
	x.Env["GIT_TERMINAL_PROMPT"] = "0"
	if err := x.fetchSecrets(ctx); err != nil {
		x.setup = true
		return err
	}
	if x.env("BUILDKITE_BUILD_CHECKOUT_PATH") == "" {
		x.Env["BUILDKITE_BUILD_CHECKOUT_PATH"] = checkout.Path(x.env("BUILDKITE_BUILD_PATH"),
			x.env("BUILDKITE_AGENT_NAME"), x.env("BUILDKITE_ORGANIZATION_SLUG"), x.env("BUILDKITE_PIPELINE_SLUG"))
	}
	return x.agentHooks(ctx, "environment")
}

func (x *executor) reportIgnored() {
	if len(x.job.Ignored) == 0 {
		return
	}
	x.Log.Header("Detected protected environment variables")
	x.Log.Comment("The pipeline sets variables that only hooks, plugins or the agent's configuration can set")
	for _, name := range x.job.Ignored {
		x.Log.Printf("Ignored %s", name)
	}
	x.Log.Printf("^^^ +++")
}

func (x *executor) fetchSecrets(ctx context.Context) error {
	if len(x.job.Secrets) == 0 {
		return nil
	}
	x.Log.Header("Preparing secrets")
	for _, secret := range x.job.Secrets {
		if protected(secret.Env) {
			return fmt.Errorf("secret %s: %s cannot be set by a secret", secret.Key, secret.Env)
		}
		var value string
		err := wire.Retry(ctx, wire.CallSecret, nil, func(ctx context.Context, _ int) (err error) {
			value, err = x.job.Client.Secret(ctx, x.job.ID, secret.Key)
			return err
		})
		if err != nil {
			return fmt.Errorf("secret %s: %w", secret.Key, err)
		}
		x.Log.Redact(value)
		x.Env[secret.Env] = value
		x.Log.Comment("Secret %s added as environment variable %s", secret.Key, secret.Env)
	}
	return nil
}

// prepare does everything that comes before the command phase.
func (x *executor) prepare(ctx context.Context) error {
	for _, phase := range []func(context.Context) error{
		x.pluginPhase, x.checkoutPhase, x.vendoredPluginPhase,
	} {
		if err := phase(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (x *executor) pluginPhase(ctx context.Context) error {
	plugins, err := plugin.Parse(x.env("BUILDKITE_PLUGINS"))
	if err != nil || len(plugins) == 0 {
		return err
	}
	x.Log.Header("Preparing plugins")
	if !x.Env.Bool("BUILDKITE_PLUGINS_ENABLED", true) {
		return errors.New("plugins are disabled on this agent (--no-plugins, --no-local-hooks or --no-command-eval)")
	}
	x.plugins = plugins
	dir := x.env("BUILDKITE_PLUGINS_PATH")
	if dir != "" {
		dir = checkout.Path(dir, x.env("BUILDKITE_AGENT_NAME"), "", "")
	}
	fresh, done := x.Env.Bool("BUILDKITE_PLUGINS_ALWAYS_CLONE_FRESH", false), map[string]bool{}
	for _, p := range plugins {
		if p.Vendored() {
			continue
		}
		c, err := plugin.Clone(ctx, x.Shell, dir, p, fresh && !done[p.Label()])
		if err != nil {
			return err
		}
		done[p.Label()] = true
		x.checkouts = append(x.checkouts, c)
	}
	return x.pluginHooks(ctx, "environment", x.checkouts)
}

func (x *executor) vendoredPluginPhase(ctx context.Context) error {
	var vendored []plugin.Checkout
	for _, p := range x.plugins {
		if !p.Vendored() {
			continue
		}
		c, err := plugin.Vendored(x.root, p)
		if err != nil {
			return err
		}
		vendored = append(vendored, c)
	}
	x.checkouts = append(x.checkouts, vendored...)
	return x.pluginHooks(ctx, "environment", vendored)
}

func (x *executor) checkoutPhase(ctx context.Context) error {
	if err := x.agentHooks(ctx, "pre-checkout"); err != nil {
		return err
	}
	if err := x.pluginHooks(ctx, "pre-checkout", x.checkouts); err != nil {
		return err
	}
	if err := x.enterCheckout(); err != nil {
		return err
	}
	x.useCredentials()
	if err := x.checkout(ctx); err != nil {
		return err
	}
	x.root = x.env("BUILDKITE_BUILD_CHECKOUT_PATH")
	if err := x.everywhere(ctx, "post-checkout"); err != nil {
		return err
	}
	if moved := x.env("BUILDKITE_BUILD_CHECKOUT_PATH"); moved != x.root {
		x.Log.Header("A post-checkout hook has changed the working directory to %q", moved)
		x.root = moved
		return x.Chdir(moved)
	}
	return nil
}

// enterCheckout makes the working directory, a temporary one for a job without
// a repository.
func (x *executor) enterCheckout() error {
	dir := x.env("BUILDKITE_BUILD_CHECKOUT_PATH")
	if x.Env.Bool("BUILDKITE_CLEAN_CHECKOUT", false) {
		x.Log.Header("Cleaning pipeline checkout")
		if err := checkout.Remove(x.Shell, dir); err != nil {
			return err
		}
	}
	x.Log.Header("Preparing working directory")
	if x.env("BUILDKITE_REPO") == "" {
		temp, err := os.MkdirTemp("", "slipway-job")
		if err != nil {
			return fmt.Errorf("working directory: %w", err)
		}
		x.cleanup = append(x.cleanup, temp)
		dir = temp
		x.Env["BUILDKITE_BUILD_CHECKOUT_PATH"] = dir
	}
	return checkout.Enter(x.Shell, dir)
}

func (x *executor) checkout(ctx context.Context) error {
	if x.Env.Bool("BUILDKITE_SKIP_CHECKOUT", false) {
		x.Log.Comment("Skipping checkout, BUILDKITE_SKIP_CHECKOUT is set")
		return nil
	}
	replaced, err := x.override(ctx, "checkout")
	switch {
	case err != nil:
		return err
	case replaced:
	case x.env("BUILDKITE_REPO") == "":
		x.Log.Comment("Skipping checkout, BUILDKITE_REPO is empty")
		return nil
	default:
		if err := checkout.Run(ctx, x.Shell, x.Dir, checkout.FromEnv(x.Env)); err != nil {
			return err
		}
	}
	if err := x.sendCommit(ctx); err != nil {
		x.Log.Comment("The commit could not be described to the server: %v", err)
	}
	return nil
}

// commitKey is where servers look for the commit that a job checked out.
const commitKey = "buildkite:git:commit"

func (x *executor) sendCommit(ctx context.Context) error {
	if x.Env.Bool("BUILDKITE_COMMIT_RESOLVED", false) || x.job.Client == nil {
		return nil
	}
	known := false
	err := wire.Retry(ctx, wire.CallMetaDataRead, nil, func(ctx context.Context, _ int) (err error) {
		known, err = x.job.Client.MetaDataExists(ctx, wire.OfJob(x.job.ID), commitKey)
		return err
	})
	if known || err != nil {
		return err
	}
	text, err := checkout.Describe(ctx, x.Shell, x.env("BUILDKITE_COMMIT"))
	if err != nil {
		return err
	}
	return wire.Retry(ctx, wire.CallMetaDataSet, nil, func(ctx context.Context, _ int) error {
		return x.job.Client.SetMetaData(ctx, x.job.ID, wire.MetaData{Key: commitKey, Value: text})
	})
}

// commandPhase runs the command between its hooks. How the command ended is in
// x.command; the error is a hook's.
func (x *executor) commandPhase(ctx, late context.Context) error {
	if err := x.everywhere(ctx, "pre-command"); err != nil {
		return err
	}
	replaced, err := x.override(ctx, "command")
	if !replaced && err == nil {
		err = x.defaultCommand(ctx)
	}
	x.command = err
	x.Env["BUILDKITE_COMMAND_EXIT_STATUS"] = strconv.Itoa(shell.ExitCode(err))
	x.reportCommand()
	x.markCanceled(ctx)
	return x.everywhere(late, "post-command")
}

func (x *executor) reportCommand() {
	if x.command == nil {
		return
	}
	x.Log.Printf("^^^ +++")
	exit, ok := errors.AsType[*shell.ExitError](x.command)
	switch {
	case !ok:
		x.Log.Error("%v", x.command)
	case exit.Signal != 0:
		x.Log.Error("The command was interrupted by a signal: %s", shell.SignalName(exit.Signal))
	default:
		x.Log.Error("The command exited with status %d", exit.Code)
	}
}

// markCanceled tells the hooks that still run why the job ends.
func (x *executor) markCanceled(ctx context.Context) {
	if ctx.Err() == nil {
		return
	}
	x.Env["BUILDKITE_JOB_CANCELLED"] = "true"
	if errors.Is(context.Cause(ctx), ErrTimedOut) {
		x.Env["BUILDKITE_JOB_TIMED_OUT"] = "true"
	}
}

func (x *executor) defaultCommand(ctx context.Context) error {
	command := x.env("BUILDKITE_COMMAND")
	if strings.TrimSpace(command) == "" {
		return errors.New("the step has no command: give it a `command`, or a command hook in a plugin, in .buildkite/hooks or in the agent's hooks-path")
	}
	script := filepath.Join(x.Dir, strings.ReplaceAll(command, "\n", ""))
	info, err := os.Stat(script)
	isScript := err == nil && info.Mode().IsRegular()
	inside := strings.HasPrefix(script, x.Dir+string(filepath.Separator))
	eval := x.Env.Bool("BUILDKITE_COMMAND_EVAL", true)
	if !eval && (!isScript || !inside) {
		return errors.New("this agent runs only scripts of the repository (--no-command-eval): name one, such as scripts/test.sh")
	}
	if isScript {
		if eval && info.Mode()&0o100 == 0 {
			if err := os.Chmod(script, info.Mode()|0o111); err != nil {
				return fmt.Errorf("making %s executable: %w", command, err)
			}
		}
		rel, err := filepath.Rel(x.Dir, script)
		if err != nil {
			return err
		}
		x.Log.Header("Running script")
		return x.eval(ctx, "./"+rel)
	}
	x.Log.Header("Running commands")
	return x.eval(ctx, command)
}

func (x *executor) eval(ctx context.Context, command string) error {
	x.Log.Prompt("%s", command)
	argv := checkout.Split(x.env("BUILDKITE_SHELL"))
	if len(argv) == 0 {
		argv = []string{"/bin/bash", "-e", "-c"}
	}
	return x.asking(func() error { return x.Shell.Run(ctx, nil, append(argv, command)...) })
}

func (x *executor) artifactPhase(ctx context.Context) error {
	paths := x.env("BUILDKITE_ARTIFACT_PATHS")
	if paths == "" {
		return nil
	}
	if err := x.everywhere(ctx, "pre-artifact"); err != nil {
		return err
	}
	x.Log.Header("Uploading artifacts")
	argv := []string{x.job.Tool, "artifact", "upload", paths}
	if to := x.env("BUILDKITE_ARTIFACT_UPLOAD_DESTINATION"); to != "" {
		argv = append(argv, to)
	}
	if err := x.Shell.Run(ctx, nil, argv...); err != nil {
		return fmt.Errorf("uploading artifacts: %w", err)
	}
	return x.everywhere(ctx, "post-artifact")
}

// redact hides the values of variables that are named like secrets.
func (x *executor) redact() {
	values, _ := redact.Values(x.job.RedactedVars, x.Env)
	x.Log.Redact(values...)
}

// ParseSecrets reads the `secrets` of a step as the server sent it.
func ParseSecrets(step json.RawMessage) ([]Secret, error) {
	var s struct {
		Secrets []Secret `json:"secrets"`
	}
	if len(step) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(step, &s); err != nil {
		return nil, fmt.Errorf("step: %w", err)
	}
	return s.Secrets, nil
}
