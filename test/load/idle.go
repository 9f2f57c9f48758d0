package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// idleFleet is what many connected agents cost that do nothing but open a new stream each minute
// and send heartbeats, over two of those minutes.
func idleFleet(ctx context.Context, b *bench) ([]row, error) {
	const watched = 2 * streamFor
	s, _, err := b.startServer(ctx)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	begin := time.Now()
	f, err := s.connect(ctx, b.fleet, streamFor)
	if err != nil {
		return nil, err
	}
	took := time.Since(begin)
	before, err := processor(s.cmd.Process.Pid)
	if err != nil {
		return nil, errors.Join(err, f.stop())
	}
	begin = time.Now()
	peak, err := s.watch(f.ctx, func() error {
		pause(f.ctx, watched)
		return f.ctx.Err()
	})
	after, cpuErr := processor(s.cmd.Process.Pid)
	share := 100 * float64(after-before) / float64(time.Since(begin))
	if err := errors.Join(f.stop(), err, cpuErr); err != nil {
		return nil, err
	}
	return []row{
		{fmt.Sprintf("%d agents register and connect", b.fleet), float64(b.fleet) / took.Seconds(), 0, "agents/s"},
		{"  they idle: server's anonymous memory, at its peak", peak, 600, "MB"},
		{"  server's processor time, of one core", share, 20, "%"},
	}, nil
}

// storm is a server that is killed and started while all agents have a stream: how long until it answers, until all agents have one again,
// and how long others wait meanwhile. The agents wait up to a second before they come back.
func storm(ctx context.Context, b *bench) ([]row, error) {
	s, _, err := b.startServer(ctx)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	f, err := s.connect(ctx, b.fleet, 10*streamFor)
	if err != nil {
		return nil, err
	}
	s.kill()
	begin := time.Now()
	p, err := startProbe(ctx, s.URL, begin)
	if err != nil {
		return nil, errors.Join(err, f.stop())
	}
	if _, err := s.start(ctx); err != nil {
		return nil, errors.Join(err, f.stop())
	}
	err = await(f.ctx, 5*time.Millisecond, func() bool { return f.open.Load() == int64(b.fleet) })
	took := time.Since(begin)
	saw, probeErr := p.stop()
	if err := errors.Join(err, f.stop(), probeErr); err != nil {
		return nil, err
	}
	return []row{
		{"server answers after kill -9", ms(saw.First), 300, "ms"},
		{"  slowest answer while agents come back", ms(saw.Slowest), 300, "ms"},
		{fmt.Sprintf("  all %d agents stream again", b.fleet), took.Seconds(), 0, "s"},
	}, nil
}
