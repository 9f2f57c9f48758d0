package store

import (
	"errors"
	"os"
	"syscall"
)

// syncData flushes a file's data, and of what is known about it only its size where that grew.
func syncData(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
