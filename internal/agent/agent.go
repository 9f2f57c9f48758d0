package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// Run runs the workers until each has ended: because ctx ended, the server asked
// for it, or a limit of the Config was reached (nil), or because of an error. An
// *ExitError carries the status to exit with.
func Run(ctx context.Context, c Config, log *slog.Logger) error {
	set, err := c.settings()
	if err != nil {
		return err
	}
	tools, err := toolDir(set.BuildPath, set.Executable)
	if err != nil {
		return err
	}
	hearHangups()
	var wg sync.WaitGroup
	failed := make([]error, set.Spawn)
	rest := newRest(set.DisconnectAfterIdle)
	for i := range set.Spawn {
		w := &worker{
			set: &set, tools: tools, feed: newFeed(), rest: rest, spawn: i + 1,
			log: log.With("spawn", i+1),
		}
		wg.Go(func() { failed[i] = w.run(ctx) })
	}
	wg.Wait()
	if err := os.RemoveAll(tools); err != nil {
		failed = append(failed, fmt.Errorf("commands for jobs: %w", err))
	}
	return errors.Join(failed...)
}

// hearHangups makes an agent that ignores hangups, as nohup starts it, drop them instead. What is
// ignored is inherited, and the hangup of its terminal is what ends a job whose agent was killed.
func hearHangups() {
	if signal.Ignored(syscall.SIGHUP) {
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
}
