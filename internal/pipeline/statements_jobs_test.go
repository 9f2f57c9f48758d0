package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// expanded are the commands of the jobs of a document's first step.
func expanded(t *testing.T, src string) []string {
	t.Helper()
	var list []string
	for _, j := range mustPlan(t, src).Steps[0].Jobs {
		if j.Skip == "" {
			list = append(list, j.Command)
		}
	}
	return list
}

func TestP019_AnchorsAndMerges(t *testing.T) {
	t.Parallel()
	p := mustPlan(t, `
base: &base {command: base, label: base, key: k}
extra: &extra {label: extra, priority: 7}
text: &text the text
steps:
- <<: *base
  label: own
- <<: [*extra, *base]
  key: second
- {command: *text, env: {A: *text}}
`)
	var got []string
	for _, s := range p.Steps {
		got = append(got, fmt.Sprintf("%s %s %s %d", s.Key, s.Label, s.Jobs[0].Command, s.Command.Priority))
	}
	if diff := cmp.Diff([]string{"k own base 0", "second extra base 7", "  the text 0"}, got); diff != "" {
		t.Error(diff)
	}
	if a := p.Steps[2].Jobs[0].Env["A"]; a != "the text" {
		t.Errorf("A is %q", a)
	}
}

func TestP132_RetryLimitIsTenAtMost(t *testing.T) {
	t.Parallel()
	refused(t, "- {command: a, retry: {automatic: {limit: 11}}}", "`limit` may be at most 10")
	refused(t, "- {command: a, retry: {automatic: [{limit: 1}, {limit: 11}]}}", "`limit` may be at most 10")
	refused(t, "- {command: a, retry: {automatic: {limit: -1}}}", "`limit`")
	if got := mustPlan(t, "- {command: a, retry: {automatic: {limit: 10}}}").Steps[0].Command.Retry.Automatic[0].Limit; got != 10 {
		t.Errorf("the limit is %d", got)
	}
}

func TestP192_AnAdjustmentTakesACombinationAway(t *testing.T) {
	t.Parallel()
	for skip, want := range map[string][]string{
		"true": {"a1", "a2", "b2"}, "broken there": {"a1", "a2", "b2"}, "false": {"a1", "a2", "b1", "b2"}, `""`: {"a1", "a2", "b1", "b2"},
	} {
		got := expanded(t, "- {command: '{{matrix.x}}{{matrix.y}}', matrix: {setup: {x: [a, b], y: [1, 2]}, adjustments: [{with: {x: b, y: 1}, skip: "+skip+"}]}}")
		if !slices.Equal(got, want) {
			t.Errorf("skip: %s leaves %v, want %v", skip, got, want)
		}
	}
	if got := expanded(t, "- {command: '{{matrix}}', matrix: {setup: [a, b], adjustments: [{with: a, skip: true}]}}"); !slices.Equal(got, []string{"b"}) {
		t.Errorf("a plain list leaves %v", got)
	}
}

func TestP193_AnAdjustmentAddsACombination(t *testing.T) {
	t.Parallel()
	got := expanded(t, "- {command: '{{matrix.x}}{{matrix.y}}', matrix: {setup: {x: [a], y: [1]}, adjustments: [{with: {x: c, y: 9}}, {with: {x: a, y: 1}}]}}")
	if !slices.Equal(got, []string{"a1", "c9"}) {
		t.Errorf("the commands are %v", got)
	}
	got = expanded(t, "- {command: '{{matrix}}', matrix: {setup: [a], adjustments: [{with: z}, {with: y, skip: true}]}}")
	if !slices.Equal(got, []string{"a", "z"}) {
		t.Errorf("the commands are %v", got)
	}
}

func TestP195_MatrixWithParallelismRefused(t *testing.T) {
	t.Parallel()
	refused(t, "- {command: a, matrix: [x], parallelism: 2}", "`parallelism` and `matrix` cannot both be set")
}

// list is n values, as YAML.
func list(n int) string {
	values := make([]string, n)
	for i := range values {
		values[i] = fmt.Sprintf("v%d", i)
	}
	return "[" + strings.Join(values, ", ") + "]"
}

// dimensions is a setup of n dimensions of one value each, as YAML.
func dimensions(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("d%d: [x]", i))
	}
	return "{setup: {" + strings.Join(all, ", ") + "}}"
}

// adjusted is a matrix of n adjustments, as YAML.
func adjusted(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("{with: v%d, soft_fail: true}", i))
	}
	return "{setup: " + list(25) + ", adjustments: [" + strings.Join(all, ", ") + "]}"
}

func TestP196_MatricesAreBounded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ most, over, message string }{
		{dimensions(6), dimensions(7), "at most 6 dimensions, not 7"},
		{list(25), list(26), "at most 25 values in a dimension, not 26"},
		{adjusted(12), adjusted(13), "at most 12 adjustments, not 13"},
		{"[" + strings.Repeat("x", 128) + "]", "[" + strings.Repeat("x", 129) + "]", "at most 128 bytes in a value, not 129"},
		{
			"{setup: {a: " + list(25) + ", b: " + list(2) + "}}", "{setup: {a: " + list(17) + ", b: " + list(3) + "}}",
			"50",
		},
	} {
		mustPlan(t, "- {command: a, matrix: "+c.most+"}")
		refused(t, "- {command: a, matrix: "+c.over+"}", c.message)
	}
}

func TestP291_SecretsAreNotExportedUnderReservedNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"BUILDKITE_X", "BK_X", "bk_x", "Buildkite", "BUILDKITE_AGENT_TOKEN"} {
		refused(t, "- {command: a, secrets: {"+name+": KEY}}", "are reserved")
		refused(t, "- {command: a, secrets: [{key: KEY, environment_variable: "+name+"}]}", "are reserved")
	}
	got := mustPlan(t, "- {command: a, secrets: {BUILDKITE_API_TOKEN: A, BUILDKITE_ANALYTICS_TOKEN: B, MY_BK: C}}").Steps[0].Command.Secrets
	if len(got) != 3 {
		t.Errorf("the secrets are %v", got)
	}
}

func TestSecretsOfTheDocumentAndTheStepAreMerged(t *testing.T) {
	t.Parallel()
	p := mustPlan(t, `
secrets: {A: TOP_A, B: TOP_B}
steps:
- {command: a, secrets: {B: OWN_B, C: OWN_C}}
- {command: b}
- {command: c, secrets: [D], signature: {algorithm: EdDSA, signed_fields: [command], value: v}}
`)
	var got []string
	for _, s := range p.Steps {
		var all []string
		for _, secret := range s.Command.Secrets {
			all = append(all, secret.EnvironmentVariable+"="+secret.Key)
		}
		got = append(got, strings.Join(all, " "))
	}
	// A signed step keeps the list that its signature is about.
	if diff := cmp.Diff([]string{"B=OWN_B C=OWN_C A=TOP_A", "A=TOP_A B=TOP_B", "D=D"}, got); diff != "" {
		t.Error(diff)
	}
	merged, err := WithSecrets(p.Steps[0].Definition, p.Steps[0].Command.Secrets)
	if err != nil || !strings.Contains(string(merged), `{"key":"TOP_A","environment_variable":"A"}`) {
		t.Errorf("the step's definition is %s, %v", merged, err)
	}
}
