package archtest_test

import (
	"go/ast"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestPackageDocs(t *testing.T) {
	t.Parallel()
	r := repo(t)
	for dir, files := range packages(r.written()) {
		var docs []string
		inTests := true
		for _, f := range files {
			if strings.HasSuffix(f.path, "_test.go") {
				continue
			}
			inTests = false
			if f.syntax.Doc != nil {
				docs = append(docs, f.path)
			}
		}
		switch {
		case inTests:
		case len(docs) == 0:
			r.complain(t, files[0].syntax.Package, "package %s has no comment; say what it holds, what it promises and how it fails", dir)
		case len(docs) > 1:
			r.complain(t, files[0].syntax.Package, "package %s has several comments, in %s; keep one", dir, strings.Join(docs, ", "))
		}
	}
}

func TestExportedNamesAreDocumented(t *testing.T) {
	t.Parallel()
	r := repo(t)
	for _, f := range r.product() {
		for _, decl := range f.syntax.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Doc == nil && d.Name.IsExported() && (d.Recv == nil || exportedReceiver(d)) {
					r.complain(t, d.Pos(), "%s has no comment; say what a reader cannot guess", d.Name.Name)
				}
			case *ast.GenDecl:
				if d.Tok == token.TYPE {
					r.undocumentedTypes(t, d)
				}
			}
		}
	}
}

func (r *repository) undocumentedTypes(t *testing.T, d *ast.GenDecl) {
	t.Helper()
	for _, spec := range d.Specs {
		spec := spec.(*ast.TypeSpec)
		if spec.Name.IsExported() && d.Doc == nil && spec.Doc == nil && spec.Comment == nil {
			r.complain(t, spec.Pos(), "type %s has no comment; say what a reader cannot guess", spec.Name.Name)
		}
	}
}

// exportedReceiver says whether d is a method of an exported type, and not one
// that an interface of the standard library explains.
func exportedReceiver(d *ast.FuncDecl) bool {
	known := []string{"Error", "String", "Unwrap", "Is", "Len", "Less", "Swap", "MarshalJSON", "UnmarshalJSON", "MarshalText", "UnmarshalText"}
	if slices.Contains(known, d.Name.Name) {
		return false
	}
	id := rootIdent(receiver(d))
	return id != nil && id.IsExported()
}

func receiver(d *ast.FuncDecl) ast.Expr {
	x := d.Recv.List[0].Type
	if index, ok := x.(*ast.IndexExpr); ok {
		x = index.X
	}
	return x
}

// row is a line of docs/dependencies.md: | `module` | `package` `package` | reason |
var row = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ([^|]+) \\| ([^|]+) \\|$")

func TestDirectModulesHaveReasons(t *testing.T) {
	t.Parallel()
	const name = "docs/dependencies.md"
	listed := repo(t).listedModules()
	for _, required := range requirements(t) {
		if listed[required] == "" {
			t.Errorf("go.mod: %s has no row in %s; say who uses it and why", required, name)
		}
	}
	for required := range listed {
		if !slices.Contains(requirements(t), required) {
			t.Errorf("%s: %s is not a direct requirement of go.mod; remove the row", name, required)
		}
	}
}

// listedModules returns the users of each module in docs/dependencies.md.
func (r *repository) listedModules() map[string]string {
	listed := map[string]string{}
	for _, m := range row.FindAllStringSubmatch(r.docs["docs/dependencies.md"], -1) {
		listed[m[1]] = m[2]
	}
	return listed
}

func TestUsersOfModulesAreListed(t *testing.T) {
	t.Parallel()
	const name = "docs/dependencies.md"
	r := repo(t)
	listed := r.listedModules()
	used := map[string]bool{} // module and user, as listed
	for _, f := range r.files {
		if within(f.dir, "test/officialagent") {
			continue // a module of its own
		}
		for _, spec := range f.syntax.Imports {
			for required, users := range listed {
				if !within(strings.Trim(spec.Path.Value, `"`), required) {
					continue
				}
				user := mentioned(users, short(f.dir), f.test)
				if user == "" {
					r.complain(t, spec.Pos(), "%s imports %s, but %s does not name it as a user", short(f.dir), required, name)
				}
				used[required+" "+user] = true
			}
		}
	}
	for required, users := range listed {
		for _, user := range words(users) {
			if !used[required+" "+user] {
				t.Errorf("%s: %s does not import %s; remove it from the row", name, user, required)
			}
		}
	}
}

// mentioned returns the word of a list of users that covers a package, or "".
func mentioned(users, pkg string, test bool) string {
	for _, word := range words(users) {
		if within(pkg, word) || test && word == "tests" {
			return word
		}
	}
	return ""
}

func words(users string) []string {
	return strings.Fields(strings.NewReplacer("`", "", ",", "").Replace(users))
}

// requirement is a line of go.mod that requires a module directly.
var requirement = regexp.MustCompile(`(?m)^(?:require)?\s+(\S+\.\S+/\S+|\S+\.\S+) v\S+$`)

func requirements(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(root("go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	var direct []string
	for _, m := range requirement.FindAllStringSubmatch(string(text), -1) {
		direct = append(direct, m[1])
	}
	return direct
}

var fragment = regexp.MustCompile(`^(Added|Changed|Fixed|Removed|Security): [A-Z\x60].*\.\n$`)

func TestChangeFragments(t *testing.T) {
	t.Parallel()
	name := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*\.md$`)
	for file, text := range repo(t).docs {
		if path.Dir(file) != "changes" || path.Base(file) == "README.md" {
			continue
		}
		if !name.MatchString(path.Base(file)) {
			t.Errorf("%s: name the fragment in lower case with hyphens", file)
		}
		if !fragment.MatchString(text) {
			t.Errorf("%s:1: a fragment is one line such as \"Added: One sentence for users.\"; see changes/README.md", file)
		}
	}
}

func TestDecisionRecords(t *testing.T) {
	t.Parallel()
	name := regexp.MustCompile(`^\d{4}-[a-z0-9-]+\.md$`)
	for file, text := range repo(t).docs {
		if path.Dir(file) != "docs/adr" || path.Base(file) == "README.md" {
			continue
		}
		if !name.MatchString(path.Base(file)) {
			t.Errorf("%s: name a record NNNN-title.md", file)
		}
		for _, section := range []string{"## Context", "## Decision", "## Consequences", "## What would change our mind"} {
			if !strings.Contains(text, "\n"+section+"\n") {
				t.Errorf("%s:1: section %q is missing", file, section)
			}
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)#\s]+)[^)]*\)`)

func TestLinksInDocumentsLead(t *testing.T) {
	t.Parallel()
	for file, text := range repo(t).docs {
		for i, line := range strings.Split(text, "\n") {
			for _, m := range link.FindAllStringSubmatch(line, -1) {
				if strings.Contains(m[1], ":") {
					continue
				}
				target := root(filepath.Join(path.Dir(file), m[1]))
				if _, err := os.Stat(target); err != nil {
					t.Errorf("%s:%d: the link to %s leads nowhere", file, i+1, m[1])
				}
			}
		}
	}
}

func TestContributingIsShort(t *testing.T) {
	t.Parallel()
	if n := strings.Count(repo(t).docs["CONTRIBUTING.md"], "\n"); n == 0 || n > 120 {
		t.Errorf("CONTRIBUTING.md:1: %d lines, want 1 to 120", n)
	}
}

// The generated part of docs/architecture.md stands between these lines.
const (
	tableBegin = "<!-- written by: go test ./internal/archtest -update -->\n"
	tableEnd   = "<!-- end -->\n"
)

func TestArchitectureShowsTheImportTable(t *testing.T) {
	t.Parallel()
	const name = "docs/architecture.md"
	r := repo(t)
	text := r.docs[name]
	before, rest, ok := strings.Cut(text, tableBegin)
	got, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s:1: the lines %q and %q are missing", name, tableBegin, tableEnd)
	}
	if got == r.importTable() {
		return
	}
	if !*update {
		t.Fatalf("%s:%d: the import table is not the one of internal/archtest; run go test ./internal/archtest -update",
			name, strings.Count(before, "\n")+1)
	}
	if err := os.WriteFile(root(name), []byte(before+tableBegin+r.importTable()+tableEnd+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
