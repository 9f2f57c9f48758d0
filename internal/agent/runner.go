package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/internal/agent/job"
	"github.com/slipway-ci/slipway/internal/agent/logstream"
	"github.com/slipway-ci/slipway/internal/agent/wire"
)

// afterlife is how long a job's last log and its end are offered to a server
// that is away.
const afterlife = 15 * time.Minute

// runner is one accepted job.
type runner struct {
	*worker
	job    wire.Job
	client *wire.Client
	log    *slog.Logger
}

// runJob runs an accepted job and reports its end. It returns the job's exit
// status, and whether the job ran at all.
func (w *worker) runJob(j wire.Job) (status int, ran bool) {
	w.rest.begin()
	defer w.rest.end()
	r := &runner{
		worker: w, job: j, log: w.log.With("job", j.ID),
		client: w.client().WithToken(w.jobToken(j)),
	}
	err := wire.Retry(w.life, wire.CallStart, w.retrying("start"), func(ctx context.Context, _ int) error {
		return r.client.Start(ctx, j.ID, time.Now())
	})
	if err != nil {
		r.log.Warn("Job not started", "error", err)
		return 0, false
	}
	r.log.Info("Job started")
	finish := r.run()
	r.finish(finish)
	r.log.Info("Job finished", "status", finish.ExitStatus, "signal", finish.Signal, "reason", finish.SignalReason)
	status, err = strconv.Atoi(finish.ExitStatus)
	if err != nil || status < 0 {
		status = 1
	}
	return status, true
}

// run runs the job's phases with its log and its state poll beside them.
func (r *runner) run() wire.Finish {
	uploads, stopUploads := context.WithCancel(context.WithoutCancel(r.life))
	defer stopUploads()
	ctx, cancel := context.WithCancelCause(r.life)
	defer cancel(nil)
	log, err := logstream.New(uploads, logstream.Config{
		MaxSize:  r.job.ChunksMaxSizeBytes,
		Interval: time.Duration(r.job.ChunksIntervalSeconds) * time.Second,
		Upload:   r.upload,
	})
	if err != nil {
		r.log.Error("The server's job cannot be run", "error", err)
		return wire.Finish{ExitStatus: "-1", SignalReason: "process_run_error"}
	}
	if err := r.set.allowed(r.job.Env); err != nil {
		fmt.Fprintf(log, "+++ %v\r\n", err) //nolint:errcheck // counted by Close
		return wire.Finish{ExitStatus: "-1", SignalReason: "agent_refused", ChunksFailedCount: log.Close()}
	}
	if err := r.verify(ctx, log); err != nil {
		return wire.Finish{ExitStatus: "-1", SignalReason: "signature_rejected", ChunksFailedCount: log.Close()}
	}
	kill := make(chan struct{})
	running, over := context.WithCancel(context.WithoutCancel(ctx))
	defer over()
	var beside sync.WaitGroup
	beside.Go(func() { r.pollState(running, cancel) })
	beside.Go(func() { r.endAfterGrace(ctx, running.Done(), kill, stopUploads) })
	files, err := writeEnvFiles(r.job.Env)
	if err != nil {
		r.log.Warn("No file of the job's environment", "error", err)
	}
	defer os.RemoveAll(files) //nolint:errcheck // in the temporary directory
	result := job.Run(ctx, r.config(log, files, kill))
	canceled := context.Cause(ctx)
	over()
	cancel(nil)
	beside.Wait()
	limit := time.AfterFunc(afterlife, stopUploads)
	defer limit.Stop()
	if errors.Is(canceled, job.ErrAgentStop) {
		limit.Reset(r.set.CancelGrace)
	}
	f := outcome(result, canceled)
	f.ChunksFailedCount = log.Close()
	return f
}

// verify holds the job against the signature of its step, and explains in its log why it is refused or
// run all the same.
func (r *runner) verify(ctx context.Context, log io.Writer) error {
	say := func(format string, args ...any) {
		fmt.Fprintf(log, format+"\r\n", args...) //nolint:errcheck // counted when the log is closed
	}
	err := r.set.keys.Verify(ctx, r.job)
	switch {
	case err == nil:
		if r.set.keys != nil {
			say("~~~ Job signature verified")
		}
		return nil
	case r.set.VerificationWarn:
		r.log.Warn("Job not verified, and run all the same (--verification-failure-behavior=warn)", "error", err)
		say("+++ Job signature verification failed\r\nerror: %v\r\nThe job is run all the same (--verification-failure-behavior=warn)", err)
		return nil
	}
	r.log.Warn("Job refused", "error", err)
	say("+++ Job signature verification failed\r\nerror: %v\r\nThe agent runs only jobs that are signed with a key that it has.", err)
	return err
}

func (r *runner) config(log *logstream.Stream, files string, kill <-chan struct{}) job.Config {
	env, ignored := r.environment(r.job)
	if files != "" {
		env["BUILDKITE_ENV_FILE"] = filepath.Join(files, envFile)
		env["BUILDKITE_ENV_JSON_FILE"] = filepath.Join(files, envJSONFile)
	}
	secrets, err := job.ParseSecrets(r.job.Step)
	if err != nil {
		r.log.Warn("The job's secrets cannot be read", "error", err)
	}
	return job.Config{
		ID: r.job.ID, Env: env, Ignored: ignored, Secrets: secrets,
		Log:    logstream.NewTimestamper(log, time.Now),
		Client: r.client, RedactedVars: r.set.RedactedVars, Tool: filepath.Join(r.tools, "buildkite-agent"),
		PTY: !r.set.NoPTY, Signal: r.set.signal, Grace: r.set.SignalGrace, Kill: kill,
	}
}

// outcome is what the server is told. Canceled jobs have no status of their own,
// whatever their processes made of the signal.
func outcome(result job.Result, canceled error) wire.Finish {
	switch {
	case errors.Is(canceled, job.ErrCanceled), errors.Is(canceled, job.ErrTimedOut):
		return wire.Finish{ExitStatus: "-1", Signal: "SIGTERM", SignalReason: "cancel"}
	case canceled != nil:
		return wire.Finish{ExitStatus: "-1", Signal: "SIGTERM", SignalReason: "agent_stop"}
	case result.Setup:
		return wire.Finish{ExitStatus: "-1", SignalReason: "process_run_error"}
	case result.Signal != "":
		return wire.Finish{ExitStatus: "-1", Signal: result.Signal}
	}
	return wire.Finish{ExitStatus: strconv.Itoa(result.Status)}
}

func (r *runner) upload(ctx context.Context, c logstream.Chunk) error {
	err := r.client.UploadChunk(ctx, r.job.ID, wire.Chunk(c))
	if err != nil && !wire.CallChunk.Policy().Again(err) {
		return fmt.Errorf("%w: %w", err, logstream.ErrRefused)
	}
	return err
}

// pollState asks whether the job is still wanted, as long as it runs: one that is canceled may have long to clean up,
// and the server takes a job that is not asked for for forgotten.
func (r *runner) pollState(running context.Context, cancel context.CancelCauseFunc) {
	timer := time.NewTimer(rand.N(r.states))
	defer timer.Stop()
	var why error
	for {
		select {
		case <-timer.C:
		case <-running.Done():
			return
		}
		if cause := r.state(running); cause != nil && why == nil {
			r.log.Info("Ending the job", "reason", cause)
			cancel(cause)
			why = cause
		}
		timer.Reset(r.states)
	}
}

// state asks once, and returns why the job should end.
func (r *runner) state(ctx context.Context) error {
	state, err := r.client.JobState(ctx, r.job.ID)
	switch {
	case wire.Status(err) == http.StatusUnauthorized:
		return fmt.Errorf("%w: the server no longer knows its token", job.ErrCanceled)
	case err != nil && ctx.Err() == nil:
		r.log.Warn("Job state not answered", "error", err)
	case state == "canceling", state == "canceled":
		return job.ErrCanceled
	case state == "timing_out", state == "timed_out":
		return job.ErrTimedOut
	}
	return nil
}

// endAfterGrace closes kill when a job that is being ended has had its time.
// Where the agent itself ends, output that the server does not take is given up
// after as long again: a process waits for its output to be taken.
func (r *runner) endAfterGrace(ctx context.Context, over <-chan struct{}, kill chan<- struct{}, stopUploads func()) {
	select {
	case <-over:
		return
	case <-ctx.Done():
	}
	grace := time.NewTimer(r.set.CancelGrace)
	defer grace.Stop()
	select {
	case <-over:
		return
	case <-grace.C:
		close(kill)
	}
	grace.Reset(r.set.CancelGrace)
	select {
	case <-over:
	case <-grace.C:
		if r.life.Err() != nil {
			stopUploads()
		}
	}
}

func (r *runner) finish(f wire.Finish) {
	f.FinishedAt = time.Now().UTC().Format(time.RFC3339Nano)
	f.IgnoreAgentInDispatches = r.set.DisconnectAfterJob
	budget := afterlife
	if r.life.Err() != nil {
		budget = disconnectBudget
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.life), budget)
	defer cancel()
	err := wire.Retry(ctx, wire.CallFinish, r.retrying("finish"), func(ctx context.Context, _ int) error {
		return r.client.Finish(ctx, r.job.ID, f)
	})
	if err != nil {
		r.log.Warn("The job's end was not taken by the server", "error", err)
	}
}
