//go:build !linux

package store

import (
	"errors"
	"os"
	"syscall"
)

// syncData is what SQLite does by default.
func syncData(f *os.File) error {
	for {
		if err := syscall.Fsync(int(f.Fd())); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
