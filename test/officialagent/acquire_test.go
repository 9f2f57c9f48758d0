package officialagent

import (
	"errors"
	"os/exec"
	"testing"
)

// acquire runs the official agent for one job and returns its exit status.
func (s *server) acquire(t *testing.T, jobID string) int {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), agentBinary(t), "start", "--endpoint", s.URL+"/v3", "--acquire-job", jobID,
		"--reflect-exit-status", "--build-path", dir+"/b", "--hooks-path", dir+"/h", "--plugins-path", dir+"/p", "--sockets-path", dir+"/s", "--no-color")
	cmd.Env = []string{"HOME=" + dir, "PATH=/usr/bin:/bin", "BUILDKITE_AGENT_TOKEN=" + s.AgentToken}
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0
}

// TestTheBinaryAcquiresAJob lets the binary take one job, whose exit status becomes its own; 27 is its
// status for a job that cannot be acquired.
func TestTheBinaryAcquiresAJob(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	b := s.newBuild(t, "acquire", "steps:\n  - key: one\n    command: exit 5\n    checkout: {skip: true}\n")
	id := b.Jobs[0].ID
	if got := s.acquire(t, id); got != 5 {
		t.Errorf("the agent ends with %d, want the job's 5", got)
	}
	if got := s.acquire(t, id); got != 27 {
		t.Errorf("for a job that has ended the agent ends with %d, want 27", got)
	}
}
