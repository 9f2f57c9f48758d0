package pipeline

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/goccy/go-yaml"
	"golang.org/x/tools/txtar"
)

// used gathers the attributes that documents have, by the kind of step; "" are those at the top.
type used map[Kind]map[string]bool

func (u used) add(kind Kind, o object) {
	if u[kind] == nil {
		u[kind] = map[string]bool{}
	}
	for _, f := range o.fields {
		u[kind][f.name] = true
	}
}

// steps looks at a list of steps and at those of groups in it.
func (u used) steps(v value) {
	for _, item := range v.items() {
		var p planner
		src, ok := p.classify(item)
		if !ok {
			continue
		}
		u.add(src.kind, item.object()) // the key that a body is nested under is one of them
		u.add(src.kind, src.object)
		if src.kind == Group {
			u.steps(src.get("steps"))
		}
	}
}

// TestEveryAttributeHasAGoldenPair holds the attributes of every kind of step, and those at the top,
// against the documents of testdata/plan that have a plan.
func TestEveryAttributeHasAGoldenPair(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/plan/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	seen := used{}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		parts := map[string][]byte{}
		for _, f := range txtar.Parse(raw).Files {
			parts[f.Name] = f.Data
		}
		if parts["want.json"] == nil {
			continue
		}
		// As it is written: parsing gives attributes that have several names one of them.
		text, err := yaml.YAMLToJSON(slices.Concat(parts["input.yml"], parts["upload.json"]))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		root := value{raw: bytes.TrimSpace(text)}
		seen.add("", root.object())
		if root.isList() {
			seen.steps(root)
		}
		seen.steps(root.object().get("steps"))
	}
	tables := maps.Clone(allowed)
	tables[""] = topKeys
	for kind, attributes := range tables {
		for _, name := range slices.Sorted(maps.Keys(attributes)) {
			if !seen[kind][name] {
				t.Errorf("no document with a plan has %s %s", kind, name)
			}
		}
	}
}
