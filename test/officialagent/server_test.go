package officialagent

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/buildkite/agent/v3/api"
	"github.com/buildkite/agent/v3/logger"
)

// server is a running `slipway server` with an empty database.
type server struct {
	URL        string `json:"url"`
	APIToken   string `json:"api_token"`
	AgentToken string `json:"agent_token"`
}

// patience bounds every wait. It is generous: only a failure takes that long.
const patience = 5 * time.Minute

// startServer starts a server that ends with the test.
func startServer(t *testing.T) *server {
	t.Helper()
	return start(t, "server")
}

// start starts one of the commands that serve.
func start(t *testing.T, command string) *server {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command(slipwayBinary(t), command, "--listen", "127.0.0.1:0", "--data", dir)
	cmd.Dir = t.TempDir()
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("slipway %s after SIGTERM: %v", command, err)
		}
	})
	s := &server{}
	eventually(t, "the server is ready", func() bool {
		text, err := os.ReadFile(filepath.Join(dir, "bootstrap.json"))
		if err != nil || json.Unmarshal(text, s) != nil {
			return false
		}
		resp, err := http.Get(s.URL + "/healthz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return s
}

// eventually waits for a state that only another process can report.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not after %s", what, patience)
		case <-tick.C:
		}
	}
}

// client returns the official client with a token.
func (s *server) client(token string) *api.Client {
	return api.NewClient(logger.Discard, api.Config{Endpoint: s.URL + "/v3/", Token: token, UserAgent: "conformance"})
}

// rest calls the REST API below the organization and decodes the answer.
func (s *server) rest(t *testing.T, method, path string, body, answer any) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+"/v2/organizations/main"+path, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.APIToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode >= 300 {
		t.Fatalf("%s %s: %s: %s", method, path, resp.Status, got)
	}
	if answer == nil {
		return
	}
	if err := json.Unmarshal(got, answer); err != nil {
		t.Fatalf("%s %s: %v: %s", method, path, err, got)
	}
}

// buildView is what the tests read of a build.
type buildView struct {
	ID     string
	Number int
	State  string
	Jobs   []struct {
		ID, Type, State string
		Step            struct{ ID string }
		StepKey         string `json:"step_key"`
		ExitStatus      *int   `json:"exit_status"`
		RetriedInJobID  string `json:"retried_in_job_id"`
	}
	MetaData map[string]string `json:"meta_data"`
}

// newBuild creates a pipeline with the given steps and a build of it.
func (s *server) newBuild(t *testing.T, slug, configuration string) buildView {
	t.Helper()
	s.rest(t, "POST", "/pipelines", map[string]string{
		"name": slug, "repository": "https://git.example.test/repo.git", "configuration": configuration,
	}, nil)
	var b buildView
	s.rest(t, "POST", "/pipelines/"+slug+"/builds", map[string]string{
		"commit": "HEAD", "branch": "main", "message": "conformance",
	}, &b)
	return b
}
