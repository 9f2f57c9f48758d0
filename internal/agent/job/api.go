package job

import (
	"context"
	"errors"

	"github.com/slipway-ci/slipway/internal/agent/jobapi"
	"github.com/slipway-ci/slipway/internal/agent/wire"
)

// serveAPI lets the job ask things of its agent until what it returns is called. A machine on which
// that is impossible can still run the job.
func (x *executor) serveAPI() (end func()) {
	api, err := jobapi.Listen("", jobapi.Job{Redact: x.Log.Redact, Protected: protected, PromiseFailure: x.promiseFailure})
	if err != nil {
		x.Log.Warning("The job can't ask its agent for anything (env, workdir, redactor, secret get): %v", err)
		return func() {}
	}
	x.api = api
	x.Env["BUILDKITE_AGENT_JOB_API_SOCKET"], x.Env["BUILDKITE_AGENT_JOB_API_TOKEN"] = api.Socket, api.Token
	return func() {
		if err := api.Close(); err != nil {
			x.Log.Warning("Ending the job API: %v", err)
		}
	}
}

func (x *executor) promiseFailure(ctx context.Context, exitStatus int, reason string) (int, error) {
	answer := 0
	err := wire.Retry(ctx, wire.CallPromiseFailure, nil, func(ctx context.Context, _ int) error {
		err := x.job.Client.PromiseFailure(ctx, x.job.ID, exitStatus, reason)
		if refused, ok := errors.AsType[*wire.Error](err); ok {
			answer = refused.Status
		}
		return err
	})
	if err == nil {
		answer = 200
	}
	return answer, err
}

// asking runs a process of the job that may ask for changes, and makes them.
func (x *executor) asking(process func() error) error {
	if x.api == nil {
		return process()
	}
	x.api.Show(x.Env)
	err := process()
	changes, dir := x.api.Take()
	x.Env.Apply(changes)
	x.redact()
	if dir == "" {
		return err
	}
	return errors.Join(err, x.Chdir(dir))
}
