package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// stage is one part of the tests.
type stage struct {
	name     string
	dir      string   // of the module, from the repository's root
	command  []string // run as it stands, unless packages is set
	packages func(path string) bool
	race     bool // tests run with the race detector, which needs a C compiler
	services bool // PostgreSQL and Docker are needed
	beside   bool // runs at the same time as the stage before it, because it waits more than it computes
	judge    func(output string, err error) verdict
}

// verdict is what the output of a command means.
type verdict struct {
	failed bool
	note   string
}

// result is how a stage ended.
type result struct {
	stage    string
	took     time.Duration
	cpu      time.Duration // of all its processes that ended; it varies less on a busy machine
	passed   int
	failures []failure
	notes    []string
	slowest  []string
}

type failure struct {
	name   string
	output string
}

// stages in the order in which they run: the quick ones that fail most first.
// Everything is compiled in two ways only: for the race detector, and as `make
// build` does.
var stages = []stage{
	{name: "format", command: tool("gofumpt", "-l", "."), judge: silent},
	{name: "vet", command: []string{"go", "vet", "./..."}, judge: succeeds},
	{name: "staticcheck", command: tool("staticcheck", "./..."), judge: succeeds},
	{name: "rules", packages: isRules},
	{name: "unit", packages: isUnit, race: true, services: true},
	{name: "memory", packages: isMemory},
	{name: "e2e", packages: isE2E, race: true, services: true},
	{name: "official-agent", dir: "test/officialagent", packages: anyPackage, services: true, beside: true},
	{name: "vulnerabilities", command: tool("govulncheck", "./..."), judge: vulnerabilities, beside: true},
}

func isRules(path string) bool { return strings.HasSuffix(path, "/internal/archtest") }

// isMemory is for packages with tests that count bytes, which is only right
// without the race detector; such a file has the build tag !race.
func isMemory(path string) bool { return strings.HasSuffix(path, "/internal/joblog") }

func isE2E(path string) bool      { return strings.Contains(path, "/test/e2e") }
func isUnit(path string) bool     { return !isRules(path) && !isE2E(path) }
func anyPackage(path string) bool { return true }

// tool runs a program of tools/go.mod, built at the first use and cached by the
// go command.
func tool(args ...string) []string {
	return append([]string{"go", "tool", "-modfile=tools/go.mod"}, args...)
}

// silent is for programs that list what is wrong and exit 0.
func silent(output string, err error) verdict {
	return verdict{failed: err != nil || output != ""}
}

func succeeds(_ string, err error) verdict { return verdict{failed: err != nil} }

// vulnerabilities fails for a known vulnerability, not for a database that
// cannot be reached: the tests do not depend on the outside.
func vulnerabilities(output string, err error) verdict {
	if err != nil && strings.Contains(output, "fetching vulnerabilities") {
		return verdict{note: "not checked: the vulnerability database cannot be reached"}
	}
	return verdict{failed: err != nil}
}

func (s stage) run(ctx context.Context, env []string) result {
	begin := time.Now()
	var r result
	if s.packages == nil {
		r = s.runCommand(ctx, env)
	} else {
		r = s.runTests(ctx, env)
	}
	r.stage, r.took = s.name, time.Since(begin)
	return r
}

func (s stage) runCommand(ctx context.Context, env []string) result {
	cmd := s.cmd(ctx, env, s.command...)
	output, err := cmd.CombinedOutput()
	r := result{cpu: processorTime(cmd)}
	v := s.judge(string(output), err)
	switch {
	case v.note != "":
		r.notes = []string{v.note}
	case v.failed:
		r.failures = []failure{{strings.Join(s.command, " "), string(output)}}
	default:
		r.passed = 1
	}
	return r
}

func (s stage) runTests(ctx context.Context, env []string) result {
	packages, err := s.list(ctx)
	if err != nil {
		return result{failures: []failure{{"go list", err.Error()}}}
	}
	if len(packages) == 0 {
		return result{notes: []string{"no packages yet"}}
	}
	args := []string{"go", "test", "-json", "-shuffle=on", "-timeout=15m"}
	if s.race {
		args = append(args, "-race")
	}
	cmd := s.cmd(ctx, env, append(args, packages...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return result{failures: []failure{{"go test", err.Error()}}}
	}
	r, readErr := readEvents(stdout)
	if err := cmd.Wait(); readErr != nil || (err != nil && len(r.failures) == 0) {
		r.failures = append(r.failures, failure{"go test", fmt.Sprintf("%v %v\n%s", err, readErr, &stderr)})
	}
	r.cpu = processorTime(cmd)
	return r
}

// processorTime is that of a command and of what it waited for.
func processorTime(cmd *exec.Cmd) time.Duration {
	if cmd.ProcessState == nil {
		return 0
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// list returns the stage's packages.
func (s stage) list(ctx context.Context) ([]string, error) {
	cmd := s.cmd(ctx, nil, "go", "list", "-e", "./...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	output, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, &stderr)
	}
	packages := strings.Fields(string(output))
	return slices.DeleteFunc(packages, func(p string) bool { return !s.packages(p) }), nil
}

func (s stage) cmd(ctx context.Context, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), env...)
	if s.race {
		cmd.Env = append(cmd.Env, goflags(unwatched), "GORACE=atexit_sleep_ms=50")
	} else {
		cmd.Env = append(cmd.Env, "CGO_ENABLED=0", goflags("-trimpath"))
	}
	return cmd
}

// unwatched keeps the race detector out of SQLite itself, which is C translated to Go: its memory lies outside of Go's heap, where the
// detector sees nothing, but every access asks it, which takes half of the processor time of tests. The driver around it is watched.
const unwatched = "-gcflags=modernc.org/sqlite/lib=-race=false"

// goflags adds a flag to those of the environment.
func goflags(flag string) string {
	return "GOFLAGS=" + strings.TrimSpace(os.Getenv("GOFLAGS")+" "+flag)
}

// line is the stage's row in the summary.
func (r result) line() string {
	state := "ok"
	switch {
	case len(r.failures) > 0:
		state = "FAIL"
	case r.passed == 0:
		state = "–"
	}
	line := fmt.Sprintf("%-16s %-4s %6.1f s  (processor %6.1f s)  %5d passed  %3d failed",
		r.stage, state, r.took.Seconds(), r.cpu.Seconds(), r.passed, len(r.failures))
	if len(r.notes) > 0 {
		line += "  " + strings.Join(r.notes, ", ")
	}
	return line
}
