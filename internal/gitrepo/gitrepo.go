// Package gitrepo reads pipeline documents from repositories.
//
// A mirror is a bare clone that holds what was asked for and no more: one commit deep, without
// blobs but those that were read. It is a cache: a broken one is made anew. Repositories and refs
// come from people and are never taken for options; git runs without prompts, hooks or the user's
// configuration, may use no protocol but those allowed, and is killed with its context.
package gitrepo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// DefaultPaths are where a pipeline's document is looked for when none is named; exactly one may
// exist (buildkite-agent v3.138.1, clicommand/pipeline_upload.go).
var DefaultPaths = []string{
	"buildkite.yml", "buildkite.yaml", "buildkite.json",
	".buildkite/pipeline.yml", ".buildkite/pipeline.yaml", ".buildkite/pipeline.json",
	"buildkite/pipeline.yml", "buildkite/pipeline.yaml", "buildkite/pipeline.json",
}

// FetchLimit bounds one reading of a repository.
const FetchLimit = 10 * time.Second

// maxDocument is the largest document that is read, in bytes.
const maxDocument = 4 << 20

// NoPipelineError says that a repository was read and holds no document that can be used.
type NoPipelineError struct{ Reason string }

func (e *NoPipelineError) Error() string { return e.Reason }

// ErrLocal says that a path on this machine was named where that is not allowed.
var ErrLocal = errors.New("the server reads repositories on its own disk only under `slipway up` and `slipway run`")

// ErrNoGit says that git is not installed.
var ErrNoGit = errors.New("git is not installed (on Debian: apt-get install git)")

// Mirrors keeps mirrors in a directory. It is safe for concurrent use.
type Mirrors struct {
	dir   string
	local bool

	mu    sync.Mutex
	locks map[string]*sync.Mutex
}

// New returns mirrors kept in dir. local allows repositories that are paths on this machine.
func New(dir string, local bool) *Mirrors {
	return &Mirrors{dir: dir, local: local, locks: map[string]*sync.Mutex{}}
}

// Request names a document.
type Request struct {
	Repository string // any URL that git can fetch, or a path
	Commit     string // full hash, or a name
	Branch     string // tried where Commit is HEAD
	Path       string // "": DefaultPaths
}

// Found is a document and the commit that it was read at.
type Found struct {
	Source  []byte
	Path    string
	Commit  string // full hash
	Message string
	Author  Person
}

// Person is a commit's author.
type Person struct{ Name, Email string }

// Pipeline reads a pipeline's document. What was learned of the commit is returned with an error
// too. It takes FetchLimit at most.
func (m *Mirrors) Pipeline(ctx context.Context, r Request) (Found, error) {
	ctx, cancel := context.WithTimeout(ctx, FetchLimit)
	defer cancel()
	if err := m.check(r); err != nil {
		return Found{}, err
	}
	dir := filepath.Join(m.dir, name(r.Repository))
	unlock := m.lock(dir)
	defer unlock()
	commit, err := m.fetch(ctx, dir, r)
	if err != nil {
		return Found{}, err
	}
	f := Found{Commit: commit}
	if err := f.describe(ctx, dir); err != nil {
		return f, err
	}
	return f, f.read(ctx, dir, r.Path)
}

func (m *Mirrors) check(r Request) error {
	if _, err := exec.LookPath("git"); err != nil {
		return ErrNoGit
	}
	if Local(r.Repository) && !m.local {
		return ErrLocal
	}
	if strings.HasPrefix(r.Repository, "-") || strings.HasPrefix(r.Commit, "-") || strings.HasPrefix(r.Branch, "-") {
		return fmt.Errorf("%q, %q, %q: a name may not begin with a dash", r.Repository, r.Commit, r.Branch)
	}
	return nil
}

var (
	scheme  = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*)://`)
	scpLike = regexp.MustCompile(`^([A-Za-z0-9_.-]+@)?[A-Za-z0-9.-]+:`)
)

// Local says whether a repository is a path on this machine. It reads URLs as git does: what follows
// no scheme is a path, also where it has "://" in it (git-fetch(1), "GIT URLS").
func Local(repository string) bool {
	if m := scheme.FindStringSubmatch(repository); m != nil {
		return strings.EqualFold(m[1], "file")
	}
	return strings.HasPrefix(strings.ToLower(repository), "file:") || !scpLike.MatchString(repository)
}

// name is a mirror's directory: readable, and different for different repositories.
func name(repository string) string {
	sum := sha256.Sum256([]byte(repository))
	base := strings.TrimSuffix(path.Base(strings.TrimRight(repository, "/")), ".git")
	return regexp.MustCompile(`[^A-Za-z0-9_-]+`).ReplaceAllString(base, "-") + "-" + hex.EncodeToString(sum[:8]) + ".git"
}

func (m *Mirrors) lock(dir string) (unlock func()) {
	m.mu.Lock()
	l := m.locks[dir]
	if l == nil {
		l = &sync.Mutex{}
		m.locks[dir] = l
	}
	m.mu.Unlock()
	l.Lock()
	return l.Unlock
}

var fullHash = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// fetch makes sure that the mirror has the commit, and returns its hash.
func (m *Mirrors) fetch(ctx context.Context, dir string, r Request) (string, error) {
	if err := m.init(ctx, dir, r.Repository); err != nil {
		return "", err
	}
	if fullHash.MatchString(r.Commit) {
		if _, err := git(ctx, dir, "cat-file", "-e", r.Commit+"^{commit}"); err == nil {
			return r.Commit, nil
		}
	}
	ref := r.Commit
	if ref == "" || ref == "HEAD" {
		ref = r.Branch
	}
	if ref == "" {
		ref = "HEAD"
	}
	args := []string{"fetch", "--quiet", "--no-tags", "--depth=1", "--filter=blob:none", "origin", ref}
	if _, err := git(ctx, dir, args...); err != nil {
		return "", fmt.Errorf("fetching %s: %w", ref, err)
	}
	out, err := git(ctx, dir, "rev-parse", "--verify", "--quiet", "FETCH_HEAD^{commit}")
	return strings.TrimSpace(string(out)), err
}

// init makes an empty mirror. Its last step makes it usable, so one that was cut short is redone.
func (m *Mirrors) init(ctx context.Context, dir, repository string) error {
	if out, err := git(ctx, dir, "config", "--get", "remote.origin.url"); err == nil && strings.TrimSpace(string(out)) == repository {
		return nil
	}
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return err
	}
	if _, err := git(ctx, dir, "init", "--quiet", "--bare", "."); err != nil {
		return err
	}
	_, err := git(ctx, dir, "config", "remote.origin.url", repository)
	return err
}

func (f *Found) describe(ctx context.Context, dir string) error {
	out, err := git(ctx, dir, "log", "-1", "--format=%an%x00%ae%x00%B", f.Commit)
	if err != nil {
		return err
	}
	parts := strings.SplitN(string(out), "\x00", 3)
	if len(parts) == 3 {
		f.Author = Person{Name: parts[0], Email: parts[1]}
		f.Message = strings.TrimSpace(parts[2])
	}
	return nil
}

// read finds the document among the commit's files.
func (f *Found) read(ctx context.Context, dir, wanted string) error {
	paths := DefaultPaths
	if wanted != "" {
		paths = []string{wanted}
	}
	out, err := git(ctx, dir, append([]string{"ls-tree", "-z", "--name-only", "--full-tree", f.Commit, "--"}, paths...)...)
	if err != nil {
		return err
	}
	files := slices.DeleteFunc(strings.Split(string(out), "\x00"), func(s string) bool { return s == "" })
	switch {
	case len(files) == 0 && wanted != "":
		return &NoPipelineError{fmt.Sprintf("%s does not exist at commit %.8s.", wanted, f.Commit)}
	case len(files) == 0:
		return &NoPipelineError{fmt.Sprintf("Commit %.8s has no pipeline file; add .buildkite/pipeline.yml, or give the pipeline a path or a configuration.", f.Commit)}
	case len(files) > 1:
		return &NoPipelineError{fmt.Sprintf("Commit %.8s has several pipeline files, %s; keep one, or give the pipeline a path.", f.Commit, strings.Join(files, ", "))}
	}
	f.Path = files[0]
	f.Source, err = git(ctx, dir, "cat-file", "blob", f.Commit+":"+f.Path)
	if len(f.Source) > maxDocument {
		return &NoPipelineError{fmt.Sprintf("%s is larger than %d MiB.", f.Path, maxDocument>>20)}
	}
	return err
}

// git runs a command in a mirror and returns what it printed.
func git(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{
		"-c", "core.hooksPath=/dev/null", "-c", "protocol.allow=never", "-c", "protocol.https.allow=always",
		"-c", "protocol.http.allow=always", "-c", "protocol.ssh.allow=always", "-c", "protocol.git.allow=always",
		"-c", "protocol.file.allow=always", "-c", "safe.directory=*", "-c", "gc.auto=0", "-c", "credential.interactive=false",
	}, args...)...)
	cmd.Dir = dir
	cmd.Env = environment()
	// git starts helpers; all of them end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("git %s took longer than %s: %w", args[0], FetchLimit, ctx.Err())
		}
		return nil, fmt.Errorf("git %s: %w: %s", args[0], err, lastLine(stderr.String()))
	}
	return stdout.Bytes(), nil
}

// environment is what git sees: how to reach hosts, and nothing that would change what it does.
func environment() []string {
	env := []string{"GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=true", "GIT_SSH_COMMAND=ssh -o BatchMode=yes", "LC_ALL=C"}
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, "GIT_") && !strings.HasPrefix(name, "BUILDKITE_") && name != "LC_ALL" {
			env = append(env, kv)
		}
	}
	return env
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
