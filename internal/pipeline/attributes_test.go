package pipeline

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"golang.org/x/tools/txtar"
)

// TestEveryAttributeHasAGoldenPair holds the attributes of every kind of step, and those at the top,
// against the documents of testdata/plan that have a plan.
func TestEveryAttributeHasAGoldenPair(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/plan/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var documents []byte
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		parts := map[string][]byte{}
		for _, f := range txtar.Parse(raw).Files {
			parts[f.Name] = f.Data
		}
		if parts["want.json"] != nil {
			documents = append(append(documents, parts["input.yml"]...), parts["upload.json"]...)
		}
	}
	names := maps.Clone(topKeys)
	for _, attributes := range allowed {
		maps.Copy(names, attributes)
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if !regexp.MustCompile(`(?m)(^|[\s{,"-])` + name + `"?:`).Match(documents) {
			t.Errorf("no document with a plan has %s", name)
		}
	}
}
