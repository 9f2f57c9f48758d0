package store

import (
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"

	"github.com/slipway-ci/slipway/internal/dbtest"
)

// engines opens an empty store on each database.
func engines(t *testing.T) map[string]Options {
	t.Helper()
	return map[string]Options{
		"sqlite":   {Path: filepath.Join(t.TempDir(), "slipway.db")},
		"postgres": {Postgres: dbtest.Postgres(t)},
	}
}

// statements returns every constant of the package that holds SQL, as the compiler sees it.
func statements(t *testing.T) map[string]string {
	t.Helper()
	pkgs, err := packages.Load(&packages.Config{Mode: packages.NeedTypes | packages.NeedTypesInfo | packages.NeedSyntax | packages.NeedImports | packages.NeedDeps}, ".")
	if err != nil || len(pkgs) != 1 {
		t.Fatalf("loading the package: %v", err)
	}
	out := map[string]string{}
	for _, f := range pkgs[0].Syntax {
		for _, d := range f.Decls {
			gen, ok := d.(*ast.GenDecl)
			if !ok || gen.Tok != token.CONST {
				continue
			}
			collect(pkgs[0].TypesInfo, gen, out)
		}
	}
	return out
}

func collect(info *types.Info, gen *ast.GenDecl, out map[string]string) {
	for _, s := range gen.Specs {
		for _, name := range s.(*ast.ValueSpec).Names {
			c, ok := info.Defs[name].(*types.Const)
			if ok && strings.HasPrefix(name.Name, "sql") && c.Val().Kind() == constant.String {
				out[name.Name] = constant.StringVal(c.Val())
			}
		}
	}
}

func TestEveryStatementPreparesOnBothDatabases(t *testing.T) {
	t.Parallel()
	all := statements(t)
	if len(all) < 80 {
		t.Fatalf("found only %d statements: is the naming rule (constants sql…) broken?", len(all))
	}
	for name, o := range engines(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			for id, q := range all {
				if err := prepare(s, q); err != nil {
					t.Errorf("%s: %v\n%s", id, err, q)
				}
			}
		})
	}
}

func prepare(s *Store, q string) error {
	if w, ok := s.update.(*writer); ok {
		_, err := w.conn.statement(q)
		return err
	}
	st, err := s.db.Prepare(q)
	if err != nil {
		return err
	}
	return st.Close()
}
