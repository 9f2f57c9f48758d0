package pipeline

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// TestCheckGolden checks every document of testdata/check: the report without its steps, and the
// drawing. Agents serve the queues default, mac and linux; facts may have the line `part`.
func TestCheckGolden(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/check/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			parts := map[string][]byte{}
			for _, f := range archive.Files {
				parts[f.Name] = f.Data
			}
			r := Check(parts["input.yml"], "pipeline.yml", checkFacts(string(parts["facts"])))
			got := describe(t, r)
			if *update {
				rewriteParts(t, file, archive, "want", got)
				return
			}
			if want := string(parts["want"]); want != got {
				t.Errorf("%s differs; got:\n%s", file, got)
			}
		})
	}
}

func checkFacts(text string) CheckFacts {
	return CheckFacts{
		Part: strings.Contains(text, "part"),
		Facts: Facts{
			Branch: "main",
		},
		Lookup: func(name string) (string, bool) { return "main", name == "BUILDKITE_BRANCH" },
		Serve: func(queue string, rules []string) Serving {
			switch {
			case queue == "" || queue == "linux":
				return Serving{Known: true, Agents: 2}
			case queue == "mac":
				return Serving{Known: true, Why: "no agent matches queue=mac"}
			}
			return Serving{Why: "did you mean mac?"}
		},
		Pipelines: func(slug string) bool { return slug == "deploy" },
	}
}

func describe(t *testing.T, r Report) string {
	t.Helper()
	var b strings.Builder
	for _, p := range r.Problems {
		b.WriteString(p.String() + "\n")
	}
	for _, w := range r.Warnings {
		b.WriteString("warning: " + w.String() + "\n")
	}
	if len(r.Variables) > 0 {
		b.WriteString("variables: " + strings.Join(r.Variables, " ") + "\n")
	}
	if !r.OK() {
		return b.String()
	}
	b.WriteString("\n" + r.Draw() + "\n")
	for _, n := range r.Needs {
		line, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(line, '\n'))
	}
	return b.String()
}

func rewriteParts(t *testing.T, path string, archive *txtar.Archive, name, got string) {
	t.Helper()
	for i, f := range archive.Files {
		if f.Name == name {
			archive.Files = append(archive.Files[:i], archive.Files[i+1:]...)
			break
		}
	}
	rewrite(t, path, archive, name, got)
}
