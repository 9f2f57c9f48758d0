package pipeline

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

func seed(f *testing.F) {
	files, err := filepath.Glob("testdata/plan/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, part := range txtar.Parse(raw).Files {
			if part.Name == "input.yml" || part.Name == "upload.json" {
				f.Add(part.Data)
			}
		}
	}
	f.Add([]byte("a: &a [*a]\nsteps: [*a]"))
	f.Add([]byte("steps:\n- <<: {<<: [{}, {}]}\n  ? command\n  : !!str 3\n"))
	f.Add([]byte("{\"steps\":[{\"command\":\"\\ud83d\\ude00\"}]}"))
}

// FuzzParse: no text makes parsing or interpolation panic, and refusals are of the documented types.
func FuzzParse(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, src []byte) {
		d, err := Parse(src, "p.yml")
		if err != nil {
			if at, ok := errors.AsType[*Error](err); !ok || len(at.Problems) == 0 {
				t.Fatalf("Parse returns %T without a problem: %v", err, err)
			}
			return
		}
		err = d.Interpolate(func(string) (string, bool) { return "v", true })
		_, isProblem := errors.AsType[*Error](err)
		_, isAgents := errors.AsType[*AgentAttribute](err)
		if err != nil && !isProblem && !isAgents {
			t.Fatalf("Interpolate returns %T: %v", err, err)
		}
	})
}

// FuzzPlan: no document makes planning panic, a plan is what a second planning gives, every
// definition is JSON, and the number of jobs is within the limit.
func FuzzPlan(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, src []byte) {
		d, err := Parse(src, "p.yml")
		if err != nil {
			return
		}
		first, err := d.Plan(Facts{Branch: "main"}, DefaultLimits())
		second, again := d.Plan(Facts{Branch: "main"}, DefaultLimits())
		if (err == nil) != (again == nil) || err != nil && err.Error() != again.Error() {
			t.Fatalf("planning twice: %v, then %v", err, again)
		}
		if diff := cmp.Diff(first, second); diff != "" {
			t.Fatalf("planning twice differs:\n%s", diff)
		}
		if err != nil {
			return
		}
		checkPlan(t, first)
	})
}

// FuzzPlanUpload: no upload makes planning panic, and a plan from it obeys the same rules.
func FuzzPlanUpload(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, src []byte) {
		d, err := ParseJSON(src)
		if err != nil {
			return
		}
		if p, err := d.Plan(Facts{Branch: "main"}, DefaultLimits()); err == nil {
			checkPlan(t, p)
		}
	})
}

func checkPlan(t *testing.T, p Plan) {
	t.Helper()
	if p.JobCount() > DefaultLimits().Jobs {
		t.Fatalf("%d jobs", p.JobCount())
	}
	for i, s := range p.Steps {
		if !json.Valid(s.Definition) {
			t.Fatalf("step %d: definition %q is no JSON", i, s.Definition)
		}
		if (s.Kind == Group) != (len(s.Jobs) == 0) {
			t.Fatalf("step %d, a %s, has %d jobs", i, s.Kind, len(s.Jobs))
		}
		if s.Group >= i || s.Group >= 0 && p.Steps[s.Group].Kind != Group {
			t.Fatalf("step %d is a member of %d", i, s.Group)
		}
	}
}

// FuzzCheck: no document makes a check panic; what Plan accepts a check accepts, and what a check
// draws has a line for every step that is shown, none longer than it may be.
func FuzzCheck(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, src []byte) {
		r := Check(src, "p.yml", CheckFacts{Facts: Facts{Branch: "main"}, Limits: DefaultLimits()})
		checkReport(t, r)
		d, err := Parse(src, "p.yml")
		if err != nil || len(r.Variables) > 0 {
			return
		}
		if d.Interpolate(func(string) (string, bool) { return "", false }) != nil {
			return
		}
		if _, err := d.Plan(Facts{Branch: "main"}, DefaultLimits()); err == nil && !r.OK() {
			t.Fatalf("a check refuses what can be planned: %v", r.Err())
		}
	})
}

func checkReport(t *testing.T, r Report) {
	t.Helper()
	for i, s := range r.Steps {
		for _, j := range s.After {
			if j < 0 || j >= len(r.Steps) || j == i {
				t.Fatalf("step %d waits for %d of %d", i, j, len(r.Steps))
			}
			if r.Steps[j].Kind != Group && r.Steps[j].Stage >= s.Stage {
				t.Fatalf("step %d of stage %d waits for step %d of stage %d", i, s.Stage, j, r.Steps[j].Stage)
			}
		}
	}
	for line := range strings.Lines(r.Draw()) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > drawWidth {
			t.Fatalf("a line of %d characters: %q", n, line)
		}
	}
	r.Dot()
}
