package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/slipway-ci/slipway/internal/agent"
	"github.com/slipway-ci/slipway/internal/app"
)

// local is a server with agents in this process.
type local struct {
	*app.App
	stopAgents context.CancelFunc
	killAgents func()
	agents     sync.WaitGroup
}

// startLocal starts a server and n agents on a data directory.
func startLocal(c *console, config app.Config, n int) (*local, error) {
	config.OpenQueues, config.LocalRepositories = true, true
	config.Version, config.Log, config.SizeHeap = Version(), c.log, os.Getenv("GOGC") == ""
	a, err := app.Start(c.ctx, config)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(c.ctx))
	kill := make(chan struct{})
	l := &local{App: a, stopAgents: stop, killAgents: sync.OnceFunc(func() { close(kill) })}
	agentConfig := agent.Config{
		Endpoint: a.URL + "/v3", Token: a.Bootstrap.AgentToken, Version: Version(), Name: "local-%spawn", Spawn: n,
		BuildPath:   filepath.Join(config.Data, "builds"),
		PluginsPath: filepath.Join(config.Data, "plugins"), Kill: kill, CancelGrace: 10 * time.Second,
		SocketsPath: filepath.Join(config.Data, "sockets"),
	}
	l.agents.Go(func() {
		if err := agent.Run(ctx, agentConfig, agentLog(c)); err != nil && ctx.Err() == nil {
			c.log.Error("agents", "err", err)
		}
	})
	return l, nil
}

// agentLog is where the agents of this process log: what they say of jobs is in the jobs' logs.
func agentLog(c *console) *slog.Logger {
	if c.log.Enabled(c.ctx, slog.LevelInfo) {
		return c.log
	}
	return slog.New(slog.NewTextHandler(c.err, &slog.HandlerOptions{Level: slog.LevelError}))
}

// close ends the agents, their jobs and the server.
func (l *local) close() error {
	l.killAgents()
	l.stopAgents()
	l.agents.Wait()
	return l.Close()
}

// defaultAgents is how many jobs this machine runs side by side.
func defaultAgents(asked int) int {
	if asked > 0 {
		return asked
	}
	return max(2, runtime.NumCPU())
}

// tempDir makes a private directory with a short path: sockets are made in it.
func tempDir() (string, func() error, error) {
	dir, err := os.MkdirTemp("", "slipway-")
	if err != nil {
		return "", nil, fmt.Errorf("the temporary directory cannot be written (TMPDIR names another): %w", err)
	}
	return dir, func() error { return removeAll(dir) }, nil
}

// removeAll removes a tree in which jobs may have made folders read-only, as Go does with its
// module cache.
func removeAll(dir string) error {
	err := os.RemoveAll(dir)
	if err == nil || !errors.Is(err, os.ErrPermission) {
		return err
	}
	walkErr := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return nil
	})
	return errors.Join(walkErr, os.RemoveAll(dir))
}

// isTerminal says whether a writer is a terminal that can redraw.
func isTerminal(w io.Writer) (*os.File, bool) {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return nil, false
	}
	return f, term.IsTerminal(int(f.Fd()))
}
