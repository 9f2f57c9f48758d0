package checkout

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/agent/shell"
)

// sh runs a script and returns its output without the last line end.
func sh(t *testing.T, dir, script string) string {
	t.Helper()
	cmd := exec.Command("bash", "-ec", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com",
		"GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return strings.TrimSpace(string(out))
}

// world is a remote repository and the place to check it out.
type world struct {
	repo, dir string
	log       bytes.Buffer
	shell     *shell.Shell
}

func newWorld(t *testing.T) *world {
	t.Helper()
	temp := t.TempDir()
	w := &world{repo: filepath.Join(temp, "repo"), dir: filepath.Join(temp, "builds", "agent", "org", "pipe")}
	sh(t, temp, "git init -q -b main repo && cd repo && echo one > file && git add . && git commit -qm one")
	w.shell = &shell.Shell{
		Env: shell.Env{"PATH": os.Getenv("PATH"), "HOME": temp}, Dir: temp, Log: shell.NewLog(&w.log),
		PTY: true, Signal: syscall.SIGTERM, Grace: time.Second,
	}
	return w
}

func (w *world) head(t *testing.T) string { return sh(t, w.repo, "git rev-parse HEAD") }

func (w *world) run(t *testing.T, env shell.Env) error {
	t.Helper()
	w.log.Reset()
	c := FromEnv(shell.Env{"BUILDKITE_REPO": w.repo, "BUILDKITE_BRANCH": "main", "BUILDKITE_COMMIT": "HEAD"}.With(env))
	c.Backoff = time.Millisecond
	return Run(t.Context(), w.shell, w.dir, c)
}

func (w *world) must(t *testing.T, env shell.Env, want string) {
	t.Helper()
	if err := w.run(t, env); err != nil {
		t.Fatalf("%v\n%s", err, w.log.String())
	}
	got := sh(t, w.dir, `for f in $(ls -A | grep -v '^.git$'); do echo "$f: $(cat "$f" 2>/dev/null)"; done`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s\n%s", diff, w.log.String())
	}
}

func TestWarmCheckoutHoldsExactlyTheCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.head(t)
	w.must(t, nil, "file: one")
	sh(t, w.repo, "echo two > file; echo new > added; git add .; git commit -qm two")
	sh(t, w.dir, "echo junk > untracked; echo changed > file; touch .git/index.lock; mkdir -p deep/.git; echo x > deep/y")
	w.must(t, shell.Env{"BUILDKITE_COMMIT": w.head(t)}, "added: new\nfile: two")
	w.must(t, shell.Env{"BUILDKITE_COMMIT": first}, "file: one")
	if !strings.Contains(w.log.String(), "already present, skipping fetch") || strings.Contains(w.log.String(), "git fetch") {
		t.Errorf("a commit that was there was fetched:\n%s", w.log.String())
	}
}

func TestHeadFollowsTheBranch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(t, nil, "file: one")
	sh(t, w.repo, "git checkout -qb topic; echo topic > file; git commit -qam topic; git checkout -q main; echo two > file; git commit -qam two")
	w.must(t, nil, "file: two")
	w.must(t, shell.Env{"BUILDKITE_BRANCH": "topic"}, "file: topic")
}

func TestPullRequestsAndRefspecs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sh(t, w.repo, `git checkout -q --detach; echo pr > file; git commit -qam pr; git update-ref refs/pull/7/head HEAD
		echo merge > file; git commit -qam merge; git update-ref refs/pull/7/merge HEAD; git checkout -q main`)
	pr := shell.Env{"BUILDKITE_PULL_REQUEST": "7", "BUILDKITE_PIPELINE_PROVIDER": "github"}
	w.must(t, pr, "file: pr")
	w.must(t, pr.With(shell.Env{"BUILDKITE_PULL_REQUEST_USING_MERGE_REFSPEC": "true"}), "file: merge")
	w.must(t, pr.With(shell.Env{"BUILDKITE_PIPELINE_PROVIDER": "git"}), "file: one")
	w.must(t, shell.Env{"BUILDKITE_REFSPEC": "refs/pull/7/merge"}, "file: merge")
}

func TestADamagedCheckoutIsClonedAgain(t *testing.T) {
	t.Parallel()
	for _, damage := range []string{
		"rm .git/HEAD", "echo garbage > .git/HEAD", "find .git/objects -type f | while read f; do rm -f $f; touch $f; done",
		"rm -rf .git/objects", "chmod 500 .; echo bad > .git/config",
	} {
		w := newWorld(t)
		w.must(t, nil, "file: one")
		sh(t, w.dir, damage)
		sh(t, w.repo, "echo two > file; git commit -qam two")
		w.must(t, shell.Env{"BUILDKITE_COMMIT": w.head(t)}, "file: two")
	}
}

func TestARemoteThatIsAwayKeepsTheCheckout(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(t, nil, "file: one")
	if err := os.Rename(w.repo, w.repo+".away"); err != nil {
		t.Fatal(err)
	}
	if err := w.run(t, nil); err == nil || strings.Count(w.log.String(), "-- origin main") != Attempts {
		t.Errorf("ended with %v\n%s", err, w.log.String())
	}
	if !shell.Exists(filepath.Join(w.dir, ".git", "HEAD")) {
		t.Error("the warm checkout was thrown away")
	}
}

func TestSubmodulesAreUpdatedAndCleaned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sh(t, filepath.Dir(w.repo), `git init -q -b main sub && cd sub && echo s > s && git add . && git commit -qm s`)
	sh(t, w.repo, `git -c protocol.file.allow=always submodule --quiet add ../sub mod; git commit -qm mod`)
	w.shell.Env["GIT_CONFIG_COUNT"] = "1"
	w.shell.Env["GIT_CONFIG_KEY_0"] = "protocol.file.allow"
	w.shell.Env["GIT_CONFIG_VALUE_0"] = "always"
	for range 2 {
		if err := w.run(t, nil); err != nil {
			t.Fatalf("%v\n%s", err, w.log.String())
		}
		if got := sh(t, w.dir, "ls mod; cat mod/s; echo junk > mod/junk"); got != "s\ns" {
			t.Errorf("mod holds %q", got)
		}
	}
}

func TestOptionsInPlaceOfRefsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"BUILDKITE_COMMIT", "BUILDKITE_BRANCH", "BUILDKITE_REFSPEC"} {
		if err := w.run(t, shell.Env{name: "--upload-pack=touch x"}); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestAMissingGitSaysWhatToInstall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.shell.Env["PATH"] = t.TempDir()
	if err := w.run(t, nil); err == nil || !strings.Contains(err.Error(), "apt-get install git") {
		t.Errorf("got %v", err)
	}
}

func TestCancelEndsTheAttempts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Run(ctx, w.shell, w.dir, FromEnv(shell.Env{"BUILDKITE_REPO": w.repo})); err == nil {
		t.Error("a canceled checkout succeeded")
	}
}

func TestDescribeIsWhatServersParse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sh(t, w.repo, `echo x >> file; git commit -qam "Subject" -m "Body."`)
	w.must(t, nil, "file: one\nx")
	got, err := Describe(t.Context(), w.shell, "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	id := w.head(t)
	want := "commit " + id + "\nabbrev-commit " + id[:7] + "\nAuthor: Ada <ada@example.com>\n\n    Subject\n    \n    Body.\n"
	if diff := cmp.Diff(want, strings.TrimRight(got, "\n")+"\n"); diff != "" {
		t.Error(diff)
	}
}

func TestSplitKeepsQuotedWords(t *testing.T) {
	t.Parallel()
	got := Split(`-v  --config 'a b'  "c d"e \ f ''`)
	if want := []string{"-v", "--config", "a b", "c de", " f", ""}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func FuzzSplit(f *testing.F) {
	f.Add(`-v 'a b'`)
	f.Fuzz(func(t *testing.T, flags string) {
		words := Split(flags)
		if again := Split(shell.Quote(words)); !slices.Equal(words, again) && !strings.ContainsRune(flags, 0xfffd) {
			t.Errorf("%q, then %q", words, again)
		}
	})
}

func BenchmarkWarmCheckout(b *testing.B) {
	t := &testing.T{}
	temp := b.TempDir()
	if out, err := exec.Command("bash", "-ec", "cd "+temp+" && git init -q -b main repo && cd repo && echo one > file && git add . && git -c user.name=n -c user.email=e commit -qm one").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	id := sh(t, filepath.Join(temp, "repo"), "git rev-parse HEAD")
	s := &shell.Shell{Env: shell.Env{"PATH": os.Getenv("PATH"), "HOME": temp}, Dir: temp, PTY: true, Log: shell.NewLog(&bytes.Buffer{})}
	c := FromEnv(shell.Env{"BUILDKITE_REPO": filepath.Join(temp, "repo"), "BUILDKITE_COMMIT": id})
	for b.Loop() {
		if err := Run(b.Context(), s, filepath.Join(temp, "dir"), c); err != nil {
			b.Fatal(err)
		}
	}
}
