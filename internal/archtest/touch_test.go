package archtest_test

import (
	"go/ast"
	"strings"
	"testing"
)

// uses returns the mentions of the given names of a package.
func uses(files []*source, importPath string, names ...string) []use {
	var found []use
	each(files, func(f *source, n ast.Node) {
		if f.refers(n, importPath, names...) {
			found = append(found, use{f, n.Pos(), n.(*ast.SelectorExpr).Sel.Name})
		}
	})
	return found
}

// environment are the packages that read variables, with what is below them.
var environment = []string{
	"config",
	"cli",
	"cmd/slipway",
	"agent",     // BUILDKITE_AGENT_* are its public interface
	"jobcli",    // a command in a job gets its token and its job from there
	"dbtest",    // names a server for tests
	"gitrepo",   // git gets the server's environment
	"test/run",  // hands its own environment on
	"test/load", // hands its own environment on
}

func TestEnvironmentIsReadInFewPlaces(t *testing.T) {
	t.Parallel()
	r := repo(t)
	for _, u := range uses(r.product(), "os", "Getenv", "LookupEnv", "Environ", "ExpandEnv", "Setenv", "Unsetenv") {
		if !within(short(u.file.dir), environment...) {
			r.complain(t, u.pos, "os.%s outside %s; take a setting as a field", u.name, strings.Join(environment, ", "))
		}
	}
}

func TestContextCarriesOnlyIdentity(t *testing.T) {
	t.Parallel()
	r := repo(t)
	for _, u := range uses(r.written(), "context", "WithValue") {
		if !within(short(u.file.dir), "auth", "telemetry") {
			r.complain(t, u.pos, "context.WithValue outside auth and telemetry; pass a parameter")
		}
	}
}

func TestDefaultHTTPClientIsNotUsed(t *testing.T) {
	t.Parallel()
	r := repo(t)
	names := []string{"DefaultClient", "DefaultServeMux", "DefaultTransport", "Get", "Post", "PostForm", "Head", "HandleFunc"}
	for _, u := range uses(r.product(), "net/http", names...) {
		if u.name == "DefaultTransport" {
			continue // cloned for its settings
		}
		r.complain(t, u.pos, "http.%s is a global without time limits; use a client or a mux of your own", u.name)
	}
}

func TestLoggingIsInjected(t *testing.T) {
	t.Parallel()
	r := repo(t)
	for _, f := range r.product() {
		for _, spec := range f.syntax.Imports {
			if spec.Path.Value == `"log"` {
				r.complain(t, spec.Pos(), "import of log; take a *slog.Logger")
			}
		}
	}
	for _, u := range uses(r.product(), "log/slog", "Default", "SetDefault", "Info", "Warn", "Error", "Debug", "Log",
		"InfoContext", "WarnContext", "ErrorContext", "DebugContext") {
		r.complain(t, u.pos, "slog.%s uses the global logger; take a *slog.Logger", u.name)
	}
}

// unowned are the files in which a go statement is right, with the reason.
var unowned = map[string]string{}

func TestGoroutinesHaveOwners(t *testing.T) {
	t.Parallel()
	r := repo(t)
	each(r.product(), func(f *source, n ast.Node) {
		if _, ok := n.(*ast.GoStmt); ok && unowned[f.path] == "" {
			r.complain(t, n.Pos(), "go statement; use sync.WaitGroup.Go or an errgroup and wait for it")
		}
	})
}

// panics are the files in which panic is right, with the reason.
var panics = map[string]string{
	"internal/cli/cli.go":        "carries an exit out of the command line parser, and is recovered there",
	"internal/httperr/answer.go": "gives up an answer that has begun, as net/http wants it done",
	"internal/store/query.go":    "a value of the store's own types that JSON cannot hold",
	"internal/store/sqlite.go":   "moves a caller's panic from the writer back to the caller",
	"internal/store/lanes.go":    "moves a caller's panic from the update that led its own back to the caller",
}

func TestPanicsAreForBrokenInvariants(t *testing.T) {
	t.Parallel()
	r := repo(t)
	each(r.product(), func(f *source, n ast.Node) {
		call, ok := n.(*ast.CallExpr)
		if !ok || panics[f.path] != "" {
			return
		}
		if id, ok := call.Fun.(*ast.Ident); ok && id.Name == "panic" {
			r.complain(t, n.Pos(), "panic; return an error, or add the file to the list in internal/archtest/touch_test.go with its reason")
		}
	})
}

func TestStateChangesOnlyInEngine(t *testing.T) {
	t.Parallel()
	r := repo(t)
	each(r.product(), func(f *source, n ast.Node) {
		call, ok := n.(*ast.CallExpr)
		if !ok || f.imported(module+"/internal/store") == "" || within(short(f.dir), "engine", "store", "joblog") { // joblog: bytes of logs, the state of nothing
			return
		}
		if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Update" {
			r.complain(t, n.Pos(), "call of Update outside engine; make it an operation there")
		}
	})
}

func TestTrustIsDecidedInOnePlace(t *testing.T) {
	t.Parallel()
	r := repo(t)
	found := uses(r.product(), module+"/internal/trust", "Decide")
	for i, u := range found {
		if i > 0 || short(u.file.dir) != "engine" {
			r.complain(t, u.pos, "trust.Decide has one caller, in engine; require the stored verdict instead")
		}
	}
}
