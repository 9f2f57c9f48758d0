package officialagent

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"testing"
)

// TestScriptsPassWithTheOfficialAgent runs the scripts of test/e2e, on both databases, with the
// official agent in place of ours.
func TestScriptsPassWithTheOfficialAgent(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "go", "test", "-v", "-count=1", "-run=^TestScripts$/^(sqlite|postgres)$", "./test/e2e")
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "SLIPWAY_E2E_AGENT="+agentBinary(t))
	output, err := cmd.CombinedOutput()
	passed := regexp.MustCompile(`(?m)^\s+--- PASS: TestScripts/[\w-]+/\S+`).FindAll(output, -1)
	t.Attr("scripts-with-it", fmt.Sprint(len(passed)))
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	if len(passed) == 0 {
		t.Fatalf("no script ran\n%s", output)
	}
}
