package engine

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/store"
)

// What has become of a job's log. One that is gone says why.
const (
	LogEnding  = "ending" // the job was lost; a pass closes the log
	LogClosed  = "closed"
	LogDeleted = "deleted" // by somebody
	LogExpired = "expired" // kept as long as the organization wanted
)

// endLog records, in the transaction that ends a job on an agent, what is to become of its log.
func (p *progress) endLog(j store.Job, state string) error {
	return p.tx.InsertJobLog(p.ctx, store.JobLog{JobID: j.ID, PipelineID: j.PipelineID, State: state, ChangedAt: p.now})
}

// CloseLog records the size, in bytes, of a log that was closed after its job. A second call does nothing.
func (e *Engine) CloseLog(ctx context.Context, jobID string, size int64) error {
	return e.Store.Update(ctx, func(tx *store.Tx) error {
		err := tx.UpdateJobLog(ctx, store.JobLog{JobID: jobID, State: LogClosed, ChangedAt: e.Now()}, LogEnding)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return tx.SetLogSize(ctx, jobID, size)
	})
}

// DropLog records that a log's bytes were removed: state is LogDeleted or LogExpired, note says why to a person. Of a log that is gone
// already the first reason stays.
func (e *Engine) DropLog(ctx context.Context, j store.Job, state, note string) error {
	return e.update(ctx, func(tx *store.Tx, hint func(...string)) error {
		hint(live.Log(j.ID), live.Build(j.BuildID))
		l := store.JobLog{JobID: j.ID, State: state, Note: note, ChangedAt: e.Now()}
		for _, from := range []string{LogClosed, LogEnding} {
			if err := tx.UpdateJobLog(ctx, l, from); !errors.Is(err, store.ErrNotFound) {
				return err
			}
		}
		return nil
	})
}

// maxHeaderTimes is how many groups of a log may have a time of their own; joblog remembers as many groups.
const maxHeaderTimes = 5000

// lastYear is the last whole one whose times have a number of nanoseconds, in which the REST API tells them.
const lastYear = 2261

// SetHeaderTimes records when groups of a log began, by their number from 0. Agents send it for logs without time marks
// (agent/job_runner.go of v3.138.1); a repetition changes nothing.
func (e *Engine) SetHeaderTimes(ctx context.Context, jobID string, times map[int]time.Time) error {
	numbers := slices.Sorted(maps.Keys(times))
	if n := len(numbers); n > 0 && (numbers[0] < 0 || numbers[n-1] >= maxHeaderTimes) {
		return refuse(Invalid, "A group's number is 0 to %d.", maxHeaderTimes-1)
	}
	for n, at := range times {
		if at.Year() < 1970 || at.Year() > lastYear {
			return refuse(Invalid, "The time of group %d is not one of the years 1970 to %d.", n, lastYear)
		}
	}
	return e.Store.Update(ctx, func(tx *store.Tx) error {
		for _, n := range numbers {
			if err := tx.SetHeaderTime(ctx, jobID, n, times[n]); err != nil {
				return err
			}
		}
		return nil
	})
}
