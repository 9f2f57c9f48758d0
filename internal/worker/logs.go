package worker

import (
	"context"
	"fmt"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/joblog"
	"github.com/slipway-ci/slipway/internal/loop"
	"github.com/slipway-ci/slipway/internal/store"
)

func logRows() *loop.Rows[store.JobLog] {
	return &loop.Rows[store.JobLog]{Batch: batch, ID: func(l store.JobLog) string { return l.JobID }}
}

// CloseLogs closes the logs of lost jobs: what came of them is then shown to its last piece, with a line for each missing one.
func CloseLogs(e *engine.Engine, logs *joblog.Store) func(context.Context) (bool, error) {
	rows := logRows()
	return func(ctx context.Context) (bool, error) {
		list := func(n int) ([]store.JobLog, error) { return e.Store.EndingLogs(ctx, n) }
		return rows.Each(list, func(l store.JobLog) error {
			if err := logs.Finish(ctx, l.JobID); err != nil {
				return err
			}
			size, err := logs.Size(ctx, l.JobID)
			if err != nil {
				return err
			}
			return e.CloseLog(ctx, l.JobID, size.Text)
		})
	}
}

// ExpireLogs removes logs that are older than their organization wants to keep them. The bytes go first: a pass that is ended in between
// finds the log again.
func ExpireLogs(e *engine.Engine, logs *joblog.Store) func(context.Context) (bool, error) {
	rows := logRows()
	return func(ctx context.Context) (bool, error) {
		return ofEach(ctx, e, func(o store.Organization) (bool, error) { return expireLogs(ctx, e, logs, o, rows) })
	}
}

func expireLogs(ctx context.Context, e *engine.Engine, logs *joblog.Store, o store.Organization, rows *loop.Rows[store.JobLog]) (bool, error) {
	decided, err := engine.SettingsOf(o)
	if err != nil || decided.LogRetentionDays == 0 {
		return false, err
	}
	before := e.Now().AddDate(0, 0, -decided.LogRetentionDays)
	list := func(n int) ([]store.JobLog, error) { return e.Store.OldLogs(ctx, o.ID, before, n) }
	note := fmt.Sprintf("The log was removed: logs are kept for %s.", days(decided.LogRetentionDays))
	return rows.Each(list, func(l store.JobLog) error {
		j, err := e.Store.Job(ctx, l.JobID)
		if err != nil {
			return err
		}
		if err := logs.Delete(ctx, l.JobID); err != nil {
			return err
		}
		return e.DropLog(ctx, j, engine.LogExpired, note)
	})
}

func days(n int) string {
	if n == 1 {
		return "one day"
	}
	return fmt.Sprintf("%d days", n)
}
