package archtest_test

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// skips are the tests that may be skipped, with the reason.
var skips = map[string]string{}

func TestNoTestIsSkipped(t *testing.T) {
	t.Parallel()
	r := repo(t)
	each(r.written(), func(f *source, n ast.Node) {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok || !f.test || skips[f.path] != "" {
			return
		}
		if id, ok := sel.X.(*ast.Ident); ok && slices.Contains([]string{"t", "b", "f", "tb"}, id.Name) &&
			slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name) {
			r.complain(t, n.Pos(), "%s.%s; fail and say what to install", id.Name, sel.Sel.Name)
		}
		if f.refers(n, "testing", "Short") {
			r.complain(t, n.Pos(), "testing.Short; a test runs or does not exist")
		}
	})
}

func TestNoTestSleeps(t *testing.T) {
	t.Parallel()
	r := repo(t)
	for _, f := range r.tests() {
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && f.refers(call.Fun, "testing/synctest", "Test") {
				return false // time in a bubble costs nothing
			}
			if n != nil && f.refers(n, "time", "Sleep", "Tick") {
				r.complain(t, n.Pos(), "time.%s in a test; use testing/synctest, or wait for what the code offers",
					n.(*ast.SelectorExpr).Sel.Name)
			}
			return true
		})
	}
}

func TestTestsAreParallel(t *testing.T) {
	t.Parallel()
	r := repo(t)
	for _, files := range packages(r.tests()) {
		starters := parallelHelpers(files)
		for _, f := range files {
			for _, decl := range f.syntax.Decls {
				d, ok := decl.(*ast.FuncDecl)
				if !ok || d.Recv != nil || !strings.HasPrefix(d.Name.Name, "Test") || d.Name.Name == "TestMain" {
					continue
				}
				if !starters[firstCall(d)] && !explainsSerial(f, d) {
					r.complain(t, d.Pos(), "%s does not call t.Parallel first, and no comment says why it is not parallel", d.Name.Name)
				}
			}
		}
	}
}

// parallelHelpers returns the names of functions after whose call a test is
// parallel: Parallel itself, and the helpers of the package that call it.
func parallelHelpers(files []*source) map[string]bool {
	starters := map[string]bool{"Parallel": true}
	for _, f := range files {
		for _, decl := range f.syntax.Decls {
			d, ok := decl.(*ast.FuncDecl)
			if !ok || d.Body == nil || strings.HasPrefix(d.Name.Name, "Test") {
				continue
			}
			ast.Inspect(d.Body, func(n ast.Node) bool {
				if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Parallel" {
					starters[d.Name.Name] = true
				}
				return true
			})
		}
	}
	return starters
}

// firstCall returns the name of the function that d calls first, if its first
// statement is a call or an assignment from one.
func firstCall(d *ast.FuncDecl) string {
	if len(d.Body.List) == 0 {
		return ""
	}
	var x ast.Expr
	switch stmt := d.Body.List[0].(type) {
	case *ast.ExprStmt:
		x = stmt.X
	case *ast.AssignStmt:
		x = stmt.Rhs[0]
	}
	call, ok := x.(*ast.CallExpr)
	if !ok {
		return ""
	}
	switch fun := call.Fun.(type) {
	case *ast.Ident:
		return fun.Name
	case *ast.SelectorExpr:
		return fun.Sel.Name
	}
	return ""
}

// explainsSerial says whether a comment on d or in it is about running alone.
func explainsSerial(f *source, d *ast.FuncDecl) bool {
	return slices.ContainsFunc(f.syntax.Comments, func(c *ast.CommentGroup) bool {
		mine := c == d.Doc || c.Pos() > d.Pos() && c.End() < d.End()
		return mine && strings.Contains(strings.ToLower(c.Text()), "parallel")
	})
}

func TestNoAssertionLibraryOrMocks(t *testing.T) {
	t.Parallel()
	unwanted := []string{
		"github.com/stretchr/testify", "go.uber.org/mock", "github.com/golang/mock", "github.com/onsi", "gotest.tools",
	}
	r := repo(t)
	for _, f := range r.files {
		for _, spec := range f.syntax.Imports {
			if within(strings.Trim(spec.Path.Value, `"`), unwanted...) {
				r.complain(t, spec.Pos(), "import of %s; compare with go-cmp, and use the real thing or a fake server", spec.Path.Value)
			}
		}
	}
}
