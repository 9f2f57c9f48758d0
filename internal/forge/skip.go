package forge

import "strings"

// skipTokens ask for no build (https://buildkite.com/docs/pipelines/configure/skipping).
var skipTokens = []string{"[skip ci]", "[ci skip]", "[skip-ci]", "[ci-skip]"}

// SkipToken is what in a message asks for no build, "" for none.
func SkipToken(message string) string {
	for _, token := range skipTokens {
		if strings.Contains(message, token) {
			return token
		}
	}
	return ""
}
