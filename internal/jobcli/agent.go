package jobcli

import (
	"context"
	"fmt"

	"github.com/slipway-ci/slipway/internal/agent/wire"
)

func agentCommands() []command {
	return []command{
		{name: "stop", about: "Stop the agent of this job after the job", setup: agentStop},
		{name: "pause", about: "Keep the agent of this job from taking more jobs", setup: agentPause},
		{name: "resume", about: "End a pause", setup: agentResume},
	}
}

// control makes one of the requests about the agent.
func (p *program) control(ctx context.Context, server serverFlags, what string, request func(context.Context, *wire.Client) error) error {
	c, err := server.connect(p)
	if err != nil {
		return err
	}
	err = p.retry(ctx, wire.CallAgentControl, func(ctx context.Context, _ int) error { return request(ctx, c) })
	if err != nil {
		return fmt.Errorf("%s the agent: %w", what, err)
	}
	return nil
}

func agentStop(f *flags) action {
	server := f.server()
	force := f.yes("force", "", "cancel the running job")
	return func(ctx context.Context, p *program, _ []string) error {
		return p.control(ctx, server, "stopping", func(ctx context.Context, c *wire.Client) error {
			return c.Stop(ctx, *force)
		})
	}
}

func agentPause(f *flags) action {
	server := f.server()
	note := f.text("note", "BUILDKITE_AGENT_PAUSE_NOTE", "", "why")
	minutes := f.number("timeout-in-minutes", "BUILDKITE_AGENT_PAUSE_TIMEOUT_MINUTES", 0, "when to resume by itself")
	return func(ctx context.Context, p *program, _ []string) error {
		return p.control(ctx, server, "pausing", func(ctx context.Context, c *wire.Client) error {
			return c.Pause(ctx, *note, *minutes)
		})
	}
}

func agentResume(f *flags) action {
	server := f.server()
	return func(ctx context.Context, p *program, _ []string) error {
		return p.control(ctx, server, "resuming", func(ctx context.Context, c *wire.Client) error {
			return c.Resume(ctx)
		})
	}
}
