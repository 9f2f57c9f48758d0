package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// busyDispatch is the time from runnable to accepted of single jobs while builds of 2,000 jobs that
// no agent serves arrive beside them.
func busyDispatch(ctx context.Context, b *bench) ([]row, error) {
	s, _, err := b.startServer(ctx)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	f, err := s.connect(ctx, b.agents, 0)
	if err != nil {
		return nil, err
	}
	if err := s.pipeline(ctx, "crowd", "  - command: \"true\"\n    parallelism: 2000\n    agents: { os: none }\n"); err != nil {
		return nil, errors.Join(err, f.stop())
	}
	const single, crowds = 2000, 3
	arriving, stop := context.WithCancel(f.ctx)
	var crowd errgroup.Group
	crowd.Go(func() error {
		for range crowds {
			if _, err := s.trigger(arriving, "crowd"); err != nil {
				return err
			}
		}
		return nil
	})
	err = s.oneByOne(f.ctx, "single", single)
	stop()
	if arrived := crowd.Wait(); err == nil && arrived != nil && !errors.Is(arrived, context.Canceled) {
		err = arrived
	}
	if err := errors.Join(err, f.stop()); err != nil {
		return nil, err
	}
	times := f.times()
	return []row{
		{fmt.Sprintf("the same while builds of 2,000 jobs arrive, %d jobs (p50)", len(times)), ms(percentile(times, 50)), 5, "ms"},
		{"  p99", ms(percentile(times, 99)), 25, "ms"},
	}, nil
}

// oneByOne runs builds of one job, a few side by side.
func (s *server) oneByOne(ctx context.Context, slug string, n int) error {
	if err := s.pipeline(ctx, slug, "  - command: \"true\"\n"); err != nil {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for range n {
		group.Go(func() error {
			number, err := s.trigger(groupCtx, slug)
			if err != nil {
				return err
			}
			return s.finished(groupCtx, slug, number, 20*time.Millisecond)
		})
	}
	return group.Wait()
}

// times empties what the fleet noted. The fleet has stopped.
func (f *fleet) times() []time.Duration {
	close(f.took)
	var out []time.Duration
	for took := range f.took {
		out = append(out, took)
	}
	return out
}

// triggers are 10,000 requests for a build that are all under way at once.
func triggers(ctx context.Context, b *bench) ([]row, error) {
	const n = 10_000
	s, _, err := b.startServer(ctx)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	if err := s.pipeline(ctx, "triggers", "  - command: \"true\"\n"); err != nil {
		return nil, err
	}
	begin := time.Now()
	group, groupCtx := errgroup.WithContext(ctx)
	for range n {
		group.Go(func() error {
			_, err := s.trigger(groupCtx, "triggers")
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return []row{{"10,000 triggers at once, none refused: builds created", n / time.Since(begin).Seconds(), 0, "builds/s"}}, nil
}

// sizes are builds of 100, 1,000 and 10,000 jobs, with what each job costs the server.
func sizes(ctx context.Context, b *bench) ([]row, error) {
	s, _, err := b.startServer(ctx)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	f, err := s.connect(ctx, 64, 0)
	if err != nil {
		return nil, err
	}
	var rows []row
	var smallest float64
	for _, jobs := range []int{100, 1000, 10_000} {
		took, cpu, err := s.size(f.ctx, jobs)
		if err != nil {
			return rows, errors.Join(err, f.stop())
		}
		each := ms(cpu) / float64(jobs)
		if smallest == 0 {
			smallest = each
		}
		rows = append(rows,
			row{fmt.Sprintf("one build of %d jobs", jobs), float64(jobs) / took.Seconds(), 0, "jobs/s"},
			row{"  server's processor time a job", each, 0, "ms"},
			row{"  in parts of that of the smallest build", each / smallest, 0, ""},
		)
	}
	return rows, f.stop()
}

// size runs one build of steps that wait for one another in tens, so that the graph grows with it.
func (s *server) size(ctx context.Context, jobs int) (took, cpu time.Duration, err error) {
	slug := "jobs-" + strconv.Itoa(jobs)
	var steps strings.Builder
	for i := range jobs {
		fmt.Fprintf(&steps, "  - { command: \"true\", key: k%d", i)
		if i >= 10 {
			fmt.Fprintf(&steps, ", depends_on: k%d", i-10)
		}
		steps.WriteString(" }\n")
	}
	if err := s.pipeline(ctx, slug, steps.String()); err != nil {
		return 0, 0, err
	}
	before, err := processor(s.cmd.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	begin := time.Now()
	number, err := s.trigger(ctx, slug)
	if err == nil {
		err = s.finished(ctx, slug, number, 50*time.Millisecond)
	}
	if err != nil {
		return 0, 0, err
	}
	after, err := processor(s.cmd.Process.Pid)
	return time.Since(begin), after - before, err
}
