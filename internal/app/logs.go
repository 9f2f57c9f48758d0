package app

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/slipway-ci/slipway/internal/joblog"
)

// openLogs opens the logs of jobs: rows and blobs where other servers may be on the database, files otherwise.
func (a *App) openLogs(context.Context) (err error) {
	o := joblog.Options{Hub: a.Hub}
	if a.Store.Several() {
		a.Logs, err = joblog.OpenShared(a.Store, a.blobs, o, a.Log)
	} else {
		a.Logs, err = joblog.Open(filepath.Join(a.Data, "logs"), o, a.Log)
	}
	if err != nil {
		return fmt.Errorf("opening job logs: %w", err)
	}
	return nil
}

// joinServers carries hints to and from the other servers on the database.
func (a *App) joinServers(ctx context.Context) {
	if a.Store.Several() {
		a.loops.Go(func() { a.Hub.Join(ctx, a.Store, a.Log) })
	}
}
