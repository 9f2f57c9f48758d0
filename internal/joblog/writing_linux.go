package joblog

import (
	"os"

	"golang.org/x/sys/unix"
)

// startWriting begins to write what the kernel holds of a file, and waits for nothing of it. What goes wrong is told by the file's sync,
// which looks at the same pages (sync_file_range(2), SYNC_FILE_RANGE_WRITE).
func startWriting(f *os.File) {
	if c, err := f.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) { _ = unix.SyncFileRange(int(fd), 0, 0, unix.SYNC_FILE_RANGE_WRITE) })
	}
}
