package jobcli

import (
	"context"
	"crypto/sha1" //nolint:gosec // the protocol's identity of a file, not a protection
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/slipway-ci/slipway/internal/agent/wire"
)

// collector finds the files that patterns mean. It holds the rules of
// internal/artifact/uploader.go of buildkite-agent v3.138.1: directories are
// left out; links to directories are not entered while matching, unless follow
// is set; a file is taken once, however many patterns match it.
type collector struct {
	p           *program
	literal     bool
	follow      bool
	skipLinks   bool
	contentType string
	seen        map[string]bool
	files       []string // as the patterns yield them, relative to the working directory or absolute
}

// collect returns the files in the order in which the patterns yield them.
func (c *collector) collect(patterns []string) error {
	c.seen = map[string]bool{}
	for _, pattern := range patterns {
		pattern = strings.TrimSpace(pattern)
		if pattern == "" {
			continue
		}
		if err := c.match(pattern); err != nil {
			return err
		}
	}
	return nil
}

func (c *collector) match(pattern string) error {
	if c.literal {
		if _, err := os.Stat(c.absolute(pattern)); err != nil {
			return fmt.Errorf("artifact: %w", err)
		}
		c.add(pattern)
		return nil
	}
	if !doublestar.ValidatePattern(filepath.ToSlash(pattern)) {
		return fmt.Errorf("artifact pattern %q is malformed", pattern)
	}
	base, rest := doublestar.SplitPattern(filepath.ToSlash(pattern))
	var options []doublestar.GlobOption
	if !c.follow {
		options = append(options, doublestar.WithNoFollow())
	}
	return doublestar.GlobWalk(os.DirFS(c.absolute(base)), rest, func(name string, _ fs.DirEntry) error {
		c.add(path.Join(base, name))
		return nil
	}, options...)
}

func (c *collector) absolute(name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(c.p.dir, name)
}

func (c *collector) add(name string) {
	full := c.absolute(name)
	if c.seen[full] {
		return
	}
	c.seen[full] = true
	info, err := os.Stat(full)
	if err != nil {
		c.p.warn("%s is left out: %v", name, err)
		return
	}
	if info.IsDir() {
		c.p.note("%s is left out because it is a directory", name)
		return
	}
	link, err := os.Lstat(full)
	if err == nil && link.Mode()&fs.ModeSymlink != 0 && c.skipLinks {
		return
	}
	c.files = append(c.files, name)
}

// describe hashes the files, several at once, and returns what to tell the
// server of them. The order of the files is kept.
func (c *collector) describe(ctx context.Context, workers int) ([]wire.Artifact, error) {
	artifacts := make([]wire.Artifact, len(c.files))
	err := parallel(ctx, workers, len(c.files), func(i int) (err error) {
		artifacts[i], err = c.artifact(c.files[i])
		return err
	})
	return artifacts, err
}

func (c *collector) artifact(name string) (wire.Artifact, error) {
	full := c.absolute(name)
	f, err := os.Open(full)
	if err != nil {
		return wire.Artifact{}, fmt.Errorf("artifact: %w", err)
	}
	defer f.Close() //nolint:errcheck // read side
	short, long := sha1.New(), sha256.New()
	size, err := io.Copy(io.MultiWriter(short, long), f)
	if err != nil {
		return wire.Artifact{}, fmt.Errorf("hashing artifact: %w", err)
	}
	shown, err := c.shownPath(name, full)
	if err != nil {
		return wire.Artifact{}, fmt.Errorf("path of artifact %s: %w", name, err)
	}
	return wire.Artifact{
		Path: shown, AbsolutePath: full, FileSize: size,
		SHA1: fmt.Sprintf("%x", short.Sum(nil)), SHA256: fmt.Sprintf("%x", long.Sum(nil)),
		ContentType: contentType(c.contentType, name),
	}, nil
}

// shownPath is relative to the working directory or, where the pattern was
// absolute, to the root.
func (c *collector) shownPath(name, full string) (string, error) {
	base := c.p.dir
	if filepath.IsAbs(name) {
		base = filepath.VolumeName(full) + string(filepath.Separator)
	}
	shown, err := filepath.Rel(base, full)
	return filepath.ToSlash(shown), err
}

// parallel calls do for 0 to n-1 with at most workers at once. The first error
// keeps further calls from starting and is returned after the running ones end.
func parallel(ctx context.Context, workers, n int, do func(i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slots := make(chan struct{}, max(1, workers))
	var running sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		running.Go(func() {
			defer func() { <-slots }()
			if err := do(i); err != nil {
				cancel(err)
			}
		})
	}
	running.Wait()
	return context.Cause(ctx)
}
