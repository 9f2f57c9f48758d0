package archtest_test

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

var rootFlag = flag.String("root", "", "the tree to look at, instead of the repository")

var update = flag.Bool("update", false, "rewrite the generated part of docs/architecture.md")

// root returns the path of the repository, seen from this package, with what is
// below it. TestRulesFindViolations names another tree.
func root(name string) string {
	if *rootFlag != "" {
		return filepath.Join(*rootFlag, name)
	}
	return filepath.Join("../..", name)
}

const module = "github.com/slipway-ci/slipway"

// source is a Go file of any module in the repository.
type source struct {
	path      string // from the repository's root, with slashes
	dir       string // of path
	lines     int
	test      bool // *_test.go, or in a package that only tests import
	generated bool
	syntax    *ast.File
}

// repository is everything that the rules look at.
type repository struct {
	fset  *token.FileSet
	files []*source
	docs  map[string]string // Markdown by path
}

// load is read once; the tests do not change it.
var load = sync.OnceValues(read)

func repo(t *testing.T) *repository {
	t.Helper()
	r, err := load()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func read() (*repository, error) {
	r := &repository{fset: token.NewFileSet(), docs: map[string]string{}}
	err := filepath.WalkDir(root(""), func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root(""), name)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return skipDir(rel)
		}
		return r.add(filepath.ToSlash(rel))
	})
	return r, err
}

// skipDir leaves out what is not the project's own text.
func skipDir(rel string) error {
	base := filepath.Base(rel)
	if rel != "." && (strings.HasPrefix(base, ".") || base == "testdata" || base == "bin") {
		return fs.SkipDir
	}
	return nil
}

func (r *repository) add(rel string) error {
	switch path.Ext(rel) {
	case ".md":
		text, err := os.ReadFile(root(rel))
		r.docs[rel] = string(text)
		return err
	case ".go":
		text, err := os.ReadFile(root(rel))
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(r.fset, rel, text, parser.ParseComments)
		if err != nil {
			return err
		}
		r.files = append(r.files, &source{
			path:      rel,
			dir:       path.Dir(rel),
			lines:     strings.Count(string(text), "\n"),
			test:      strings.HasSuffix(rel, "_test.go") || testOnly(path.Dir(rel)),
			generated: ast.IsGenerated(file),
			syntax:    file,
		})
	}
	return nil
}

// testOnly says whether dir holds a package that only tests import.
func testOnly(dir string) bool {
	return strings.HasPrefix(dir, "test/") || strings.HasSuffix(path.Base(dir), "test")
}

// written returns the files that people write, tests too.
func (r *repository) written() []*source {
	return slices.DeleteFunc(slices.Clone(r.files), func(f *source) bool { return f.generated })
}

// product returns the written files that are part of the binary.
func (r *repository) product() []*source {
	return slices.DeleteFunc(r.written(), func(f *source) bool { return f.test })
}

// tests returns the written *_test.go files.
func (r *repository) tests() []*source {
	return slices.DeleteFunc(r.written(), func(f *source) bool { return !strings.HasSuffix(f.path, "_test.go") })
}

// packages returns the files of each folder.
func packages(files []*source) map[string][]*source {
	dirs := map[string][]*source{}
	for _, f := range files {
		dirs[f.dir] = append(dirs[f.dir], f)
	}
	return dirs
}

// complain fails t with the place of a violation and what to do about it.
func (r *repository) complain(t *testing.T, pos token.Pos, format string, args ...any) {
	t.Helper()
	p := r.fset.Position(pos)
	t.Errorf("%s:%d: "+format, append([]any{p.Filename, p.Line}, args...)...)
}

// each calls visit for every node of the files.
func each(files []*source, visit func(f *source, n ast.Node)) {
	for _, f := range files {
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if n != nil {
				visit(f, n)
			}
			return true
		})
	}
}

// imported returns the name by which f refers to the package with the given
// import path, or "".
func (f *source) imported(importPath string) string {
	for _, spec := range f.syntax.Imports {
		if strings.Trim(spec.Path.Value, `"`) != importPath {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(importPath)
	}
	return ""
}

// refers says whether n is importPath.name, in f.
func (f *source) refers(n ast.Node, importPath string, names ...string) bool {
	sel, ok := n.(*ast.SelectorExpr)
	if !ok || !slices.Contains(names, sel.Sel.Name) {
		return false
	}
	id, ok := sel.X.(*ast.Ident)
	return ok && id.Name == f.imported(importPath)
}

// within says whether dir is one of the folders or below one.
func within(dir string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(folder string) bool {
		return dir == folder || strings.HasPrefix(dir, folder+"/")
	})
}
