package e2e

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// assertAll holds a decoded JSON answer against assertions.
func assertAll(answer any, assertions []string) error {
	for _, a := range assertions {
		if err := assert(answer, a); err != nil {
			return err
		}
	}
	return nil
}

// assertion is a path, = or ~, and a value. Filters in brackets hold a = too.
var assertion = regexp.MustCompile(`(?s)^((?:[^=~\[]|\[[^\]]*\])+)([=~])(.*)$`)

func assert(answer any, text string) error {
	m := assertion.FindStringSubmatch(text)
	if m == nil {
		return fmt.Errorf("%q is not an assertion", text)
	}
	value, err := find(answer, m[1])
	if err != nil {
		return fmt.Errorf("%s: %w", m[1], err)
	}
	got := show(value)
	if m[2] == "=" && got != m[3] {
		return fmt.Errorf("%s is %q, want %q", m[1], got, m[3])
	}
	if m[2] == "~" {
		pattern, err := regexp.Compile(m[3])
		if err != nil {
			return err
		}
		if !pattern.MatchString(got) {
			return fmt.Errorf("%s is %q, want a match of %q", m[1], got, m[3])
		}
	}
	return nil
}

// segment is a name, an index or len, and filters.
var segment = regexp.MustCompile(`^([^\[]+)((?:\[[^\]]*\])*)$`)

// find follows a path such as jobs[step_key=test].0.state.
func find(v any, path string) (any, error) {
	for _, part := range splitPath(path) {
		m := segment.FindStringSubmatch(part)
		if m == nil {
			return nil, fmt.Errorf("%q is not a part of a path", part)
		}
		var err error
		if v, err = step(v, m[1]); err != nil {
			return nil, err
		}
		for _, filter := range strings.FieldsFunc(m[2], func(r rune) bool { return r == '[' || r == ']' }) {
			if v, err = first(v, filter); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// splitPath cuts at dots outside brackets.
func splitPath(path string) []string {
	depth := 0
	return strings.FieldsFunc(path, func(r rune) bool {
		switch r {
		case '[':
			depth++
		case ']':
			depth--
		}
		return r == '.' && depth == 0
	})
}

func step(v any, name string) (any, error) {
	switch v := v.(type) {
	case map[string]any:
		got, ok := v[name]
		if !ok {
			return nil, fmt.Errorf("there is no %q", name)
		}
		return got, nil
	case []any:
		if name == "len" {
			return len(v), nil
		}
		i, err := strconv.Atoi(name)
		if err != nil || i < 0 || i >= len(v) {
			return nil, fmt.Errorf("there is no element %s of %d", name, len(v))
		}
		return v[i], nil
	}
	return nil, fmt.Errorf("%q of a value that is %s", name, show(v))
}

// first returns the first element for which an assertion holds.
func first(v any, filter string) (any, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("[%s] of a value that is %s", filter, show(v))
	}
	for _, element := range list {
		if assert(element, filter) == nil {
			return element, nil
		}
	}
	return nil, fmt.Errorf("no element has %s", filter)
}

// show returns a string as it is and anything else as JSON.
func show(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func TestAssertionsFindValues(t *testing.T) {
	t.Parallel()
	var answer any
	if err := json.Unmarshal([]byte(`{"state": "passed", "jobs": [{"key": "a", "n": 1}, {"key": "b", "n": null}]}`), &answer); err != nil {
		t.Fatal(err)
	}
	for text, holds := range map[string]bool{
		"state=passed": true, "state=failed": false, "state~^pass": true,
		"jobs.len=2": true, "jobs.1.key=b": true, "jobs[key=b].n=null": true, "jobs[key=a].n=1": true,
		"jobs[key=c].n=1": false, "none=1": false, "jobs.2.key=a": false,
	} {
		if err := assert(answer, text); (err == nil) != holds {
			t.Errorf("%s: %v, want it to hold: %v", text, err, holds)
		}
	}
}
