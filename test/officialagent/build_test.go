package officialagent

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/buildkite/agent/v3/version"
)

// temp is a folder for the time of the tests. TestMain sets it once, before any
// test.
var temp string

func TestMain(m *testing.M) {
	os.Exit(runInTemp(m))
}

func runInTemp(m *testing.M) int {
	var err error
	if temp, err = os.MkdirTemp("", "slipway-officialagent"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(temp)
	return m.Run()
}

// The binaries are built by the first test that asks.
var (
	// The official agent is kept in the user's cache, where the go command finds
	// it up to date the next time. Jobs find it by its name, in its folder.
	buildAgent = sync.OnceValues(func() (string, error) {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		binary := filepath.Join(cache, "slipway-tests", version.Version(), "buildkite-agent")
		return build(".", "github.com/buildkite/agent/v3", binary, "-ldflags=-s -w")
	})
	// Slipway is not kept: another checkout may be tested at the same time.
	buildSlipway = sync.OnceValues(func() (string, error) {
		return build("../..", "./cmd/slipway", filepath.Join(temp, "slipway"))
	})
)

// build compiles a package of the module in dir and returns the binary's path.
func build(dir, pkg, binary string, flags ...string) (string, error) {
	args := append(append([]string{"build"}, flags...), "-o", binary, pkg)
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", pkg, err, output)
	}
	return binary, nil
}

func agentBinary(t *testing.T) string {
	t.Helper()
	binary, err := buildAgent()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

func slipwayBinary(t *testing.T) string {
	t.Helper()
	binary, err := buildSlipway()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

func TestOfficialAgentVersion(t *testing.T) {
	t.Parallel()
	output, err := exec.CommandContext(t.Context(), agentBinary(t), "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := "buildkite-agent version 3.138.1"; !strings.HasPrefix(string(output), want) {
		t.Errorf("--version prints %q, want it to begin with %q", output, want)
	}
	t.Attr("official-agent", version.Version())
}
