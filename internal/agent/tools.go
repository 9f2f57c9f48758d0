package agent

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// toolDir makes a private directory below build, an absolute path, that holds this program under
// the names jobs call it by. Hard links outlive an upgrade of the program; where
// the file system has none, symbolic links and then copies take their place.
func toolDir(build, executable string) (string, error) {
	if err := os.MkdirAll(build, 0o777); err != nil {
		return "", fmt.Errorf("build path: %w", err)
	}
	dir, err := os.MkdirTemp(build, ".slipway-bin-")
	if err != nil {
		return "", fmt.Errorf("build path: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	for _, name := range []string{"buildkite-agent", "slipway"} {
		if err := place(executable, filepath.Join(dir, name)); err != nil {
			return "", errors.Join(fmt.Errorf("command %s for jobs: %w", name, err), os.RemoveAll(dir))
		}
	}
	return dir, nil
}

func place(executable, path string) error {
	if os.Link(executable, path) == nil || os.Symlink(executable, path) == nil {
		return nil
	}
	from, err := os.Open(executable)
	if err != nil {
		return err
	}
	defer from.Close() //nolint:errcheck // read side
	to, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}
