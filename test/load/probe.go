package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"time"
)

// probe asks a server for /healthz again and again, from a process of its own: in this one, thousands of simulated agents that come back
// would keep it waiting, and not the server.
type probe struct {
	cmd *exec.Cmd
	end io.Closer
	out io.Reader
}

// probed is what a probe saw, in ns.
type probed struct {
	First   time.Duration // from the given time to the first answer
	Slowest time.Duration // of all answers, from the question
}

// startProbe starts to ask; since is where the time of the first answer counts from.
func startProbe(ctx context.Context, url string, since time.Time) (*probe, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &probe{cmd: exec.CommandContext(ctx, self, "-probe", url, since.Format(time.RFC3339Nano))}
	p.cmd.Stderr = os.Stderr
	if p.end, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if p.out, err = p.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	return p, p.cmd.Start()
}

// stop returns what was seen since the start.
func (p *probe) stop() (saw probed, err error) {
	if err := p.end.Close(); err != nil {
		return saw, err
	}
	if err := json.NewDecoder(p.out).Decode(&saw); err != nil {
		return saw, fmt.Errorf("probe: %w", err)
	}
	return saw, p.cmd.Wait()
}

// ask is the other process. It asks until its input ends and writes what it saw to its output.
func ask(url, since string) error {
	begin, err := time.Parse(time.RFC3339Nano, since)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		ended <- err
	}()
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	var saw probed
	for {
		asked := time.Now()
		if answers(client, url) {
			saw.Slowest = max(saw.Slowest, time.Since(asked))
			if saw.First == 0 {
				saw.First = time.Since(begin)
			}
		}
		select {
		case err := <-ended:
			if err != nil {
				return err
			}
			return json.NewEncoder(os.Stdout).Encode(saw)
		case <-time.After(time.Millisecond):
		}
	}
}
