package gitrepo_test

import (
	"testing"

	"github.com/slipway-ci/slipway/internal/gitrepo"
)

func TestACommitIsOfTheRepositoryOnlyIfABranchHasIt(t *testing.T) {
	t.Parallel()
	dir, first := repository(t, map[string]string{"a": "1"})
	commit := func(message string) string {
		run(t, dir, "-c", "user.name=Ana", "-c", "user.email=ana@example.test", "commit", "--quiet", "--allow-empty", "-m", message)
		return run(t, dir, "rev-parse", "HEAD")
	}
	second := commit("Second")
	run(t, dir, "switch", "--quiet", "--detach")
	stranger := commit("Evil")
	run(t, dir, "update-ref", "refs/pull/7/head", stranger)
	run(t, dir, "update-ref", "refs/pull/8/head", first)
	run(t, dir, "switch", "--quiet", "main")
	run(t, dir, "-c", "user.name=Ana", "-c", "user.email=ana@example.test", "tag", "-a", "-m", "v1", "v1")
	m := gitrepo.New(t.TempDir(), true)
	for _, c := range []struct {
		name string
		ask  gitrepo.WhenceRequest
		want gitrepo.Whence
	}{
		{"the newest of a branch", gitrepo.WhenceRequest{Commit: second}, gitrepo.Whence{Commit: second, Branch: "main"}},
		{"an older one", gitrepo.WhenceRequest{Commit: first}, gitrepo.Whence{Commit: first, Branch: "main"}},
		{"of a pull request alone", gitrepo.WhenceRequest{Commit: stranger}, gitrepo.Whence{Commit: stranger}},
		{"that nobody has", gitrepo.WhenceRequest{Commit: "1111111111111111111111111111111111111111"}, gitrepo.Whence{Commit: "1111111111111111111111111111111111111111"}},
		{"a pull request's ref", gitrepo.WhenceRequest{Commit: "refs/pull/7/head"}, gitrepo.Whence{Commit: stranger}},
		{"without refs/", gitrepo.WhenceRequest{Commit: "pull/7/head"}, gitrepo.Whence{Commit: stranger}},
		{"a pull request's number", gitrepo.WhenceRequest{Commit: "HEAD", Pull: "7", Branch: "main"}, gitrepo.Whence{Commit: stranger}},
		{"a pull request of what is merged", gitrepo.WhenceRequest{Commit: "HEAD", Pull: "8"}, gitrepo.Whence{Commit: first, Branch: "main"}},
		{"a tag", gitrepo.WhenceRequest{Commit: "v1"}, gitrepo.Whence{Commit: second, Branch: "main"}},
		{"a branch", gitrepo.WhenceRequest{Commit: "HEAD", Branch: "main"}, gitrepo.Whence{Commit: second, Branch: "main"}},
		{"no such name", gitrepo.WhenceRequest{Commit: "nothing"}, gitrepo.Whence{}},
	} {
		c.ask.Repository = dir
		if got, err := m.Whence(t.Context(), c.ask); err != nil || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", c.name, got, err, c.want)
		}
	}
	if _, err := gitrepo.New(t.TempDir(), false).Whence(t.Context(), gitrepo.WhenceRequest{Repository: dir, Commit: first}); err == nil {
		t.Error("a repository on the server's disk was read where that is not allowed")
	}
}
