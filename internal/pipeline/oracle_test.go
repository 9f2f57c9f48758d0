package pipeline

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gopipeline "github.com/buildkite/go-pipeline"
	"github.com/buildkite/go-pipeline/warning"
	"github.com/buildkite/interpolate"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/tools/txtar"
)

// agentUpload is what an agent makes of a document: go-pipeline's reading, interpolated, as JSON.
func agentUpload(t *testing.T, src []byte, env map[string]string) []byte {
	t.Helper()
	p, err := gopipeline.Parse(bytes.NewReader(src))
	if err != nil && !warning.Is(err) {
		t.Fatalf("the library refuses the document: %v", err)
	}
	if err := p.Interpolate(settable{env}, false); err != nil {
		t.Fatalf("the library does not interpolate the document: %v", err)
	}
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

type settable struct{ m map[string]string }

func (s settable) Get(name string) (string, bool) { v, ok := s.m[name]; return v, ok }
func (s settable) Set(name, v string)             { s.m[name] = v }

// goldenInputs are the documents of testdata/plan that have a plan.
func goldenInputs(t *testing.T) map[string]map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/plan/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	inputs := map[string]map[string][]byte{}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		parts := map[string][]byte{}
		for _, f := range txtar.Parse(raw).Files {
			parts[f.Name] = f.Data
		}
		if parts["input.yml"] != nil && parts["want.json"] != nil {
			inputs[strings.TrimSuffix(filepath.Base(file), ".txtar")] = parts
		}
	}
	return inputs
}

// TestServerPlansWhatAgentWouldUpload holds YAML read by the server against the same YAML uploaded
// by an agent: the plans are the same, definitions included.
func TestServerPlansWhatAgentWouldUpload(t *testing.T) {
	t.Parallel()
	for name, parts := range goldenInputs(t) {
		if name == "nested" {
			continue // command beside commands: the library keeps one of the two
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			facts, limits := readFacts(t, string(parts["facts"]))
			server, err := planArchive(t, parts)
			if err != nil {
				t.Fatal(err)
			}
			env := map[string]string{"BUILDKITE_BRANCH": facts.Branch, "BUILDKITE_COMMIT": "0123456789abcdef"}
			d, err := ParseJSON(agentUpload(t, parts["input.yml"], env))
			if err != nil {
				t.Fatal(err)
			}
			agent, err := d.Plan(facts, limits)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(agent, server, withoutPlaces...); diff != "" {
				t.Errorf("plans differ (-agent +server):\n%s", diff)
			}
		})
	}
}

var withoutPlaces = cmp.Options{
	cmp.FilterPath(func(p cmp.Path) bool { return p.String() == "Warnings.Message" }, cmp.Comparer(func(a, b string) bool {
		a, _, _ = strings.Cut(a, " (step")
		b, _, _ = strings.Cut(b, " (step")
		return a == b
	})),
	cmpopts.IgnoreFields(Step{}, "Pos"),
	cmpopts.IgnoreFields(Problem{}, "Pos", "File"),
}

// TestRawAndNormalFormsPlanAlike uploads documents as people write them, aliases and all, and in
// the form that agents bring them into: nothing but the definitions differs.
func TestRawAndNormalFormsPlanAlike(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		`{"steps":[{"commands":["a","b"],"id":"k","name":"l","plugins":{"x#1":{},"o/y":null}}]}`,
		`{"steps":[{"command":["a",1,true,null],"env":{"A":1.50,"B":null,"C":false,"D":1e21}}]}`,
		`[{"command":"{{matrix}}","matrix":["a",2,false],"identifier":"k"},"wait"]`,
		`{"steps":[{"group":null,"name":"g","id":"gk","steps":[{"commands":"a"}]}]}`,
		`{"secrets":["A"],"steps":[{"command":"a","secrets":{"X":"Y"}},{"plugins":["p#1"]}]}`,
		`{"steps":[{"command":"","matrix":{"setup":{"a":[1]},"adjustments":[{"with":{"a":1},"soft_fail":true}]}}]}`,
		`{"steps":[{"command":"a","artifacts":["x"],"timeout":3,"agent_query_rules":["queue=a"]}]}`,
		`{"checkout":{"depth":2},"steps":[{"command":"a","checkout":{"flags":{"clone":""}}}]}`,
	} {
		t.Run(raw, func(t *testing.T) {
			t.Parallel()
			var plans []Plan
			for _, src := range [][]byte{[]byte(raw), agentUpload(t, []byte(raw), map[string]string{})} {
				d, err := ParseJSON(src)
				if err != nil {
					t.Fatal(err)
				}
				p, err := d.Plan(Facts{}, DefaultLimits())
				if err != nil {
					t.Fatal(err)
				}
				plans = append(plans, p)
			}
			if diff := cmp.Diff(plans[0], plans[1], cmpopts.IgnoreFields(Step{}, "Definition")); diff != "" {
				t.Errorf("plans differ (-raw +normal):\n%s", diff)
			}
		})
	}
}

// TestJobsVerifyAgainstTheirDefinition does what an agent does with an accepted job: it reads the
// step again, fills in the job's matrix permutation, and compares command, env and plugins.
func TestJobsVerifyAgainstTheirDefinition(t *testing.T) {
	t.Parallel()
	for name, parts := range goldenInputs(t) {
		if name == "matrix-partial" {
			continue // the library, where it verifies, refuses adjustments that leave dimensions out
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plan, err := planArchive(t, parts)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range plan.Steps {
				for _, j := range s.Jobs {
					if s.Kind == Command && j.Skip == "" {
						verify(t, s, j)
					}
				}
			}
		})
	}
}

func verify(t *testing.T, s Step, j Job) {
	t.Helper()
	step := new(gopipeline.CommandStep)
	if err := json.Unmarshal(s.Definition, step); err != nil {
		t.Fatalf("an agent cannot read %s: %v", s.Definition, err)
	}
	if err := step.InterpolateMatrixPermutation(j.Matrix); err != nil {
		t.Fatalf("an agent refuses the permutation %v of %s: %v", j.Matrix, s.Definition, err)
	}
	if step.Command != j.Command {
		t.Errorf("command of %s: agent has %q, job has %q", s.Definition, step.Command, j.Command)
	}
	if diff := cmp.Diff(step.Env, j.Env, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("env of %s (-agent +job):\n%s", s.Definition, diff)
	}
	var plugins gopipeline.Plugins
	if j.Plugins != nil {
		if err := json.Unmarshal(j.Plugins, &plugins); err != nil {
			t.Fatal(err)
		}
	}
	agent, _ := json.Marshal(step.Plugins)
	job, _ := json.Marshal(plugins)
	if !bytes.Equal(agent, job) {
		t.Errorf("plugins of %s: agent has %s, job has %s", s.Definition, agent, job)
	}
}

// TestInterpolationFollowsAgentLibrary compares a label with the library's reading of it.
func TestInterpolationFollowsAgentLibrary(t *testing.T) {
	t.Parallel()
	env := map[string]string{"SET": "value", "EMPTY": ""}
	for _, text := range []string{
		"$SET", "${SET}", "${SET:-d}", "${EMPTY:-d}", "${EMPTY-d}", "${NONE:-d}", "${NONE-d}", "${NONE:-${SET}}",
		"${SET:0:2}", "${SET:1}", "${SET:-2}", "${SET: -2}", "${SET:1:-1}", "${EMPTY?m}", "$$SET", `\$SET`, "$${SET:-x}",
		"$(pwd)", "$1", "$?", "$", "a$", "$_X", "${NONE:-}", "${NONE:-a}b", "$SET$SET", `\\$SET`,
	} {
		want, err := interpolate.Interpolate(interpolate.NewMapEnv(env), text)
		if err != nil {
			t.Fatalf("the library refuses %q: %v", text, err)
		}
		src, err := json.Marshal(map[string]any{"steps": []any{map[string]any{"command": "x", "label": text}}})
		if err != nil {
			t.Fatal(err)
		}
		d, err := Parse(src, "p.yml")
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if err := d.Interpolate(func(n string) (string, bool) { v, ok := env[n]; return v, ok }); err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		plan, err := d.Plan(Facts{}, Limits{})
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if got := plan.Steps[0].Label; got != want {
			t.Errorf("%q becomes %q, in the library %q", text, got, want)
		}
	}
}
