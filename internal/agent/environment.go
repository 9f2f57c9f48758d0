package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/agent/checkout"
	"github.com/slipway-ci/slipway/internal/agent/shell"
	"github.com/slipway-ci/slipway/internal/agent/wire"
)

// messageBytes bounds BUILDKITE_MESSAGE, because the kernel bounds a variable
// (buildkite-agent v3.138, agent/job_runner.go).
const messageBytes = 64 << 10

// environment is what a job's processes see, lowest first: the agent's own
// environment without what configures agents, what the server sent, and what
// this agent decides. It also returns the names of the server's variables that
// the agent replaced with another value.
func (w *worker) environment(job wire.Job) (env shell.Env, ignored []string) {
	env = base(w.set.Env)
	sent := shell.Env(job.Env).Clone()
	delete(sent, "BUILDKITE_AGENT_TOKEN")
	env = env.With(sent)
	for name, value := range w.own(job, sent) {
		if old, had := sent[name]; had && old != value {
			ignored = append(ignored, name)
		}
		env[name] = value
	}
	slices.Sort(ignored)
	if len(ignored) > 0 {
		env["BUILDKITE_IGNORED_ENV"] = strings.Join(ignored, ",")
	}
	if message := env["BUILDKITE_MESSAGE"]; len(message) > messageBytes {
		env["BUILDKITE_MESSAGE"] = strings.ToValidUTF8(message[:messageBytes-64], "") + "[value truncated]"
	}
	env["PATH"] = w.tools + string(filepath.ListSeparator) + env["PATH"]
	if env["TERM"] == "" && !w.set.NoPTY {
		env["TERM"] = "xterm-256color"
	}
	return env, ignored
}

// own are the variables that the agent decides.
func (w *worker) own(job wire.Job, sent shell.Env) shell.Env {
	s, api := w.set, w.client()
	env := shell.Env{
		"BUILDKITE_AGENT_ENDPOINT":              api.Endpoint,
		"BUILDKITE_AGENT_ACCESS_TOKEN":          w.jobToken(job),
		"BUILDKITE_AGENT_DEBUG":                 strconv.FormatBool(s.Debug),
		"BUILDKITE_AGENT_DEBUG_HTTP":            "false",
		"BUILDKITE_NO_HTTP2":                    "false",
		"BUILDKITE_PLUGIN_VALIDATION":           "false",
		"BUILDKITE_CHECKOUT_ATTEMPTS":           strconv.Itoa(checkout.Attempts),
		"BUILDKITE_AGENT_PID":                   strconv.Itoa(os.Getpid()),
		"BUILDKITE_AGENT_EXPERIMENT":            strings.Join(s.Experiments, ","),
		"BUILDKITE_BIN_PATH":                    w.tools,
		"BUILDKITE_CONFIG_PATH":                 s.ConfigPath,
		"BUILDKITE_BUILD_PATH":                  s.BuildPath,
		"BUILDKITE_SOCKETS_PATH":                s.SocketsPath,
		"BUILDKITE_HOOKS_PATH":                  s.HooksPath,
		"BUILDKITE_ADDITIONAL_HOOKS_PATHS":      strings.Join(s.AdditionalHooksPaths, ","),
		"BUILDKITE_PLUGINS_PATH":                s.PluginsPath,
		"BUILDKITE_CHECKOUT_OVERRIDE_MODE":      s.CheckoutOverride,
		"BUILDKITE_SSH_KEYSCAN":                 strconv.FormatBool(!s.NoSSHKeyscan),
		"BUILDKITE_COMMAND_EVAL":                strconv.FormatBool(!s.NoCommandEval),
		"BUILDKITE_PLUGINS_ENABLED":             strconv.FormatBool(!s.NoPlugins && !s.NoCommandEval && !s.NoLocalHooks),
		"BUILDKITE_LOCAL_HOOKS_ENABLED":         strconv.FormatBool(!s.NoLocalHooks && !s.NoCommandEval),
		"BUILDKITE_STRICT_SINGLE_HOOKS":         strconv.FormatBool(s.StrictSingleHooks),
		"BUILDKITE_SHELL":                       s.Shell,
		"BUILDKITE_HOOKS_SHELL":                 s.HooksShell,
		"BUILDKITE_REDACTED_VARS":               strings.Join(s.RedactedVars, ","),
		"BUILDKITE_CANCEL_GRACE_PERIOD":         wholeSeconds(s.CancelGrace),
		"BUILDKITE_SIGNAL_GRACE_PERIOD_SECONDS": wholeSeconds(s.SignalGrace),
	}
	if s.SigningJWKS != "" {
		env["BUILDKITE_AGENT_JWKS_FILE"], env["BUILDKITE_AGENT_JWKS_KEY_ID"] = s.SigningJWKS, s.SigningKeyID
	}
	if s.FreshPlugins {
		env["BUILDKITE_PLUGINS_ALWAYS_CLONE_FRESH"] = "true"
	}
	if s.NoPTY {
		env["BUILDKITE_PTY"] = "false"
	}
	for name, values := range api.Headers {
		env["BUILDKITE_REQUEST_HEADER_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))] = strings.Join(values, ",")
	}
	w.checkoutSettings(env, sent)
	return env
}

func wholeSeconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }

// checkoutSettings adds the variables of the checkout. With the override mode
// "none" the job's own win; otherwise the flags are the agent's, and the
// switches are where the agent departs from the default or the mode is strict.
func (w *worker) checkoutSettings(env, sent shell.Env) {
	s := w.set
	put := func(name, value string) {
		if _, has := sent[name]; !has || s.CheckoutOverride != "none" {
			env[name] = value
		}
	}
	put("BUILDKITE_GIT_CLONE_FLAGS", s.GitCloneFlags)
	put("BUILDKITE_GIT_FETCH_FLAGS", s.GitFetchFlags)
	put("BUILDKITE_GIT_CHECKOUT_FLAGS", s.GitCheckoutFlags)
	put("BUILDKITE_GIT_CLEAN_FLAGS", s.GitCleanFlags)
	strict := s.CheckoutOverride == "strict"
	if s.NoGitSubmodules || strict {
		put("BUILDKITE_GIT_SUBMODULES", strconv.FormatBool(!s.NoGitSubmodules))
	}
	if s.SkipCheckout || strict {
		put("BUILDKITE_SKIP_CHECKOUT", strconv.FormatBool(s.SkipCheckout))
	}
}

// The files that hold a job's environment as the server sent it, for plugins
// that pass it on, into a container say.
const (
	envFile     = "env"
	envJSONFile = "env.json"
)

// writeEnvFiles writes both files into a private directory and returns it. One
// has a line of NAME="value" per variable, quoted as Go does, the other is a
// JSON object (agent/job_runner.go of buildkite-agent v3.138).
func writeEnvFiles(env map[string]string) (string, error) {
	dir, err := os.MkdirTemp("", "slipway-env")
	if err != nil {
		return "", err
	}
	var lines strings.Builder
	for _, name := range slices.Sorted(maps.Keys(env)) {
		fmt.Fprintf(&lines, "%s=%q\n", name, env[name])
	}
	object, err := json.Marshal(env)
	if err != nil {
		return dir, err
	}
	return dir, errors.Join(
		os.WriteFile(filepath.Join(dir, envFile), []byte(lines.String()), 0o600),
		os.WriteFile(filepath.Join(dir, envJSONFile), object, 0o600))
}

// keptPrefixes are those variables of the agent's environment that jobs need
// although they look like its configuration: credentials for artifact stores.
var keptPrefixes = []string{
	"BUILDKITE_S3_", "BUILDKITE_GS_", "BUILDKITE_ARTIFACTORY_", "BUILDKITE_AZURE_", "BUILDKITE_ARTIFACT_UPLOAD_",
}

// base removes from the process's environment what configures agents and, if
// the agent itself runs in a job, what belongs to that job.
func base(list []string) shell.Env {
	env := shell.FromList(list)
	for name := range env {
		kept := slices.ContainsFunc(keptPrefixes, func(p string) bool { return strings.HasPrefix(name, p) })
		if strings.HasPrefix(name, "SLIPWAY_") || strings.HasPrefix(name, "BUILDKITE") && !kept {
			delete(env, name)
		}
	}
	return env
}
