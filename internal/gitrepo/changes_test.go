package gitrepo_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/gitrepo"
)

// grow commits a change of one file and returns the commit.
func grow(t *testing.T, dir, file, text string) string {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "add", ".")
	run(t, dir, "-c", "user.name=Ana", "-c", "user.email=ana@example.test", "commit", "--quiet", "-m", text)
	return run(t, dir, "rev-parse", "HEAD")
}

func TestChangesAreThoseSinceTheBranchLeftItsBase(t *testing.T) {
	t.Parallel()
	dir, root := repository(t, map[string]string{"a.txt": "a"})
	grow(t, dir, "b.txt", "b")
	fork := run(t, dir, "rev-parse", "HEAD")
	run(t, dir, "checkout", "--quiet", "-b", "topic")
	grow(t, dir, "c ä.txt", "c")
	run(t, dir, "mv", "a.txt", "moved.txt")
	topic := grow(t, dir, "d.txt", "d")
	run(t, dir, "checkout", "--quiet", "main")
	tip := grow(t, dir, "e.txt", "e")
	m := gitrepo.New(t.TempDir(), true)
	for _, c := range []struct{ commit, base, since, files string }{
		{topic, "main", fork, "a.txt,c ä.txt,d.txt,moved.txt"},
		{topic, "origin/main", fork, "a.txt,c ä.txt,d.txt,moved.txt"},
		{topic, root, root, "a.txt,b.txt,c ä.txt,d.txt,moved.txt"},
		{tip, "main", fork, "e.txt"},
		{tip, fork, fork, "e.txt"},
	} {
		got, err := m.Changes(t.Context(), gitrepo.ChangesRequest{Repository: dir, Commit: c.commit, Base: c.base})
		slices.Sort(got.Files)
		if err != nil || got.Since != c.since || strings.Join(got.Files, ",") != c.files {
			t.Errorf("since %s: %v %v, want %s since %s", c.base, got, err, c.files, c.since)
		}
	}
}

// What cannot be known is an error, and never an empty list, which would skip steps.
func TestChangesThatCannotBeKnownAreAnError(t *testing.T) {
	t.Parallel()
	dir, root := repository(t, map[string]string{"a.txt": "a"})
	m := gitrepo.New(t.TempDir(), true)
	for _, r := range []gitrepo.ChangesRequest{
		{Repository: dir, Commit: root, Base: "main"}, // the first commit of all has no parent
		{Repository: dir, Commit: root, Base: "none"},
		{Repository: dir, Commit: root, Base: "--upload-pack=x"},
		{Repository: dir, Commit: "HEAD", Base: "main"},
		{Repository: dir, Commit: root},
		{Repository: dir, Commit: strings.Repeat("1", 40), Base: "main"},
	} {
		if got, err := m.Changes(t.Context(), r); err == nil {
			t.Errorf("%+v: %+v", r, got)
		}
	}
}
