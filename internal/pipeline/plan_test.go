package pipeline

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/slipway-ci/slipway/internal/condition"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite golden files")

// TestPlanGolden plans every document of testdata/plan. An archive has input.yml or upload.json,
// optionally facts, and either want.json (the plan without its zero values) or error.
func TestPlanGolden(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/plan/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			golden(t, file)
		})
	}
}

func golden(t *testing.T, path string) {
	t.Helper()
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string][]byte{}
	for _, f := range archive.Files {
		parts[f.Name] = f.Data
	}
	name, got := "want.json", ""
	plan, err := planArchive(t, parts)
	if err != nil {
		name, got = "error", err.Error()+"\n"
	} else {
		got = pruned(t, plan, bytes.Contains(parts["facts"], []byte("definitions")))
	}
	if *update {
		rewrite(t, path, archive, name, got)
		return
	}
	if diff := cmp.Diff(string(parts[name]), got); diff != "" {
		t.Errorf("%s of %s (-want +got):\n%s", name, path, diff)
	}
}

func planArchive(t *testing.T, parts map[string][]byte) (Plan, error) {
	t.Helper()
	facts, limits := readFacts(t, string(parts["facts"]))
	if src, ok := parts["upload.json"]; ok {
		d, err := ParseJSON(src)
		if err != nil {
			return Plan{}, err
		}
		return d.Plan(facts, limits)
	}
	d, err := Parse(parts["input.yml"], "pipeline.yml")
	if err != nil {
		return Plan{}, err
	}
	if err := d.Interpolate(serverVariables(facts.Branch)); err != nil {
		return Plan{}, err
	}
	return d.Plan(facts, limits)
}

func serverVariables(branch string) func(string) (string, bool) {
	m := map[string]string{"BUILDKITE_BRANCH": branch, "BUILDKITE_COMMIT": "0123456789abcdef", "BUILDKITE_TAG": ""}
	return func(name string) (string, bool) {
		v, ok := m[name]
		return v, ok
	}
}

// readFacts reads lines of `branch NAME`, `used KEY`, `jobs N`, and `definitions`, which keeps the
// definitions and positions of steps in want.json.
func readFacts(t *testing.T, text string) (Facts, Limits) {
	t.Helper()
	branch, used, limits := "main", map[string]bool{}, DefaultLimits()
	for line := range strings.Lines(text) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "branch":
			branch = rest
		case "used":
			used[rest] = true
		case "jobs":
			n, err := strconv.Atoi(rest)
			if err != nil {
				t.Fatal(err)
			}
			limits.Jobs = n
		case "definitions":
		default:
			t.Fatalf("unknown fact %q", line)
		}
	}
	return Facts{
		Branch:    branch,
		UsedKeys:  func(key string) bool { return used[key] },
		Condition: condition.Env{Vars: condition.Vars{"build.branch": condition.String(branch)}},
	}, limits
}

// pruned is the plan as JSON without zero values.
func pruned(t *testing.T, plan Plan, definitions bool) string {
	t.Helper()
	for i := range plan.Steps {
		if !definitions {
			plan.Steps[i].Definition, plan.Steps[i].Pos = nil, Position{}
		}
	}
	raw, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(prune(v)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// prune drops zero members. Raw JSON keeps its own.
func prune(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, member := range v {
			if (k == "Group" || k == "limit") && member == json.Number("0") {
				continue
			}
			if k == "Group" && member == json.Number("-1") {
				delete(v, k)
				continue
			}
			if k == "Definition" || k == "Plugins" || k == "Notify" || k == "Env" || k == "Emitted" || k == "Matrix" {
				if member == nil {
					delete(v, k)
				}
				continue
			}
			if v[k] = prune(member); v[k] == nil {
				delete(v, k)
			}
		}
		if len(v) == 0 {
			return nil
		}
	case []any:
		for i := range v {
			v[i] = prune(v[i])
		}
		if len(v) == 0 {
			return nil
		}
	case string:
		if v == "" {
			return nil
		}
	case bool:
		if !v {
			return nil
		}
	case json.Number:
		if v == "0" {
			return nil
		}
	}
	return v
}

func rewrite(t *testing.T, path string, archive *txtar.Archive, name, got string) {
	t.Helper()
	kept := archive.Files[:0]
	for _, f := range archive.Files {
		if f.Name != "want.json" && f.Name != "error" {
			kept = append(kept, f)
		}
	}
	archive.Files = append(kept, txtar.File{Name: name, Data: []byte(got)})
	if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
		t.Fatal(err)
	}
}
