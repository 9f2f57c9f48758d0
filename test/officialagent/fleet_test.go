//go:build fleet

package officialagent

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The programs of this file look after fleets. The module proxy does not serve them, so these tests have
// a build tag, for whoever has built the programs from their sources and put them on the PATH. Last passed with
// buildkite-agent-metrics 5.12.4, buildkite-agent-scaler 1.12.0 and agent-stack-k8s at a5d56d1.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("build %s from its sources and put it on the PATH: %v", name, err)
	}
	return path
}

const twoSteps = "steps:\n  - key: one\n    command: echo one\n    checkout: {skip: true}\n  - wait\n  - key: two\n    command: echo two\n    checkout: {skip: true}\n"

// TestAgentMetricsCount runs the program that counts agents and jobs for a monitoring system.
func TestAgentMetricsCount(t *testing.T) {
	t.Parallel()
	binary := program(t, "buildkite-agent-metrics")
	s := startServer(t)
	s.register(t, "idle", "queue=default")
	s.newBuild(t, "metrics", twoSteps)
	for _, queue := range [][]string{nil, {"-queue", "default"}} {
		cmd := exec.CommandContext(t.Context(), binary, append([]string{
			"-endpoint", s.URL + "/v3", "-token", s.AgentToken, "-dry-run", "-backend", "prometheus", "-prometheus-addr", "127.0.0.1:0",
		}, queue...)...)
		output, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
		for _, want := range []string{`organization "main"`, "Queue=default > WaitingJobsCount=1", "Queue=default > TotalAgentCount=1", "Queue=default > UnfinishedJobsCount="} {
			if !strings.Contains(string(output), want) {
				t.Errorf("with %v it does not say %s:\n%s", queue, want, output)
			}
		}
	}
}

// follow starts a program and waits until it says what matches; it ends with the test.
func follow(t *testing.T, cmd *exec.Cmd, want string) []string {
	t.Helper()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // its context has ended it
	found := make(chan []string, 1)
	go func() {
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			fmt.Fprintln(t.Output(), lines.Text())
			if m := regexp.MustCompile(want).FindStringSubmatch(lines.Text()); m != nil && len(found) == 0 {
				found <- m
			}
		}
		close(found)
	}()
	m := <-found
	if m == nil {
		t.Fatalf("%s ended and did not say %s", cmd.Path, want)
	}
	go func() {
		for range found { // until it ends
		}
	}()
	return m
}

// TestTheScalerSeesWhatWaits runs the program that sizes a group of machines, which here only says what it
// would do.
func TestTheScalerSeesWhatWaits(t *testing.T) {
	t.Parallel()
	binary := program(t, "buildkite-agent-scaler")
	s := startServer(t)
	s.newBuild(t, "scaler", "steps:\n  - {command: x, parallelism: 3}\n")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-agent-endpoint", s.URL+"/v3", "-agent-token", s.AgentToken,
		"-queue", "default", "-asg-name", "group", "-dry-run", "-include-waiting")
	if m := follow(t, cmd, `Agents required (\d+)`); m[1] != "3" {
		t.Errorf("it says %s", m[0])
	}
}

// cluster is as much of the API of Kubernetes as agent-stack-k8s asks for: one secret, and no objects but the
// jobs that are created, of which nothing becomes.
type cluster struct {
	token   string
	created chan string // ids of our jobs
}

var jobLabel = regexp.MustCompile(`buildkite-([0-9a-f]{8}-[0-9a-f-]{27})`)

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	switch {
	case r.Method == http.MethodPost && strings.HasSuffix(path, "/jobs"):
		body, err := io.ReadAll(r.Body)
		if m := jobLabel.FindSubmatch(body); err == nil && m != nil {
			c.created <- string(m[1])
		}
		w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
		w.WriteHeader(http.StatusCreated)
		w.Write(body)
	case strings.Contains(path, "/secrets/"):
		c.answer(w, `{"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "token"}, "data": {"BUILDKITE_AGENT_TOKEN": "`+c.token+`"}}`)
	case r.URL.Query().Get("watch") != "":
		w.Header().Set("Content-Type", "application/json")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	case strings.HasSuffix(path, "/jobs"):
		c.answer(w, `{"kind": "JobList", "apiVersion": "batch/v1", "metadata": {"resourceVersion": "1"}, "items": []}`)
	case strings.HasSuffix(path, "/pods"):
		c.answer(w, `{"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": []}`)
	default:
		w.WriteHeader(http.StatusNotFound)
		c.answer(w, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}`)
	}
}

func (c *cluster) answer(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, text)
}

// TestTheKubernetesStackReservesJobs runs the controller for Kubernetes against a stand-in of a cluster: it
// finds its cluster by its token, registers its stack, reserves the job and makes a Kubernetes job of it, in
// whose place the agent then acquires the job.
func TestTheKubernetesStackReservesJobs(t *testing.T) {
	t.Parallel()
	binary := program(t, "agent-stack-k8s")
	s := startServer(t)
	b := s.newBuild(t, "kubernetes", twoSteps)
	k := &cluster{base64.StdEncoding.EncodeToString([]byte(s.AgentToken)), make(chan string, 10)}
	api := httptest.NewServer(k)
	t.Cleanup(api.Close)
	dir := t.TempDir()
	write(t, dir+"/kubeconfig", "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: '"+api.URL+"'}}]\ncontexts: [{name: c, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {token: t}}]\ncurrent-context: c\n")
	write(t, dir+"/config.yaml", "id: stack\nnamespace: default\nagent-token-secret: token\nagent-config: {endpoint: '"+s.URL+"/v3'}\nno-color: true\n")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-f", dir+"/config.yaml")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Env = append(os.Environ(), "KUBECONFIG="+dir+"/kubeconfig", "KUBE_FEATURE_WatchListClient=false", "HOME="+dir)
	follow(t, cmd, "Starting controller")
	for _, key := range []string{"one", "two"} {
		id := <-k.created
		s.rest(t, "GET", "/pipelines/kubernetes/builds/1", nil, &b)
		if at := jobAt(b, id); at < 0 || b.Jobs[at].StepKey != key || b.Jobs[at].State != "reserved" {
			t.Errorf("a Kubernetes job is made for %s of %v", id, states(b))
		}
		if got := s.acquire(t, id); got != 0 {
			t.Errorf("the agent that acquires the job ends with %d", got)
		}
	}
	s.rest(t, "GET", "/pipelines/kubernetes/builds/1", nil, &b)
	if b.State != "passed" {
		t.Errorf("the build is %s, its jobs %v", b.State, states(b))
	}
}

func jobAt(b buildView, id string) int {
	for i, j := range b.Jobs {
		if j.ID == id {
			return i
		}
	}
	return -1
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Clean(path), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
