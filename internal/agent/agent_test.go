package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMain lets this binary stand in for the command that jobs call, and for an
// agent that can be killed.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "buildkite-agent" {
		fmt.Println("tool:", strings.Join(os.Args[1:], " "))
		os.Exit(0)
	}
	if endpoint := os.Getenv("SLIPWAY_TEST_AGENT"); endpoint != "" {
		if err := runAsAgent(endpoint, os.Getenv("SLIPWAY_TEST_BUILD")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestAJobRunsFromAcceptToFinish(t *testing.T) {
	t.Parallel()
	for _, streams := range []bool{false, true} {
		s := newServer(t)
		s.streams = streams
		c := s.config(t)
		c.PingMode = "auto"
		j := s.add("echo hello; exit 3", nil)
		s.runAll(t, c)
		if j.finish.ExitStatus != "3" || j.finish.Signal != "" || j.finish.ChunksFailedCount != 0 {
			t.Errorf("finished as %+v", j.finish)
		}
		want := "~~~ Preparing working directory\n# Creating %q\n# Skipping checkout, BUILDKITE_SKIP_CHECKOUT is set\n" +
			"~~~ Running commands\n$ echo hello; exit 3\nhello\n^^^ +++\n🚨 Error: The command exited with status 3\n^^^ +++\n"
		if got := j.text(); got != fmt.Sprintf(want, filepath.Join(c.BuildPath, "a-1", "org", "pipe")) {
			t.Errorf("log:\n%s", got)
		}
		for n, line := range strings.Split(strings.TrimSuffix(string(j.log), "\r\n"), "\r\n") {
			if !strings.HasPrefix(line, "\x1b_bk;t=") {
				t.Errorf("line %d has no time: %q", n, line)
			}
		}
	}
}
