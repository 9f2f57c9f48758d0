// Package fs keeps blobs as files below one directory.
//
// A Put writes a file in the directory .tmp, syncs it, renames it into place and syncs the directories it changed, so a
// blob is there whole or not at all whatever stops the machine. All access goes through an os.Root: no key and no
// symbolic link inside the directory reaches a file outside it. Several processes may share the
// directory: Open removes from .tmp only what nobody wrote to for a day.
//
// A blob's file has the suffix "+", a character that keys cannot contain, so that the keys a and a/b can both exist. Keys
// that differ only in case need a case-sensitive file system.
package fs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"iter"
	"os"
	"path"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/blob"
)

const (
	tempDir  = ".tmp"
	suffix   = "+"
	leftTerm = 24 * time.Hour // without a write, after which a temporary file is nobody's
)

// renames bounds how often Put tries again after a Delete removed the directory it had just made.
const renames = 16

// Store is a blob.Store on a directory. Its methods may be called from several goroutines.
type Store struct{ root *os.Root }

var _ blob.Store = (*Store)(nil)

// Open opens the store in dir, which is created if missing. The caller closes the store.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("blob directory: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("blob directory: %w", err)
	}
	s := &Store{root}
	if err := errors.Join(root.MkdirAll(tempDir, 0o700), s.clear(time.Now().Add(-leftTerm))); err != nil {
		return nil, errors.Join(fmt.Errorf("clearing %s: %w", path.Join(dir, tempDir), err), root.Close())
	}
	return s, nil
}

// clear removes temporary files that nobody wrote to since a time. Younger ones may be those of another process.
func (s *Store) clear(before time.Time) error {
	entries, err := iofs.ReadDir(s.root.FS(), tempDir)
	for _, entry := range entries {
		info, statErr := entry.Info()
		if statErr != nil || info.ModTime().After(before) {
			continue // gone, or in use
		}
		err = errors.Join(err, s.remove(path.Join(tempDir, entry.Name())))
	}
	return err
}

// Close releases the directory. Readers that are open stay usable.
func (s *Store) Close() error { return s.root.Close() }

// Put implements blob.Store.
func (s *Store) Put(ctx context.Context, key string, r io.Reader) (blob.Info, error) {
	if err := blob.CheckKey(key); err != nil {
		return blob.Info{}, err
	}
	temp := path.Join(tempDir, rand.Text())
	if err := s.write(temp, contextReader{ctx, r}); err != nil {
		return blob.Info{}, fmt.Errorf("put blob %s: %w", key, errors.Join(err, s.remove(temp)))
	}
	if err := s.place(temp, file(key)); err != nil {
		return blob.Info{}, fmt.Errorf("put blob %s: %w", key, errors.Join(err, s.remove(temp)))
	}
	return s.Stat(ctx, key)
}

func (s *Store) write(name string, r io.Reader) (err error) {
	f, err := s.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := io.Copy(f, r); err != nil {
		return err
	}
	return f.Sync()
}

func (s *Store) place(temp, name string) error {
	dir := path.Dir(name)
	for try := 1; ; try++ {
		if err := s.root.MkdirAll(dir, 0o700); err != nil && (try == renames || !errors.Is(err, iofs.ErrNotExist)) {
			return err
		}
		err := s.root.Rename(temp, name)
		if err == nil {
			return s.syncUp(dir)
		}
		if try == renames || !errors.Is(err, iofs.ErrNotExist) {
			return err
		}
	}
}

// syncUp makes the entry just renamed durable, and with it the entries of directories that may be new.
func (s *Store) syncUp(dir string) error {
	for {
		if err := s.syncDir(dir); err != nil && !errors.Is(err, iofs.ErrNotExist) {
			return err
		}
		if dir == "." {
			return nil
		}
		dir = path.Dir(dir)
	}
}

func (s *Store) syncDir(dir string) error {
	d, err := s.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Get implements blob.Store.
func (s *Store) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if err := blob.CheckKey(key); err != nil {
		return nil, err
	}
	if offset < 0 {
		return nil, fmt.Errorf("get blob %s: negative offset %d", key, offset)
	}
	f, err := s.root.Open(file(key))
	if err != nil {
		return nil, fmt.Errorf("get blob %s: %w", key, notFound(err))
	}
	if length < 0 {
		length = 1<<63 - 1 - offset
	}
	section := io.NewSectionReader(f, offset, length)
	return &reader{contextReader{ctx, section}, f}, nil
}

// Stat implements blob.Store.
func (s *Store) Stat(_ context.Context, key string) (blob.Info, error) {
	if err := blob.CheckKey(key); err != nil {
		return blob.Info{}, err
	}
	info, err := s.root.Stat(file(key))
	if err != nil {
		return blob.Info{}, fmt.Errorf("stat blob %s: %w", key, notFound(err))
	}
	return blob.Info{Key: key, Size: info.Size(), Modified: info.ModTime()}, nil
}

// List implements blob.Store.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		l := lister{ctx, s.root, prefix, yield}
		l.walk(".")
	}
}

// Delete implements blob.Store. Directories that became empty are removed.
func (s *Store) Delete(_ context.Context, key string) error {
	if err := blob.CheckKey(key); err != nil {
		return err
	}
	name := file(key)
	if err := s.remove(name); err != nil {
		return fmt.Errorf("delete blob %s: %w", key, err)
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if err := s.root.Remove(dir); err != nil {
			break // not empty, or refilled by a Put: both are as they should be
		}
	}
	return nil
}

func (s *Store) remove(name string) error {
	if err := s.root.Remove(name); err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	return nil
}

func file(key string) string { return key + suffix }

func notFound(err error) error {
	if errors.Is(err, iofs.ErrNotExist) {
		return blob.ErrNotFound
	}
	return err
}

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

type reader struct {
	contextReader
	io.Closer
}

// keyOf returns the key of a directory entry, with a final slash for a directory.
func keyOf(dir string, entry iofs.DirEntry) string {
	key := path.Join(dir, entry.Name())
	if entry.IsDir() {
		return key + "/"
	}
	return strings.TrimSuffix(key, suffix)
}
