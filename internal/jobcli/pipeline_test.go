package jobcli

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"pgregory.net/rapid"

	"github.com/slipway-ci/slipway/internal/pipeline"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestPipelines prints each pipeline of testdata as --dry-run does. In an
// archive, args and env say how, pipeline.yml is the input, stdout is what
// buildkite-agent v3.138.1 prints of it, stderr is ours.
func TestPipelines(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/pipeline/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no testdata: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			j := newJob(t, nil)
			args := []string{"pipeline", "upload", "--dry-run"}
			want := map[string]string{}
			for _, f := range a.Files {
				want[f.Name] = string(f.Data)
				switch f.Name {
				case "args":
					args = append(args, strings.Fields(string(f.Data))...)
				case "env":
					for name, value := range parseEnviron(lines(string(f.Data))) {
						j.env[name] = value
					}
				default:
					writeFile(t, j.dir, f.Name, string(f.Data))
				}
			}
			r := j.run(t.Context(), append(args, "pipeline.yml")...)
			got := map[string]string{"stdout": r.out, "stderr": strings.ReplaceAll(r.err, j.dir, "$DIR"), "status": fmt.Sprintln(r.status)}
			if *update {
				updateArchive(t, file, a, got)
				return
			}
			for name := range got {
				if diff := cmp.Diff(want[name], got[name]); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			}
		})
	}
}

func updateArchive(t *testing.T, file string, a *txtar.Archive, got map[string]string) {
	t.Helper()
	a.Files = slices.DeleteFunc(a.Files, func(f txtar.File) bool { _, ours := got[f.Name]; return ours })
	for _, name := range []string{"status", "stdout", "stderr"} {
		if got[name] != "" {
			a.Files = append(a.Files, txtar.File{Name: name, Data: []byte(got[name])})
		}
	}
	if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
		t.Fatal(err)
	}
}

func writeFile(t *testing.T, dir, name, text string) {
	t.Helper()
	full := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestWherePipelinesAreReadFrom(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		files []string
		args  []string
		stdin string
		want  string // the commands uploaded, in order
		err   string
	}{
		"a default file":        {files: []string{".buildkite/pipeline.yml"}, want: ".buildkite/pipeline.yml"},
		"JSON":                  {files: []string{"buildkite.json"}, want: "buildkite.json"},
		"several default files": {files: []string{"buildkite.yml", "buildkite/pipeline.yaml"}, err: "several pipeline files: buildkite.yml, buildkite/pipeline.yaml"},
		"none":                  {err: "no pipeline file: name one"},
		"named files":           {files: []string{"a.yml", "b/c.yml"}, args: []string{"b/c.yml", "a.yml"}, want: "b/c.yml a.yml"},
		"input":                 {files: []string{"buildkite.yml"}, stdin: `steps: [{command: piped}]`, want: "piped"},
		"input by name":         {files: []string{"a.yml"}, args: []string{"-", "a.yml"}, stdin: `steps: [{command: piped}]`, want: "piped a.yml"},
		"several documents":     {stdin: "steps: [{command: one}]\n---\nsteps: [{command: two}]\n", want: "one two"},
		"a missing file":        {args: []string{"no.yml"}, err: "reading pipeline: open"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			j := newJob(t, func(_ http.ResponseWriter, r *http.Request) { got = append(got, uploaded(t, r).commands()...) })
			if tt.stdin != "" {
				j.stdin = strings.NewReader(tt.stdin)
			}
			for _, name := range tt.files {
				writeFile(t, j.dir, name, `{"steps":[{"command":"`+name+`"}]}`)
			}
			r := j.run(t.Context(), append([]string{"pipeline", "upload"}, tt.args...)...)
			if strings.Join(got, " ") != tt.want || (r.status == 0) != (tt.err == "") || !strings.Contains(r.err, tt.err) {
				t.Errorf("uploaded %q, want %q; status %d, stderr %q, want %q", got, tt.want, r.status, r.err, tt.err)
			}
		})
	}
}

func TestEmptyPipelineFileIsRefused(t *testing.T) {
	t.Parallel()
	j := newJob(t, nil)
	writeFile(t, j.dir, "buildkite.yml", "")
	if r := j.run(t.Context(), "pipeline", "upload"); r.status != 1 || !strings.Contains(r.err, "pipeline file buildkite.yml is empty") {
		t.Errorf("status %d, stderr %q", r.status, r.err)
	}
}

// upload is a pipeline as the server gets it.
type upload struct {
	UUID     string `json:"uuid"`
	Replace  bool   `json:"replace"`
	Pipeline struct {
		Steps []struct {
			Command string `json:"command"`
			Skip    string `json:"skip"`
		} `json:"steps"`
	} `json:"pipeline"`
}

func (u upload) commands() []string {
	var out []string
	for _, s := range u.Pipeline.Steps {
		out = append(out, s.Command)
	}
	return out
}

func uploaded(t *testing.T, r *http.Request) upload {
	var u upload
	if r.Method != http.MethodPost || r.RequestURI != "/v3/jobs/J/pipelines?async=true" {
		t.Errorf("request %s %s", r.Method, r.RequestURI)
	}
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, &u)
	}
	if err != nil {
		t.Errorf("upload: %v", err)
	}
	return u
}

func TestRefusedPipelineShowsTheServersReason(t *testing.T) {
	t.Parallel()
	h, calls := recorder(t, http.StatusUnprocessableEntity, message("step 2 has no command"))
	j := newJob(t, h)
	writeFile(t, j.dir, "p.yml", "steps: [{command: x}]")
	r := j.run(t.Context(), "pipeline", "upload", "p.yml")
	want := "buildkite-agent: fatal: pipeline p.yml was not uploaded: the server refused it: step 2 has no command\n"
	if r.status != 1 || r.err != want || len(*calls) != 1 {
		t.Errorf("status %d, %d calls, stderr %q, want %q", r.status, len(*calls), r.err, want)
	}
}

func TestPendingUploadIsAwaited(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		states []string
		hint   string // Retry-After of the status
		took   time.Duration
		status int
		err    string
	}{
		"applied in the end": {[]string{`{"state":"pending"}`, `{"state":"processing"}`, `{"state":"applied"}`}, "", 11 * time.Second, 0, ""},
		"applied soon":       {[]string{`{"state":"pending"}`, `{"state":"processing"}`, `{"state":"applied"}`}, "0.5", 2 * time.Second, 0, ""},
		"rejected":           {[]string{`{"state":"processing"}`, `{"state":"rejected","message":"too many jobs"}`}, "", 6 * time.Second, 1, "the server refused it: too many jobs"},
		"unknown state":      {[]string{`{"state":"lost"}`}, "", time.Second, 1, `unknown state "lost"`},
		"never":              {slices.Repeat([]string{`{"state":"pending"}`}, 60), "", 296 * time.Second, 1, "has not applied the pipeline yet"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				states := tt.states
				j := newJob(t, func(w http.ResponseWriter, r *http.Request) {
					if r.Method == http.MethodPost {
						w.Header().Set("Location", "/v3/jobs/J/pipelines/"+uploaded(t, r).UUID)
						w.WriteHeader(http.StatusAccepted)
						return
					}
					w.Header().Set("Retry-After", tt.hint)
					answer(w, http.StatusOK, states[0])
					states = states[1:]
				})
				writeFile(t, j.dir, "p.yml", "steps: [{command: x}]")
				start := time.Now()
				r := j.run(t.Context(), "pipeline", "upload", "p.yml")
				if time.Since(start) != tt.took {
					t.Errorf("took %s, want %s", time.Since(start), tt.took)
				}
				if r.status != tt.status || !strings.Contains(r.err, tt.err) || len(states) != 0 {
					t.Errorf("status %d, %d states left, stderr %q, want %q", r.status, len(states), r.err, tt.err)
				}
			})
		})
	}
}

func TestUploadKeepsItsIDOverRetriesAndNeverSharesIt(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		failures := rapid.SliceOfN(rapid.IntRange(0, 5), 1, 4).Draw(rt, "failures of each document")
		var tries [][2]string // command and id of each attempt
		var r run
		synctest.Test(t, func(t *testing.T) { r, tries = uploadFailing(t, failures) })
		var want []string
		ids := map[string]string{}
		for i, n := range failures {
			want = append(want, slices.Repeat([]string{fmt.Sprintf("c%d", i)}, n+1)...)
		}
		for i, try := range tries {
			if command, known := ids[try[1]]; known && command != try[0] || i >= len(want) || want[i] != try[0] {
				rt.Fatalf("attempt %d of %v is %v", i, want, try)
			}
			ids[try[1]] = try[0]
		}
		if r.status != 0 || len(ids) != len(failures) || len(tries) != len(want) {
			rt.Fatalf("status %d, %d ids and %d attempts for %v, stderr %s", r.status, len(ids), len(tries), failures, r.err)
		}
	})
}

// uploadFailing uploads one document per failure count, each of which the
// server refuses that often before it takes it.
func uploadFailing(t *testing.T, failures []int) (run, [][2]string) {
	left := slices.Clone(failures)
	var tries [][2]string
	j := newJob(t, func(w http.ResponseWriter, r *http.Request) {
		u := uploaded(t, r)
		tries = append(tries, [2]string{strings.Join(u.commands(), " "), u.UUID})
		if left[0] == 0 {
			left = left[1:]
			return
		}
		left[0]--
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	var docs []string
	for i := range failures {
		docs = append(docs, fmt.Sprintf("steps: [{command: c%d}]\n", i))
	}
	j.stdin = strings.NewReader(strings.Join(docs, "---\n"))
	return j.run(t.Context(), "pipeline", "upload", "--replace"), tries
}

func TestCommitAndChangesComeFromGit(t *testing.T) {
	t.Parallel()
	j := newJob(t, nil)
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-c", "user.name=n", "-c", "user.email=e", "-C", j.dir}, args...)...)
		cmd.Env = []string{"HOME=" + j.env["HOME"], "PATH=" + j.env["PATH"], "GIT_CONFIG_NOSYSTEM=1"}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "-q", "-b", "trunk")
	writeFile(t, j.dir, "old.txt", "1")
	git("add", ".")
	git("commit", "-qm", "one")
	git("update-ref", "refs/remotes/origin/trunk", "HEAD")
	writeFile(t, j.dir, "docs/new.md", "2")
	git("add", ".")
	git("commit", "-qm", "two")
	writeFile(t, j.dir, "p.yml", "steps:\n- {command: $BUILDKITE_COMMIT, if_changed: 'docs/**'}\n- {command: x, if_changed: old.txt}\n")
	j.env["BUILDKITE_COMMIT"] = "HEAD"
	j.env["BUILDKITE_PIPELINE_DEFAULT_BRANCH"] = "trunk"
	var got upload
	j.server = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = uploaded(t, r) })
	r := j.run(t.Context(), "pipeline", "upload", "p.yml")
	if r.status != 0 || r.err != "" || len(got.Pipeline.Steps) != 2 {
		t.Fatalf("status %d, stderr %q, upload %+v", r.status, r.err, got)
	}
	if steps := got.Pipeline.Steps; steps[0].Command != git("rev-parse", "HEAD") || steps[0].Skip != "" || steps[1].Skip != pipeline.UnchangedReason {
		t.Errorf("steps = %+v", steps)
	}
	// On the base branch itself the last commit counts.
	git("update-ref", "refs/remotes/origin/trunk", "HEAD")
	r = j.run(t.Context(), "pipeline", "upload", "p.yml")
	if r.status != 0 || !strings.Contains(r.err, "looks at the last commit only") || got.Pipeline.Steps[1].Skip != pipeline.UnchangedReason {
		t.Errorf("status %d, stderr %q, steps %+v", r.status, r.err, got.Pipeline.Steps)
	}
}
