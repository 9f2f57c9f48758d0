package officialagent

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/buildkite/agent/v3/api"
)

// TestEveryMethodOfTheClientIsCalled holds the tests of this package to the client that they are about: a
// method that a newer agent brings wants a test.
func TestEveryMethodOfTheClientIsCalled(t *testing.T) {
	t.Parallel()
	called := calledMethods(t)
	client := reflect.TypeFor[*api.Client]()
	for i := range client.NumMethod() {
		m := client.Method(i)
		if m.Type.NumIn() < 2 || m.Type.In(1) != reflect.TypeFor[context.Context]() {
			continue // it does not ask the server
		}
		if !called[m.Name] {
			t.Errorf("no test calls %s%s", m.Name, m.Type.String()[len("func"):])
		}
	}
}

// calledMethods are the names of what the tests of this package call with arguments.
func calledMethods(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	called := map[string]bool{}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && len(call.Args) > 0 {
				if to, ok := call.Fun.(*ast.SelectorExpr); ok {
					called[to.Sel.Name] = true
				}
			}
			return true
		})
	}
	return called
}
