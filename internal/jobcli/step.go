package jobcli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/slipway-ci/slipway/internal/agent/wire"
)

func stepCommands() []command {
	return []command{
		{name: "step get", args: "[attribute]", about: "Print an attribute of a step, or the whole step", setup: stepGet},
		{name: "step update", args: "<attribute> [value]", about: "Change an attribute of a step", setup: stepUpdate},
		{name: "step cancel", about: "Cancel the unfinished jobs of a step", setup: stepCancel},
	}
}

// stepFlags say which step is meant.
type stepFlags struct {
	f           *flags
	step, build *string
}

func (f *flags) step() stepFlags {
	return stepFlags{
		f,
		f.text("step", "BUILDKITE_STEP_ID", "", "the id or key of the step"),
		f.text("build", "BUILDKITE_BUILD_ID", "", "the build of the step, if it is named by its key"),
	}
}

func (s stepFlags) connect(p *program, server serverFlags) (*wire.Client, error) {
	if err := s.f.require("step", *s.step); err != nil {
		return nil, err
	}
	return server.connect(p)
}

func stepGet(f *flags) action {
	server, step := f.server(), f.step()
	format := f.text("format", "BUILDKITE_STEP_GET_FORMAT", "", "json, or nothing for plain text")
	return func(ctx context.Context, p *program, args []string) error {
		c, err := step.connect(p, server)
		if err != nil {
			return err
		}
		export := wire.StepExport{BuildID: *step.build, Format: *format}
		if len(args) > 0 {
			export.Attribute = args[0]
		}
		var out string
		err = p.retry(ctx, wire.CallStep, func(ctx context.Context, _ int) (err error) {
			out, err = c.ExportStep(ctx, *step.step, export)
			return err
		})
		if err != nil {
			return fmt.Errorf("step %s: %w", *step.step, err)
		}
		_, err = fmt.Fprintln(p.stdio.Out, out)
		return err
	}
}

func stepUpdate(f *flags) action {
	server, step, patterns := f.server(), f.step(), f.redactedVars()
	add := f.yes("append", "BUILDKITE_STEP_UPDATE_APPEND", "add to the attribute instead of replacing it")
	return func(ctx context.Context, p *program, args []string) error {
		attribute, err := only(args, "attribute")
		if err != nil {
			return err
		}
		value, err := p.textOrInput(args, 1)
		if err != nil {
			return err
		}
		if value, err = p.redact(*patterns, "the new "+attribute, value); err != nil {
			return err
		}
		c, err := step.connect(p, server)
		if err != nil {
			return err
		}
		u := wire.StepUpdate{
			IdempotencyUUID: newUUID(), BuildID: *step.build,
			Attribute: attribute, Value: value, Append: *add,
		}
		err = p.retry(ctx, wire.CallStep, func(ctx context.Context, _ int) error {
			return c.UpdateStep(ctx, *step.step, u)
		})
		if err != nil {
			return fmt.Errorf("step %s: %w", *step.step, err)
		}
		return nil
	}
}

func stepCancel(f *flags) action {
	server, step := f.server(), f.step()
	force := f.yes("force", "BUILDKITE_STEP_CANCEL_FORCE", "do not wait for the jobs to upload artifacts")
	grace := f.number("force-grace-period-seconds", "BUILDKITE_STEP_CANCEL_FORCE_GRACE_PERIOD_SECONDS,BUILDKITE_CANCEL_GRACE_PERIOD", 10, "how long --force waits")
	return func(ctx context.Context, p *program, _ []string) error {
		if *grace < 0 {
			return fmt.Errorf("--force-grace-period-seconds is %d, want 0 or more", *grace)
		}
		c, err := step.connect(p, server)
		if err != nil {
			return err
		}
		s := wire.StepCancel{BuildID: *step.build, Force: *force, ForceGracePeriod: int64(*grace)}
		err = p.retry(ctx, wire.CallStep, func(ctx context.Context, _ int) error {
			_, err := c.CancelStep(ctx, *step.step, s)
			return err
		})
		if err != nil {
			return fmt.Errorf("canceling step %s: %w", *step.step, err)
		}
		return nil
	}
}

func buildCommands() []command {
	return []command{
		{name: "build cancel", about: "Cancel the build", setup: buildCancel},
		{name: "job update", args: "<attribute> [value]", about: "Change an attribute of the job, such as timeout_in_minutes", setup: jobUpdate},
		{name: "job promise-failure", args: "<exit-status>", about: "Declare that the job will fail", setup: promiseFailure},
	}
}

func buildCancel(f *flags) action {
	server := f.server()
	build := f.text("build", "BUILDKITE_BUILD_ID", "", "the build to cancel")
	return func(ctx context.Context, p *program, _ []string) error {
		if err := f.require("build", *build); err != nil {
			return err
		}
		c, err := server.connect(p)
		if err != nil {
			return err
		}
		err = p.retry(ctx, wire.CallCancelBuild, func(ctx context.Context, _ int) error {
			_, err := c.CancelBuild(ctx, *build)
			return err
		})
		if err != nil {
			return fmt.Errorf("canceling build %s: %w", *build, err)
		}
		return nil
	}
}

func jobUpdate(f *flags) action {
	server, job, patterns := f.server(), f.job(), f.redactedVars()
	return func(ctx context.Context, p *program, args []string) error {
		attribute, err := only(args, "attribute")
		if err != nil {
			return err
		}
		value, err := p.textOrInput(args, 1)
		if err != nil {
			return err
		}
		if value, err = p.redact(*patterns, "the new "+attribute, value); err != nil {
			return err
		}
		c, err := connectJob(p, server, *job)
		if err != nil {
			return err
		}
		err = p.retry(ctx, wire.CallUpdateJob, func(ctx context.Context, _ int) error {
			return c.UpdateJob(ctx, *job, attribute, value)
		})
		if err != nil {
			return fmt.Errorf("job %s: %w", *job, err)
		}
		return nil
	}
}

func promiseFailure(f *flags) action {
	server, patterns := f.server(), f.redactedVars()
	reason := f.text("reason", "", "", "why, for people")
	return func(ctx context.Context, p *program, args []string) error {
		text, err := only(args, "exit status")
		if err != nil {
			return err
		}
		status, err := strconv.Atoi(text)
		if err != nil || status <= 0 {
			return fmt.Errorf("exit status %q: want a whole number above 0", text)
		}
		why, err := p.redact(*patterns, "the reason", *reason)
		if err != nil {
			return err
		}
		job := p.env["BUILDKITE_JOB_ID"]
		if job == "" {
			return errors.New("BUILDKITE_JOB_ID is not set: a job can only promise for itself")
		}
		c, err := server.connect(p)
		if err != nil {
			return err
		}
		err = p.retry(ctx, wire.CallPromiseFailure, func(ctx context.Context, _ int) error {
			return c.PromiseFailure(ctx, job, status, why)
		})
		return promiseRefusal(err)
	}
}

func promiseRefusal(err error) error {
	switch wire.Status(err) {
	case http.StatusConflict:
		return fmt.Errorf("another exit status was promised before: %w", err)
	case http.StatusUnprocessableEntity:
		return fmt.Errorf("the job does not run any more: %w", err)
	}
	return err
}
