package agent

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// runAsAgent is what the test binary does when it is started as an agent to be
// killed.
func runAsAgent(endpoint, build string) error {
	return Run(context.Background(), Config{
		Endpoint: endpoint, Token: "t", Name: "victim", BuildPath: build, PingMode: "poll-only",
	}, slog.New(slog.DiscardHandler))
}

// TestAKilledAgentLeavesNoProcess kills an agent as the kernel would, and waits
// for the job's own end of a pipe to close.
func TestAKilledAgentLeavesNoProcess(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{{self}, {"nohup", self}} {
		t.Run(filepath.Base(command[0]), func(t *testing.T) {
			t.Parallel()
			killAgent(t, exec.Command(command[0], command[1:]...))
		})
	}
}

func killAgent(t *testing.T, agent *exec.Cmd) {
	t.Helper()
	s := newServer(t)
	fifo := filepath.Join(t.TempDir(), "alive")
	j := s.add("exec 9<>"+fifo+"; (sleep 300) & echo ready; sleep 300", nil)
	if out, err := exec.Command("mkfifo", fifo).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	agent.Env = append(os.Environ(), "SLIPWAY_TEST_AGENT="+s.URL+"/v3", "SLIPWAY_TEST_BUILD="+t.TempDir())
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	s.await(t, func() bool { return bytes.Contains(j.log, []byte("ready\r")) })
	reader, err := os.OpenFile(fifo, os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close() //nolint:errcheck // read side
	if err := agent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	agent.Wait() //nolint:errcheck // it was killed
	if err := reader.SetReadDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("the job lived on: %v", err)
	}
}
