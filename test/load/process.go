package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// server is a running `slipway server` on a directory of its own, and on a database of its own if
// that is PostgreSQL.
type server struct {
	cmd      *exec.Cmd
	args     []string
	dir      string
	database *database // nil: SQLite
	http     *http.Client

	URL        string `json:"url"`
	APIToken   string `json:"api_token"`
	AgentToken string `json:"agent_token"`
}

// startServer returns a server that answers, and how long that took.
func (b *bench) startServer(ctx context.Context) (*server, time.Duration, error) {
	dir, err := os.MkdirTemp(b.dir, "server")
	if err != nil {
		return nil, 0, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, 0, err
	}
	s := &server{dir: dir, http: &http.Client{Timeout: 5 * time.Minute}}
	s.args = []string{b.binary, "server", "--listen", address, "--data", filepath.Join(dir, "data")}
	if b.postgres {
		if s.database, err = startDatabase(); err != nil {
			return nil, 0, err
		}
		s.args = append(s.args, "--database", s.database.url)
	}
	took, err := s.start(ctx)
	return s, took, err
}

// freeAddress is one that nobody listened on a moment ago: a server that is started again has to
// come back under the address that agents know.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// start starts the process and returns how long it took until it answered.
func (s *server) start(ctx context.Context) (time.Duration, error) {
	begin := time.Now()
	var err error
	if s.cmd, err = launch(s.dir, s.args...); err != nil {
		return 0, err
	}
	if err := awaitLife(ctx, s.cmd, time.Millisecond, s.answers); err != nil {
		s.stop()
		return 0, fmt.Errorf("start slipway server: %w", err)
	}
	return time.Since(begin), nil
}

func (s *server) answers() bool {
	text, err := os.ReadFile(filepath.Join(s.dir, "data", "bootstrap.json"))
	if err != nil || json.Unmarshal(text, s) != nil {
		return false
	}
	return answers(s.http, s.URL)
}

func answers(client *http.Client, url string) bool {
	resp, err := client.Get(url + "/healthz")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// kill ends the process as kill -9 does. Its database stays.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

func (s *server) stop() {
	halt(s.cmd)
	if s.database != nil {
		s.database.stop()
	}
}

// startAgent starts an agent process: ours, or the official one.
func (b *bench) startAgent(ctx context.Context, s *server, official bool, flags ...string) (*exec.Cmd, error) {
	args := []string{b.binary, "agent", "start"}
	if official {
		args = []string{b.official, "start"}
	}
	home, err := os.MkdirTemp(b.dir, "agent")
	if err != nil {
		return nil, err
	}
	args = append(args, "--endpoint", s.URL+"/v3", "--token", s.AgentToken, "--name", "bench-%spawn",
		"--build-path", filepath.Join(home, "builds"), "--hooks-path", filepath.Join(home, "hooks"),
		"--plugins-path", filepath.Join(home, "plugins"), "--sockets-path", filepath.Join(home, "s"))
	cmd, err := launch(home, append(args, flags...)...)
	if err != nil {
		return nil, err
	}
	err = awaitLife(ctx, cmd, 10*time.Millisecond, func() bool {
		var agents []struct{ ID string }
		return s.rest(ctx, "GET", "/agents", nil, &agents) == nil && len(agents) > 0
	})
	if err != nil {
		halt(cmd)
		return nil, fmt.Errorf("start %s: %w", strings.Join(args[:2], " "), err)
	}
	return cmd, nil
}

// awaitLife awaits what a program does, for as long as the program lives. Its end is an error that tells what it printed.
func awaitLife(ctx context.Context, cmd *exec.Cmd, every time.Duration, holds func() bool) error {
	held := false
	err := await(ctx, every, func() bool {
		held = holds()
		return held || ended(cmd)
	})
	if err == nil && held {
		return nil
	}
	output, readErr := os.ReadFile(filepath.Join(cmd.Dir, "output"))
	if err == nil {
		err = errors.New("the process ended")
	}
	return fmt.Errorf("%w; it printed:\n%s", errors.Join(err, readErr), output)
}

// ended says whether a process, not waited for yet, has ended.
func ended(cmd *exec.Cmd) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	return err != nil || strings.HasPrefix(rest, "Z")
}

// launch starts a program with its output in a file of dir.
func launch(dir string, args ...string) (*exec.Cmd, error) {
	output, err := os.Create(filepath.Join(dir, "output"))
	if err != nil {
		return nil, err
	}
	defer output.Close()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir)
	cmd.Stdout, cmd.Stderr = output, output
	return cmd, cmd.Start()
}

// halt ends a process and waits for it. How it ends is not what is measured.
func halt(cmd *exec.Cmd) {
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
}

// await calls holds until it is true, for at most five minutes.
func await(ctx context.Context, every time.Duration, holds func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// rest calls the REST API below the organization.
func (s *server) rest(ctx context.Context, method, path string, body, answer any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, s.URL+"/v2/organizations/main"+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+s.APIToken)
	resp, err := s.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, got)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(got, answer)
}

// pipeline creates a pipeline whose jobs do not check anything out.
func (s *server) pipeline(ctx context.Context, slug, steps string) error {
	return s.rest(ctx, "POST", "/pipelines", map[string]string{
		"name": slug, "repository": "https://git.example.test/none.git",
		"configuration": "env:\n  BUILDKITE_SKIP_CHECKOUT: \"true\"\nsteps:\n" + steps,
	}, nil)
}

// trigger creates a build and returns its number.
func (s *server) trigger(ctx context.Context, slug string) (number int, err error) {
	var b struct{ Number int }
	err = s.rest(ctx, "POST", "/pipelines/"+slug+"/builds", map[string]string{"commit": "HEAD", "branch": "main"}, &b)
	return b.Number, err
}

// finished asks so often whether a build has passed until it has. Another end is an error.
func (s *server) finished(ctx context.Context, slug string, number int, every time.Duration) error {
	state := "unknown"
	err := await(ctx, every, func() bool {
		if now, err := s.state(ctx, slug, number); err == nil {
			state = now
		}
		return state == "passed" || state == "failed" || state == "canceled"
	})
	if err == nil && state != "passed" {
		err = fmt.Errorf("build %d of %s is %s", number, slug, state)
	}
	return err
}

// state is that of a build. It asks for the newest builds, which is the answer that does not grow with the jobs of a build: what is
// measured is not the asking. One that others have overtaken is asked for itself.
func (s *server) state(ctx context.Context, slug string, number int) (string, error) {
	const bare = "exclude_jobs=true&exclude_pipeline=true"
	type build struct {
		Number int
		State  string
	}
	var builds []build
	path := fmt.Sprintf("/pipelines/%s/builds", slug)
	if err := s.rest(ctx, "GET", fmt.Sprintf("%s?%s&per_page=%d", path, bare, newest), nil, &builds); err != nil {
		return "", err
	}
	for _, b := range builds {
		if b.Number == number {
			return b.State, nil
		}
	}
	var b build
	err := s.rest(ctx, "GET", fmt.Sprintf("%s/%d?%s", path, number, bare), nil, &b)
	return b.State, err
}

// newest is how many builds of a pipeline are under way as a rule.
const newest = 10

// anonymous returns the memory of a process that is its own (RssAnon), in MB.
func anonymous(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kb, err := strconv.Atoi(strings.Fields(rest)[0])
			return float64(kb) / 1024, err
		}
	}
	return 0, fmt.Errorf("process %d: no RssAnon", pid)
}

// processor returns the processor time that a process has used. The fields are
// in units of 10 ms on every platform that Go supports under Linux.
func processor(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond, err
}
