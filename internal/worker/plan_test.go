package worker_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/gitrepo"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
	"github.com/slipway-ci/slipway/internal/worker"
)

// repo is a git repository that grows.
type repo struct {
	w   *world
	dir string
}

func (r repo) git(args ...string) string {
	r.w.t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=Ana", "-c", "user.email=ana@example.test"}, args...)...)
	cmd.Dir = r.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.w.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (r repo) commit(file, text string) {
	r.w.t.Helper()
	r.w.must(os.MkdirAll(filepath.Join(r.dir, filepath.Dir(file)), 0o755))
	r.w.must(os.WriteFile(filepath.Join(r.dir, file), []byte(text), 0o644))
	r.git("add", ".")
	r.git("commit", "--quiet", "-m", file)
}

const conditional = `steps:
- {key: docs, command: a, if_changed: "docs/**"}
- {key: code, command: b, if_changed: {include: "**", exclude: ["docs/**", "*.md"]}}
- {key: always, command: c}
- group: g
  if_changed: [web/**]
  steps: [{key: inner, command: d}]
`

// planned builds a branch of the repository and returns the build and, by key, the reason for which
// a step is skipped.
func (r repo) planned(branch string, repos *gitrepo.Mirrors) (store.Build, map[string]string) {
	w := r.w
	w.t.Helper()
	pl, err := w.CreatePipeline(w.ctx(), engine.CreatePipeline{OrganizationID: w.org.ID, Name: "p " + branch, Repository: r.dir})
	w.must(err)
	b, err := w.CreateBuild(w.ctx(), engine.CreateBuild{PipelineID: pl.ID, Source: trust.SourceAPI, Branch: branch, Commit: "HEAD"})
	w.must(err)
	_, err = (&worker.Plan{Engine: w.Engine, Repos: repos}).Pass(w.ctx())
	w.must(err)
	b, err = w.Store.Build(w.ctx(), b.ID)
	w.must(err)
	steps, err := w.Store.Steps(w.ctx(), b.ID)
	w.must(err)
	skips := map[string]string{}
	for _, s := range steps {
		jobs, err := w.Store.JobsOfStep(w.ctx(), s.ID)
		w.must(err)
		for _, j := range jobs {
			skips[s.Key] = j.Reason
		}
		if strings.Contains(string(s.Definition), "if_changed:") {
			w.t.Errorf("the step %s still has the attribute: %s", s.Key, s.Definition)
		}
	}
	return b, skips
}

// The server decides if_changed of a document that it reads itself, and says by what.
func TestIfChangedIsDecidedFromTheMirror(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := repo{w, t.TempDir()}
	r.git("init", "--quiet", "--initial-branch=main")
	r.commit("README.md", "x")
	r.commit(".buildkite/pipeline.yml", conditional)
	r.git("checkout", "--quiet", "-b", "topic")
	r.commit("docs/a.txt", "x")
	repos := gitrepo.New(t.TempDir(), true)

	b, skips := r.planned("topic", repos)
	if skips["docs"] != "" || skips["always"] != "" || skips["code"] != pipeline.UnchangedReason || skips["inner"] != pipeline.UnchangedReason {
		t.Errorf("on the branch %v", skips)
	}
	if c := b.Detail.Changes; c == nil || c.Base != "origin/main" || c.Count != 1 || c.Files[0] != "docs/a.txt" {
		t.Errorf("the build keeps %+v", b.Detail.Changes)
	}
	// On the base itself the last commit counts.
	if _, skips := r.planned("main", repos); skips["docs"] == "" || skips["code"] != "" {
		t.Errorf("on main %v", skips)
	}
	// Where the changes cannot be known, an agent decides.
	r.git("checkout", "--quiet", "--orphan", "other")
	r.git("commit", "--quiet", "-m", "alone")
	b, skips = r.planned("other", repos)
	if len(skips) != 1 || b.Detail.PlannedBy != "upload" || !strings.Contains(b.Detail.PlannedFrom, "changed files") {
		t.Errorf("without a common commit: %v, planned by %s from %q", skips, b.Detail.PlannedBy, b.Detail.PlannedFrom)
	}
}
