package jobcli

import (
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/internal/agent/redact"
)

// redactedVars has the defaults of clicommand/global.go of buildkite-agent
// v3.138.1; inside a job the agent passes its own by the variable.
func (f *flags) redactedVars() *[]string {
	return f.list("redacted-vars", "BUILDKITE_REDACTED_VARS", []string{
		"*_PASSWORD", "*_SECRET", "*_TOKEN", "*_PRIVATE_KEY", "*_SSH_KEY",
		"*_ACCESS_KEY", "*_SECRET_KEY", "*_CONNECTION_STRING", "*_API_KEY",
	}, "patterns of the names of variables whose values are secret")
}

// secret is a variable whose value must not be shown.
type secret struct{ name, value string }

// secrets returns the variables of env whose names match one of the patterns,
// in the order of their names. A malformed pattern is refused rather than
// matching nothing, because then it would protect nothing.
func secrets(patterns []string, env environ) ([]secret, error) {
	for _, pattern := range patterns {
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, fmt.Errorf("--redacted-vars pattern %q: %w", pattern, err)
		}
	}
	var found []secret
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if len(env[name]) >= redact.MinLength && redact.Secret(patterns, name) {
			found = append(found, secret{name, env[name]})
		}
	}
	return found, nil
}

// scrub returns text without the values of the secrets.
func scrub(text string, found ...secret) (string, error) {
	var clean strings.Builder
	w := redact.NewWriter(&clean)
	for _, s := range found {
		w.Add(s.value)
	}
	if _, err := io.WriteString(w, text); err != nil {
		return "", err
	}
	err := w.Flush()
	return clean.String(), err
}

// redact replaces the secrets of the environment in text, and warns that it
// did.
func (p *program) redact(patterns []string, what, text string) (string, error) {
	found, err := secrets(patterns, p.env)
	if err != nil {
		return "", err
	}
	clean, err := scrub(text, found...)
	if err != nil {
		return "", fmt.Errorf("redacting %s: %w", what, err)
	}
	if clean != text {
		p.warn("%s held secrets of the environment, which were replaced by %s; if that is not wanted, give --redacted-vars ''", what, redact.Placeholder)
	}
	return clean, nil
}
