package archtest_test

import (
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strings"
	"testing"
)

const (
	maxFileLines     = 800
	maxFunctionLines = 80
	maxMethods       = 5
)

// long are functions over the limit, with the reason.
var long = map[string]string{}

func TestFileAndFunctionSizes(t *testing.T) {
	t.Parallel()
	r := repo(t)
	for _, f := range r.written() {
		if f.lines > maxFileLines {
			r.complain(t, f.syntax.Package, "%d lines; split the file, the limit is %d", f.lines, maxFileLines)
		}
	}
	each(r.written(), func(f *source, n ast.Node) {
		d, ok := n.(*ast.FuncDecl)
		if !ok || long[f.path+" "+d.Name.Name] != "" {
			return
		}
		lines := r.span(d)
		if strings.HasSuffix(f.path, "_test.go") {
			lines -= r.tableLines(d)
		}
		if lines > maxFunctionLines {
			r.complain(t, d.Pos(), "%s has %d lines; divide it, the limit is %d", d.Name.Name, lines, maxFunctionLines)
		}
	})
}

// tableLines is the length of the composite literals in d. A test's table is
// data, and may be as long as its cases.
func (r *repository) tableLines(d *ast.FuncDecl) int {
	lines := 0
	ast.Inspect(d, func(n ast.Node) bool {
		lit, ok := n.(*ast.CompositeLit)
		if ok {
			lines += r.span(lit) - 1
		}
		return !ok
	})
	return lines
}

func TestInterfacesAreSmall(t *testing.T) {
	t.Parallel()
	r := repo(t)
	each(r.product(), func(_ *source, n ast.Node) {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return
		}
		if i, ok := spec.Type.(*ast.InterfaceType); ok && i.Methods.NumFields() > maxMethods {
			r.complain(t, n.Pos(), "interface %s has %d methods; the limit is %d, ask for what the consumer calls",
				spec.Name.Name, i.Methods.NumFields(), maxMethods)
		}
	})
}

// emptyNames say nothing about what a package holds.
var emptyNames = []string{
	"util", "utils", "helper", "helpers", "common", "misc", "shared", "types", "models", "interfaces", "pkg", "base", "core", "lib",
}

func TestPackageNamesSayWhatIsInside(t *testing.T) {
	t.Parallel()
	r := repo(t)
	for dir, files := range packages(r.files) {
		if slices.Contains(emptyNames, path.Base(dir)) {
			r.complain(t, files[0].syntax.Package, "package %s; name it for its subject", path.Base(dir))
		}
	}
}

// emptySuffixes of type names say nothing about what a value is.
var emptySuffixes = []string{"Manager", "Processor", "Helper", "Helpers", "Wrapper", "Impl", "Util", "Utils", "Mock", "Base"}

func TestTypeNamesSayWhatAValueIs(t *testing.T) {
	t.Parallel()
	r := repo(t)
	each(r.written(), func(_ *source, n ast.Node) {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return
		}
		for _, suffix := range emptySuffixes {
			if strings.HasSuffix(spec.Name.Name, suffix) || strings.HasPrefix(spec.Name.Name, "Mock") {
				r.complain(t, n.Pos(), "type %s; name it for what it is, not %q", spec.Name.Name, suffix)
				return
			}
		}
	})
}

func TestNoGetters(t *testing.T) {
	t.Parallel()
	r := repo(t)
	each(r.product(), func(_ *source, n ast.Node) {
		d, ok := n.(*ast.FuncDecl)
		if ok && d.Recv != nil && d.Type.Params.NumFields() == 0 {
			if rest, is := strings.CutPrefix(d.Name.Name, "Get"); is && ast.IsExported(rest) {
				r.complain(t, d.Pos(), "method %s; a getter is named %s", d.Name.Name, rest)
			}
		}
	})
}

// onceOnly are helpers that must not be written again in a second package.
var onceOnly = []string{
	"ptr", "toPtr", "contains", "truncate", "writeJSON", "respondJSON", "readJSON", "retry", "min", "max", "keys", "sortedKeys",
	"deref", "coalesce", "firstNonEmpty",
}

func TestHelpersAreNotWrittenTwice(t *testing.T) {
	t.Parallel()
	r := repo(t)
	first := map[string]*ast.FuncDecl{}
	for _, f := range r.product() {
		for _, decl := range f.syntax.Decls {
			d, ok := decl.(*ast.FuncDecl)
			if !ok || d.Recv != nil || !slices.Contains(onceOnly, d.Name.Name) {
				continue
			}
			if other := first[d.Name.Name]; other != nil {
				r.complain(t, d.Pos(), "func %s is declared at %s too; use the standard library or share it",
					d.Name.Name, r.fset.Position(other.Pos()))
			}
			first[d.Name.Name] = d
		}
	}
}

func TestNoInit(t *testing.T) {
	t.Parallel()
	r := repo(t)
	for _, f := range r.product() {
		for _, decl := range f.syntax.Decls {
			if d, ok := decl.(*ast.FuncDecl); ok && d.Recv == nil && d.Name.Name == "init" {
				r.complain(t, d.Pos(), "func init; call it where it is needed")
			}
		}
	}
}

// variables are package variables that the rule cannot see to be constant, by
// file and name, with the reason.
var variables = map[string]string{
	"internal/s3test/s3test.go current":              "one server a process",
	"internal/dbtest/dbtest.go current":              "one database server for the tests of a process",
	"internal/store/storetest/storetest.go template": "one migrated file for the tests of a process",
}

func TestPackageVariablesAreConstant(t *testing.T) {
	t.Parallel()
	r := repo(t)
	for _, files := range packages(slices.DeleteFunc(r.written(), func(f *source) bool {
		return strings.HasSuffix(f.path, "_test.go")
	})) {
		names, specs := r.constantVariables(t, files)
		each(files, func(_ *source, n ast.Node) {
			for _, target := range targets(n) {
				if id := rootIdent(target); id != nil && names[id.Name] && packageLevel(id, specs) {
					r.complain(t, n.Pos(), "assignment to the package variable %s; keep state in a value", id.Name)
				}
			}
		})
	}
}

// constantVariables complains of package variables that are not tables, errors
// or compiled text, and returns the names and declarations of all.
func (r *repository) constantVariables(t *testing.T, files []*source) (names map[string]bool, specs map[any]bool) {
	t.Helper()
	names, specs = map[string]bool{}, map[any]bool{}
	for _, f := range files {
		for _, decl := range f.syntax.Decls {
			d, ok := decl.(*ast.GenDecl)
			if !ok || d.Tok != token.VAR {
				continue
			}
			for _, spec := range d.Specs {
				spec := spec.(*ast.ValueSpec)
				specs[spec] = true
				for i, id := range spec.Names {
					names[id.Name] = true
					if id.Name == "_" || embedded(d, spec) || variables[f.path+" "+id.Name] != "" {
						continue
					}
					if i >= len(spec.Values) || !constant(spec.Values[i]) {
						r.complain(t, id.Pos(), "package variable %s is not an error, a table, a compiled pattern or template, or an embed; make it a constant or a field", id.Name)
					}
				}
			}
		}
	}
	delete(names, "_")
	return names, specs
}

func embedded(d *ast.GenDecl, spec *ast.ValueSpec) bool {
	for _, group := range []*ast.CommentGroup{d.Doc, spec.Doc} {
		if group != nil && strings.Contains(group.List[len(group.List)-1].Text, "//go:embed") {
			return true
		}
	}
	return false
}

// builders make values that nobody changes afterwards.
var builders = []string{
	"New", "NewError", "Errorf", "MustCompile", "Must", "NewReplacer", "MustParsePrefix", "MustParseAddr", "NewInt", "TypeFor", "Clone", "Sub",
	"Collect", "Sorted", "Keys", "NewDesc", "ParseFS", "Parse", "Funcs", "Date", "SplitSeq", "Fields", "Split",
	"Concat", "MakeTable", "FixedZone", "UGCPolicy", "StrictPolicy", "NewPolicy", "MustNewType",
}

// constant says whether an initial value is one of the kinds that a package
// variable may have.
func constant(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.CompositeLit:
		return true
	case *ast.UnaryExpr:
		return constant(x.X)
	case *ast.FuncLit:
		return false
	case *ast.CallExpr:
		switch fun := x.Fun.(type) {
		case *ast.SelectorExpr:
			// A chain of methods on what a builder made.
			_, chained := fun.X.(*ast.CallExpr)
			return slices.Contains(builders, fun.Sel.Name) || chained && constant(fun.X)
		case *ast.Ident:
			// A function of the package that computes a table.
			return fun.Name != "make" && fun.Name != "new"
		case *ast.ArrayType, *ast.FuncLit:
			return true // []byte("…"), or a table computed in place
		}
	}
	return false
}

// targets returns what a statement assigns to.
func targets(n ast.Node) []ast.Expr {
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			return n.Lhs
		}
	case *ast.IncDecStmt:
		return []ast.Expr{n.X}
	}
	return nil
}

// rootIdent returns the variable of an expression such as v, v.f or v[i].
func rootIdent(x ast.Expr) *ast.Ident {
	for {
		switch e := x.(type) {
		case *ast.Ident:
			return e
		case *ast.SelectorExpr:
			x = e.X
		case *ast.IndexExpr:
			x = e.X
		case *ast.ParenExpr:
			x = e.X
		case *ast.StarExpr:
			x = e.X
		default:
			return nil
		}
	}
}

// packageLevel says whether id is one of the package variables and not a local
// one. The parser resolves names within a file; one that it leaves open is of
// the package.
func packageLevel(id *ast.Ident, specs map[any]bool) bool {
	return id.Obj == nil || specs[id.Obj.Decl]
}
