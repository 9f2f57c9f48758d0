package jobcli

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// minSecret is the shortest value that is taken for a secret: shorter ones
// would hide ordinary words (internal/redact of buildkite-agent v3.138.1).
const minSecret = 6

// redacted stands for a secret.
const redacted = "[REDACTED]"

func (f *flags) redactedVars() *[]string {
	return f.list("redacted-vars", "BUILDKITE_REDACTED_VARS", []string{
		"*_PASSWORD", "*_SECRET", "*_TOKEN", "*_PRIVATE_KEY", "*_SSH_KEY",
		"*_ACCESS_KEY", "*_SECRET_KEY", "*_CONNECTION_STRING", "*_API_KEY",
	}, "patterns of the names of variables whose values are secret")
}

// secret is a variable whose value must not be shown.
type secret struct{ name, value string }

// secrets returns the variables of env whose names match one of the patterns,
// in the order of their names.
func secrets(patterns []string, env environ) ([]secret, error) {
	var found []secret
	for name, value := range env {
		if len(value) < minSecret {
			continue
		}
		match, err := matchAny(patterns, name)
		if err != nil {
			return nil, err
		}
		if match {
			found = append(found, secret{name, value})
		}
	}
	slices.SortFunc(found, func(a, b secret) int { return cmp.Compare(a.name, b.name) })
	return found, nil
}

func matchAny(patterns []string, name string) (bool, error) {
	for _, pattern := range patterns {
		ok, err := path.Match(pattern, name)
		if err != nil {
			return false, fmt.Errorf("--redacted-vars pattern %q: %w", pattern, err)
		}
		if ok {
			return true, nil
		}
	}
	return false, nil
}

// forms returns how the secret may appear: as it is, and quoted as Go does.
func (s secret) forms() []string {
	quoted := strconv.Quote(s.value)
	if quoted = quoted[1 : len(quoted)-1]; quoted != s.value {
		return []string{s.value, quoted}
	}
	return []string{s.value}
}

// redact replaces the secrets of the environment in text, longest first, and
// warns that it did.
func (p *program) redact(patterns []string, what, text string) (string, error) {
	found, err := secrets(patterns, p.env)
	if err != nil {
		return "", err
	}
	var needles []string
	for _, s := range found {
		needles = append(needles, s.forms()...)
	}
	slices.SortFunc(needles, func(a, b string) int { return cmp.Or(len(b)-len(a), cmp.Compare(a, b)) })
	clean := text
	for _, needle := range needles {
		clean = strings.ReplaceAll(clean, needle, redacted)
	}
	if clean != text {
		p.warn("%s held secrets of the environment, which were replaced by %s; if that is not wanted, give --redacted-vars ''", what, redacted)
	}
	return clean, nil
}
