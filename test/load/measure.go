package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// start is how soon a server on an empty directory answers.
func start(ctx context.Context, b *bench) ([]row, error) {
	var times []time.Duration
	for range 5 {
		s, took, err := b.startServer(ctx)
		if err != nil {
			return nil, err
		}
		s.stop()
		times = append(times, took)
	}
	return []row{{"server on an empty directory answers (median of 5)", ms(percentile(times, 50)), 300, "ms"}}, nil
}

// idle is the memory of a server and an agent after one job.
func idle(ctx context.Context, b *bench) ([]row, error) {
	s, _, err := b.startServer(ctx)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	agent, err := b.startAgent(ctx, s, false)
	if err != nil {
		return nil, err
	}
	defer halt(agent)
	if _, err := s.builds(ctx, "idle", "  - command: \"true\"\n", 1, soon); err != nil {
		return nil, err
	}
	ofServer, err := anonymous(s.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	ofAgent, err := anonymous(agent.Process.Pid)
	return []row{
		{"idle server, anonymous memory", ofServer, 40, "MB"},
		{"idle agent, anonymous memory", ofAgent, 20, "MB"},
	}, err
}

// soon is for builds that take some tens of milliseconds.
const soon = 2 * time.Millisecond

// builds creates a pipeline and runs n builds of it one after another, asking so often whether each has passed. Asking costs the server
// about as much as a tenth of a job.
func (s *server) builds(ctx context.Context, slug, steps string, n int, every time.Duration) ([]time.Duration, error) {
	if err := s.pipeline(ctx, slug, steps); err != nil {
		return nil, err
	}
	var times []time.Duration
	for range n {
		begin := time.Now()
		number, err := s.trigger(ctx, slug)
		if err != nil {
			return nil, err
		}
		if err := s.finished(ctx, slug, number, every); err != nil {
			return nil, err
		}
		times = append(times, time.Since(begin))
	}
	return times, nil
}

// oneJob is a build of one echo without a checkout, from trigger to passed, with
// our agent and, where its binary is named, with the official one.
func oneJob(ctx context.Context, b *bench) ([]row, error) {
	ours, err := b.echo(ctx, false)
	if err != nil {
		return nil, err
	}
	rows := []row{{"one echo, trigger to passed (median of 20)", ms(percentile(ours, 50)), 60, "ms"}}
	if b.official == "" {
		return rows, nil
	}
	official, err := b.echo(ctx, true)
	if err != nil {
		return rows, err
	}
	return append(rows,
		row{"  the same with the official agent", ms(percentile(official, 50)), 0, "ms"},
		row{"  ours in parts of the official agent's", ms(percentile(ours, 50)) / ms(percentile(official, 50)), 0, ""},
	), nil
}

func (b *bench) echo(ctx context.Context, official bool) ([]time.Duration, error) {
	s, _, err := b.startServer(ctx)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	agent, err := b.startAgent(ctx, s, official)
	if err != nil {
		return nil, err
	}
	defer halt(agent)
	return s.builds(ctx, "echo", "  - command: echo hello\n", 20, soon)
}

// manyJobs is one build of 200 jobs on four agents of one process.
func manyJobs(ctx context.Context, b *bench) ([]row, error) {
	const jobs = 200
	s, _, err := b.startServer(ctx)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	agent, err := b.startAgent(ctx, s, false, "--spawn", "4")
	if err != nil {
		return nil, err
	}
	defer halt(agent)
	before, err := processor(s.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	times, err := s.builds(ctx, "many", "  - command: \"true\"\n    parallelism: "+strconv.Itoa(jobs)+"\n", 1, 50*time.Millisecond)
	if err != nil {
		return nil, err
	}
	after, err := processor(s.cmd.Process.Pid)
	return []row{
		{"200 jobs of true on 4 agents", times[0].Seconds(), 3, "s"},
		{"  server's processor time a job", ms(after-before) / jobs, 3, "ms"},
	}, err
}

// throughput is complete jobs a second through the whole protocol, on SQLite,
// with simulated agents.
func throughput(ctx context.Context, b *bench) ([]row, error) {
	const builds, jobs = newest, 500
	s, _, err := b.startServer(ctx)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	f, err := s.connect(ctx, 64, 0)
	if err != nil {
		return nil, err
	}
	if err := s.pipeline(ctx, "throughput", "  - command: \"true\"\n    parallelism: "+strconv.Itoa(jobs)+"\n"); err != nil {
		return nil, err
	}
	before, err := processor(s.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	if err := s.sideBySide(f.ctx, "throughput", builds); err != nil {
		return nil, errors.Join(err, f.stop())
	}
	rate := builds * jobs / time.Since(begin).Seconds()
	after, err := processor(s.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	return []row{
		{"complete jobs a second, 64 simulated agents", rate, 500, "jobs/s"},
		{"  server's processor time a job", ms(after-before) / (builds * jobs), 0, "ms"},
	}, f.stop()
}

// sideBySide creates builds of a pipeline at once and waits until all have passed.
func (s *server) sideBySide(ctx context.Context, slug string, builds int) error {
	numbers := make([]int, builds)
	group, groupCtx := errgroup.WithContext(ctx)
	for i := range numbers {
		group.Go(func() (err error) {
			numbers[i], err = s.trigger(groupCtx, slug)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, n := range numbers {
		if err := s.finished(ctx, slug, n, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// dispatch is the time from runnable to accepted while many agents stream.
func dispatch(ctx context.Context, b *bench) ([]row, error) {
	const builds = 300
	s, _, err := b.startServer(ctx)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	f, err := s.connect(ctx, b.agents, 0)
	if err != nil {
		return nil, err
	}
	if _, err := s.builds(f.ctx, "dispatch", "  - command: \"true\"\n", builds, soon); err != nil {
		return nil, errors.Join(err, f.stop())
	}
	memory, err := anonymous(s.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	if err := f.stop(); err != nil {
		return nil, err
	}
	times := f.times()
	return []row{
		{fmt.Sprintf("runnable to accepted, %d agents stream (p50)", b.agents), ms(percentile(times, 50)), 5, "ms"},
		{"  p99", ms(percentile(times, 99)), 25, "ms"},
		{"  server's anonymous memory", memory, 0, "MB"},
	}, nil
}

// bigLog is one step that prints 100 MB.
func bigLog(ctx context.Context, b *bench) ([]row, error) {
	const printed = 100 << 20
	s, _, err := b.startServer(ctx)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	agent, err := b.startAgent(ctx, s, false)
	if err != nil {
		return nil, err
	}
	defer halt(agent)
	if _, err := s.builds(ctx, "warm", "  - command: \"true\"\n", 1, soon); err != nil {
		return nil, err
	}
	before, err := anonymous(s.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	line := strings.Repeat("a line of a log, ", 5)
	used, err := processors(s.cmd, agent)
	if err != nil {
		return nil, err
	}
	var took []time.Duration
	peak, err := s.watch(ctx, func() (err error) {
		took, err = s.builds(ctx, "log", fmt.Sprintf("  - command: yes \"%s\" | head -c %d\n", line, printed), 1, 20*time.Millisecond)
		return err
	})
	if err != nil {
		return nil, err
	}
	after, err := processors(s.cmd, agent)
	return []row{
		{"a step that prints 100 MB, trigger to passed", took[0].Seconds(), 2, "s"},
		{"  server's memory above idle, at its peak", peak - before, 60, "MB"},
		{"  server's processor time", (after[0] - used[0]).Seconds(), 0, "s"},
		{"  agent's processor time, without its command's", (after[1] - used[1]).Seconds(), 0, "s"},
	}, err
}

// processors returns the processor time that processes have used.
func processors(of ...*exec.Cmd) ([]time.Duration, error) {
	var all []time.Duration
	for _, cmd := range of {
		used, err := processor(cmd.Process.Pid)
		if err != nil {
			return nil, err
		}
		all = append(all, used)
	}
	return all, nil
}

// watch returns the server's greatest memory while f runs, sampled every 20 ms.
func (s *server) watch(ctx context.Context, f func() error) (peak float64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var group errgroup.Group
	group.Go(func() error {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			mb, err := anonymous(s.cmd.Process.Pid)
			if err != nil {
				return err
			}
			peak = max(peak, mb)
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
		}
	})
	err = f()
	cancel()
	if watchErr := group.Wait(); err == nil {
		err = watchErr
	}
	return peak, err
}

// percentile returns the value that p of a hundred do not exceed.
func percentile(values []time.Duration, p int) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, len(sorted)*p/100)]
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
