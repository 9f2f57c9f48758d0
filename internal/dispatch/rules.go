package dispatch

import (
	"slices"
	"strconv"
	"strings"
)

// Matches reports whether tags satisfy every rule. A rule `key=value` needs a
// tag equal to it; `key=*`, `key=` and `key` need a tag with that key. There
// are no other wildcards and case counts. Tags beyond the rules do not matter.
//
// See https://buildkite.com/docs/agent/cli/reference/start, "Setting tags".
func Matches(rules, tags []string) bool {
	for _, rule := range rules {
		if !slices.ContainsFunc(tags, parse(rule).satisfied) {
			return false
		}
	}
	return true
}

// rule is satisfied by any value if value is empty.
type rule struct{ key, value string }

func parse(s string) rule {
	key, value, _ := strings.Cut(s, "=")
	if value == "*" {
		value = ""
	}
	return rule{key, value}
}

func (r rule) satisfied(tag string) bool {
	key, value, _ := strings.Cut(tag, "=")
	return key == r.key && (r.value == "" || r.value == value)
}

// signature appends what is equal for equal lists of rules alone: lengths keep
// them apart whatever characters they are made of.
func signature(key []byte, rules []string) []byte {
	for _, r := range rules {
		key = strconv.AppendInt(key, int64(len(r)), 10)
		key = append(key, ':')
		key = append(key, r...)
	}
	return key
}
