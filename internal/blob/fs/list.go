package fs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/internal/blob"
)

type lister struct {
	ctx    context.Context
	root   *os.Root
	prefix string
	yield  func(blob.Info, error) bool
}

// walk yields what is below dir and reports whether the caller wants more.
func (l lister) walk(dir string) bool {
	entries, err := l.entries(dir)
	if err != nil {
		l.yield(blob.Info{}, err)
		return false
	}
	for _, entry := range entries {
		if !l.visit(dir, entry) {
			return false
		}
	}
	return true
}

// entries sorts by key, where the file names' order would put a/b before a-b.
func (l lister) entries(dir string) ([]iofs.DirEntry, error) {
	d, err := l.root.Open(dir)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list blobs: %w", err)
	}
	entries, err := d.ReadDir(-1)
	if err := errors.Join(err, d.Close()); err != nil {
		return nil, fmt.Errorf("list blobs: %w", err)
	}
	slices.SortFunc(entries, func(a, b iofs.DirEntry) int { return cmp.Compare(keyOf(dir, a), keyOf(dir, b)) })
	return entries, nil
}

func (l lister) visit(dir string, entry iofs.DirEntry) bool {
	if err := l.ctx.Err(); err != nil {
		l.yield(blob.Info{}, err)
		return false
	}
	key := keyOf(dir, entry)
	switch {
	case entry.Name() == tempDir:
		return true
	case entry.IsDir():
		if !strings.HasPrefix(key, l.prefix) && !strings.HasPrefix(l.prefix, key) {
			return true
		}
		return l.walk(strings.TrimSuffix(key, "/"))
	case !strings.HasPrefix(key, l.prefix) || !strings.HasSuffix(entry.Name(), suffix):
		return true
	}
	info, err := entry.Info()
	if errors.Is(err, iofs.ErrNotExist) {
		return true
	}
	if err != nil {
		l.yield(blob.Info{}, fmt.Errorf("list blobs: %w", err))
		return false
	}
	return l.yield(blob.Info{Key: key, Size: info.Size(), Modified: info.ModTime()}, nil)
}
