package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The tests of this file are named after the acceptance statements that they cover.

// mustPlan plans a document that a person wrote.
func mustPlan(t *testing.T, src string) Plan {
	t.Helper()
	p, err := tryPlan(src, Facts{Branch: "main"})
	if err != nil {
		t.Fatalf("%s\n%v", src, err)
	}
	return p
}

func tryPlan(src string, facts Facts) (Plan, error) {
	d, err := Parse([]byte(src), "p.yml")
	if err != nil {
		return Plan{}, err
	}
	return d.Plan(facts, DefaultLimits())
}

// refused asserts that the document is refused with a message that has all the parts.
func refused(t *testing.T, src string, parts ...string) {
	t.Helper()
	_, err := tryPlan(src, Facts{Branch: "main", UsedKeys: func(k string) bool { return k == "taken" }})
	if err == nil {
		t.Fatalf("%s is accepted", src)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%s\nis refused with %q\nwhich lacks %q", src, err, part)
		}
	}
}

func kinds(p Plan) string {
	var list []string
	for _, s := range p.Steps {
		list = append(list, string(s.Kind))
	}
	return strings.Join(list, " ")
}

func TestP001_RootSequenceEqualsSteps(t *testing.T) {
	t.Parallel()
	list, mapping := mustPlan(t, "[{command: a}, wait]"), mustPlan(t, "{steps: [{command: a}, wait]}")
	for _, p := range []Plan{list, mapping} {
		for i := range p.Steps {
			p.Steps[i].Pos = Position{}
		}
	}
	if diff := cmp.Diff(list, mapping); diff != "" {
		t.Error(diff)
	}
}

func TestP003_NoStepsRefused(t *testing.T) {
	t.Parallel()
	for _, src := range []string{"steps: []", "steps: ~", "env: {A: b}", "[]", "{}"} {
		refused(t, src, "no steps")
	}
}

func TestP004_UnknownTopLevelKeysTolerated(t *testing.T) {
	t.Parallel()
	mustPlan(t, "retry_policy: {automatic: true}\nx: [1]\nsteps: [wait]")
}

func TestP005_UnknownStepKeyRefused(t *testing.T) {
	t.Parallel()
	refused(t, "- {command: a, wibble: 1}", "`wibble` is not a valid property on the `command` step. "+
		"Please check the documentation to get a full list of supported properties.")
	for _, step := range []string{"{wait: ~, command: a}", "{block: b, agents: {}}", "{trigger: t, env: {}}", "{input: i, wibble: 1}"} {
		refused(t, "- "+step, "is not a valid property")
	}
}

func TestP006_AlmostKnownStepKeyIsSuggested(t *testing.T) {
	t.Parallel()
	refused(t, "- {command: a, agent: 1}", "`agent` is not a valid property on the `command` step", "perhaps you meant `agents`?")
}

func TestP007_ScalarSteps(t *testing.T) {
	t.Parallel()
	if got := kinds(mustPlan(t, "[wait, waiter, block, input, manual]")); got != "wait wait block input block" {
		t.Errorf("kinds are %s", got)
	}
	refused(t, "[make]", "The step type supplied is not supported")
}

func TestP008_TypeIsInferredInOrder(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]Kind{
		"{command: a, notify: []}": Command, "{commands: a}": Command, "{plugins: [a]}": Command,
		"{wait: ~}": Wait, "{waiter: ~}": Wait, "{block: b}": Block, "{input: b}": Input, "{manual: b}": Block,
		"{trigger: t}": Trigger, "{group: g, steps: [wait]}": Group,
	} {
		if got := mustPlan(t, "- "+src).Steps[0].Kind; got != want {
			t.Errorf("%s is a %s step, want %s", src, got, want)
		}
	}
	refused(t, "- {command: a, group: g}", "`group` is not a valid property on the `command` step")
}

func TestP009_TypeForcesKind(t *testing.T) {
	t.Parallel()
	src := "[{type: script, command: a}, {type: waiter}, {type: manual, label: l}, {type: input}, {type: trigger, trigger: t}]"
	if got := kinds(mustPlan(t, src)); got != "command wait block input trigger" {
		t.Errorf("kinds are %s", got)
	}
}

func TestP010_UntypedStepRefused(t *testing.T) {
	t.Parallel()
	refused(t, "- {name: foo}", "Step is missing a type `{\"name\":\"foo\"}`")
}

func TestP011_PluginsAloneMakeACommandStep(t *testing.T) {
	t.Parallel()
	s := mustPlan(t, "- plugins: [docker#v1]").Steps[0]
	if s.Kind != Command || len(s.Jobs) != 1 || s.Jobs[0].Command != "" || s.Jobs[0].Plugins == nil {
		t.Errorf("step is %+v", s)
	}
}

func TestP012_NestedBodies(t *testing.T) {
	t.Parallel()
	for nested, flat := range map[string]string{
		"{command: {command: x, label: y}}":       "{command: x, label: y}",
		"{script: {command: x}}":                  "{command: x}",
		"{wait: {continue_on_failure: true}}":     "{wait: ~, continue_on_failure: true}",
		"{waiter: {}}":                            "{waiter: ~}",
		"{block: {block: b, prompt: p}}":          "{block: b, prompt: p}",
		"{input: {fields: [{text: t, key: k}]}}":  "{input: ~, fields: [{text: t, key: k}]}",
		"{trigger: {trigger: slug, async: true}}": "{trigger: slug, async: true}",
	} {
		a, b := mustPlan(t, "- "+nested).Steps[0], mustPlan(t, "- "+flat).Steps[0]
		a.Definition, b.Definition, a.Pos, b.Pos = nil, nil, Position{}, Position{}
		if diff := cmp.Diff(b, a); diff != "" {
			t.Errorf("%s differs from %s:\n%s", nested, flat, diff)
		}
	}
}

func TestP013_WaitWithSiblings(t *testing.T) {
	t.Parallel()
	if !mustPlan(t, "- wait: ~\n  continue_on_failure: true").Steps[0].Wait.ContinueOnFailure {
		t.Error("continue_on_failure is not read")
	}
}

func TestP015_CommandAndCommandsAreJoined(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]string{
		"{commands: [a, b]}":                          "a\nb",
		"{command: a, commands: [b, c]}":              "a\nb\nc",
		"{commands: b, command: [a, a]}":              "a\na\nb",
		`{command: "  keep\n\n"}`:                     "  keep\n\n",
		"{command: [a, 1, true, ~, 1.50]}":            "a\n1\ntrue\n\n1.5",
		"{command: ~, plugins: [p]}":                  "",
		`{"commands":["a"],"command":"\ud83d\ude00"}`: "😀\na",
	} {
		if got := mustPlan(t, "["+src+"]").Steps[0].Jobs[0].Command; got != want {
			t.Errorf("%s has the command %q, want %q", src, got, want)
		}
	}
}

func TestP016_KeyAndLabelHaveOtherNames(t *testing.T) {
	t.Parallel()
	p := mustPlan(t, `
- {command: a, id: one, name: n}
- {wait: ~, identifier: two}
- {trigger: t, name: m, key: three}
- {group: ~, name: g, id: four, steps: [{command: b, identifier: five, label: l}]}`)
	var got []string
	for _, s := range p.Steps {
		got = append(got, s.Key+" "+s.Label)
	}
	if diff := cmp.Diff([]string{"one n", "two ", "three m", "four g", "five l"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestP017_OtherNamesOfCommandAttributes(t *testing.T) {
	t.Parallel()
	s := mustPlan(t, `[{command: a, artifacts: x, timeout: 5, agent_query_rules: ["queue=q"]}]`).Steps[0].Command
	if diff := cmp.Diff([]any{[]string{"x"}, 5, []string{"queue=q"}}, []any{s.ArtifactPaths, s.TimeoutMinutes, s.Agents}); diff != "" {
		t.Error(diff)
	}
}

func TestP018_AgentsListEqualsMap(t *testing.T) {
	t.Parallel()
	list := mustPlan(t, "- {command: a, agents: [queue=x, os=y]}").Steps[0].Command.Agents
	mapping := mustPlan(t, "- {command: a, agents: {queue: x, os: y}}").Steps[0].Command.Agents
	if diff := cmp.Diff(list, mapping); diff != "" {
		t.Error(diff)
	}
}

func TestP020_AliasAttacksAreRefused(t *testing.T) {
	t.Parallel()
	var bomb strings.Builder
	bomb.WriteString("a0: &a0 [x]\n")
	for i := 1; i < 40; i++ {
		fmt.Fprintf(&bomb, "a%d: &a%d [*a%d, *a%d]\n", i, i, i-1, i-1)
	}
	refused(t, bomb.String()+"steps: [*a39]", "aliases expand")
	refused(t, "a: &a {b: *a}\nsteps: [wait]", "contains itself")
}

func TestP022_BooleanStrings(t *testing.T) {
	t.Parallel()
	p := mustPlan(t, `
- {wait: ~, continue_on_failure: "true"}
- {command: a, soft_fail: "true", cancel_on_build_failing: "false", skip: "false", allow_dependency_failure: "true"}
- {trigger: t, async: "true"}`)
	if !p.Steps[0].Wait.ContinueOnFailure || !p.Steps[1].Jobs[0].SoftFail.Any || p.Steps[1].Command.CancelOnBuildFailing ||
		p.Steps[1].Skip != "" || !p.Steps[1].AllowDependencyFailure || !p.Steps[2].Trigger.Async {
		t.Errorf("plan is %+v", p)
	}
}

func TestP023_KeyTwiceRefused(t *testing.T) {
	t.Parallel()
	refused(t, "[{command: a, key: x}, {command: b, key: x}]", `The key "x" has already been used by another step in this build`)
	refused(t, "[{command: a, key: x}, {group: g, key: x, steps: [wait]}]", `The key "x" has already`)
	refused(t, "[{command: a, key: x}, {group: g, steps: [{command: b, id: x}]}]", `The key "x" has already`)
	refused(t, "[{command: a, key: taken}]", `The key "taken" has already been used by another step in this build`)
}

func TestP025_KeyThatLooksLikeAUUIDRefused(t *testing.T) {
	t.Parallel()
	refused(t, "[{command: a, key: 6f1ae2d4-0000-4000-8000-0123456789ab}]",
		"Step keys can't have the same pattern as a UUID (6f1ae2d4-0000-4000-8000-0123456789ab)")
	mustPlan(t, "[{command: a, key: 6f1ae2d4-0000-4000-8000-0123456789abc}]")
}

func TestP026_CharactersOfAKey(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"a b", "é", "a.b", "a$b"} {
		refused(t, `[{command: a, key: "`+key+`"}]`, "`key` may only contain alphanumeric characters, slashes, dashes or underscores")
	}
	mustPlan(t, `[{command: a, key: "aZ09_-:/"}]`)
}

func TestP027_ReasonToSkipIsShort(t *testing.T) {
	t.Parallel()
	refused(t, "- {command: a, skip: "+strings.Repeat("é", 71)+"}", "The reason provided to `skip` is too long. The maximum length is 70 characters")
	if got := mustPlan(t, "- {command: a, skip: "+strings.Repeat("é", 70)+"}").Steps[0].Skip; got != strings.Repeat("é", 70) {
		t.Errorf("the reason is %q", got)
	}
}

func TestP028_WhatSkips(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]string{`""`: "", "false": "", "true": SkipFlag, "why": "why", "~": ""} {
		s := mustPlan(t, "- {command: a, skip: "+src+"}").Steps[0]
		if s.Skip != want || s.Jobs[0].Skip != want {
			t.Errorf("skip: %s gives step %q and job %q, want %q", src, s.Skip, s.Jobs[0].Skip, want)
		}
	}
}

func TestP029_IfWithBranchesRefused(t *testing.T) {
	t.Parallel()
	refused(t, `- {command: a, if: "true", branches: main}`, "`if` and `branches` cannot both be set")
}

func TestUploadsKeepTheirText(t *testing.T) {
	t.Parallel()
	src := `{"steps": [ {"command" : "echo $FOO ${BAR} $$X"} ]}`
	d, err := ParseJSON([]byte(src))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Interpolate(func(string) (string, bool) { return "no", true }); err != nil {
		t.Fatal(err)
	}
	p, err := d.Plan(Facts{}, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Steps[0].Jobs[0].Command; got != "echo $FOO ${BAR} $$X" {
		t.Errorf("command is %q", got)
	}
	if got := string(p.Steps[0].Definition); got != `{"command" : "echo $FOO ${BAR} $$X"}` {
		t.Errorf("definition is %s", got)
	}
}

// editorCommand is the command of a pipeline's own document after interpolation on the branch main,
// with variables that an editor's document may not use known all the same.
func editorCommand(t *testing.T, command string) (string, []string) {
	t.Helper()
	raw, err := json.Marshal([]any{map[string]any{"command": command}})
	if err != nil {
		t.Fatal(err)
	}
	d, err := Parse(raw, "configuration")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]string{"BUILDKITE_BRANCH": "main", "BUILDKITE_TAG": "", "BUILDKITE_BUILD_NUMBER": "7", "OTHER": "no"}
	unset, err := d.InterpolateEditor(func(name string) (string, bool) { v, ok := known[name]; return v, ok })
	if err != nil {
		return err.Error(), unset
	}
	p, err := d.Plan(Facts{}, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return p.Steps[0].Jobs[0].Command, unset
}

// editorExpands asserts what commands of a pipeline's own document become.
func editorExpands(t *testing.T, want map[string]string) {
	t.Helper()
	for command, w := range want {
		if got, _ := editorCommand(t, command); got != w {
			t.Errorf("%s becomes %q, want %q", command, got, w)
		}
	}
}

func TestP032_VariablesOfAnEditorsDocument(t *testing.T) {
	t.Parallel()
	for _, name := range strings.Fields("BRANCH TAG MESSAGE COMMIT PIPELINE_SLUG PIPELINE_NAME PIPELINE_ID ORGANIZATION_SLUG " +
		"TRIGGERED_FROM_BUILD_PIPELINE_SLUG REPO PULL_REQUEST PULL_REQUEST_BASE_BRANCH PULL_REQUEST_REPO " +
		"MERGE_QUEUE_BASE_BRANCH MERGE_QUEUE_BASE_COMMIT") {
		if !EditorVariable("BUILDKITE_" + name) {
			t.Errorf("BUILDKITE_%s is not known", name)
		}
	}
	editorExpands(t, map[string]string{"<$BUILDKITE_BRANCH> <$BUILDKITE_TAG>": "<main> <>", "<$OTHER> <$BUILDKITE_JOB_ID>": "<> <>"})
	if _, unset := editorCommand(t, "$OTHER ${OTHER:-d} ${THIRD-d} $BUILDKITE_BRANCH $BUILDKITE_JOB_ID"); !slices.Equal(unset, []string{"BUILDKITE_JOB_ID", "OTHER"}) {
		t.Errorf("%v expanded to nothing", unset)
	}
}

func TestP033_ABuildsNumberIsNotKnownToAnEditorsDocument(t *testing.T) {
	t.Parallel()
	editorExpands(t, map[string]string{"<${BUILDKITE_BUILD_NUMBER}>": "<>", "<${BUILDKITE_BUILD_NUMBER:-none}>": "<none>"})
}

func TestP034_EscapedDollarSigns(t *testing.T) {
	t.Parallel()
	editorExpands(t, map[string]string{
		"$$BUILDKITE_BRANCH": "$BUILDKITE_BRANCH", `\$BUILDKITE_BRANCH`: "$BUILDKITE_BRANCH", "$${BUILDKITE_BRANCH:-x}": "${BUILDKITE_BRANCH:-x}",
	})
}

func TestP035_FormsOfAReference(t *testing.T) {
	t.Parallel()
	editorExpands(t, map[string]string{
		"${BUILDKITE_TAG:-d}": "d", "${BUILDKITE_TAG-d}": "", "${NONE:-d}": "d", "${NONE-d}": "d", "${NONE-${BUILDKITE_BRANCH}}": "main",
		"${BUILDKITE_BRANCH:0:2}": "ma", "${BUILDKITE_BRANCH:1}": "ain", "${BUILDKITE_BRANCH: -2}": "in", "${BUILDKITE_BRANCH:2:99}": "in",
		"${BUILDKITE_BRANCH?gone}": "main", "${BUILDKITE_TAG?gone}": "", "$(pwd) $1 $": "$(pwd) $1 $",
	})
	if got, _ := editorCommand(t, "${NONE?say it}"); !strings.Contains(got, "say it") {
		t.Errorf("a required variable that is unset gives %q", got)
	}
}

func TestVariablesThatOnlyAJobKnowsAreNamed(t *testing.T) {
	t.Parallel()
	d, err := Parse([]byte("steps:\n- wait\n- command: echo ${BUILDKITE_BUILD_NUMBER}"), "ci/p.yml")
	if err != nil {
		t.Fatal(err)
	}
	err = d.Interpolate(func(string) (string, bool) { return "", false })
	unknown, ok := errors.AsType[*UnknownVariable](err)
	if !ok || *unknown != (UnknownVariable{"BUILDKITE_BUILD_NUMBER", "ci/p.yml", Position{3, 12}}) {
		t.Errorf("error is %#v", err)
	}
}

func TestP068_DependsOnForms(t *testing.T) {
	t.Parallel()
	for form, want := range map[string]struct {
		implicit bool
		steps    []string
	}{
		"":                               {implicit: true},
		", depends_on: ~":                {},
		", depends_on: []":               {},
		", depends_on: k":                {steps: []string{"k"}},
		", depends_on: [k, k]":           {steps: []string{"k"}},
		", depends_on: {step: k}":        {steps: []string{"k"}},
		", depends_on: [{step: k}, l]":   {steps: []string{"k", "l"}},
		`, depends_on: ["l", {step: k}]`: {steps: []string{"l", "k"}},
	} {
		s := mustPlan(t, "[{command: a, key: k}, {command: b, key: l}, {command: c"+form+"}]").Steps[2]
		var got []string
		for _, d := range s.DependsOn {
			got = append(got, d.Step)
		}
		if s.Implicit != want.implicit || !slices.Equal(got, want.steps) {
			t.Errorf("%q gives %v, implicit %v", form, got, s.Implicit)
		}
	}
}

func TestP079_UnknownDependencyRefused(t *testing.T) {
	t.Parallel()
	refused(t, "- {command: a, depends_on: nope}", "step dependencies not found")
	if _, err := tryPlan("- {command: a, depends_on: taken}", Facts{UsedKeys: func(k string) bool { return k == "taken" }}); err != nil {
		t.Errorf("a step of the build is not found: %v", err)
	}
}

func TestP095_GroupInAGroupRefused(t *testing.T) {
	t.Parallel()
	refused(t, "- {group: g, steps: [{group: h, steps: [wait]}]}", "Group steps can't be nested within groups")
}

func TestP096_EmptyGroupRefused(t *testing.T) {
	t.Parallel()
	for _, src := range []string{"{group: g, steps: []}", "{group: g}", "{group: g, steps: ~}"} {
		refused(t, "- "+src, "at least one step")
	}
}

func TestP097_ConcurrencyOnAGroupRefused(t *testing.T) {
	t.Parallel()
	refused(t, "- {group: g, concurrency: 1, steps: [wait]}", `"concurrency" is not a valid property on a group step`)
	refused(t, "- {group: g, concurrency_group: x, steps: [wait]}", `"concurrency_group" is not a valid property on a group step`)
}

func TestP098_NameOfAGroup(t *testing.T) {
	t.Parallel()
	p := mustPlan(t, "[{group: ~, label: X, steps: [wait]}, {group: A, label: B, steps: [wait]}, {group: ~, steps: [wait]}]")
	if got := []string{p.Steps[0].Label, p.Steps[2].Label, p.Steps[4].Label}; !slices.Equal(got, []string{"X", "A", ""}) {
		t.Errorf("labels are %q", got)
	}
}

func TestP053_WhatCountsAsAJob(t *testing.T) {
	t.Parallel()
	const limit = "organization limit of 500"
	mustPlan(t, "[{command: a, parallelism: 498}, {group: g, steps: [{command: b}]}]")
	refused(t, "[{command: a, parallelism: 499}, {group: g, steps: [{command: b}]}]", limit)
	mustPlan(t, "[{command: a, parallelism: 498}, {command: '{{matrix}}', matrix: [x, y]}]")
	refused(t, "[{command: a, parallelism: 499}, {command: '{{matrix}}', matrix: [x, y]}]", limit)
}

func TestPlansAreBoundedWithoutLimits(t *testing.T) {
	t.Parallel()
	d, err := Parse([]byte("- {command: a, parallelism: 2000000000}"), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Plan(Facts{}, Limits{}); err == nil {
		t.Error("a plan without limits has no bound")
	}
}

func TestP191_MatrixProduct(t *testing.T) {
	t.Parallel()
	p := mustPlan(t, `- {command: "{{matrix.a}}{{matrix.b}}{{matrix.c}}", matrix: {setup: {a: [1, 2], b: [3, 4], c: [5, 6]}}}`)
	var got []string
	for _, j := range p.Steps[0].Jobs {
		got = append(got, j.Command)
	}
	if want := strings.Fields("135 136 145 146 235 236 245 246"); !slices.Equal(got, want) {
		t.Errorf("commands are %v, want %v", got, want)
	}
}

func TestP201_ConcurrencyNeedsGroup(t *testing.T) {
	t.Parallel()
	refused(t, "- {command: a, concurrency: 1}", "concurrency_group_id")
}

func TestP246_CheckoutShapes(t *testing.T) {
	t.Parallel()
	refused(t, "- {command: a, checkout: true}", "`checkout` must be a mapping")
	refused(t, "- {command: a, checkout: {shallow: true}}", "`shallow` is not a valid property of `checkout`")
}

func TestProblemsAreBounded(t *testing.T) {
	t.Parallel()
	_, err := tryPlan(strings.Repeat("- {command: a, wibble: 1}\n", 5000), Facts{})
	at, ok := errors.AsType[*Error](err)
	if !ok || len(at.Problems) != maxProblems+1 {
		t.Errorf("error is %.200v", err)
	}
}

func TestWithSecretsKeepsEverythingElse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		definition string
		secrets    []Secret
		want       string
	}{
		{`{"command" : "a", "z":[ 1 ]}`, []Secret{{"K", "V"}}, `{"command":"a","z":[ 1 ],"secrets":[{"key":"K","environment_variable":"V"}]}`},
		{`{"secrets":["A"],"command":"a"}`, []Secret{{"K", "V"}}, `{"secrets":[{"key":"K","environment_variable":"V"}],"command":"a"}`},
		{`{"secrets":["A"],"command":"a"}`, nil, `{"command":"a"}`},
		{`{}`, nil, `{}`},
	} {
		got, err := WithSecrets(json.RawMessage(c.definition), c.secrets)
		if err != nil || string(got) != c.want {
			t.Errorf("WithSecrets(%s, %v) is %s, %v; want %s", c.definition, c.secrets, got, err, c.want)
		}
	}
	if _, err := WithSecrets(json.RawMessage(`"wait"`), nil); err == nil {
		t.Error("a bare word takes secrets")
	}
}

func TestSoftFailMatches(t *testing.T) {
	t.Parallel()
	every, some := SoftFail{Any: true}, SoftFail{Statuses: []int{3}}
	if every.Matches(0) || !every.Matches(-1) || !some.Matches(3) || some.Matches(1) {
		t.Error("soft_fail matches the wrong exit statuses")
	}
}

// TestLargeDocumentsStayLinear plans documents that would take the positioned parser minutes; the
// test binary's own deadline is what a regression runs into.
func TestLargeDocumentsStayLinear(t *testing.T) {
	t.Parallel()
	for name, src := range map[string]string{
		"blank lines": "a: |\n" + strings.Repeat("\n", 200_000) + "steps: [wait]",
		"deep flow":   "steps: " + strings.Repeat("[", 300_000),
		"deep lists":  strings.Repeat("- ", 300_000) + "a",
		"documents":   "steps: [wait]\n" + strings.Repeat("---\na: b\n", 20_000),
	} {
		_, err := tryPlan(src, Facts{})
		if (name == "blank lines") != (err == nil) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}
