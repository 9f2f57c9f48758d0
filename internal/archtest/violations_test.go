package archtest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// complaint is a line that a rule writes: its own place, then the complaint.
var complaint = regexp.MustCompile(`(?m)^ +\w+_test\.go:\d+: (\S.*)$`)

// TestRulesFindViolations runs the rules on a tree that breaks each of them, so
// that a rule cannot stop looking unnoticed.
func TestRulesFindViolations(t *testing.T) {
	t.Parallel()
	if *rootFlag != "" {
		return // this is that run
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-root", filepath.Join("testdata", "bad"))
	output, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatalf("the rules pass on testdata/bad:\n%s", output)
	}
	var lines []string
	for _, m := range complaint.FindAllStringSubmatch(string(output), -1) {
		lines = append(lines, m[1])
	}
	slices.Sort(lines)
	got := strings.Join(lines, "\n") + "\n"
	golden := filepath.Join("testdata", "bad.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("complaints about testdata/bad (-want +got):\n%s", diff)
	}
	for _, rule := range regexp.MustCompile(`(?m)^--- PASS: (\w+)`).FindAllSubmatch(output, -1) {
		if name := string(rule[1]); name != t.Name() {
			t.Errorf("%s finds nothing in testdata/bad; add a violation of it", name)
		}
	}
}
