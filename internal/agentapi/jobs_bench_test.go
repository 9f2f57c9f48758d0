package agentapi_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/agent/wire"
	"github.com/slipway-ci/slipway/internal/agentapi"
	"github.com/slipway-ci/slipway/internal/ci"
)

// BenchmarkJobs runs jobs through accept, start, one chunk and finish on 16 agents side by side, all
// calls over HTTP. Assigning is part of it, finding out what to assign is not.
func BenchmarkJobs(b *testing.B) {
	const jobs, agents = 480, 16
	for b.Loop() {
		b.StopTimer()
		w := newWorld(b, func(d *agentapi.Deps) { d.Log = slog.New(slog.DiscardHandler) })
		build := w.build(fmt.Sprintf("steps:\n- command: make\n  parallelism: %d\n", jobs))
		all := must(w.Store.Jobs(context.Background(), build.ID))(b)
		var far []agent
		for range agents {
			far = append(far, w.agent())
		}
		k := wire.Chunk{Sequence: 1, Size: 6, Gzip: zipped(b, "hello\n")}
		b.StartTimer()
		start := time.Now()
		var wg sync.WaitGroup
		for i, a := range far {
			wg.Go(func() {
				for n := i; n < jobs; n += agents {
					if err := w.whole(a, all[n].ID, k); err != nil {
						b.Error(err)
					}
				}
			})
		}
		wg.Wait()
		b.ReportMetric(jobs/time.Since(start).Seconds(), "jobs/s")
		if got := must(w.Store.Build(context.Background(), build.ID))(b); got.State != ci.BuildPassed {
			b.Errorf("build is %s, want passed", got.State)
		}
	}
}

// whole is a job from its assignment to its end.
func (w *world) whole(a agent, id string, k wire.Chunk) error {
	ctx := context.Background()
	if assigned, err := w.AssignJob(ctx, id, a.ID); err != nil || !assigned {
		return fmt.Errorf("assigned %t: %w", assigned, err)
	}
	accepted, err := a.Accept(ctx, id)
	if err != nil {
		return err
	}
	c := a.WithToken(accepted.Token)
	if err := c.Start(ctx, id, w.Now()); err != nil {
		return err
	}
	if err := c.UploadChunk(ctx, id, k); err != nil {
		return err
	}
	return c.Finish(ctx, id, wire.Finish{ExitStatus: "0", FinishedAt: w.Now().Format(time.RFC3339Nano)})
}
