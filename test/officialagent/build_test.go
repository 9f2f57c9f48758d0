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

// The binaries are built by the first test that asks and kept in the user's
// cache, where the go command finds them up to date the next time.
var (
	buildAgent = sync.OnceValues(func() (string, error) {
		// Jobs find the binary by its name, in its folder.
		return build(".", "github.com/buildkite/agent/v3", filepath.Join(version.Version(), "buildkite-agent"), "-ldflags=-s -w")
	})
	buildSlipway = sync.OnceValues(func() (string, error) {
		return build("../..", "./cmd/slipway", "slipway")
	})
)

// build compiles a package of the module in dir and returns the binary's path.
func build(dir, pkg, name string, flags ...string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	binary := filepath.Join(cache, "slipway-tests", name)
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
