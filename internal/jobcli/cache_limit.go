package jobcli

import (
	"archive/tar"
	"fmt"
	"path/filepath"
	"syscall"
)

const (
	// maxCacheWindow bounds, in bytes, what unpacking must remember. Our archives need 8 MiB.
	maxCacheWindow = 32 << 20
	// entryCost is what a file costs beside its content, an empty one too, in bytes of a disk.
	entryCost = 4 << 10
	// maxCacheEntries is how many files, directories and links a cache has at most.
	maxCacheEntries = 5_000_000
)

// room bounds what an archive becomes: a small one can hold very much, and whoever may write to the server's storage must not fill an
// agent's disks or memory.
type room struct {
	limit   int64 // bytes in all, as the user says; 0: there is none
	used    int64
	entries int
	disks   map[uint64]*disk
	of      []*disk // by target
}

// disk is a file system in which targets are.
type disk struct {
	where      string
	free, used int64 // bytes; free is what it had when unpacking began
}

// newRoom looks at the disks of directories, one for each target.
func newRoom(limit int64, dirs []string) (*room, error) {
	r := &room{limit: limit, disks: map[uint64]*disk{}}
	for _, dir := range dirs {
		var at syscall.Stat_t
		var fs syscall.Statfs_t
		if err := syscall.Stat(dir, &at); err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
		if err := syscall.Statfs(dir, &fs); err != nil {
			return nil, fmt.Errorf("free space of %s: %w", dir, err)
		}
		id := uint64(at.Dev) //nolint:unconvert // it is an int32 on macOS
		if r.disks[id] == nil {
			r.disks[id] = &disk{where: filepath.Dir(dir), free: int64(fs.Bavail) * int64(fs.Bsize)} //nolint:unconvert // as above
		}
		r.of = append(r.of, r.disks[id])
	}
	return r, nil
}

// take counts an entry of a target before anything of it is written. Nine tenths of a disk's free space may be used up.
func (r *room) take(target int, h *tar.Header) error {
	d, cost := r.of[target], h.Size+entryCost
	if h.Size < 0 || h.Typeflag != tar.TypeReg {
		cost = entryCost
	}
	r.entries++
	switch {
	case r.entries > maxCacheEntries:
		return fmt.Errorf("it holds more than %d files", maxCacheEntries)
	case r.limit > 0 && cost > r.limit-r.used:
		return fmt.Errorf("it unpacks to more than the %s that --max-unpacked-mib allows", mebibytes(r.limit))
	case cost > d.free/10*9-d.used:
		return fmt.Errorf("it unpacks to more than nine tenths of the %s that are free at %s; make room there, or save less", mebibytes(d.free), d.where)
	}
	r.used, d.used = r.used+cost, d.used+cost
	return nil
}
