package app

import (
	"bufio"
	"context"
	"errors"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/joblog"
	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/store"
)

// Watcher is told what happens in a build.
type Watcher interface {
	// Changed gets the build and its jobs, retried attempts included, in pipeline order.
	Changed(b store.Build, jobs []store.Job) error
	// Line gets the next line of a job's log, without its end and the agent's time markers.
	Line(job store.Job, line string) error
	// Ended gets a job that ran, after the last line of its log.
	Ended(job store.Job) error
}

// watchEvery is how often a build is looked at where nothing hints at a change.
const watchEvery = 500 * time.Millisecond

// Watch tells w of a build until it has ended and all of its output was told, or ctx is done.
func (a *App) Watch(ctx context.Context, buildID string, w Watcher) (store.Build, error) {
	sub := a.Hub.Subscribe(live.Build(buildID))
	defer sub.Close()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	logs := &follower{app: a, watcher: w, rest: map[string]string{}, offsets: map[string]int64{}, done: map[string]bool{}}
	var version int64
	for {
		looked := time.Now()
		b, err := a.Store.Build(ctx, buildID)
		if err != nil {
			return b, err
		}
		jobs, err := a.Store.Jobs(ctx, buildID)
		if err != nil {
			return b, err
		}
		if b.Version != version {
			version = b.Version
			if err := w.Changed(b, jobs); err != nil {
				return b, err
			}
		}
		if err := logs.follow(ctx, jobs); err != nil || b.State.Finished() {
			return b, err
		}
		// A look costs what the build is big: not more than a fifth of the time is spent looking.
		if err := pause(ctx, max(lookRest, 4*time.Since(looked))); err != nil {
			return b, err
		}
		select {
		case <-ctx.Done():
			return b, ctx.Err()
		case <-sub.C:
		case <-tick.C:
		}
	}
}

// lookRest is the least time between two looks.
const lookRest = 30 * time.Millisecond

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// follower reads the logs of running jobs on from where it stopped.
type follower struct {
	app     *App
	watcher Watcher
	offsets map[string]int64
	rest    map[string]string // unfinished lines
	done    map[string]bool
}

func (f *follower) follow(ctx context.Context, jobs []store.Job) error {
	for _, j := range jobs {
		if j.StartedAt.IsZero() || j.Kind != ci.JobScript || f.done[j.ID] {
			continue
		}
		ended := j.State.Terminal()
		if err := f.read(ctx, j); err != nil {
			return err
		}
		if ended && f.rest[j.ID] != "" {
			if err := f.watcher.Line(j, clean(f.rest[j.ID])); err != nil {
				return err
			}
		}
		if f.done[j.ID] = ended; ended {
			if err := f.watcher.Ended(j); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *follower) read(ctx context.Context, j store.Job) error {
	size, err := f.app.Logs.Size(ctx, j.ID)
	if errors.Is(err, joblog.ErrNotFound) || err == nil && size.Text <= f.offsets[j.ID] {
		return nil
	}
	if err != nil {
		return err
	}
	r, err := f.app.Logs.Reader(ctx, j.ID, f.offsets[j.ID])
	if err != nil {
		return err
	}
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		piece, readErr := in.ReadString('\n')
		f.offsets[j.ID] += int64(len(piece))
		line := f.rest[j.ID] + piece
		if readErr != nil {
			f.rest[j.ID] = line
			if readErr == io.EOF {
				readErr = nil
			}
			return errors.Join(readErr, r.Close())
		}
		f.rest[j.ID] = ""
		if err := f.watcher.Line(j, clean(line)); err != nil {
			return errors.Join(err, r.Close())
		}
	}
}

// marker is what agents put before each line: when it was printed.
var marker = regexp.MustCompile(`\x1b_bk;[^\x07]*\x07`)

// clean is a line as it stands on a terminal when it is complete: what a carriage return wrote over
// is gone.
func clean(line string) string {
	line = strings.TrimRight(marker.ReplaceAllString(line, ""), "\r\n")
	return line[strings.LastIndex(line, "\r")+1:]
}
