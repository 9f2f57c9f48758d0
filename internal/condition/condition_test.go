package condition

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// pullRequest is a build of a pull request, as most cases below see it.
func pullRequest() Env {
	env := map[string]string{
		"CI": "true", "EMPTY": "", "WORD": "hello", "NAME": "WORD",
		"BUILDKITE_BRANCH": "feature/x", "BUILDKITE_PULL_REQUEST_LABELS": "a,b", "BUILDKITE_AGENT_ACCESS_TOKEN": "secret",
	}
	return Env{
		Vars: Vars{
			"build.branch": String("feature/x"), "build.tag": Optional(""), "build.message": String("fix\n[Skip Tests] now"),
			"build.number": Int(12), "build.source": String("webhook"), "build.creator.teams": Strings([]string{"deploy", "ops"}),
			"build.pull_request.id": String("7"), "build.pull_request.draft": Bool(false),
			"build.pull_request.repository": String("git://h/fork.git"), "build.pull_request.repository.fork": Bool(true),
			"build.state": String("failed"), "step.outcome": String("hard_failed"), "pipeline.default_branch": String("main"),
		},
		Lookup: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
	}
}

var cases = []struct {
	src  string
	want bool
}{
	{``, true},
	{"  // only a comment\n", true},
	{`true`, true},
	{`null`, false},
	{`!null`, true},
	{`build.branch == "feature/x"`, true},
	{`build.branch != 'feature/x'`, false},
	{`build.branch =~ /^feature\//`, true},
	{`build.branch !~ /^FEATURE/i`, false},
	{`!build.branch =~ /^feature/`, false},
	{`!build.branch !~ /^feature/ && !build.env("NONE") =~ /./`, true},
	{`"fee$" =~ /fee\$$/`, true},
	{`build.message =~ /\[skip tests\]/i`, true},
	{`build.message =~ /^fix$/`, true},
	{`build.message =~ /\Afix\Z/`, false},
	{`build.message =~ /fix.\[/`, false},
	{`build.message =~ /(?m:fix.\[)/`, true},
	{`"v1f" =~ /^v[[:digit:]]\h$/`, true},
	{`"a/b" =~ /^a[\/]b$/`, true},
	{"\"a\nb\" =~ /a\\Rb/", true},
	{`build.tag == null`, true},
	{`build.tag =~ /x/`, false},
	{`build.tag !~ /x/`, true},
	{`null == build.tag && build.branch != null`, true},
	{`build.number == 12 && build.number != 13`, true},
	{`build.creator.teams includes "deploy"`, true},
	{`build.creator.teams includes /^dep/`, true},
	{`build.creator.teams includes null`, false},
	{`["a", "feature/x"] includes build.branch`, true},
	{`[build.tag] includes build.tag`, false},
	{`[] includes "a"`, false},
	{`null includes "a"`, false},
	{`build.author.teams includes "a"`, false},
	{`build.source == "webhook"`, true},
	{`build.source == null`, false},
	{`build.pull_request.repository.fork && build.pull_request.repository =~ /fork/`, true},
	{`build.pull_request.draft || !build.pull_request.draft`, true},
	{`build.fixed && true`, false},
	{`true || false && false`, true},
	{`(true || false) && false`, false},
	{`!true == false`, true},
	{`1 == 1 == true`, true},
	{`true ? false : true ? true : true`, false},
	{`(build.tag == null ? "none" : build.tag) == "none"`, true},
	{`(false ? build.source : null) == "ui"`, false},
	{"// first\nbuild.number == 12 // second\n&& true", true},
	{`build.env("CI") == "true"`, true},
	{`build.env("NONE") == null`, true},
	{`build.env("EMPTY") == ""`, true},
	{`env("NONE") == ""`, true},
	{`env(env("NAME")) == "hello"`, true},
	{`env("BUILDKITE_BRANCH") == build.branch`, true},
	{`env("BUILDKITE_PULL_REQUEST_${NOTHING}LABELS") == "a,b"`, true},
	{`env("BUILDKITE_AGENT_${NOTHING}ACCESS_TOKEN") == ""`, true},
	{`$WORD == "hello"`, true},
	{`$NONE == null`, true},
	{`${NONE:-x} == 'x'`, true},
	{`${EMPTY-x} == ''`, true},
	{`${EMPTY:-"a b"} == 'a b'`, true},
	{`${WORD:+yes} == "yes" && ${WORD+yes} == "yes" && ${NONE:+yes} == ""`, true},
	{`${EMPTY+yes} == "yes" && ${EMPTY:+yes} == ""`, true},
	{`${WORD?gone} == "hello" && ${EMPTY?gone} == ""`, true},
	{`${WORD:1} == "ello" && ${WORD:1:2} == "el" && ${WORD: -2} == "lo" && ${WORD:0:-1} == "hell"`, true},
	{`${WORD:9} == "" && ${WORD:1:99} == "ello" && ${NONE:1:2} == null`, true},
	{`"<$WORD-${NONE:-${EMPTY:-deep}}>" == "<hello-deep>"`, true},
	{`"$$WORD costs $5" == '$WORD costs $5'`, true},
	{`'it\'s raw\n $WORD' =~ /^it's raw\\n \$WORD$/`, true},
	{`"\xg\x4" == 'xgx4'`, true},
	{`"\x41\102\s\"\\\q" == 'AB "\\q'`, true},
}

func TestEval(t *testing.T) {
	t.Parallel()
	for _, c := range cases {
		t.Run(c.src, func(t *testing.T) {
			t.Parallel()
			x, err := Parse(c.src)
			if err != nil {
				t.Fatal(err)
			}
			if err := x.Check(StepIf); err != nil {
				t.Fatal(err)
			}
			got, err := x.Eval(pullRequest())
			if err != nil || got != c.want {
				t.Errorf("got %v, %v, want %v", got, err, c.want)
			}
		})
	}
}

// Notifications see what has become of the build or of the step.
func TestNotificationVariables(t *testing.T) {
	t.Parallel()
	for src, scope := range map[string]Scope{
		`build.state == "failed"`:                             BuildNotify,
		`build.state == "failed" || pipeline.started_failing`: BuildNotify,
		`step.outcome == "hard_failed" && build.number == 12`: StepNotify,
	} {
		x, err := Parse(src)
		if err != nil {
			t.Fatal(err)
		}
		if err := x.Check(scope); err != nil {
			t.Errorf("%s in %s: %v", src, scope, err)
		}
		if got, err := x.Eval(pullRequest()); !got || err != nil {
			t.Errorf("%s: %v, %v", src, got, err)
		}
	}
}

// refuse is the first error of the three stages.
func refuse(src string, scope Scope) error {
	x, err := Parse(src)
	if err != nil {
		return err
	}
	if err := x.Check(scope); err != nil {
		return err
	}
	_, err = x.Eval(pullRequest())
	return err
}

// testdata/refused.txt holds expressions, one a line, an optional scope before
// them; the golden file adds what is wrong and where.
func TestRefused(t *testing.T) {
	t.Parallel()
	input, err := os.ReadFile(filepath.Join("testdata", "refused.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for line := range strings.Lines(string(input)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			fmt.Fprintln(&got, line)
			continue
		}
		scope, src := StepIf, strings.ReplaceAll(line, "⏎", "\n")
		if rest, ok := strings.CutPrefix(src, "@step "); ok {
			scope, src = StepNotify, rest
		}
		err := refuse(src, scope)
		e, ok := errors.AsType[*Error](err)
		if !ok {
			t.Errorf("%s: got %v, want an *Error", src, err)
			continue
		}
		fmt.Fprintf(&got, "%s\n%s\n", line, mark(line, src, e))
	}
	golden(t, "refused.golden", got.String())
}

// mark points at the column where the expression is on one line.
func mark(line, src string, e *Error) string {
	if line != src && e.Line == 1 && !strings.HasPrefix(line, "@") || e.Line > 1 {
		return "    " + e.Error()
	}
	indent := len(line) - len(src) + e.Column - 1
	return strings.Repeat(" ", indent) + "^ " + e.Error()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	for name, src := range map[string]string{
		"parentheses":   strings.Repeat("(", 5000) + "true" + strings.Repeat(")", 5000),
		"negations":     strings.Repeat("!", 5000) + "true",
		"arrays":        strings.Repeat("[", 5000),
		"substitutions": strings.Repeat("${A:-", 3000) + strings.Repeat("}", 1000),
		"length":        "true" + strings.Repeat(" ", 17<<10),
		"repetitions":   `"a" =~ /((a{100}){100}){100}/`,
	} {
		if _, err := Parse(src); err == nil {
			t.Errorf("%s: accepted without limit", name)
		}
	}
	long := strings.Repeat("true && ", 2000) + "true"
	if err := refuse(long, StepIf); err != nil {
		t.Errorf("a long flat expression: %v", err)
	}
}

// Nothing that Check accepts comes to a type error, whatever is null.
func TestCheckedExpressionsEvaluate(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		src := randomExpr(rt, 3)
		x, err := Parse(src)
		if err != nil {
			rt.Fatalf("%s: %v", src, err)
		}
		if x.Check(StepIf) != nil {
			return
		}
		for _, env := range []Env{{}, pullRequest()} {
			if _, err := x.Eval(env); err != nil {
				rt.Fatalf("%s was accepted: %v", src, err)
			}
		}
	})
}

func randomExpr(t *rapid.T, depth int) string {
	leaf := rapid.SampledFrom([]string{
		"true", "null", "3", `"a"`, `"webhook"`, "/a/", "build.branch", "build.source", "build.number", "$WORD",
		"build.creator.teams", "build.pull_request.draft", `env("CI")`, `build.env("X")`, `["a", build.tag]`,
	})
	if depth == 0 {
		return leaf.Draw(t, "leaf")
	}
	sub := func() string { return randomExpr(t, depth-1) }
	switch rapid.IntRange(0, 4).Draw(t, "shape") {
	case 0:
		return "!(" + sub() + ")"
	case 1:
		return "(" + sub() + " ? " + sub() + " : " + sub() + ")"
	case 2, 3:
		op := rapid.SampledFrom([]string{"==", "!=", "=~", "!~", "&&", "||", "includes"}).Draw(t, "op")
		return "(" + sub() + " " + op + " " + sub() + ")"
	}
	return leaf.Draw(t, "leaf")
}

func FuzzExpr(f *testing.F) {
	for _, c := range cases {
		f.Add(c.src)
	}
	for _, s := range []string{`"${A:-"${B:1:-2}"}"`, `/[[:]/`, `"\`, `/\`, "$", "${", "a.", "'é' == \"é", `x =~ /(?i`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, src string) {
		x, err := Parse(src)
		if err != nil {
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Column < 1 || e.Line < 1 || e.Message == "" {
				t.Fatalf("%q: %#v", src, err)
			}
			return
		}
		for _, s := range []Scope{StepIf, BuildNotify, StepNotify} {
			if err := x.Check(s); err != nil {
				continue
			}
			_, err := x.Eval(pullRequest())
			if err != nil && !strings.Contains(src, "$") {
				t.Fatalf("%q passes in %s: %v", src, s, err)
			}
		}
	})
}
