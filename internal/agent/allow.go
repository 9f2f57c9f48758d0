package agent

import (
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/slipway-ci/slipway/internal/agent/plugin"
)

// errRefused says that the agent's operator does not allow the job.
var errRefused = errors.New("refused by the agent's configuration")

func compile(option string, patterns []string) ([]*regexp.Regexp, error) {
	var list []*regexp.Regexp
	for _, p := range patterns {
		re, err := regexp.Compile(p)
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", option, err)
		}
		list = append(list, re)
	}
	return list, nil
}

// allowed checks the job against --allowed-repositories and --allowed-plugins:
// regular expressions of which one must match somewhere in the value, as in
// buildkite-agent v3.138 (agent/run_job.go). An empty list allows everything.
func (s *settings) allowed(env map[string]string) error {
	if repo := env["BUILDKITE_REPO"]; !matches(s.repositories, repo) {
		return fmt.Errorf("repository %q: %w (--allowed-repositories)", repo, errRefused)
	}
	plugins, err := plugin.Parse(env["BUILDKITE_PLUGINS"])
	if err != nil {
		return fmt.Errorf("%w: %w", err, errRefused)
	}
	for _, p := range plugins {
		if !matches(s.plugins, p.Label()) {
			return fmt.Errorf("plugin %q: %w (--allowed-plugins)", p.Label(), errRefused)
		}
	}
	return nil
}

func matches(list []*regexp.Regexp, value string) bool {
	return len(list) == 0 || slices.ContainsFunc(list, func(re *regexp.Regexp) bool { return re.MatchString(value) })
}
