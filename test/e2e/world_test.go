package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/slipway-ci/slipway/internal/s3test"
)

// world is what one script has made.
type world struct {
	t        testing.TB
	dir      string
	database string
	vars     []string // the script's environment, for servers and agents

	server *process
	listen string   // address of the server, kept over restarts
	flags  []string // of the variant and of `server start`
	tokens tokens

	agentURL string // where agents find the server; "": at its address
	agents   map[string]*process

	mails    <-chan string // of the script's mail server
	pipeline string        // of the last build
	build    int
}

// tokens is bootstrap.json.
type tokens struct {
	URL        string `json:"url"`
	APIToken   string `json:"api_token"`
	AgentToken string `json:"agent_token"`
}

// prepare gives the script an environment of its own.
func (w *world) prepare(env *testscript.Env) error {
	home := filepath.Join(w.dir, ".home")
	if err := os.MkdirAll(home, 0o755); err != nil {
		return err
	}
	env.Setenv("HOME", home)
	env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
	env.Setenv("BIN", bin)
	env.Setenv("TERM", "dumb")
	env.Setenv("GORACE", "atexit_sleep_ms=50") // instead of a second at the end of each of our programs
	for _, who := range []string{"AUTHOR", "COMMITTER"} {
		env.Setenv("GIT_"+who+"_NAME", "Ada")
		env.Setenv("GIT_"+who+"_EMAIL", "ada@example.test")
	}
	env.Setenv("GIT_CONFIG_COUNT", "1")
	env.Setenv("GIT_CONFIG_KEY_0", "safe.directory")
	env.Setenv("GIT_CONFIG_VALUE_0", "*")
	w.vars = slices.Clone(env.Vars) // both grow
	return nil
}

// close ends what still runs, fails the script for a data race in any of it, and shows its output if the script failed.
func (w *world) close() {
	for _, p := range w.agents {
		p.kill()
	}
	if w.server != nil {
		w.server.kill()
	}
	names, err := filepath.Glob(filepath.Join(w.dir, ".*.log"))
	logs := map[string][]byte{}
	for _, name := range names {
		text, readErr := os.ReadFile(name)
		err = errors.Join(err, readErr)
		logs[name] = text
		if bytes.Contains(text, []byte("WARNING: DATA RACE")) {
			w.t.Errorf("%s tells of a data race", filepath.Base(name))
		}
	}
	if err != nil {
		w.t.Error(err)
	}
	if !w.t.Failed() {
		return
	}
	for _, name := range names {
		w.t.Logf("── %s\n%s", filepath.Base(name), logs[name][max(0, len(logs[name])-20_000):])
	}
}

// process is a program that runs beside the script.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // of Wait, once done is closed
}

// start runs a program of the script with its output in a hidden file.
func (w *world) start(name string, args ...string) (*process, error) {
	output, err := os.OpenFile(filepath.Join(w.dir, "."+name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Env = w.dir, w.vars
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = attributes()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// stop asks p to end and returns how it did.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return p.wait()
}

// wait waits for the end of p and returns how it ended.
func (p *process) wait() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return fmt.Errorf("%s: still there after %s", p.cmd.Path, patience)
	}
}

// kill9 kills p alone and waits for its end.
func (p *process) kill9() error {
	err := p.cmd.Process.Kill()
	<-p.done
	return err
}

// kill ends p and its process group, whatever their state.
func (p *process) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // it may be gone
	<-p.done
}

// s3Command gives the script an empty bucket, and servers and agents the credentials for it.
func (w *world) s3Command(ts *testscript.TestScript, args []string) error {
	if len(args) != 0 {
		return errors.New("usage: s3")
	}
	url, bucket := s3test.Bucket(w.t)
	ts.Setenv("S3_URL", url)
	ts.Setenv("S3_BUCKET", bucket)
	w.vars = append(w.vars, "AWS_ACCESS_KEY_ID="+s3test.AccessKey, "AWS_SECRET_ACCESS_KEY="+s3test.SecretKey,
		"AWS_REGION="+s3test.Region, "S3_BUCKET="+bucket, "BUILDKITE_S3_ENDPOINT="+url, "BUILDKITE_S3_ACL=private",
		"BUILDKITE_S3_DEFAULT_REGION="+s3test.Region)
	return nil
}

func (w *world) serverCommand(ts *testscript.TestScript, args []string) error {
	switch verb, rest := head(args); verb {
	case "start":
		w.flags = append(w.flags, rest...)
		w.listen = anywhere
		return w.scriptServer(ts)
	case "restart":
		w.flags = append(w.flags, rest...)
		return w.scriptServer(ts)
	case "stop":
		return w.server.stop()
	case "kill9":
		return w.server.kill9()
	case "age-keys":
		days, _ := head(rest)
		return w.ageKeys(days)
	}
	return errors.New("usage: server start|restart|stop|kill9|age-keys")
}

// anywhere is the address of a server that has not run yet.
const anywhere = ""

// scriptServer starts the server and tells the script about it.
func (w *world) scriptServer(ts *testscript.TestScript) error {
	err := w.startServer()
	ts.Setenv("URL", w.tokens.URL)
	ts.Setenv("ADDRESS", w.listen)
	ts.Setenv("PORT", w.listen[strings.LastIndex(w.listen, ":")+1:])
	ts.Setenv("API_TOKEN", w.tokens.APIToken)
	ts.Setenv("AGENT_TOKEN", w.tokens.AgentToken)
	return err
}

func (w *world) data() string { return filepath.Join(w.dir, ".data") }

// beginServer starts the server, at the same address if it ran before, and does not wait for it.
func (w *world) beginServer() (err error) {
	if w.listen == anywhere {
		if w.listen, err = freeAddress(); err != nil {
			return err
		}
	}
	args := []string{filepath.Join(bin, "slipway"), "server", "--listen", w.listen, "--data", w.data()}
	if w.database != "" {
		args = append(args, "--database", w.database)
	}
	w.server, err = w.start("server", append(args, w.flags...)...)
	return err
}

// startServer starts the server and waits until it is ready.
func (w *world) startServer() error {
	if err := w.beginServer(); err != nil {
		return err
	}
	err := w.eventually("the server is ready", func() (bool, error) {
		select {
		case <-w.server.done:
			return false, fmt.Errorf("slipway server ended: %w", w.server.err)
		default:
		}
		return w.ready(filepath.Join(w.data(), "bootstrap.json")), nil
	})
	w.listen = strings.TrimPrefix(w.tokens.URL, "http://")
	return err
}

// ready says whether the first tokens are written and the server answers.
func (w *world) ready(bootstrap string) bool {
	text, err := os.ReadFile(bootstrap)
	if err != nil || json.Unmarshal(text, &w.tokens) != nil {
		return false
	}
	resp, err := http.Get(w.tokens.URL + "/healthz")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func (w *world) agentCommand(_ *testscript.TestScript, args []string) error {
	verb, rest := head(args)
	name, flags := head(rest)
	switch verb {
	case "start":
		return w.startAgent(name, flags)
	case "stop":
		return w.agents[name].stop()
	case "wait":
		return w.agents[name].wait()
	case "kill9":
		return w.agents[name].kill9()
	}
	return errors.New("usage: agent start|stop|wait|kill9 NAME")
}

func (w *world) startAgent(name string, flags []string) error {
	args := []string{filepath.Join(bin, "slipway"), "agent", "start"}
	if official := os.Getenv("SLIPWAY_E2E_AGENT"); official != "" {
		args = []string{official, "start", "--no-color"}
	}
	home := filepath.Join(w.dir, ".agent", name)
	for _, folder := range []string{"hooks", "plugins", "s"} {
		if err := os.MkdirAll(filepath.Join(home, folder), 0o755); err != nil {
			return err
		}
	}
	args = append(args,
		"--endpoint", cmp.Or(w.agentURL, w.tokens.URL)+"/v3", "--token", w.tokens.AgentToken, "--name", name,
		"--build-path", filepath.Join(home, "builds"), "--hooks-path", filepath.Join(home, "hooks"),
		"--plugins-path", filepath.Join(home, "plugins"), "--sockets-path", filepath.Join(home, "s"))
	p, err := w.start("agent-"+name, append(args, flags...)...)
	if err != nil {
		return err
	}
	w.agents[name] = p
	if slices.Contains(flags, "--name") {
		return nil // the script knows what its agents are called
	}
	return w.eventually("the agent is connected", func() (bool, error) {
		select {
		case <-p.done:
			return false, fmt.Errorf("the agent ended: %w", p.err)
		default:
		}
		var agents []struct{ Name string }
		err := w.rest("GET", "agents?name="+name, nil, &agents)
		return len(agents) > 0, err
	})
}

// eventually waits for a state that only another process can report. An error
// ends the wait.
func (w *world) eventually(what string, holds func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := holds(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not after %s", what, patience)
		case <-tick.C:
		}
	}
}

// exits runs a program and compares its exit status.
func (w *world) exits(ts *testscript.TestScript, args []string) error {
	text, rest := head(args)
	want, err := strconv.Atoi(text)
	if err != nil || len(rest) == 0 {
		return errors.New("usage: exits STATUS COMMAND")
	}
	err = ts.Exec(rest[0], rest[1:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("exit status %d, want %d", got, want)
	}
	return nil
}

// head splits off the first argument, or "".
func head(args []string) (first string, rest []string) {
	if len(args) == 0 {
		return "", nil
	}
	return args[0], args[1:]
}
