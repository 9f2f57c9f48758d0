package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/slipway-ci/slipway/internal/dbtest"
)

// bin is the folder of the binary and of the programs of scripts. TestMain sets
// it once, before any test.
var bin string

func TestMain(m *testing.M) {
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "slipway-e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	bin = dir
	// Scripts wait more than they compute.
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// build makes the binary, with the race detector if the tests have it.
func build(dir string) error {
	args, cgo := []string{"build", "-o", filepath.Join(dir, "slipway")}, "CGO_ENABLED=0"
	if raceDetector {
		args, cgo = append(args, "-race"), "CGO_ENABLED=1"
	}
	cmd := exec.Command("go", append(args, "./cmd/slipway")...)
	cmd.Dir, cmd.Env = "../..", append(os.Environ(), cgo)
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build slipway: %w\n%s", err, output)
	}
	for name, body := range map[string]string{
		"wait-for": "until test -e \"$1\"; do test -d \"$WORK\" || exit 1; sleep 0.05; done\n",
		"hold":     "touch \"$1\"\nwhile test -e \"$1\"; do test -d \"$WORK\" || exit 1; sleep 0.05; done\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+body), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// patience bounds every wait of a script. Only a failure takes that long; in the tests of kills an agent may
// be noticed to be lost after four minutes.
const patience = 5 * time.Minute

func TestScripts(t *testing.T) {
	t.Parallel()
	sqlite := func(testing.TB) string { return "" }
	for _, v := range []variant{
		{name: "sqlite", database: sqlite},
		{name: "postgres", database: dbtest.Postgres},
		// A wake-up follows whatever makes work, so no timer is needed; and
		// timers alone do when every wake-up is lost.
		{name: "slow-timers", database: sqlite, flags: []string{"--slow-timers", "1h"}},
		{name: "no-wakeups", database: sqlite, flags: []string{"--drop-wakeups"}},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			testscript.Run(t, params(t, "scripts", v))
		})
	}
}

// variant is a way to run all scripts. Database returns the URL of an empty
// PostgreSQL database, or "" for SQLite; flags are for every server.
type variant struct {
	name     string
	database func(testing.TB) string
	flags    []string
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	testscript.Run(t, params(t, "run", variant{database: func(testing.TB) string { return "" }}))
}

// slow are the scripts that wait for real time to pass. They begin first, so that
// the others run meanwhile.
var slow = []string{"lost-agent.txtar", "pause-ends.txtar", "timeout.txtar"}

// files returns the scripts of a folder in the order in which they begin.
func files(t *testing.T, dir string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(list) == 0 {
		t.Fatalf("scripts in %s: %d, %v", dir, len(list), err)
	}
	slices.SortStableFunc(list, func(a, b string) int { return place(a) - place(b) })
	return list
}

func place(file string) int {
	if slices.Contains(slow, filepath.Base(file)) {
		return 0
	}
	return 1
}

// params describes the scripts of a folder.
func params(t *testing.T, dir string, v variant) testscript.Params {
	t.Helper()
	return testscript.Params{
		Files:               files(t, dir),
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			t := env.T().(testing.TB)
			w := &world{t: t, dir: env.WorkDir, database: v.database(t), flags: v.flags, agents: map[string]*process{}}
			env.Values[key{}] = w
			env.Defer(w.close)
			return w.prepare(env)
		},
		Condition: func(name string) (bool, error) {
			return name == v.name || name == "official" && os.Getenv("SLIPWAY_E2E_AGENT") != "", nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"server":         command((*world).serverCommand),
			"agent":          command((*world).agentCommand),
			"s3":             command((*world).s3Command),
			"git-repo":       command((*world).gitRepo),
			"pipeline":       command((*world).pipelineCommand),
			"build":          command((*world).buildCommand),
			"wait-build":     command((*world).waitBuild),
			"wait-job":       command((*world).waitJob),
			"job":            command((*world).jobCommand),
			"log":            command((*world).jobLog),
			"rest":           command((*world).restCommand),
			"exits":          command((*world).exits),
			"push-event":     command((*world).pushEvent),
			"pull-event":     command((*world).pullEvent),
			"wait-rest":      command((*world).waitRest),
			"identity-token": command((*world).identityToken),
			"mail":           command((*world).mailCommand),
		},
	}
}

// key is the one under which a script's world is kept.
type key struct{}

// command makes a command of scripts from a method.
func command(f func(*world, *testscript.TestScript, []string) error) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		err := f(ts.Value(key{}).(*world), ts, args)
		switch {
		case neg && err == nil:
			ts.Fatalf("succeeded, and must not")
		case neg:
			fmt.Fprintln(ts.Stderr(), err)
		default:
			ts.Check(err)
		}
	}
}
