// Package checkout puts a commit of a git repository into a job's working
// directory.
//
// The directory is kept between jobs. A run leaves it with exactly the files of
// the commit: what earlier jobs left is removed with `git clean -ffxdq`, before
// and after the commit is checked out. The commands and flags are those of
// buildkite-agent v3.138 (internal/job/checkout*.go), with one difference: a
// commit given by its full id that is already present is not fetched again, as
// no answer of the remote could change it.
//
// A clone that turns out to be damaged is removed and cloned again, once; a
// remote that does not answer is asked again, at most [Attempts] times. The
// directory must belong to one job at a time; locks that a killed git left in it
// are removed.
package checkout

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/agent/shell"
)

// Attempts is how often a remote is asked before the checkout fails.
const Attempts = 3

// Config says what to check out and how.
type Config struct {
	Repo         string
	Commit       string // an object id, or "HEAD" for the branch's
	Branch       string
	RefSpec      string // fetched in place of everything else, if not ""
	PullRequest  string // its number, or "false"
	Provider     string // pull requests have refs where this contains "github"
	MergeRef     bool   // build refs/pull/N/merge, not …/head
	Submodules   bool
	AcceptHosts  bool // trust the key of an SSH server seen for the first time
	CloneFlags   string
	FetchFlags   string
	CheckoutFlag string
	CleanFlags   string
	Backoff      time.Duration // before the second attempt; doubles
}

// FromEnv reads the variables of a job, with the agent's defaults.
func FromEnv(env shell.Env) Config {
	flags := func(name, fallback string) string {
		if v, ok := env[name]; ok {
			return v
		}
		return fallback
	}
	return Config{
		Repo:         env["BUILDKITE_REPO"],
		Commit:       env["BUILDKITE_COMMIT"],
		Branch:       env["BUILDKITE_BRANCH"],
		RefSpec:      env["BUILDKITE_REFSPEC"],
		PullRequest:  flags("BUILDKITE_PULL_REQUEST", "false"),
		Provider:     env["BUILDKITE_PIPELINE_PROVIDER"],
		MergeRef:     env.Bool("BUILDKITE_PULL_REQUEST_USING_MERGE_REFSPEC", false),
		Submodules:   env.Bool("BUILDKITE_GIT_SUBMODULES", true),
		AcceptHosts:  env.Bool("BUILDKITE_SSH_KEYSCAN", true),
		CloneFlags:   flags("BUILDKITE_GIT_CLONE_FLAGS", "-v"),
		FetchFlags:   flags("BUILDKITE_GIT_FETCH_FLAGS", "-v --prune"),
		CheckoutFlag: flags("BUILDKITE_GIT_CHECKOUT_FLAGS", "-f"),
		CleanFlags:   flags("BUILDKITE_GIT_CLEAN_FLAGS", "-ffxdq"),
		Backoff:      2 * time.Second,
	}
}

// git is one checkout under way.
type git struct {
	*shell.Shell
	Config
	dir string
	env shell.Env
}

// errDamaged marks failures that a fresh clone may mend.
var errDamaged = errors.New("the checkout may be damaged")

// Run makes dir hold the commit and s start processes there.
func Run(ctx context.Context, s *shell.Shell, dir string, c Config) error {
	if _, err := s.LookPath("git"); err != nil {
		return errors.New("git is not on the job's PATH: install it (Debian: apt-get install git, macOS: xcode-select --install) or set BUILDKITE_SKIP_CHECKOUT=true")
	}
	if err := c.check(); err != nil {
		return err
	}
	g := &git{Shell: s, Config: c, dir: dir}
	if c.AcceptHosts && s.Env["GIT_SSH_COMMAND"] == "" && s.Env["GIT_SSH"] == "" {
		g.env = shell.Env{"GIT_SSH_COMMAND": "ssh -o StrictHostKeyChecking=accept-new -o BatchMode=yes"}
	}
	return g.attempts(ctx)
}

// check refuses values that git would take for options.
func (c Config) check() error {
	for what, value := range map[string]string{
		"commit": c.Commit, "branch": c.Branch, "refspec": c.RefSpec, "pull request": c.PullRequest,
	} {
		if strings.HasPrefix(value, "-") {
			return fmt.Errorf("%s %q: begins with a hyphen", what, value)
		}
	}
	return nil
}

func (g *git) attempts(ctx context.Context) error {
	wait, recloned := g.Backoff, false
	for n := 1; ; n++ {
		err := g.attempt(ctx)
		if err == nil || ctx.Err() != nil || n >= Attempts {
			return err
		}
		g.Log.Warning("Checkout failed: %v (attempt %d of %d)", err, n, Attempts)
		if errors.Is(err, errDamaged) && !recloned {
			recloned = true
			if err := Remove(g.Shell, g.dir); err != nil {
				return err
			}
			continue
		}
		select {
		case <-time.After(wait):
			wait *= 2
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Remove deletes the directory and everything in it, whatever its permissions.
func Remove(s *shell.Shell, dir string) error {
	s.Log.Comment("Removing %s", dir)
	if err := os.RemoveAll(dir); err == nil {
		return nil
	}
	makeWritable := func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return err
	}
	if err := filepath.WalkDir(dir, makeWritable); err != nil {
		return fmt.Errorf("removing %s: %w", dir, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("removing %s: %w", dir, err)
	}
	return nil
}

func (g *git) attempt(ctx context.Context) error {
	if err := Enter(g.Shell, g.dir); err != nil {
		return err
	}
	if err := g.prepare(ctx); err != nil {
		return err
	}
	if err := g.clean(ctx, shell.Exists(filepath.Join(g.dir, ".gitmodules"))); err != nil {
		return err
	}
	reference, err := g.fetch(ctx)
	if err != nil {
		return err
	}
	if err := g.checkout(ctx, reference); err != nil {
		return err
	}
	submodules, err := g.updateSubmodules(ctx)
	if err != nil {
		return err
	}
	g.Log.Comment("Cleaning again to catch any post-checkout changes")
	return g.clean(ctx, submodules)
}

// Enter makes the directory if need be and starts processes there.
func Enter(s *shell.Shell, dir string) error {
	if !shell.Exists(dir) {
		s.Log.Comment("Creating %q", dir)
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return fmt.Errorf("checkout directory: %w", err)
		}
	}
	return s.Chdir(dir)
}

// run runs git with the prompt in the log. A failure is damage unless it is a
// signal's or the context's.
func (g *git) run(ctx context.Context, args ...string) error {
	argv := append([]string{"git"}, args...)
	g.Log.Prompt("%s", shell.Quote(argv))
	err := g.Run(ctx, g.env, argv...)
	if exit, ok := errors.AsType[*shell.ExitError](err); ok && exit.Signal == 0 {
		exit.Name = "git " + args[0]
	}
	return err
}

func damaged(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", err, errDamaged)
}

// prepare clones, or points an existing clone at the repository.
func (g *git) prepare(ctx context.Context) error {
	dot := filepath.Join(g.dir, ".git")
	if !shell.Exists(dot) {
		args := append(append([]string{"clone"}, Split(g.CloneFlags)...), "--", g.Repo, ".")
		return damaged(g.run(ctx, args...))
	}
	for _, lock := range []string{"index.lock", "shallow.lock", "config.lock", "HEAD.lock", "packed-refs.lock"} {
		if err := os.Remove(filepath.Join(dot, lock)); err == nil {
			g.Log.Comment("Removed .git/%s, which an interrupted job left", lock)
		}
	}
	url, err := g.Output(ctx, "git", "config", "--get", "remote.origin.url")
	if err != nil {
		return damaged(err)
	}
	if strings.TrimRight(url, "\n") == g.Repo {
		return nil
	}
	return damaged(g.run(ctx, "remote", "set-url", "origin", g.Repo))
}

func (g *git) clean(ctx context.Context, submodules bool) error {
	if submodules {
		args := append([]string{"submodule", "foreach", "--recursive", "git", "clean"}, Split(g.CleanFlags)...)
		if err := g.run(ctx, args...); err != nil {
			return damaged(err)
		}
	}
	return damaged(g.run(ctx, append([]string{"clean"}, Split(g.CleanFlags)...)...))
}

var objectID = regexp.MustCompile(`^(?:[0-9a-f]{40}|[0-9a-f]{64})$`)

// fetch makes the commit present and returns what to check out.
func (g *git) fetch(ctx context.Context) (string, error) {
	reference := g.Commit
	if reference == "HEAD" || reference == "" {
		reference = "FETCH_HEAD"
	}
	if g.RefSpec == "" && g.present(ctx) {
		g.Log.Comment("Commit %s is already present, skipping fetch", g.Commit)
		return reference, nil
	}
	refs := g.refs()
	err := g.fetchRefs(ctx, refs...)
	if err != nil && reference != "FETCH_HEAD" && g.RefSpec == "" && ctx.Err() == nil {
		// Servers may refuse commits that no ref points at.
		g.Log.Comment("Fetching all branches and tags, as the commit could not be fetched by itself")
		err = g.fetchRefs(ctx, "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
	}
	return reference, err
}

func (g *git) present(ctx context.Context) bool {
	if !objectID.MatchString(g.Commit) {
		return false
	}
	_, err := g.Output(ctx, "git", "cat-file", "-e", g.Commit+"^{commit}")
	return err == nil
}

// refs is what to fetch, by the rules of the agent's internal/job/checkout_fetch.go.
func (g *git) refs() []string {
	known := g.Commit != "HEAD" && g.Commit != ""
	switch {
	case g.RefSpec != "":
		g.Log.Comment("Fetch and checkout custom refspec")
		return Split(g.RefSpec)
	case g.PullRequest != "false" && g.PullRequest != "" && strings.Contains(g.Provider, "github"):
		g.Log.Comment("Fetch and checkout pull request from GitHub")
		ref := "refs/pull/" + g.PullRequest + "/head"
		if g.MergeRef {
			ref = "refs/pull/" + g.PullRequest + "/merge"
		}
		if known {
			return []string{ref, g.Commit}
		}
		return []string{ref}
	case known:
		g.Log.Comment("Fetch and checkout commit")
		return []string{g.Commit}
	}
	g.Log.Comment("Fetch and checkout remote branch HEAD commit")
	return []string{g.Branch}
}

// The words git uses for a repository that a new clone would mend
// (git's fetch-pack.c, object-file.c, packfile.c).
var corruption = regexp.MustCompile(`bad object|corrupt|unable to read|not a git repository|unresolved deltas|object file .* is empty`)

func (g *git) fetchRefs(ctx context.Context, refs ...string) error {
	args := append(append([]string{"fetch"}, Split(g.FetchFlags)...), "--", "origin")
	err := g.run(ctx, append(args, refs...)...)
	if err != nil && corruption.MatchString(g.Tail()) {
		return damaged(err)
	}
	return err
}

func (g *git) checkout(ctx context.Context, reference string) error {
	args := append([]string{"-c", "advice.detachedHead=false", "checkout"}, Split(g.CheckoutFlag)...)
	return damaged(g.run(ctx, append(args, reference)...))
}

func (g *git) updateSubmodules(ctx context.Context) (bool, error) {
	if !shell.Exists(filepath.Join(g.dir, ".gitmodules")) {
		return false, nil
	}
	if !g.Submodules {
		g.Log.Comment("This repository has submodules, but submodules are disabled")
		return false, nil
	}
	g.Log.Comment("Git submodules detected")
	for _, args := range [][]string{
		{"submodule", "sync", "--recursive"},
		{"submodule", "update", "--init", "--recursive", "--force"},
		{"submodule", "foreach", "--recursive", "git reset --hard"},
	} {
		if err := g.run(ctx, args...); err != nil {
			return true, err
		}
	}
	return true, nil
}

// Describe returns the commit checked out in s.Dir in the form that servers
// parse from the meta-data buildkite:git:commit.
func Describe(ctx context.Context, s *shell.Shell, commit string) (string, error) {
	if commit == "" {
		commit = "HEAD"
	}
	text, err := s.Output(ctx, "git", "--no-pager", "log", "-1", commit, "-s", "--no-color",
		"--format=commit %H%nabbrev-commit %h%nAuthor: %an <%ae>%n%n%w(0,4,4)%B", "--")
	if err != nil {
		return "", fmt.Errorf("describing the commit: %w", err)
	}
	return text, nil
}

// Split cuts a string of flags into words. Quotes and backslashes keep spaces,
// as in a shell; nothing is expanded. An open quote extends to the end.
func Split(flags string) []string {
	var words []string
	var word strings.Builder
	var quote rune
	started, escaped := false, false
	for _, c := range flags {
		switch {
		case escaped:
			word.WriteRune(c)
			escaped = false
		case c == '\\' && quote != '\'':
			started, escaped = true, true
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '\'' || c == '"':
			started, quote = true, c
		case c == ' ' || c == '\t' || c == '\n':
			if started {
				words = append(words, word.String())
				word.Reset()
			}
			started = false
		default:
			started = true
			word.WriteRune(c)
		}
	}
	if started {
		words = append(words, word.String())
	}
	return words
}

// Path is where a job's checkout belongs: one directory per agent and pipeline.
func Path(buildPath, agent, organization, pipeline string) string {
	return filepath.Join(buildPath, notAlnum.ReplaceAllString(agent, "-"), organization, pipeline)
}

var notAlnum = regexp.MustCompile(`[[:^alnum:]]`)
