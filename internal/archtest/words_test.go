package archtest_test

import (
	"go/ast"
	"go/token"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// phrases that are not written in comments and documents, by remedy.
var phrases = map[string]*regexp.Regexp{
	"say what it does, with a number":  regexp.MustCompile(`(?i)\b(robust(ly|ness)?|comprehensive(ly)?|enhanced?|seamless(ly)?|production-ready|blazing(ly)?|cutting-edge|state-of-the-art|effortless(ly)?|world-class|battle-tested|powerful|leverag(e|es|ing)|best-in-class)\b`),
	"say what is, not what was":        regexp.MustCompile(`(?i)(\w,? now (uses|supports|returns|also)\b|\bpreviously\b|\brefactored\b|\brenamed from\b|\bNEW:|\bbackwards? compatib)`),
	"do it, or open an issue":          regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b`),
	"name nothing outside the project": regexp.MustCompile(`(^|[\s"(])/(home|Users)/\w`),
	"write it in words":                regexp.MustCompile(`[\x{1F300}-\x{1FAFF}\x{2600}-\x{26FF}\x{2705}\x{274C}\x{2728}]`),
}

// quoting are the files that name the phrases in order to forbid or test them.
var quoting = []string{"internal/archtest/words_test.go", "CONTRIBUTING.md"}

func TestBannedWords(t *testing.T) {
	t.Parallel()
	r := repo(t)
	for _, f := range r.written() {
		if within(f.path, quoting...) {
			continue
		}
		for _, group := range f.syntax.Comments {
			for _, c := range group.List {
				for remedy, phrase := range phrases {
					if found := phrase.FindString(c.Text); found != "" {
						r.complain(t, c.Pos(), "%q in a comment; %s", found, remedy)
					}
				}
			}
		}
	}
	for name, text := range r.docs {
		if within(name, quoting...) {
			continue
		}
		for i, line := range strings.Split(text, "\n") {
			for remedy, phrase := range phrases {
				if found := phrase.FindString(line); found != "" {
					t.Errorf("%s:%d: %q in a document; %s", name, i+1, found, remedy)
				}
			}
		}
	}
}

var emptyPrefix = regexp.MustCompile(`(?i)^(failed to|unable to|could not|couldn't|cannot|can't|error)\b[^:]*: ?%`)

func TestErrorsNameTheActionNotTheFailure(t *testing.T) {
	t.Parallel()
	r := repo(t)
	each(r.product(), func(f *source, n ast.Node) {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) == 0 || !f.refers(call.Fun, "fmt", "Errorf") {
			return
		}
		lit, ok := call.Args[0].(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return
		}
		text, err := strconv.Unquote(lit.Value)
		if err != nil {
			t.Fatal(err)
		}
		if emptyPrefix.MatchString(text) {
			r.complain(t, n.Pos(), "%q; name what was done and its object: \"accept job %%s: %%w\"", text)
		}
	})
}

// maxInner is the share of lines inside functions that may be comments. The
// best codebases have four to five in a hundred.
const maxInner = 0.06

func TestCommentsInsideFunctionsAreFew(t *testing.T) {
	t.Parallel()
	r := repo(t)
	for dir, files := range packages(r.product()) {
		lines, comments := 0, 0
		for _, f := range files {
			for _, decl := range f.syntax.Decls {
				d, ok := decl.(*ast.FuncDecl)
				if !ok || d.Body == nil {
					continue
				}
				lines += r.span(d.Body)
				for _, c := range f.syntax.Comments {
					if c.Pos() > d.Body.Pos() && c.End() < d.Body.End() {
						comments += r.span(c)
					}
				}
			}
		}
		if lines >= 200 && float64(comments) > maxInner*float64(lines) {
			r.complain(t, files[0].syntax.Package, "package %s has %d comment lines in %d lines of functions, over %.0f%%; keep those that say why",
				dir, comments, lines, maxInner*100)
		}
	}
}

func (r *repository) span(n ast.Node) int {
	return r.fset.Position(n.End()).Line - r.fset.Position(n.Pos()).Line + 1
}
