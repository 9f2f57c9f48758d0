package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/internal/gitrepo"
)

// checkout is the git repository around the working directory.
type checkout struct {
	root    string
	name    string
	commit  string
	branch  string // "" while no branch is checked out
	subject string
	changes []string // paths that differ from the commit
}

// document is a pipeline of a checkout.
type document struct {
	slug string
	path string // in the repository
}

// findCheckout looks at the repository around dir.
func findCheckout(ctx context.Context, dir string) (checkout, error) {
	if _, err := exec.LookPath("git"); err != nil {
		return checkout{}, usage{gitrepo.ErrNoGit}
	}
	root, err := git(ctx, dir, "rev-parse", "--show-toplevel")
	if err != nil {
		return checkout{}, usagef("%s is not inside a git repository; go into one that has a pipeline file, or make one with `git init` and a commit", dir)
	}
	r := checkout{root: root, name: repositoryName(ctx, root)}
	if r.commit, err = git(ctx, root, "rev-parse", "--verify", "--quiet", "HEAD^{commit}"); err != nil {
		return r, usagef("%s has no commit yet; Slipway builds commits, so make one first", root)
	}
	if r.subject, err = git(ctx, root, "log", "-1", "--format=%s"); err != nil {
		return r, err
	}
	branch, err := git(ctx, root, "symbolic-ref", "--quiet", "--short", "HEAD")
	if err == nil {
		r.branch = branch
	}
	status, err := git(ctx, root, "status", "--porcelain", "--untracked-files=all", "-z")
	for _, entry := range strings.Split(status, "\x00") {
		if len(entry) > 3 {
			r.changes = append(r.changes, entry[3:])
		}
	}
	return r, err
}

// repositoryName is what people call a repository: by its remote, or by its folder.
func repositoryName(ctx context.Context, root string) string {
	if url, err := git(ctx, root, "config", "--get", "remote.origin.url"); err == nil {
		if name := strings.TrimSuffix(path.Base(strings.TrimRight(url, "/")), ".git"); name != "" && name != "." {
			return name
		}
	}
	return filepath.Base(root)
}

func git(ctx context.Context, dir string, args ...string) (string, error) {
	return gitEnv(ctx, dir, nil, args...)
}

func gitEnv(ctx context.Context, dir string, env []string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimRight(out.String(), "\n"), nil
}

// documents lists the checkout's pipelines: a folder each under ci, or else the agent's default
// file.
func (r checkout) documents() ([]document, error) {
	found, err := fs.Glob(os.DirFS(r.root), "ci/*/pipeline.yml")
	if err != nil {
		return nil, err
	}
	var docs []document
	for _, p := range found {
		docs = append(docs, document{slug: filepath.Base(filepath.Dir(p)), path: p})
	}
	if len(docs) > 0 {
		return docs, nil
	}
	for _, p := range gitrepo.DefaultPaths {
		if _, err := os.Stat(filepath.Join(r.root, p)); err == nil {
			docs = append(docs, document{slug: r.name, path: p})
		}
	}
	if len(docs) > 1 {
		return nil, usagef("there are several pipeline files, %s; keep one of them", paths(docs))
	}
	return docs, nil
}

func paths(docs []document) string {
	var out []string
	for _, d := range docs {
		out = append(out, d.path)
	}
	return strings.Join(out, ", ")
}

// choose finds the one pipeline that was asked for by name or file; "" is the only one there is.
func (r checkout) choose(asked string) (document, error) {
	docs, err := r.documents()
	if err != nil {
		return document{}, err
	}
	if asked != "" {
		return r.named(asked, docs)
	}
	switch len(docs) {
	case 0:
		return document{}, usagef("%s has no pipeline file; make ci/<name>/pipeline.yml or .buildkite/pipeline.yml, for example:\n\n  steps:\n    - command: make test\n", r.root)
	case 1:
		return docs[0], nil
	}
	var names []string
	for _, d := range docs {
		names = append(names, "  slipway run "+d.slug)
	}
	return document{}, usagef("there are several pipelines; choose one:\n%s", strings.Join(names, "\n"))
}

func (r checkout) named(asked string, docs []document) (document, error) {
	i := slices.IndexFunc(docs, func(d document) bool { return d.slug == asked || d.path == filepath.ToSlash(asked) })
	if i >= 0 {
		return docs[i], nil
	}
	abs, err := filepath.Abs(asked)
	if err != nil {
		return document{}, err
	}
	if _, err := os.Stat(abs); errors.Is(err, fs.ErrNotExist) {
		known := "none"
		if len(docs) > 0 {
			known = paths(docs)
		}
		return document{}, usagef("there is no pipeline or file %q; the pipelines here are: %s", asked, known)
	}
	real, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return document{}, err
	}
	rel, err := filepath.Rel(r.root, real)
	if err != nil || strings.HasPrefix(rel, "..") {
		return document{}, usagef("%s is outside the repository %s", asked, r.root)
	}
	return document{slug: strings.TrimSuffix(filepath.Base(rel), filepath.Ext(rel)), path: filepath.ToSlash(rel)}, nil
}

// source is a document at the checkout's commit.
func (r checkout) source(ctx context.Context, path string) ([]byte, error) {
	out, err := git(ctx, r.root, "cat-file", "blob", r.commit+":"+path)
	if err != nil {
		return nil, usagef("%s is not in the commit %.8s; commit it, or use --dirty to build what is in the working directory", path, r.commit)
	}
	return []byte(out + "\n"), nil
}

// snapshot makes a repository in dir that holds the checkout's commit with its uncommitted changes
// on top, and returns the checkout of that. The user's own repository is not touched.
func (r checkout) snapshot(ctx context.Context, dir string) (checkout, error) {
	bare := filepath.Join(dir, r.name+".git")
	if _, err := git(ctx, dir, "clone", "--quiet", "--bare", "--shared", r.root, bare); err != nil {
		return r, err
	}
	env := []string{
		"GIT_DIR=" + bare, "GIT_WORK_TREE=" + r.root, "GIT_INDEX_FILE=" + filepath.Join(dir, "index"),
		"GIT_AUTHOR_NAME=slipway", "GIT_AUTHOR_EMAIL=slipway@localhost",
		"GIT_COMMITTER_NAME=slipway", "GIT_COMMITTER_EMAIL=slipway@localhost",
	}
	if _, err := gitEnv(ctx, r.root, env, "add", "--all", "."); err != nil {
		return r, err
	}
	tree, err := gitEnv(ctx, r.root, env, "write-tree")
	if err != nil {
		return r, err
	}
	out := r
	out.commit, err = gitEnv(ctx, r.root, env, "commit-tree", "-p", r.commit, "-m", r.subject+" (with uncommitted changes)", tree)
	if err != nil {
		return r, err
	}
	out.root, out.changes, out.branch = bare, nil, firstOf(r.branch, "main")
	_, err = gitEnv(ctx, r.root, env, "update-ref", "refs/heads/"+out.branch, out.commit)
	return out, err
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
