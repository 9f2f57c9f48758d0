package archtest_test

import (
	"go/token"
	"maps"
	"slices"
	"strings"
	"testing"
)

// allowed says which of our packages each package may import, by folder below
// internal; names without a leading folder are there too. "/..." stands for a
// folder and all below it. A package may always import those below itself.
var allowed = map[string]string{
	// Pure: no I/O, no clock, no randomness.
	"ci":        "",
	"condition": "",
	"pipeline":  "ci condition",
	"trust":     "ci condition",
	"dispatch":  "ci",
	"fleet":     "ci",
	"cron":      "",

	// Resources: each wraps one outside thing.
	"store":           "ci pipeline", // a step row keeps its part of the plan
	"store/storetest": "dbtest store",
	"blob":            "",
	"joblog":          "ci blob store live loop", // live: a log has grown
	"secret":          "ci condition store",
	"gitrepo":         "ci",
	"forge":           "ci condition trust", // facts and decisions are pure; each forge's package is not
	"forge/github":    "ci condition trust forge secret",
	"cloud":           "ci fleet",

	// The one place that changes state.
	"engine":   "ci condition pipeline trust dispatch fleet forge cron store secret live procid", // live: hints after the commit
	"artifact": "ci store blob/... engine httperr loop",                                          // rows of files are the engine's, their bytes its own
	"worker":   "ci pipeline dispatch fleet store blob joblog/... gitrepo forge/... cloud/... engine live loop telemetry procid",

	// Doors. They show verdicts; only engine decides them.
	"agentapi": "artifact ci edge/... forge/github store blob/s3 joblog/... secret engine auth httperr live telemetry",
	"restapi":  "annotation ci pipeline trust store blob joblog/... secret engine auth httperr live telemetry",
	"graphapi": "ci pipeline trust store blob joblog/... secret engine auth httperr live telemetry",
	"web":      "annotation ci pipeline trust store blob joblog/... secret engine auth httperr live telemetry",
	"hookapi":  "ci trust store forge/... secret engine httperr telemetry",

	// The other end of the wire.
	"edge":   "",
	"agent":  "edge/... trust telemetry procid",
	"jobcli": "agent/wire blob/s3 agent/jobapi agent/redact agent/signing pipeline",

	// Glue.
	"auth":       "ci secret store",
	"annotation": "",
	"httperr":    "ci engine store", // turns their refusals into statuses
	"live":       "",
	"loop":       "",
	"config":     "",
	"telemetry":  "",
	"procid":     "",
	"app":        "...",
	"cli":        "agent/... app blob/s3 ci client config gitrepo jobcli pipeline store telemetry",

	"archtest": "",
	"dbtest":   "",
	"mailtest": "",
	"s3test":   "",

	"cmd/slipway": "cli jobcli",
	"client":      "",
	"test":        "client dbtest mailtest",
	"test/e2e":    "agent/wire client dbtest mailtest store",
	"test/load":   "agent/wire edge",
}

// forTests says what the tests of a package may import beyond that. All tests
// may import packages made for tests.
var forTests = map[string]string{
	"worker":   "trust app secret",
	"artifact": "blob/fs trust live",
	"agentapi": "blob/fs dispatch trust pipeline worker loop agent/wire agent/signing",
	"restapi":  "blob/fs dispatch trust worker loop client forge",
	"web":      "blob/fs dispatch trust worker loop forge",
	"joblog":   "agent/wire blob/fs",
	"agent":    "ci",
	"hookapi":  "live trust",
}

func TestImports(t *testing.T) {
	t.Parallel()
	r := repo(t)
	for _, f := range r.files {
		for _, spec := range f.syntax.Imports {
			to, ours := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), module+"/")
			if ours && !mayImport(f, to) {
				r.complain(t, spec.Pos(), "%s may not import %s; see the table in internal/archtest/imports_test.go",
					short(f.dir), short(to))
			}
		}
	}
}

func TestEveryPackageIsInTheImportTable(t *testing.T) {
	t.Parallel()
	r := repo(t)
	for dir, files := range packages(r.files) {
		if owner(short(dir)) == "" {
			r.complain(t, files[0].syntax.Package, "package %s is not in the table of internal/archtest/imports_test.go", short(dir))
		}
	}
}

// mayImport says whether the table lets f import the folder to.
func mayImport(f *source, to string) bool {
	own, target := owner(short(f.dir)), short(to)
	if within(target, own) {
		return true
	}
	list := allowed[own]
	if f.test {
		if testOnly(to) {
			return true
		}
		list += " " + forTests[own]
	}
	return slices.ContainsFunc(strings.Fields(list), func(entry string) bool { return matches(entry, target) })
}

// matches says whether an entry of the table covers a package.
func matches(entry, target string) bool {
	if entry == "..." {
		return !strings.HasPrefix(target, "cmd/") && target != "cli"
	}
	folder, tree := strings.CutSuffix(entry, "/...")
	return target == folder || tree && within(target, folder)
}

// owner returns the entry of the table that speaks for a package: its own, or
// that of the nearest folder above it.
func owner(name string) string {
	for {
		if _, ok := allowed[name]; ok {
			return name
		}
		i := strings.LastIndexByte(name, '/')
		if i < 0 {
			return ""
		}
		name = name[:i]
	}
}

func short(dir string) string { return strings.TrimPrefix(dir, "internal/") }

// pure are the packages that compute and do nothing else.
var pure = []string{"ci", "condition", "pipeline", "trust", "dispatch", "fleet", "cron", "forge"}

// impure are what a pure package may not import, with what is below them.
var impure = []string{"os", "net", "database", "math/rand", "crypto/rand", "log", "io/ioutil", "syscall", "path/filepath"}

func TestPurePackagesTouchNothing(t *testing.T) {
	t.Parallel()
	r := repo(t)
	for _, f := range r.product() {
		if !slices.Contains(pure, short(f.dir)) {
			continue
		}
		for _, spec := range f.syntax.Imports {
			name := strings.Trim(spec.Path.Value, `"`)
			if within(name, impure...) && name != "net/url" && name != "net/netip" {
				r.complain(t, spec.Pos(), "%s is pure and may not import %s; let the caller pass in what it needs", f.dir, name)
			}
		}
	}
	clock := []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}
	for _, u := range uses(r.product(), "time", clock...) {
		if slices.Contains(pure, short(u.file.dir)) {
			r.complain(t, u.pos, "%s is pure and reads no clock; take the time as a parameter", u.file.dir)
		}
	}
}

func TestSQLOnlyInStore(t *testing.T) {
	t.Parallel()
	drivers := []string{
		"database/sql", "github.com/jackc/pgx", "modernc.org/sqlite", "zombiezen.com/go/sqlite", "github.com/pressly/goose",
	}
	r := repo(t)
	for _, f := range r.files {
		if within(short(f.dir), "store", "dbtest") {
			continue
		}
		for _, spec := range f.syntax.Imports {
			if name := strings.Trim(spec.Path.Value, `"`); within(name, drivers...) {
				r.complain(t, spec.Pos(), "%s may not import %s; add a method to internal/store", f.dir, name)
			}
		}
	}
}

// use is a mention of a name of some package.
type use struct {
	file *source
	pos  token.Pos
	name string
}

// importTable renders the table for docs/architecture.md, without the packages
// that have a place in it and are not written yet.
func (r *repository) importTable() string {
	var b strings.Builder
	b.WriteString("| package | may import |\n|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(allowed)) {
		if !r.has(name) {
			continue
		}
		entries := slices.DeleteFunc(strings.Fields(allowed[name]), func(entry string) bool {
			return entry != "..." && !r.has(strings.TrimSuffix(entry, "/..."))
		})
		list := strings.Join(entries, " ")
		switch list {
		case "":
			list = "nothing of ours"
		case "...":
			list = "everything but cli"
		}
		b.WriteString("| `" + name + "` | " + list + " |\n")
	}
	return b.String()
}

// has says whether there is a package of the given short name, or one below it.
func (r *repository) has(name string) bool {
	return slices.ContainsFunc(r.files, func(f *source) bool { return within(short(f.dir), name) })
}
