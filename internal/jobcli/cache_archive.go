package jobcli

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

// An archive of caches is a tar of zstd. The entries of the first target are "0" or below "0/", and so on. Modes and times
// are kept, to the nanosecond: compilers judge by them what they must make anew. Owners, devices and sockets are not.

// packTargets writes an archive of files and directories.
func packTargets(ctx context.Context, w io.Writer, targets []string) error {
	z, err := zstd.NewWriter(w)
	if err != nil {
		return err
	}
	out := tar.NewWriter(z)
	for i, target := range targets {
		err := filepath.WalkDir(target, func(file string, d fs.DirEntry, err error) error {
			if err := errors.Join(err, ctx.Err()); err != nil {
				return err
			}
			rel, err := filepath.Rel(target, file)
			if err != nil {
				return err
			}
			return packFile(out, file, path.Join(strconv.Itoa(i), filepath.ToSlash(rel)), d)
		})
		if err != nil {
			return errors.Join(err, z.Close())
		}
	}
	return errors.Join(out.Close(), z.Close())
}

func packFile(out *tar.Writer, file, name string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	link := ""
	switch info.Mode().Type() {
	case fs.ModeSymlink:
		if link, err = os.Readlink(file); err != nil {
			return err
		}
	case 0, fs.ModeDir:
	default:
		return nil
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	h.Name, h.Format = name, tar.FormatPAX
	h.Uid, h.Gid, h.Uname, h.Gname, h.AccessTime, h.ChangeTime = 0, 0, "", "", time.Time{}, time.Time{}
	if err := out.WriteHeader(h); err != nil || !info.Mode().IsRegular() {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // read side
	if _, err := io.Copy(out, f); err != nil {
		return fmt.Errorf("%s changed while it was saved: %w", file, err)
	}
	return nil
}

// unpacked is a target on its way: its files are in a directory beside it until all are there.
type unpacked struct {
	target string
	beside string
	root   *os.Root
	dirs   []madeDir // their modes come last, for some can be read alone
}

// madeDir is what is kept of a directory's header, which may be a megabyte.
type madeDir struct {
	name string
	mode fs.FileMode
	at   time.Time // of its last change
}

const content = "content" // the name of the target in its directory

// unpackTargets puts what an archive holds in the place of the targets, all or nothing of each. It may unpack to limit bytes, if that is
// not 0, and never to more than room allows.
func unpackTargets(ctx context.Context, r io.Reader, targets []string, limit int64) error {
	all := make([]*unpacked, len(targets))
	defer func() {
		for _, u := range all {
			u.close()
		}
	}()
	var err error
	for i, target := range targets {
		if all[i], err = startUnpacking(target); err != nil { // with what it made so far
			return err
		}
	}
	beside := make([]string, len(all))
	for i, u := range all {
		beside[i] = u.beside
	}
	room, err := newRoom(limit, beside)
	if err != nil {
		return err
	}
	if err := unpackInto(ctx, r, all, room); err != nil {
		return err
	}
	for _, u := range all {
		if err := u.finish(); err != nil {
			return err
		}
	}
	return nil
}

func startUnpacking(target string) (*unpacked, error) {
	parent := filepath.Dir(target)
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return nil, err
	}
	beside, err := os.MkdirTemp(parent, "."+filepath.Base(target)+".restored-*")
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(beside)
	return &unpacked{target: target, beside: beside, root: root}, err
}

func unpackInto(ctx context.Context, r io.Reader, all []*unpacked, room *room) error {
	z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(maxCacheWindow))
	if err != nil {
		return err
	}
	defer z.Close()
	in := tar.NewReader(z)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err = errors.Join(err, ctx.Err()); errors.Is(err, zstd.ErrWindowSizeExceeded) {
			return fmt.Errorf("the archive is packed so that reading it takes over %s of memory", mebibytes(maxCacheWindow))
		} else if err != nil {
			return err
		}
		index, rest, _ := strings.Cut(strings.TrimSuffix(h.Name, "/"), "/")
		i, err := strconv.Atoi(index)
		if err != nil || i < 0 || i >= len(all) || rest != "" && !filepath.IsLocal(rest) {
			return fmt.Errorf("the archive has an entry %q, which is of none of the targets", h.Name)
		}
		if err := room.take(i, h); err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(all[i].target, rest), err)
		}
		h.Name = path.Join(content, rest)
		if err := all[i].unpack(h, in); err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(all[i].target, rest), err)
		}
	}
}

// unpack makes one file. The root keeps it from being anywhere else than it says.
func (u *unpacked) unpack(h *tar.Header, r io.Reader) error {
	switch h.Typeflag {
	case tar.TypeDir:
		u.dirs = append(u.dirs, madeDir{h.Name, h.FileInfo().Mode().Perm(), h.ModTime})
		return u.root.Mkdir(h.Name, 0o700)
	case tar.TypeSymlink:
		return u.root.Symlink(h.Linkname, h.Name)
	case tar.TypeReg:
	default:
		return fmt.Errorf("an entry of type %q is not expected", h.Typeflag)
	}
	f, err := u.root.OpenFile(h.Name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	err = errors.Join(err, f.Chmod(h.FileInfo().Mode().Perm()), f.Close())
	if err != nil {
		return err
	}
	return u.root.Chtimes(h.Name, time.Time{}, h.ModTime)
}

// finish puts the target in its place.
func (u *unpacked) finish() error {
	top, err := u.setModes()
	if err != nil {
		return err
	}
	if err := removeTree(u.target); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(u.beside, content), u.target); err != nil || top == nil {
		return err
	}
	return errors.Join(os.Chtimes(u.target, time.Time{}, top.at), os.Chmod(u.target, top.mode))
}

// setModes gives directories their modes, the innermost first, while the root keeps links from leading out: where the target is to
// stand they may lead elsewhere. It returns the target itself, if that is a directory: one that can only be read cannot be moved.
func (u *unpacked) setModes() (top *madeDir, err error) {
	for _, d := range slices.Backward(u.dirs) {
		if d.name == content {
			top = &d
			continue
		}
		if err := errors.Join(u.root.Chtimes(d.name, time.Time{}, d.at), u.root.Chmod(d.name, d.mode)); err != nil {
			return nil, err
		}
	}
	return top, nil
}

func (u *unpacked) close() {
	if u == nil {
		return
	}
	if u.root != nil {
		_ = u.root.Close() // nothing was written through it that is not closed
	}
	_ = removeTree(u.beside) // what is left over is hidden, and in no one's way
}

// removeTree removes a directory also where some in it can only be read, as Go's modules can.
func removeTree(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(file, 0o700)
		}
		return err
	})
	return errors.Join(err, os.RemoveAll(dir))
}
