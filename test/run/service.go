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

// service is a script that prints one line, the address of what it runs, and
// runs it until its input ends.
type service struct {
	variable string // that carries the address
	address  string
	stdin    io.Closer
	cmd      *exec.Cmd
}

type services []*service

// startServices starts what tests share. The services that were started before
// an error are in the answer; they are to be stopped too.
func startServices() (services, error) {
	var all services
	for variable, script := range map[string]string{
		"SLIPWAY_TEST_POSTGRES": "internal/dbtest/postgres.sh",
		"DOCKER_HOST":           "test/docker.sh",
	} {
		s, err := startService(variable, script)
		if s != nil {
			all = append(all, s)
		}
		if err != nil {
			return all, fmt.Errorf("start %s: %w", script, err)
		}
	}
	return all, nil
}

func startService(variable, script string) (*service, error) {
	cmd := exec.Command("sh", script)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &service{variable: variable, stdin: stdin, cmd: cmd}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return s, err
	}
	s.address = strings.TrimSpace(line)
	if reason, bad := strings.CutPrefix(s.address, "error: "); bad {
		return s, errors.New(reason)
	}
	return s, nil
}

func (all services) env() []string {
	var env []string
	for _, s := range all {
		env = append(env, s.variable+"="+s.address)
	}
	return env
}

// stop ends the services and waits until nothing of them is left.
func (all services) stop() {
	for _, s := range all {
		s.stdin.Close()
	}
	for _, s := range all {
		if err := s.cmd.Wait(); err != nil {
			fmt.Fprintf(os.Stderr, "stop the service of %s: %v\n", s.variable, err)
		}
	}
}
