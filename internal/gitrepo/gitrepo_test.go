package gitrepo_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/gitrepo"
)

// repository makes one with a commit of the given files and returns its path and the commit.
func repository(t *testing.T, files map[string]string) (dir, commit string) {
	t.Helper()
	dir = t.TempDir()
	run(t, dir, "init", "--quiet", "--initial-branch=main")
	for name, text := range files {
		p := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	run(t, dir, "add", ".")
	run(t, dir, "-c", "user.name=Ana", "-c", "user.email=ana@example.test", "commit", "--quiet", "--allow-empty", "-m", "First\n\nBody")
	return dir, run(t, dir, "rev-parse", "HEAD")
}

func run(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestPipelineIsReadAtTheCommitThatWasAskedFor(t *testing.T) {
	t.Parallel()
	dir, first := repository(t, map[string]string{".buildkite/pipeline.yml": "steps: [one]"})
	m := gitrepo.New(t.TempDir(), true)
	check := func(commit, wantCommit, wantSource string) {
		t.Helper()
		f, err := m.Pipeline(t.Context(), gitrepo.Request{Repository: dir, Commit: commit, Branch: "main"})
		if err != nil {
			t.Fatal(err)
		}
		if f.Commit != wantCommit || string(f.Source) != wantSource || f.Path != ".buildkite/pipeline.yml" {
			t.Errorf("got %s %s %q, want %s and %q", f.Commit, f.Path, f.Source, wantCommit, wantSource)
		}
		if f.Author.Name != "Ana" || !strings.HasPrefix(f.Message, "First") {
			t.Errorf("author %q, message %q", f.Author.Name, f.Message)
		}
	}
	check("HEAD", first, "steps: [one]")
	if err := os.WriteFile(filepath.Join(dir, ".buildkite/pipeline.yml"), []byte("steps: [two]"), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "-c", "user.name=Ana", "-c", "user.email=ana@example.test", "commit", "--quiet", "-am", "First again")
	second := run(t, dir, "rev-parse", "HEAD")
	check("HEAD", second, "steps: [two]")
	check(first, first, "steps: [one]")
}

func TestRepositoryWithoutOneDocumentSaysWhatToDo(t *testing.T) {
	t.Parallel()
	m := gitrepo.New(t.TempDir(), true)
	tests := []struct {
		files map[string]string
		path  string
		want  string
	}{
		{map[string]string{"README": ""}, "", "add .buildkite/pipeline.yml"},
		{map[string]string{"buildkite.yml": "", ".buildkite/pipeline.yml": ""}, "", "several pipeline files"},
		{map[string]string{"README": ""}, "ci/test/pipeline.yml", "ci/test/pipeline.yml does not exist"},
	}
	for _, tt := range tests {
		dir, _ := repository(t, tt.files)
		_, err := m.Pipeline(t.Context(), gitrepo.Request{Repository: dir, Commit: "HEAD", Branch: "main", Path: tt.path})
		if _, ok := errors.AsType[*gitrepo.NoPipelineError](err); !ok || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("files %v, path %q: %v, want %q", tt.files, tt.path, err, tt.want)
		}
	}
}

func TestHostileNamesAreRefused(t *testing.T) {
	t.Parallel()
	dir, _ := repository(t, nil)
	trace := filepath.Join(t.TempDir(), "ran")
	tests := []gitrepo.Request{
		{Repository: "--upload-pack=touch " + trace, Commit: "HEAD"},
		{Repository: dir, Commit: "--upload-pack=touch " + trace},
		{Repository: dir, Commit: "HEAD", Branch: "--upload-pack=touch " + trace},
		{Repository: "ext::sh -c touch% " + trace, Commit: "HEAD", Branch: "main"},
	}
	for _, r := range tests {
		if _, err := gitrepo.New(t.TempDir(), true).Pipeline(t.Context(), r); err == nil {
			t.Errorf("%+v was read", r)
		}
	}
	if _, err := os.Stat(trace); err == nil {
		t.Error("a name was run as a command")
	}
	if _, err := gitrepo.New(t.TempDir(), false).Pipeline(t.Context(), gitrepo.Request{Repository: dir}); !errors.Is(err, gitrepo.ErrLocal) {
		t.Errorf("a local path: %v, want ErrLocal", err)
	}
}

func TestWhatIsOnThisMachine(t *testing.T) {
	t.Parallel()
	for repository, want := range map[string]bool{
		"https://example.test/r.git": false, "ssh://git@example.test/r": false, "git@example.test:r.git": false,
		"example.test:r.git": false, "git://example.test/r": false,
		"/srv/r.git": true, "../r": true, "r": true, "file:///srv/r.git": true, "FILE:///srv/r.git": true,
		// To git this is a path, whatever is in it.
		"/tmp/a://../../srv/r.git": true, "./a://b": true,
	} {
		if got := gitrepo.Local(repository); got != want {
			t.Errorf("Local(%q) = %t, want %t", repository, got, want)
		}
	}
}
