package pipeline

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	gopipeline "github.com/buildkite/go-pipeline"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// writer draws documents that use every kind of step, with dependencies on any step, also later ones
// and those around it, so that some documents wait for themselves.
type writer struct {
	t    *rapid.T
	keys int // steps that have a key so far
}

func (w *writer) yes(name string, percent int) bool {
	return rapid.IntRange(1, 100).Draw(w.t, name) <= percent
}

func (w *writer) document() map[string]any {
	d := map[string]any{"steps": w.steps(rapid.IntRange(1, 9).Draw(w.t, "steps"), true)}
	if w.yes("env", 20) {
		d["env"] = map[string]any{"A": "x", "B": 1.5}
	}
	if w.yes("agents", 20) {
		d["agents"] = map[string]any{"queue": "q"}
	}
	return d
}

func (w *writer) steps(n int, top bool) []any {
	kinds := []string{"command", "command", "command", "wait", "block", "input", "trigger"}
	if top {
		kinds = append(kinds, "group")
	}
	list := []any{}
	for range n {
		kind := rapid.SampledFrom(kinds).Draw(w.t, "kind")
		if kind == "wait" && w.yes("bare", 50) {
			list = append(list, "wait")
			continue
		}
		list = append(list, w.step(kind))
	}
	return list
}

func (w *writer) step(kind string) map[string]any {
	s := map[string]any{"key": fmt.Sprintf("k%d", w.keys)}
	w.keys++
	switch kind {
	case "command":
		w.command(s)
	case "trigger":
		s["trigger"] = "other"
	case "group":
		s["group"] = "g"
		s["steps"] = w.steps(rapid.IntRange(1, 4).Draw(w.t, "members"), false)
	default:
		s[kind] = nil
	}
	switch rapid.IntRange(0, 9).Draw(w.t, "depends") {
	case 0:
		s["depends_on"] = nil
	case 1, 2, 3:
		s["depends_on"] = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) any {
			return fmt.Sprintf("k%d", rapid.IntRange(0, 11).Draw(t, "on"))
		}), 1, 2).Draw(w.t, "dependencies")
	}
	if kind != "input" && w.yes("if", 10) {
		s["if"] = `build.branch == "other"`
	}
	return s
}

func (w *writer) command(s map[string]any) {
	s[rapid.SampledFrom([]string{"command", "commands"}).Draw(w.t, "command")] = rapid.SampledFrom([]any{"make", []any{"a", 1, true}, ""}).Draw(w.t, "text")
	if w.yes("plugins", 20) {
		s["plugins"] = rapid.SampledFrom([]any{[]any{"docker#v1"}, map[string]any{"o/p#1": nil}, []any{map[string]any{"x#2": map[string]any{"a": []any{1, "b"}}}}}).Draw(w.t, "which")
	}
	if w.yes("env", 20) {
		s["env"] = map[string]any{"X": rapid.SampledFrom([]any{"a", 1, 1.50, true, nil}).Draw(w.t, "value")}
	}
	switch rapid.IntRange(0, 5).Draw(w.t, "jobs") {
	case 0:
		s["parallelism"] = 3
	case 1:
		s["matrix"] = []any{"a", 2}
		s["label"] = "on {{matrix}}"
	}
}

// naive are the waits among steps as the documentation tells them, pair by pair: node i stands for a
// step, n+i for the end of a group.
func naive(p Plan) map[int][]int {
	n, edges, keys := len(p.Steps), map[int][]int{}, map[string]int{}
	end := func(i int) int {
		if p.Steps[i].Kind == Group {
			return n + i
		}
		return i
	}
	for i, s := range p.Steps {
		keys[s.Key] = i
	}
	for i, s := range p.Steps {
		for _, d := range s.DependsOn {
			edges[i] = append(edges[i], end(keys[d.Step]))
		}
		if s.Group >= 0 {
			edges[i] = append(edges[i], s.Group)
			edges[n+s.Group] = append(edges[n+s.Group], i)
		}
	}
	dropped := droppedIn(p.Steps)
	gates := func(i int) bool {
		s := p.Steps[i]
		return (s.Kind == Wait || s.Kind == Block) && !dropped[i] && s.Broken == ""
	}
	for i, s := range p.Steps {
		near := true // no gate between
		for j := i - 1; j >= 0; j-- {
			o := p.Steps[j]
			switch {
			case o.Group != s.Group, !s.Implicit, s.Kind == Input, o.Kind == Input:
			case gates(i) && (gates(j) || o.Kind != Wait && o.Kind != Block):
				edges[i] = append(edges[i], end(j))
			case near && gates(j) && s.Kind != Wait && s.Kind != Block:
				edges[i], near = append(edges[i], end(j)), false
			}
		}
	}
	return edges
}

// runnable lets every step run whose waits are over, until nothing more does, and says how many
// nodes are left.
func runnable(nodes int, edges map[int][]int) int {
	done := map[int]bool{}
	for moved := true; moved; {
		moved = false
		for i := range nodes {
			if !done[i] && !slices.ContainsFunc(edges[i], func(j int) bool { return !done[j] }) {
				done[i], moved = true, true
			}
		}
	}
	return nodes - len(done)
}

// TestEveryStepOfAPlanIsReached holds plans of random documents against the waits as they are
// documented: if every step can run in its turn the document is planned, and if some wait for each
// other it is refused.
func TestEveryStepOfAPlanIsReached(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := &writer{t: t}
		src, err := json.Marshal(w.document())
		if err != nil {
			t.Fatal(err)
		}
		d, err := ParseJSON(src)
		if err != nil {
			t.Fatalf("%s: %v", src, err)
		}
		p := d.planned(Facts{Branch: "main"}, DefaultLimits())
		err = p.err()
		if err != nil && strings.Contains(err.Error(), "step dependencies not found") {
			return
		}
		left := runnable(2*len(p.plan.Steps), naive(p.plan))
		switch cycle := err != nil && strings.Contains(err.Error(), "wait for each other"); {
		case err != nil && !cycle:
			t.Fatalf("%s is refused: %v", src, err)
		case cycle != (left > 0):
			t.Fatalf("%s: %d steps are never reached, and the plan says %v", src, left, err)
		case !cycle:
			reaches(t, p.plan)
		}
	})
}

// reaches holds the order that a report shows against the waits as they are documented: what must
// come first has a lower stage.
func reaches(t *rapid.T, p Plan) {
	var r Report
	r.fill(p)
	for i, from := range naive(p) {
		for _, j := range from {
			if i < len(p.Steps) && j < len(p.Steps) && p.Steps[i].Kind != Group && p.Steps[j].Kind != Group && r.Steps[j].Stage >= r.Steps[i].Stage {
				t.Fatalf("step %d of stage %d waits for step %d of stage %d", i, r.Steps[i].Stage, j, r.Steps[j].Stage)
			}
		}
	}
}

// TestRandomDocumentsMeanWhatTheAgentsLibrarySays reads random documents, and what is made of them
// again: parsing what was rendered changes nothing, and each command step is what go-pipeline makes
// of it.
func TestRandomDocumentsMeanWhatTheAgentsLibrarySays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := &writer{t: t}
		src, err := json.Marshal(w.document())
		if err != nil {
			t.Fatal(err)
		}
		d, err := Parse(src, "p.yml")
		if err != nil {
			t.Fatalf("%s: %v", src, err)
		}
		again, err := Parse(d.root.raw, "p.yml")
		if err != nil {
			t.Fatalf("what %s was rendered as cannot be read: %v", src, err)
		}
		if string(again.root.raw) != string(d.root.raw) {
			t.Fatalf("%s\nis rendered as\n%s\nand then as\n%s", src, d.root.raw, again.root.raw)
		}
		uploaded, err := ParseJSON(d.root.raw)
		if err != nil {
			t.Fatal(err)
		}
		facts := Facts{Branch: "main"}
		ours, oursErr := d.Plan(facts, DefaultLimits())
		theirs, theirsErr := uploaded.Plan(facts, DefaultLimits())
		if (oursErr == nil) != (theirsErr == nil) {
			t.Fatalf("%s: read here: %v; uploaded: %v", src, oursErr, theirsErr)
		}
		if diff := cmp.Diff(theirs, ours, withoutPlaces...); diff != "" {
			t.Fatalf("%s (-uploaded +read here):\n%s", src, diff)
		}
		if oursErr == nil {
			likeLibrary(t, d.source.Steps, ours)
		}
	})
}

// likeLibrary compares the plan's command steps with the library's, in order.
func likeLibrary(t *rapid.T, steps gopipeline.Steps, p Plan) {
	var theirs []*gopipeline.CommandStep
	var gather func(gopipeline.Steps)
	gather = func(steps gopipeline.Steps) {
		for _, s := range steps {
			switch s := s.(type) {
			case *gopipeline.GroupStep:
				gather(s.Steps)
			case *gopipeline.CommandStep:
				theirs = append(theirs, s)
			}
		}
	}
	gather(steps)
	for _, s := range p.Steps {
		if s.Kind != Command {
			continue
		}
		if len(theirs) == 0 {
			t.Fatal("the library has fewer command steps")
		}
		lib := theirs[0]
		theirs = theirs[1:]
		if lib.Matrix != nil {
			continue
		}
		job := s.Jobs[0]
		plugins := pluginList(lib.Plugins)
		if lib.Command != job.Command || lib.Key != s.Key || string(plugins) != string(job.Plugins) {
			t.Fatalf("%s: the library has %q, %s, %s", s.Definition, lib.Command, lib.Key, plugins)
		}
		if diff := cmp.Diff(lib.Env, job.Env, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("env of %s (-library +plan):\n%s", s.Definition, diff)
		}
	}
	if len(theirs) > 0 {
		t.Fatalf("the library has %d more command steps", len(theirs))
	}
}
