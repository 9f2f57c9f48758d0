package agent

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/slipway-ci/slipway/internal/agent/redact"
	"github.com/slipway-ci/slipway/internal/agent/shell"
	"github.com/slipway-ci/slipway/internal/agent/signing"
	"github.com/slipway-ci/slipway/internal/agent/wire"
)

// Config is what agents are and how they run jobs. [Flags.AgentConfig] makes one
// from the command line; the zero values of optional fields are the defaults
// of buildkite-agent.
type Config struct {
	Endpoint string // base URL of the agent API, such as http://127.0.0.1:8080/v3; required
	Token    string // registration token; required
	Version  string // of this program, sent to the server; "" means "dev"

	Name              string // may hold %spawn, %hostname, %random, %pid and %n
	Spawn             int    // number of workers; 0 means 1
	SpawnWithPriority bool   // the n-th worker has priority n
	Priority          string // integer text
	Queue             string
	Tags              []string

	BuildPath            string // required
	HooksPath            string
	AdditionalHooksPaths []string
	PluginsPath          string // "" means .plugins in BuildPath
	SocketsPath          string
	ConfigPath           string // told to jobs, not read

	Shell      string // runs commands; "" means "/bin/bash -e -c"
	HooksShell string // runs hooks without a shebang; "" means bash, else sh

	GitCloneFlags    string // "" means -v
	GitFetchFlags    string // "" means -v --prune
	GitCheckoutFlags string // "" means -f
	GitCleanFlags    string // "" means -ffxdq
	CheckoutOverride string // none, from-job (the default) or strict
	NoGitSubmodules  bool
	SkipCheckout     bool
	NoSSHKeyscan     bool

	NoPTY             bool
	NoCommandEval     bool
	NoLocalHooks      bool
	NoPlugins         bool
	FreshPlugins      bool
	StrictSingleHooks bool
	RedactedVars      []string // globs; nil means [redact.DefaultNames]
	Experiments       []string

	AllowedRepositories []string // regular expressions; empty allows all
	AllowedPlugins      []string // the same, for sources with versions

	VerificationJWKS string // file of the keys that verify jobs; "" means that unsigned jobs alone are run
	VerificationWarn bool   // run what is not verified all the same
	SigningJWKS      string // file of the key that signs uploads, told to jobs
	SigningKeyID     string

	CancelSignal string        // "" means SIGTERM
	CancelGrace  time.Duration // from a cancel to SIGKILL for everything; 0 means 10 s
	SignalGrace  time.Duration // from a cancel to SIGKILL for the command; 0 means CancelGrace − 1 s

	DisconnectAfterJob    bool
	DisconnectAfterIdle   time.Duration // of all workers; 0 means never
	DisconnectAfterUptime time.Duration // 0 means never
	AcquireJob            string        // run this job and end
	ReflectExitStatus     bool          // end with the status of the last job as an *ExitError
	PingMode              string        // auto (the default), poll-only or stream-only
	Debug                 bool

	// Env is the environment under that of jobs; nil means the process's own.
	// Variables that configure agents are removed from either.
	Env []string
	// Executable is the program that jobs call as buildkite-agent and slipway;
	// "" means this one.
	Executable string
	// Kill ends running jobs when it is closed; nil means never.
	Kill <-chan struct{}
	// HTTP carries the requests; nil means a client of Run's own.
	HTTP *http.Client
}

// ExitError asks the process to end with a status other than 0 or 1.
type ExitError struct {
	Code int
	Err  error
}

// Error is the reason.
func (e *ExitError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *ExitError) Unwrap() error { return e.Err }

// Exit statuses of --acquire-job (buildkite-agent v3.138, clicommand).
const (
	ExitNotAcquired = 27 // the job cannot be had
	ExitLocked      = 28 // the job waits for others
)

// settings is a checked Config with its defaults filled in.
type settings struct {
	Config
	signal                syscall.Signal
	repositories, plugins []*regexp.Regexp
	keys                  *signing.Keys // nil without VerificationJWKS
}

func (c Config) settings() (settings, error) {
	s := settings{Config: c}
	s.defaults()
	var err error
	if s.signal, err = shell.ParseSignal(s.CancelSignal); err != nil {
		return s, fmt.Errorf("--cancel-signal: %w", err)
	}
	if s.repositories, err = compile("allowed-repositories", s.AllowedRepositories); err != nil {
		return s, err
	}
	if s.plugins, err = compile("allowed-plugins", s.AllowedPlugins); err != nil {
		return s, err
	}
	if err := s.absolute(); err != nil {
		return s, err
	}
	if s.Executable == "" {
		if s.Executable, err = os.Executable(); err != nil {
			return s, fmt.Errorf("this program's own path: %w", err)
		}
	}
	if err := s.loadKeys(); err != nil {
		return s, err
	}
	return s, s.check()
}

// loadKeys reads the keys once, so that what is wrong with them shows when the agent starts.
func (s *settings) loadKeys() (err error) {
	if s.VerificationJWKS != "" {
		if s.keys, err = signing.Load(s.VerificationJWKS); err != nil {
			return fmt.Errorf("--verification-jwks-file: %w", err)
		}
	}
	if s.SigningJWKS != "" {
		if _, err := signing.Load(s.SigningJWKS); err != nil {
			return fmt.Errorf("--signing-jwks-file: %w", err)
		}
	}
	return nil
}

func (s *settings) defaults() {
	or := func(p *string, fallback string) {
		if *p == "" {
			*p = fallback
		}
	}
	or(&s.Version, "dev")
	or(&s.Shell, "/bin/bash -e -c")
	or(&s.GitCloneFlags, "-v")
	or(&s.GitFetchFlags, "-v --prune")
	or(&s.GitCheckoutFlags, "-f")
	or(&s.GitCleanFlags, "-ffxdq")
	or(&s.CheckoutOverride, "from-job")
	or(&s.CancelSignal, "SIGTERM")
	or(&s.PingMode, "auto")
	if s.Spawn == 0 {
		s.Spawn = 1
	}
	if s.RedactedVars == nil {
		s.RedactedVars = redact.DefaultNames()
	}
	if s.CancelGrace <= 0 {
		s.CancelGrace = 10 * time.Second
	}
	if s.SignalGrace <= 0 || s.SignalGrace > s.CancelGrace {
		s.SignalGrace = max(s.CancelGrace-time.Second, 0)
	}
	if s.HTTP == nil {
		s.HTTP = wire.NewHTTPClient()
	}
	if s.Env == nil {
		s.Env = os.Environ()
	}
}

// absolute makes the paths independent of the directory that a job is in.
func (s *settings) absolute() error {
	if s.PluginsPath == "" && s.BuildPath != "" {
		s.PluginsPath = filepath.Join(s.BuildPath, ".plugins")
	}
	for _, p := range []*string{&s.BuildPath, &s.HooksPath, &s.PluginsPath, &s.SocketsPath, &s.SigningJWKS, &s.VerificationJWKS} {
		if *p == "" {
			continue
		}
		abs, err := filepath.Abs(*p)
		if err != nil {
			return fmt.Errorf("path %s: %w", *p, err)
		}
		*p = abs
	}
	return nil
}

func (s *settings) check() error {
	switch {
	case s.Token == "":
		return errors.New("no registration token: set --token or BUILDKITE_AGENT_TOKEN")
	case s.Endpoint == "":
		return errors.New("no endpoint: set --endpoint or BUILDKITE_AGENT_ENDPOINT")
	case s.BuildPath == "":
		return errors.New("no build path: set --build-path or BUILDKITE_BUILD_PATH")
	case s.Spawn < 0:
		return fmt.Errorf("--spawn %d: the number of agents must be 1 or more", s.Spawn)
	case s.AcquireJob != "" && s.Spawn > 1:
		return errors.New("--acquire-job works with --spawn 1 only")
	case s.Queue != "" && hasQueueTag(s.Tags):
		return errors.New("set the queue with --queue or with a queue= tag, not both")
	}
	switch s.PingMode {
	case "auto", "poll-only", "ping-only", "stream-only":
	default:
		return fmt.Errorf("--ping-mode %q: must be auto, poll-only or stream-only", s.PingMode)
	}
	switch s.CheckoutOverride {
	case "none", "from-job", "strict":
	default:
		return fmt.Errorf("--checkout-override-mode %q: must be none, from-job or strict", s.CheckoutOverride)
	}
	return nil
}

func hasQueueTag(tags []string) bool {
	for _, tag := range tags {
		if strings.HasPrefix(tag, "queue=") {
			return true
		}
	}
	return false
}

// tags are what the worker registers with.
func (s *settings) tags() []string {
	tags := append([]string{}, s.Tags...)
	if s.Queue != "" {
		tags = append(tags, "queue="+s.Queue)
	}
	return tags
}
