package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// ends are the states in which a build stays.
var ends = []string{"passed", "failed", "canceled", "skipped", "not_run"}

func (w *world) gitRepo(ts *testscript.TestScript, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: git-repo DIR")
	}
	return w.makeRepo(ts.MkAbs(args[0]))
}

// makeRepo commits everything in dir on the branch main.
func (w *world) makeRepo(dir string) error {
	for _, args := range [][]string{
		{"init", "-q", "-b", "main"}, {"add", "."}, {"commit", "-q", "--allow-empty", "-m", "first"},
	} {
		cmd := exec.Command("git", args...)
		cmd.Dir, cmd.Env = dir, w.vars
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("git %s: %w\n%s", args[0], err, output)
		}
	}
	return nil
}

func (w *world) pipelineCommand(ts *testscript.TestScript, args []string) error {
	verb, rest := head(args)
	if verb != "create" || len(rest) < 2 {
		return errors.New("usage: pipeline create NAME DIR [FILE]")
	}
	dir := ts.MkAbs(rest[1])
	if _, err := os.Stat(filepath.Join(dir, ".git")); err != nil {
		if err := w.makeRepo(dir); err != nil {
			return err
		}
	}
	body := map[string]string{"name": rest[0], "repository": dir}
	if len(rest) == 3 {
		body["configuration"] = ts.ReadFile(rest[2])
	}
	return w.rest("POST", "pipelines", body, nil)
}

func (w *world) buildCommand(ts *testscript.TestScript, args []string) error {
	verb, rest := head(args)
	slug, fields := head(rest)
	if verb != "create" || slug == "" {
		return errors.New("usage: build create PIPELINE [FIELD=VALUE…]")
	}
	body := map[string]any{"commit": "HEAD", "branch": "main", "message": "by a script"}
	for _, field := range fields {
		name, value, _ := strings.Cut(field, "=")
		if env, ok := strings.CutPrefix(name, "env."); ok {
			body["env"] = map[string]string{env: value}
			continue
		}
		body[name] = value
	}
	var b buildView
	if err := w.rest("POST", "pipelines/"+slug+"/builds", body, &b); err != nil {
		return err
	}
	w.pipeline, w.build = slug, b.Number
	ts.Setenv("BUILD", strconv.Itoa(b.Number))
	return nil
}

// buildView is what the harness reads of a build.
type buildView struct {
	Number  int
	State   string
	Blocked bool
	Jobs    []jobView
}

type jobView struct {
	ID      string
	StepKey string `json:"step_key"`
	Name    string
	State   string
	Retried bool
}

func (w *world) path() string {
	return fmt.Sprintf("pipelines/%s/builds/%d", w.pipeline, w.build)
}

func (w *world) view() (buildView, error) {
	var b buildView
	err := w.rest("GET", w.path(), nil, &b)
	return b, err
}

func (w *world) waitBuild(_ *testscript.TestScript, args []string) error {
	want, _ := head(args)
	return w.eventually("the build is "+want, func() (bool, error) {
		b, err := w.view()
		switch {
		case err != nil:
			return false, err
		case b.State == want && !b.Blocked, b.Blocked && want == "blocked":
			return true, nil
		case slices.Contains(ends, b.State) && !b.Blocked:
			return false, fmt.Errorf("the build is %s, want %s\n%s", b.State, want, w.logs(b))
		}
		return false, nil
	})
}

func (w *world) waitJob(_ *testscript.TestScript, args []string) error {
	if len(args) != 2 {
		return errors.New("usage: wait-job KEY STATE")
	}
	return w.eventually("the job is "+args[1], func() (bool, error) {
		j, err := w.job(args[0])
		if j.State != args[1] && slices.Contains([]string{"passed", "failed", "canceled", "broken"}, j.State) {
			return false, fmt.Errorf("the job %s is %s, want %s", args[0], j.State, args[1])
		}
		return j.State == args[1], err
	})
}

// job returns the newest job of the step with the given key, and the zero job
// while there is none.
func (w *world) job(stepKey string) (jobView, error) {
	b, err := w.view()
	if err != nil {
		return jobView{}, err
	}
	for _, j := range slices.Backward(b.Jobs) {
		if j.StepKey == stepKey && !j.Retried {
			return j, nil
		}
	}
	return jobView{}, nil
}

// logs returns the logs of all jobs of a build, for a failed script.
func (w *world) logs(b buildView) string {
	var all strings.Builder
	for _, j := range b.Jobs {
		var log struct{ Content string }
		fmt.Fprintf(&all, "── job %s (%s)\n", j.StepKey, j.State)
		if err := w.rest("GET", w.path()+"/jobs/"+j.ID+"/log", nil, &log); err != nil {
			fmt.Fprintln(&all, err)
		}
		all.WriteString(log.Content)
	}
	return all.String()
}

func (w *world) jobCommand(_ *testscript.TestScript, args []string) error {
	if len(args) < 2 {
		return errors.New("usage: job retry|unblock KEY [JSON]")
	}
	j, err := w.job(args[1])
	if err != nil {
		return err
	}
	var body json.RawMessage
	if len(args) == 3 {
		body = json.RawMessage(args[2])
	}
	return w.rest("PUT", w.path()+"/jobs/"+j.ID+"/"+args[0], body, nil)
}

func (w *world) jobLog(ts *testscript.TestScript, args []string) error {
	stepKey, _ := head(args)
	j, err := w.job(stepKey)
	if err != nil {
		return err
	}
	var log struct{ Content string }
	if err := w.rest("GET", w.path()+"/jobs/"+j.ID+"/log", nil, &log); err != nil {
		return err
	}
	_, err = io.WriteString(ts.Stdout(), log.Content)
	return err
}

func (w *world) restCommand(ts *testscript.TestScript, args []string) error {
	if len(args) < 2 {
		return errors.New("usage: rest METHOD PATH [@FILE] [STATUS] [ASSERTION…]")
	}
	method, rest := args[0], args[2:]
	path, err := w.expand(args[1])
	if err != nil {
		return err
	}
	var body json.RawMessage
	if file, more := head(rest); strings.HasPrefix(file, "@") {
		body, rest = json.RawMessage(ts.ReadFile(file[1:])), more
	}
	want := 0
	if first, more := head(rest); regexp.MustCompile(`^\d{3}$`).MatchString(first) {
		want, _ = strconv.Atoi(first)
		rest = more
	}
	var answer any
	err = w.rest(method, path, body, &answer)
	if want != 0 {
		if got := status(err); got != want {
			return fmt.Errorf("status %d (%v), want %d", got, err, want)
		}
		if refused, ok := errors.AsType[*refusal](err); ok {
			answer, err = refused.body, nil
		}
	}
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(answer, "", "  ")
	if err != nil {
		return err
	}
	fmt.Fprintf(ts.Stdout(), "%s\n", text)
	return assertAll(answer, rest)
}

// expand completes a path of a script: below the last build, the first cluster or an agent of a name.
func (w *world) expand(path string) (string, error) {
	if tail, ok := strings.CutPrefix(path, "build"); ok && (tail == "" || tail[0] == '/' || tail[0] == '?') {
		return w.path() + tail, nil
	}
	list, tail := "", ""
	if rest, ok := strings.CutPrefix(path, "cluster/"); ok {
		list, tail = "clusters", "/"+rest
	} else if rest, ok := strings.CutPrefix(path, "agent/"); ok {
		name, more, _ := strings.Cut(rest, "/")
		list, tail = "agents?name="+name, strings.TrimSuffix("/"+more, "/")
	} else {
		return path, nil
	}
	var found []struct{ ID string }
	if err := w.rest("GET", list, nil, &found); err != nil {
		return "", err
	}
	if len(found) == 0 {
		return "", fmt.Errorf("there is none of %s", list)
	}
	list, _, _ = strings.Cut(list, "?")
	return list + "/" + found[0].ID + tail, nil
}

// waitRest waits until assertions hold for what a path answers.
func (w *world) waitRest(_ *testscript.TestScript, args []string) error {
	if len(args) < 2 {
		return errors.New("usage: wait-rest PATH ASSERTION…")
	}
	var last error
	err := w.eventually(strings.Join(args, " "), func() (bool, error) {
		path, err := w.expand(args[0])
		var answer any
		if err == nil {
			err = w.rest("GET", path, nil, &answer)
		}
		if err == nil {
			err = assertAll(answer, args[1:])
		}
		last = err
		return err == nil, nil
	})
	if err != nil {
		err = fmt.Errorf("%w: %w", err, last)
	}
	return err
}

// refusal is an answer that is not 2xx.
type refusal struct {
	method, path string
	status       int
	body         any
}

func (r *refusal) Error() string {
	return fmt.Sprintf("%s %s: %d: %v", r.method, r.path, r.status, r.body)
}

// status is that of a refusal, 200 for none.
func status(err error) int {
	if refused, ok := errors.AsType[*refusal](err); ok {
		return refused.status
	}
	return http.StatusOK
}

// rest calls the REST API below the organization and decodes the answer.
func (w *world) rest(method, path string, body, answer any) error {
	got, err := w.tokens.call(method, path, body)
	if err != nil || answer == nil || len(got) == 0 {
		return err
	}
	return json.Unmarshal(got, answer)
}

// call is rest with the answer as it is.
func (t tokens) call(method, path string, body any) ([]byte, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequest(method, t.URL+"/v2/organizations/main/"+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+t.APIToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		refused := &refusal{method: method, path: path, status: resp.StatusCode}
		if json.Unmarshal(got, &refused.body) != nil {
			refused.body = string(got)
		}
		err = refused
	}
	return got, err
}
