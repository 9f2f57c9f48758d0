package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// database is a PostgreSQL server that ends with its input. It does not flush to disk, so what is
// measured on it is the work, not the disk.
type database struct {
	url   string
	input io.Closer
	cmd   *exec.Cmd
}

// startDatabase runs from the repository's root, as the recipe does.
func startDatabase() (*database, error) {
	cmd := exec.Command("sh", "internal/dbtest/postgres.sh")
	cmd.Stderr = os.Stderr
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	d := &database{input: input, cmd: cmd}
	line, err := bufio.NewReader(output).ReadString('\n')
	d.url = strings.TrimSpace(line)
	if reason, bad := strings.CutPrefix(d.url, "error: "); bad {
		err = errors.New(reason)
	}
	if err != nil {
		d.stop()
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	return d, nil
}

func (d *database) stop() {
	_ = d.input.Close()
	_ = d.cmd.Wait()
}
