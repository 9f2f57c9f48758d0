package agent

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// Flags are the options of `agent start`, with the names, variables and defaults
// of buildkite-agent v3.138 (clicommand/agent_start.go, clicommand/global.go),
// for a kong command to embed. The parser must be given [Resolver], which reads
// buildkite-agent.cfg.
type Flags struct {
	Config string `name:"config" env:"BUILDKITE_AGENT_CONFIG" help:"Path to a buildkite-agent.cfg." placeholder:"FILE"`

	Token    string `name:"token" env:"BUILDKITE_AGENT_TOKEN" help:"Registration token, or file://PATH."`
	Endpoint string `name:"endpoint" env:"BUILDKITE_AGENT_ENDPOINT" default:"http://127.0.0.1:8080/v3" help:"Base URL of the agent API."`
	NoHTTP2  bool   `name:"no-http2" env:"BUILDKITE_NO_HTTP2" help:"Speak HTTP/1.1 only."`

	Name              string   `name:"name" env:"BUILDKITE_AGENT_NAME" help:"Name; %hostname, %spawn, %random, %pid and %n are replaced."`
	Priority          string   `name:"priority" env:"BUILDKITE_AGENT_PRIORITY" help:"Agents of higher priority get jobs first."`
	Spawn             int      `name:"spawn" env:"BUILDKITE_AGENT_SPAWN" default:"1" help:"Number of agents."`
	SpawnPerCPU       int      `name:"spawn-per-cpu" env:"BUILDKITE_AGENT_SPAWN_PER_CPU" help:"Number of agents per processor, in place of --spawn."`
	SpawnWithPriority bool     `name:"spawn-with-priority" env:"BUILDKITE_AGENT_SPAWN_WITH_PRIORITY" help:"The n-th agent gets priority n."`
	Queue             string   `name:"queue" env:"BUILDKITE_AGENT_QUEUE" help:"Queue to take jobs from."`
	Tags              []string `name:"tags" env:"BUILDKITE_AGENT_TAGS" help:"Tags, such as os=linux,docker."`
	TagsFromHost      bool     `name:"tags-from-host" env:"BUILDKITE_AGENT_TAGS_FROM_HOST" help:"Add tags for hostname, os, arch and machine-id."`

	BuildPath            string   `name:"build-path" env:"BUILDKITE_BUILD_PATH" help:"Where checkouts are kept."`
	HooksPath            string   `name:"hooks-path" env:"BUILDKITE_HOOKS_PATH" help:"Directory of the agent's hooks."`
	AdditionalHooksPaths []string `name:"additional-hooks-paths" env:"BUILDKITE_ADDITIONAL_HOOKS_PATHS" help:"More directories of hooks."`
	PluginsPath          string   `name:"plugins-path" env:"BUILDKITE_PLUGINS_PATH" help:"Where plugins are kept; in the build path by default."`
	SocketsPath          string   `name:"sockets-path" env:"BUILDKITE_SOCKETS_PATH" help:"Where sockets are made."`
	Shell                string   `name:"shell" env:"BUILDKITE_SHELL" default:"/bin/bash -e -c" help:"Runs commands."`
	HooksShell           string   `name:"hooks-shell" env:"BUILDKITE_HOOKS_SHELL" help:"Runs hooks without a shebang."`

	GitCloneFlags        string `name:"git-clone-flags" env:"BUILDKITE_GIT_CLONE_FLAGS" default:"-v" help:"Flags of git clone."`
	GitFetchFlags        string `name:"git-fetch-flags" env:"BUILDKITE_GIT_FETCH_FLAGS" default:"-v --prune" help:"Flags of git fetch."`
	GitCheckoutFlags     string `name:"git-checkout-flags" env:"BUILDKITE_GIT_CHECKOUT_FLAGS" default:"-f" help:"Flags of git checkout."`
	GitCleanFlags        string `name:"git-clean-flags" env:"BUILDKITE_GIT_CLEAN_FLAGS" default:"-ffxdq" help:"Flags of git clean."`
	CheckoutOverrideMode string `name:"checkout-override-mode" env:"BUILDKITE_CHECKOUT_OVERRIDE_MODE" default:"from-job" enum:"none,from-job,strict" help:"What jobs may change of the checkout."`
	NoGitSubmodules      bool   `name:"no-git-submodules" env:"BUILDKITE_NO_GIT_SUBMODULES,BUILDKITE_DISABLE_GIT_SUBMODULES" help:"Leave submodules alone."`
	SkipCheckout         bool   `name:"skip-checkout" env:"BUILDKITE_SKIP_CHECKOUT" help:"Check nothing out."`
	SkipFetchExisting    bool   `name:"git-skip-fetch-existing-commits" env:"BUILDKITE_GIT_SKIP_FETCH_EXISTING_COMMITS" help:"Accepted; commits that are present are never fetched."`
	NoSSHKeyscan         bool   `name:"no-ssh-keyscan" env:"BUILDKITE_NO_SSH_KEYSCAN" help:"Do not trust SSH servers seen for the first time."`

	NoPTY                   bool     `name:"no-pty" env:"BUILDKITE_NO_PTY" help:"Run without a pseudo-terminal."`
	NoCommandEval           bool     `name:"no-command-eval" env:"BUILDKITE_NO_COMMAND_EVAL" help:"Run only scripts of the repository."`
	NoLocalHooks            bool     `name:"no-local-hooks" env:"BUILDKITE_NO_LOCAL_HOOKS" help:"Refuse hooks of the repository."`
	NoPlugins               bool     `name:"no-plugins" env:"BUILDKITE_NO_PLUGINS" help:"Refuse plugins."`
	NoPluginValidation      bool     `name:"no-plugin-validation" env:"BUILDKITE_NO_PLUGIN_VALIDATION" help:"Accepted; plugin configuration is not validated."`
	PluginsAlwaysCloneFresh bool     `name:"plugins-always-clone-fresh" env:"BUILDKITE_PLUGINS_ALWAYS_CLONE_FRESH" help:"Clone plugins for every job."`
	StrictSingleHooks       bool     `name:"strict-single-hooks" env:"BUILDKITE_STRICT_SINGLE_HOOKS" help:"Run one checkout and one command hook only."`
	RedactedVars            []string `name:"redacted-vars" env:"BUILDKITE_REDACTED_VARS" default:"*_PASSWORD,*_SECRET,*_TOKEN,*_PRIVATE_KEY,*_ACCESS_KEY,*_SECRET_KEY,*_CONNECTION_STRING" help:"Variables whose values are hidden in logs."`
	Experiment              []string `name:"experiment" env:"BUILDKITE_AGENT_EXPERIMENT" help:"Experiments to tell jobs of."`

	CancelSignal             string `name:"cancel-signal" env:"BUILDKITE_CANCEL_SIGNAL" default:"SIGTERM" help:"Signal that ends a canceled command."`
	CancelGracePeriod        int    `name:"cancel-grace-period" env:"BUILDKITE_CANCEL_GRACE_PERIOD" default:"10" help:"Seconds until a canceled job is killed."`
	SignalGracePeriodSeconds int    `name:"signal-grace-period-seconds" env:"BUILDKITE_SIGNAL_GRACE_PERIOD_SECONDS" default:"-1" help:"Seconds until a canceled command is killed; negative: less than the cancel grace period."`

	AcquireJob                 string `name:"acquire-job" env:"BUILDKITE_AGENT_ACQUIRE_JOB" help:"Run this one job."`
	ReflectExitStatus          bool   `name:"reflect-exit-status" env:"BUILDKITE_AGENT_REFLECT_EXIT_STATUS" help:"Exit as the job did."`
	DisconnectAfterJob         bool   `name:"disconnect-after-job" env:"BUILDKITE_AGENT_DISCONNECT_AFTER_JOB" help:"End after one job."`
	DisconnectAfterIdleTimeout int    `name:"disconnect-after-idle-timeout" env:"BUILDKITE_AGENT_DISCONNECT_AFTER_IDLE_TIMEOUT" help:"End after so many seconds without a job."`
	DisconnectAfterUptime      int    `name:"disconnect-after-uptime" env:"BUILDKITE_AGENT_DISCONNECT_AFTER_UPTIME" help:"End after so many seconds, between jobs."`
	PingMode                   string `name:"ping-mode" env:"BUILDKITE_AGENT_PING_MODE" default:"auto" enum:"auto,poll-only,ping-only,stream-only" help:"How to learn of jobs."`

	AllowedRepositories []string `name:"allowed-repositories" env:"BUILDKITE_ALLOWED_REPOSITORIES" help:"Regular expressions of repositories to work for."`
	AllowedPlugins      []string `name:"allowed-plugins" env:"BUILDKITE_ALLOWED_PLUGINS" help:"Regular expressions of plugins to run."`

	VerificationJWKSFile        string `name:"verification-jwks-file" env:"BUILDKITE_AGENT_VERIFICATION_JWKS_FILE" help:"File with the keys (JWKS) of which one must have signed each job."`
	VerificationFailureBehavior string `name:"verification-failure-behavior" env:"BUILDKITE_AGENT_JOB_VERIFICATION_NO_SIGNATURE_BEHAVIOR" default:"block" enum:"block,warn" help:"What becomes of a job that is not verified: block, or warn and run it."`
	SigningJWKSFile             string `name:"signing-jwks-file" env:"BUILDKITE_AGENT_SIGNING_JWKS_FILE" help:"File with the key (JWKS) that signs what jobs upload."`
	SigningJWKSKeyID            string `name:"signing-jwks-key-id" env:"BUILDKITE_AGENT_SIGNING_JWKS_KEY_ID" help:"Which key of that file; its only one by default."`

	Debug     bool   `name:"debug" env:"BUILDKITE_AGENT_DEBUG" help:"Log more."`
	DebugHTTP bool   `name:"debug-http" env:"BUILDKITE_AGENT_DEBUG_HTTP" help:"Accepted; has no effect."`
	NoColor   bool   `name:"no-color" env:"BUILDKITE_AGENT_NO_COLOR" help:"Accepted; logs have no colour."`
	LogLevel  string `name:"log-level" env:"BUILDKITE_AGENT_LOG_LEVEL" default:"notice" help:"Lowest level logged."`
	LogFormat string `name:"log-format" env:"BUILDKITE_LOG_FORMAT" default:"text" help:"text or json."`

	WithoutEffect `embed:""`
	Refused       `embed:""`
}

// AgentConfig turns the options into a Config. It reads the token's file and
// expands ~ and variables in paths, as buildkite-agent does.
func (f *Flags) AgentConfig(version string) (Config, error) {
	if err := f.check(); err != nil {
		return Config{}, err
	}
	token, err := readToken(f.Token)
	if err != nil {
		return Config{}, err
	}
	f.trimLists()
	tags := append([]string{}, f.Tags...)
	if f.TagsFromHost {
		tags = append(tags, hostTags()...)
	}
	c := Config{
		Endpoint: f.Endpoint, Token: token, Version: version, ConfigPath: f.Config,
		Name: f.Name, Spawn: f.Spawn, SpawnWithPriority: f.SpawnWithPriority, Priority: f.Priority,
		Queue: f.Queue, Tags: tags,
		BuildPath: expand(f.BuildPath), HooksPath: expand(f.HooksPath),
		PluginsPath: expand(f.PluginsPath), SocketsPath: expand(f.SocketsPath),
		VerificationJWKS: expand(f.VerificationJWKSFile), VerificationWarn: f.VerificationFailureBehavior == "warn",
		SigningJWKS: expand(f.SigningJWKSFile), SigningKeyID: f.SigningJWKSKeyID,
		Shell: f.Shell, HooksShell: f.HooksShell,
		GitCloneFlags: f.GitCloneFlags, GitFetchFlags: f.GitFetchFlags,
		GitCheckoutFlags: f.GitCheckoutFlags, GitCleanFlags: f.GitCleanFlags,
		CheckoutOverride: f.CheckoutOverrideMode, NoGitSubmodules: f.NoGitSubmodules,
		SkipCheckout: f.SkipCheckout, NoSSHKeyscan: f.NoSSHKeyscan,
		NoPTY: f.NoPTY, NoCommandEval: f.NoCommandEval, NoLocalHooks: f.NoLocalHooks,
		NoPlugins: f.NoPlugins, FreshPlugins: f.PluginsAlwaysCloneFresh, StrictSingleHooks: f.StrictSingleHooks,
		RedactedVars: f.RedactedVars, Experiments: f.Experiment,
		CancelSignal: f.CancelSignal, CancelGrace: seconds(f.CancelGracePeriod), SignalGrace: f.signalGrace(),
		DisconnectAfterJob: f.DisconnectAfterJob, DisconnectAfterIdle: seconds(f.DisconnectAfterIdleTimeout),
		DisconnectAfterUptime: seconds(f.DisconnectAfterUptime),
		AcquireJob:            f.AcquireJob, ReflectExitStatus: f.ReflectExitStatus, PingMode: f.PingMode, Debug: f.Debug,
	}
	c.AllowedRepositories, c.AllowedPlugins = f.AllowedRepositories, f.AllowedPlugins
	if f.SpawnPerCPU < 0 {
		return c, fmt.Errorf("--spawn-per-cpu %d: the number of agents must be 1 or more", f.SpawnPerCPU)
	}
	if f.SpawnPerCPU > 0 {
		c.Spawn = f.SpawnPerCPU * runtime.NumCPU()
	}
	for _, dir := range f.AdditionalHooksPaths {
		c.AdditionalHooksPaths = append(c.AdditionalHooksPaths, expand(dir))
	}
	return c, nil
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

func (f *Flags) signalGrace() time.Duration {
	if f.SignalGracePeriodSeconds < 0 {
		return seconds(f.CancelGracePeriod + f.SignalGracePeriodSeconds)
	}
	return seconds(f.SignalGracePeriodSeconds)
}

func readToken(token string) (string, error) {
	path, isFile := strings.CutPrefix(token, "file://")
	if !isFile {
		return token, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("registration token: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// expand makes a path absolute, with a leading ~ and $VARIABLES replaced.
func expand(path string) string {
	if path == "" {
		return ""
	}
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		path = filepath.Join("$HOME", rest)
	}
	path = os.ExpandEnv(path)
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// configPaths are where buildkite-agent looks for its configuration.
func configPaths() []string {
	var paths []string
	if home, err := os.UserHomeDir(); err == nil {
		paths = append(paths, filepath.Join(home, ".buildkite-agent", "buildkite-agent.cfg"))
	}
	return append(paths, "/usr/local/etc/buildkite-agent/buildkite-agent.cfg", "/etc/buildkite-agent/buildkite-agent.cfg")
}

// FindConfig returns the configuration file to read: the one named, which must
// exist, or the first that exists of the usual ones, or "".
func FindConfig(named string) (string, error) {
	if named != "" {
		if _, err := os.Stat(named); err != nil {
			return "", fmt.Errorf("configuration file: %w", err)
		}
		return named, nil
	}
	for _, path := range configPaths() {
		_, err := os.Stat(path)
		if err == nil {
			return path, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("configuration file: %w", err)
		}
	}
	return "", nil
}

// ConfigFile reads a buildkite-agent.cfg as defaults of flags, below the command
// line and the environment. Keys that no flag has are ignored, as packages ship
// files with every key of the official agent.
func ConfigFile(r io.Reader) (kong.Resolver, error) {
	values, err := parseConfig(r)
	if err != nil {
		return nil, err
	}
	return configFile{values: values}, nil
}

// Resolver takes the defaults of flags, below the command line and the
// environment, from the buildkite-agent.cfg that one of these names or that is
// in one of the usual places. It resolves nothing unless the command is `agent
// start`. A file that cannot be read fails the parsing.
func Resolver(args []string) kong.Resolver {
	if len(args) < 2 || args[0] != "agent" || args[1] != "start" {
		return configFile{}
	}
	path, err := FindConfig(namedConfig(args[2:]))
	if err != nil || path == "" {
		return configFile{err: err}
	}
	f, err := os.Open(path)
	if err != nil {
		return configFile{err: fmt.Errorf("configuration file: %w", err)}
	}
	defer f.Close() //nolint:errcheck // read side
	resolver, err := ConfigFile(f)
	if err != nil {
		return configFile{err: fmt.Errorf("%s: %w", path, err)}
	}
	return resolver
}

// namedConfig finds --config before the command line is parsed.
func namedConfig(args []string) string {
	for i, arg := range args {
		if value, ok := strings.CutPrefix(arg, "--config="); ok {
			return expand(value)
		}
		if arg == "--config" && i+1 < len(args) {
			return expand(args[i+1])
		}
	}
	return expand(os.Getenv("BUILDKITE_AGENT_CONFIG"))
}

type configFile struct {
	values map[string]string
	err    error
}

// Validate reports what was wrong with the file.
func (c configFile) Validate(*kong.Application) error { return c.err }

// Resolve returns the file's value for the flag unless a variable has one.
func (c configFile) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	value, ok := c.values[flag.Name]
	if !ok {
		return nil, nil
	}
	for _, name := range flag.Envs {
		if _, set := os.LookupEnv(name); set {
			return nil, nil
		}
	}
	return value, nil
}

// Logger returns the agent's own log as the options want it.
func (f *Flags) Logger(w io.Writer) (*slog.Logger, error) {
	level := slog.LevelInfo
	switch f.LogLevel {
	case "", "notice", "info":
	case "debug":
		level = slog.LevelDebug
	case "warn", "warning":
		level = slog.LevelWarn
	case "error", "fatal":
		level = slog.LevelError
	default:
		return nil, fmt.Errorf("--log-level %q: must be debug, info, notice, warn, error or fatal", f.LogLevel)
	}
	if f.Debug {
		level = slog.LevelDebug
	}
	options := &slog.HandlerOptions{Level: level}
	switch f.LogFormat {
	case "", "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return nil, fmt.Errorf("--log-format %q: must be text or json", f.LogFormat)
}

// parseConfig reads lines of key=value or key="value". Blank lines and lines
// that begin with # are ignored, so is a leading "export".
func parseConfig(r io.Reader) (map[string]string, error) {
	values := map[string]string{}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, value, ok := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		if !ok {
			return nil, fmt.Errorf("configuration file, line %d: no = in %q", n, line)
		}
		values[strings.TrimSpace(key)] = unquote(strings.TrimSpace(value))
	}
	return values, lines.Err()
}

// unquote takes the value out of its quotes, or without quotes drops a trailing
// comment. \n and \" stand for themselves in double quotes.
func unquote(value string) string {
	for _, q := range []string{`"`, `'`} {
		rest, ok := strings.CutPrefix(value, q)
		end := strings.LastIndex(rest, q)
		if !ok || end < 0 {
			continue
		}
		if q == `"` {
			return strings.NewReplacer(`\n`, "\n", `\"`, `"`).Replace(rest[:end])
		}
		return rest[:end]
	}
	if i := strings.Index(value, " #"); i >= 0 {
		value = strings.TrimSpace(value[:i])
	}
	return value
}

// trimLists takes the spaces away that people write around commas, and what is empty then (cliconfig/loader.go of v3.138.1).
func (f *Flags) trimLists() {
	for _, l := range []*[]string{&f.Tags, &f.AdditionalHooksPaths, &f.RedactedVars, &f.Experiment, &f.AllowedRepositories, &f.AllowedPlugins} {
		kept := (*l)[:0]
		for _, s := range *l {
			if s = strings.TrimSpace(s); s != "" {
				kept = append(kept, s)
			}
		}
		*l = kept
	}
}

// hostTags describe this machine.
func hostTags() []string {
	tags := []string{"os=" + runtime.GOOS, "arch=" + runtime.GOARCH}
	if name, err := os.Hostname(); err == nil {
		tags = append(tags, "hostname="+name)
	}
	if id := machineID(); id != "" {
		tags = append(tags, "machine-id="+id)
	}
	return tags
}
