package joblog

import (
	"errors"
	"io"
	iofs "io/fs"
	"os"
	"path"
)

// keeper opens and removes what the logs of a store are kept in.
type keeper interface {
	// open returns ErrNotFound for a log that is not there, if it is to be one that exists.
	open(id string, how opening) (medium, error)
	remove(id string) error
	close() error
}

// opening says what is known of a log that is opened.
type opening int

const (
	exists   opening = iota // or there is nothing to open
	mayBegin                // it is made if it is not there
	begins                  // the same, and most likely it is not: where looking is dear, the first write finds out
)

// medium is what one log is kept in.
type medium struct {
	records records
	indexes indexes
	length  int64 // of the records; the last may be torn where a process died while it wrote
}

// records are the bytes of a log. What was appended once does not change.
type records interface {
	io.ReaderAt
	io.Closer
	// append writes b at at, the end of the last whole record. What lay there torn goes.
	append(at int64, b []byte, last bool) error
	// startSync is a hint that sync follows, once it was given for other logs too.
	startSync()
	sync() error
}

// indexes keeps the index of a log.
type indexes interface {
	// read opens the index of a finished log, or the latest of one that grows.
	read(finished bool) (*indexFile, error)
	write(b []byte, finished bool) error
}

type indexFile struct {
	io.ReaderAt
	size  int64
	close func() error
}

// files keeps each log in a file, and its index in another.
type files struct{ root *os.Root }

// The last character spreads evenly for every common kind of id; the first ones of a time-ordered UUID do not. Making a directory
// flushes to disk, so there are few.
func logName(id string) string   { return path.Join("d"+id[max(len(id)-1, 0):], id+".log") }
func indexName(id string) string { return path.Join("d"+id[max(len(id)-1, 0):], id+".idx") }

func (k files) open(id string, how opening) (medium, error) {
	f, err := k.openLog(logName(id), how != exists)
	if errors.Is(err, iofs.ErrNotExist) {
		return medium{}, ErrNotFound
	}
	if err != nil {
		return medium{}, err
	}
	info, err := f.Stat()
	if err != nil {
		return medium{}, errors.Join(err, f.Close())
	}
	return medium{&recordFile{f, info.Size()}, fileIndex{k, indexName(id)}, info.Size()}, nil
}

func (k files) openLog(name string, create bool) (*os.File, error) {
	if !create {
		return k.root.OpenFile(name, os.O_RDWR, 0)
	}
	const flags = os.O_RDWR | os.O_CREATE
	f, err := k.root.OpenFile(name, flags, 0o600)
	if !errors.Is(err, iofs.ErrNotExist) {
		return f, err
	}
	if err := k.makeDir(path.Dir(name)); err != nil {
		return nil, err
	}
	return k.root.OpenFile(name, flags, 0o600)
}

func (k files) makeDir(dir string) error {
	err := k.root.Mkdir(dir, 0o700)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	return errors.Join(err, k.syncDir("."))
}

func (k files) syncDir(dir string) error {
	d, err := k.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (k files) remove(id string) error {
	for _, name := range []string{indexName(id), logName(id)} {
		if err := k.root.Remove(name); err != nil && !errors.Is(err, iofs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (k files) close() error { return k.root.Close() }

type recordFile struct {
	*os.File
	length int64
}

func (f *recordFile) append(at int64, b []byte, _ bool) error {
	if f.length > at {
		if err := f.Truncate(at); err != nil {
			return err
		}
	}
	f.length = at + int64(len(b)) // also if only a part is written
	_, err := f.WriteAt(b, at)
	return err
}

// startSync has the kernel find a place for a new file's data. If all files have theirs, one commit of the file system's journal, which the
// first of them waits for, makes all of them durable; otherwise each has one of its own.
func (f *recordFile) startSync() { startWriting(f.File) }

func (f *recordFile) sync() error { return f.Sync() }

type fileIndex struct {
	files
	name string
}

func (x fileIndex) read(bool) (*indexFile, error) {
	f, err := x.root.Open(x.name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &indexFile{f, info.Size(), f.Close}, nil
}

// write replaces the index. That of a finished log is trusted, and so synced.
func (x fileIndex) write(b []byte, finished bool) error {
	f, err := x.root.OpenFile(x.name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if finished && err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := x.root.Rename(x.name+".new", x.name); err != nil || !finished {
		return err
	}
	return x.syncDir(path.Dir(x.name))
}
