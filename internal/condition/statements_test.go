package condition

import (
	"strings"
	"testing"
)

// The tests of this file are named after the acceptance statements that they cover;
// docs/pipeline-conformance.md lists all of them.

// evaluate parses, checks and evaluates an expression of a step for the build of pullRequest.
func evaluate(src string) (bool, error) {
	x, err := Parse(src)
	if err != nil {
		return false, err
	}
	if err := x.Check(StepIf); err != nil {
		return false, err
	}
	return x.Eval(pullRequest())
}

// holds asserts what expressions come to.
func holds(t *testing.T, want map[string]bool) {
	t.Helper()
	for src, w := range want {
		if got, err := evaluate(src); err != nil || got != w {
			t.Errorf("%s is %v, %v; want %v", src, got, err, w)
		}
	}
}

// invalid asserts that expressions are refused with a message that has a part.
func invalid(t *testing.T, scope Scope, want map[string]string) {
	t.Helper()
	for src, part := range want {
		x, err := Parse(src)
		if err == nil {
			err = x.Check(scope)
		}
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s in %s gives %v, want an error with %q", src, scope, err, part)
		}
	}
}

func TestP219_OperatorsOfTheLanguage(t *testing.T) {
	t.Parallel()
	holds(t, map[string]bool{
		`build.branch == "feature/x"`:                              true,
		`build.branch == "main"`:                                   false,
		`build.branch != "main"`:                                   true,
		`build.branch =~ /^feature/`:                               true,
		`build.branch !~ /^feature/`:                               false,
		`build.branch == "main" || build.number == 12`:             true,
		`build.branch == "feature/x" && build.number == 1`:         false,
		`!(build.branch == "main")`:                                true,
		`build.number == 1 && false || true`:                       true,
		`build.number == 1 && (false || true)`:                     false,
		`!build.pull_request.draft && build.branch != "a"`:         true,
		`build.branch == "main" || !build.pull_request.draft`:      true,
		`(build.branch == "main") == build.pull_request.draft`:     true,
		`build.branch =~ /x$/ && build.message !~ /^nothing here/`: true,
	})
}

func TestP220_ABranchBuildHasNoTag(t *testing.T) {
	t.Parallel()
	holds(t, map[string]bool{`build.tag == null`: true, `build.tag != null`: false, `build.tag == ""`: false})
}

func TestP221_IncludesSearchesAList(t *testing.T) {
	t.Parallel()
	holds(t, map[string]bool{
		`build.creator.teams includes "deploy"`:   true,
		`build.creator.teams includes "sales"`:    false,
		`!(build.creator.teams includes "sales")`: true,
	})
}

func TestP222_AListOfTextsIncludesAVariable(t *testing.T) {
	t.Parallel()
	holds(t, map[string]bool{
		`["main", "feature/x"] includes build.branch`: true,
		`["main", "develop"] includes build.branch`:   false,
	})
}

func TestP223_TernariesAndComments(t *testing.T) {
	t.Parallel()
	holds(t, map[string]bool{
		`build.number == 12 ? true : false`:                           true,
		`build.number == 1 ? true : build.branch == "feature/x"`:      true,
		`(build.tag == null ? "a" : "b") == "b"`:                      false,
		"// what this is for\nbuild.number == 12 // and why\n&& true": true,
		`// true`: true,
	})
}

func TestP224_AVariableThatIsNotSetIsNull(t *testing.T) {
	t.Parallel()
	holds(t, map[string]bool{
		`build.env("NONE") == null`:  true,
		`build.env("NONE") == ""`:    false,
		`build.env("EMPTY") == ""`:   true,
		`build.env("EMPTY") == null`: false,
		`env("NONE") == ""`:          true,
	})
}

func TestP225_UnknownStandardVariablesAreRefused(t *testing.T) {
	t.Parallel()
	invalid(t, StepIf, map[string]string{
		`build.env("BUILDKITE_FOO") == "x"`:     "BUILDKITE_FOO",
		`env("BUILDKITE_BRANHC") == "x"`:        "BUILDKITE_BRANCH",
		`build.env("BUILDKITE_JOB_ID") != null`: "BUILDKITE_JOB_ID",
	})
	holds(t, map[string]bool{
		`build.env("BUILDKITE_BRANCH") == build.branch`: true,
		`build.env("FOO_BUILDKITE") == null`:            true,
	})
}

func TestP226_NullMatchesNoExpression(t *testing.T) {
	t.Parallel()
	holds(t, map[string]bool{`build.tag =~ /x/`: false, `build.tag !~ /x/`: true, `null =~ /x/`: false, `null !~ /x/`: true})
}

func TestP227_TypesAreCheckedWhereNothingIsEvaluated(t *testing.T) {
	t.Parallel()
	invalid(t, StepIf, map[string]string{
		`true || build.number == "x"`:            "integer",
		`false && build.branch == 1`:             "",
		`true ? true : build.number =~ /1/`:      "",
		`false && build.pull_request.draft == 1`: "",
	})
	if _, err := evaluate(`true || build.number == 1`); err != nil {
		t.Errorf("the same with the right type is refused: %v", err)
	}
}

func TestP228_EnumerationsAreClosed(t *testing.T) {
	t.Parallel()
	invalid(t, StepIf, map[string]string{`build.source == "cron"`: "cron", `build.source != "Webhook"`: "Webhook"})
	invalid(t, StepNotify, map[string]string{`step.outcome == "fine"`: "fine"})
	invalid(t, BuildNotify, map[string]string{`build.state == "broken"`: "broken"})
	holds(t, map[string]bool{`build.source == "webhook"`: true, `build.source == null`: false})
}

func TestP229_TheResultIsABoolean(t *testing.T) {
	t.Parallel()
	invalid(t, StepIf, map[string]string{`build.branch`: "", `build.number`: "", `"text"`: "", `["a"]`: ""})
	holds(t, map[string]bool{`null`: false, `!null`: true})
	if got, err := evaluate(`build.tag`); err == nil && got {
		t.Error("a text that is null is true")
	}
}

func TestP230_RegularExpressionsHaveTheirPlace(t *testing.T) {
	t.Parallel()
	invalid(t, StepIf, map[string]string{
		`/x/ =~ build.branch`:             "",
		`build.branch =~ "x"`:             "",
		`build.branch =~ /x/m`:            "",
		`build.branch =~ /x/ix`:           "",
		`build.branch =~ /(?<=feature)x/`: "",
		`build.branch =~ /(?<!a)x/`:       "",
	})
	holds(t, map[string]bool{`build.branch =~ /^FEATURE/i`: true, `build.branch =~ /^FEATURE/`: false})
}

func TestP231_VariablesBelongToTheirPlace(t *testing.T) {
	t.Parallel()
	invalid(t, StepIf, map[string]string{
		`step.outcome == "passed"`: "step.outcome", `step.key == "a"`: "step.key", `build.state == "failed"`: "build.state",
	})
	invalid(t, StepNotify, map[string]string{`build.state == "failed"`: "build.state"})
	invalid(t, BuildNotify, map[string]string{`step.outcome == "passed"`: "step.outcome"})
	for src, scope := range map[string]Scope{`step.outcome == "passed"`: StepNotify, `build.state == "failed"`: BuildNotify} {
		x, err := Parse(src)
		if err != nil || x.Check(scope) != nil {
			t.Errorf("%s is refused in %s: %v, %v", src, scope, err, x.Check(scope))
		}
	}
}

// onBranches asserts which branches a list of patterns lets in.
func onBranches(t *testing.T, patterns string, want map[string]bool) {
	t.Helper()
	for branch, w := range want {
		if got := MatchBranch(patterns, branch); got != w {
			t.Errorf("%q matches %q: %v, want %v", patterns, branch, got, w)
		}
	}
}

func TestP235_BranchPatternsLetInAndKeepOut(t *testing.T) {
	t.Parallel()
	onBranches(t, "main feature/* !feature/beta", map[string]bool{
		"main": true, "feature/alpha": true, "feature/a/b": true, "feature/beta": false, "fix": false, "main2": false, "Main": false,
	})
}

func TestP236_NegativePatternsAloneLetInAllOthers(t *testing.T) {
	t.Parallel()
	onBranches(t, "!production", map[string]bool{"main": true, "production": false, "production/2": true})
	onBranches(t, "!production !release/*", map[string]bool{"main": true, "production": false, "release/1": false})
}
