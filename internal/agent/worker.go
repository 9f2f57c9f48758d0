package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/internal/agent/job"
	"github.com/slipway-ci/slipway/internal/agent/wire"
	"github.com/slipway-ci/slipway/internal/procid"
)

// worker is one registered agent.
type worker struct {
	set   *settings
	tools string
	feed  *feed
	rest  *rest
	spawn int
	log   *slog.Logger

	id        string
	pings     time.Duration
	heartbeat time.Duration
	states    time.Duration
	life      context.Context // ends when the worker must let go of its job
	lose      context.CancelCauseFunc

	mu  sync.Mutex
	api *wire.Client // authorised with the session token
}

// client is the present session; the server may move it elsewhere.
func (w *worker) client() *wire.Client {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.api
}

func (w *worker) setClient(c *wire.Client) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.api = c
}

func (w *worker) setHeaders(chosen map[string]string) {
	w.setClient(w.client().WithHeaders(wire.ServerHeaders(chosen)))
}

func (w *worker) jobToken(j wire.Job) string {
	if j.Token != "" {
		return j.Token
	}
	return w.client().Token
}

// Limits for calls made while the worker ends.
const (
	stopBudget       = 5 * time.Second
	disconnectBudget = 15 * time.Second
)

func (w *worker) run(ctx context.Context) error {
	if err := w.register(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("registering with %s: %w", w.set.Endpoint, err)
	}
	home := w.client()
	defer w.disconnect(ctx, home)
	w.life, w.lose = context.WithCancelCause(context.WithoutCancel(ctx))
	defer w.lose(nil)
	err := wire.Retry(ctx, wire.CallConnect, w.retrying("connect"), func(ctx context.Context, _ int) error {
		return home.Connect(ctx)
	})
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("connecting to %s: %w", w.set.Endpoint, err)
	}
	return w.session(ctx)
}

// session runs the loops of a connected worker and ends them together.
func (w *worker) session(ctx context.Context) error {
	var loops sync.WaitGroup
	defer loops.Wait()
	alive, end := context.WithCancel(w.life)
	defer end()
	loops.Go(func() { w.heartbeats(alive) })
	loops.Go(func() { w.watchKill(alive) })
	if w.set.AcquireJob != "" {
		return w.acquire(ctx)
	}
	loops.Go(func() { w.reportStop(ctx, alive) })
	streams, stop := context.WithCancel(ctx)
	defer stop()
	fatal := make(chan error, 1)
	if w.set.PingMode == "auto" || w.set.PingMode == "stream-only" {
		loops.Go(func() {
			if err := w.stream(streams); err != nil && w.set.PingMode == "stream-only" {
				fatal <- err
			} else if err != nil {
				w.log.Debug("Polling, as the server does not stream", "error", err)
			}
		})
	}
	return w.work(ctx, fatal)
}

func (w *worker) retrying(what string) func(wire.Failure) {
	return func(f wire.Failure) {
		w.log.Warn("Retrying", "call", what, "attempt", f.Attempt, "of", f.Tries, "wait", f.Wait, "error", f.Err)
	}
}

func (w *worker) register(ctx context.Context) error {
	hostname, err := os.Hostname()
	if err != nil {
		w.log.Warn("This host has no name", "error", err)
	}
	request := wire.RegisterRequest{
		Name:              strings.ReplaceAll(w.set.Name, "%spawn", strconv.Itoa(w.spawn)),
		Hostname:          hostname,
		OS:                osDescription(),
		Arch:              runtime.GOARCH,
		ScriptEvalEnabled: !w.set.NoCommandEval, IgnoreInDispatches: w.set.AcquireJob != "",
		Priority: w.set.Priority, Version: w.set.Version, Build: "slipway",
		MetaData: w.set.tags(), PID: os.Getpid(), MachineID: machineID(), Features: w.features(),
	}
	if w.set.SpawnWithPriority {
		request.Priority = strconv.Itoa(w.spawn)
	}
	api := &wire.Client{
		Endpoint: w.set.Endpoint, Token: w.set.Token, HTTP: w.set.HTTP,
		UserAgent: fmt.Sprintf("slipway-agent/%s (%s; %s)", w.set.Version, runtime.GOOS, runtime.GOARCH),
	}
	answer, err := w.announce(ctx, api, request)
	if err != nil {
		return err
	}
	return w.begin(api, answer)
}

// A server that starts together with the agent is asked often for a while,
// before the protocol's ten seconds between attempts apply.
const (
	startTogether = 5 * time.Second
	askAgain      = 100 * time.Millisecond
)

func (w *worker) announce(ctx context.Context, api *wire.Client, request wire.RegisterRequest) (answer wire.RegisterResponse, err error) {
	for soon := time.Now().Add(startTogether); time.Now().Before(soon); {
		answer, err = api.Register(ctx, request)
		if err == nil || !wire.Retryable(err) {
			return answer, err
		}
		if wire.Status(err) != 0 || !wire.Sleep(ctx, askAgain) {
			break
		}
	}
	err = wire.Retry(ctx, wire.CallRegister, w.retrying("register"), func(ctx context.Context, _ int) (err error) {
		answer, err = api.Register(ctx, request)
		return err
	})
	return answer, err
}

func (w *worker) begin(api *wire.Client, answer wire.RegisterResponse) error {
	if answer.ID == "" || answer.AccessToken == "" {
		return errors.New("the server's answer lacks an id or a token; is this an agent API?")
	}
	api = api.WithToken(answer.AccessToken).WithHeaders(wire.ServerHeaders(answer.RequestHeaders))
	if answer.Endpoint != "" {
		api = api.WithEndpoint(answer.Endpoint)
	}
	w.setClient(api)
	w.id = answer.ID
	w.pings = interval(answer.PingInterval)
	w.heartbeat = interval(answer.HeartbeatInterval)
	w.states = interval(answer.JobStatusInterval)
	w.log = w.log.With("agent", answer.Name)
	w.log.Info("Registered", "tags", answer.MetaData)
	return nil
}

// interval reads seconds; a server that forgets one must not stop the agent.
func interval(seconds int) time.Duration { return time.Duration(max(seconds, 1)) * time.Second }

func (w *worker) features() []string {
	var features []string
	for name, on := range map[string]bool{
		"acquire-job": w.set.AcquireJob != "", "disconnect-after-job": w.set.DisconnectAfterJob,
		"disconnect-after-idle":   w.set.DisconnectAfterIdle > 0,
		"disconnect-after-uptime": w.set.DisconnectAfterUptime > 0,
		"no-plugins":              w.set.NoPlugins, "no-script-eval": w.set.NoCommandEval,
	} {
		if on {
			features = append(features, name)
		}
	}
	// A server on this machine can prove by it that the agent is gone. Others keep it as a word.
	if process := procid.Self(); process != "" {
		features = append(features, process)
	}
	return features
}

func (w *worker) disconnect(ctx context.Context, home *wire.Client) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), disconnectBudget)
	defer cancel()
	err := wire.Retry(ctx, wire.CallDisconnect, nil, func(ctx context.Context, _ int) error {
		return home.Disconnect(ctx)
	})
	if err != nil {
		w.log.Warn("The server was not told of the disconnection", "error", err)
		return
	}
	w.log.Info("Disconnected")
}

// heartbeats tell the server that the worker lives, until it refuses to know.
func (w *worker) heartbeats(ctx context.Context) {
	for wire.Sleep(ctx, w.heartbeat) {
		_, err := w.client().Heartbeat(ctx, time.Now())
		switch {
		case err == nil || ctx.Err() != nil:
		case wire.Retryable(err):
			w.log.Warn("Heartbeat not answered", "error", err)
		default:
			w.log.Error("Heartbeat refused, ending", "error", err)
			w.lose(fmt.Errorf("heartbeat: %w", err))
			w.feed.stop()
			return
		}
	}
}

// watchKill ends the worker's job when the owner of the process says so.
func (w *worker) watchKill(ctx context.Context) {
	select {
	case <-w.set.Kill:
		w.lose(job.ErrAgentStop)
		w.feed.stop()
	case <-ctx.Done():
	}
}

// reportStop tells the server early that this worker takes no more jobs.
func (w *worker) reportStop(ctx, alive context.Context) {
	select {
	case <-ctx.Done():
	case <-alive.Done():
		return
	}
	budget, cancel := context.WithTimeout(alive, stopBudget)
	defer cancel()
	if err := w.client().Stop(budget, false); err != nil && alive.Err() == nil {
		w.log.Warn("The server was not told of the stop", "error", err)
	}
}

// streamHead is how long a stream may take to begin before polling does.
const streamHead = 2 * time.Second

// work takes jobs until there is a reason to end.
func (w *worker) work(ctx context.Context, fatal <-chan error) error {
	started := time.Now()
	ping, head := started, started.Add(streamHead)
	if w.set.PingMode == "auto" {
		ping = head
	}
	for {
		n := w.feed.next()
		if n.down && ping.Equal(head) {
			ping = time.Now()
		}
		switch {
		case w.life.Err() != nil:
			return lost(context.Cause(w.life))
		case n.disconnect || ctx.Err() != nil || w.expired(started, n.paused):
			return nil
		case n.job != "":
			done, err := w.take(ctx, n.job)
			if done || err != nil {
				return err
			}
			ping = time.Now()
			continue
		}
		polls := !n.streaming && w.set.PingMode != "stream-only"
		if polls && !time.Now().Before(ping) {
			if err := w.ping(ctx); err != nil {
				return err
			}
			ping = time.Now().Add(w.pings/2 + rand.N(w.pings))
			continue
		}
		if err := w.wait(ctx, fatal, started, ping, polls); err != nil {
			return err
		}
	}
}

// lost is the error of a worker whose life ended: none if its owner wanted it.
func lost(cause error) error {
	if errors.Is(cause, job.ErrAgentStop) {
		return nil
	}
	return cause
}

// expired reports whether the worker has rested or lived long enough.
func (w *worker) expired(started time.Time, paused bool) bool {
	if limit := w.set.DisconnectAfterUptime; limit > 0 && time.Since(started) >= limit {
		return true
	}
	left, limited := w.rest.left()
	return limited && left <= 0 && !paused
}

func (w *worker) wait(ctx context.Context, fatal <-chan error, started, ping time.Time, polls bool) error {
	until := time.Minute
	if polls {
		until = min(until, time.Until(ping))
	}
	if left, limited := w.rest.left(); limited {
		until = min(until, max(left, time.Second))
	}
	if limit := w.set.DisconnectAfterUptime; limit > 0 {
		until = min(until, time.Until(started.Add(limit)))
	}
	timer := time.NewTimer(until)
	defer timer.Stop()
	select {
	case err := <-fatal:
		return err
	case <-ctx.Done():
	case <-w.life.Done():
	case <-w.feed.wake:
	case <-timer.C:
	}
	return nil
}

// ping asks for work. Only a refusal is an error.
func (w *worker) ping(ctx context.Context) error {
	answer, err := w.client().Ping(ctx)
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil && wire.Retryable(err):
		w.log.Warn("Ping not answered", "error", err)
		return nil
	case err != nil:
		return fmt.Errorf("ping: %w", err)
	}
	answer = w.move(ctx, answer)
	if answer.RequestHeaders != nil {
		w.setHeaders(answer.RequestHeaders)
	}
	if answer.Message != "" {
		w.log.Info(answer.Message)
	}
	switch {
	case answer.Action == wire.ActionPause:
		w.feed.pause()
	case answer.Action == wire.ActionDisconnect:
		w.feed.stop()
	case answer.Job != nil:
		w.feed.assign(answer.Job.ID)
	default:
		w.feed.resume()
	}
	return nil
}

// move follows the server to another endpoint if that one answers; its answer
// then replaces the first.
func (w *worker) move(ctx context.Context, answer wire.PingResponse) wire.PingResponse {
	present := w.client()
	if answer.Endpoint == "" || answer.Endpoint == present.Endpoint {
		return answer
	}
	there := present.WithEndpoint(answer.Endpoint)
	second, err := there.Ping(ctx)
	if err != nil {
		w.log.Warn("Not moving to an endpoint that does not answer", "endpoint", answer.Endpoint, "error", err)
		return answer
	}
	w.setClient(there)
	return second
}

// take accepts a job and runs it. done says that it was the worker's last.
func (w *worker) take(ctx context.Context, id string) (done bool, err error) {
	var j wire.Job
	err = wire.Retry(ctx, wire.CallAccept, w.retrying("accept"), func(ctx context.Context, _ int) (err error) {
		j, err = w.client().Accept(ctx, id)
		return err
	})
	if err != nil {
		w.log.Warn("Job not accepted", "job", id, "error", err)
		w.feed.release(id)
		return false, nil
	}
	status, ran := w.runJob(j)
	if !ran {
		w.feed.release(id)
	}
	if !ran || !w.set.DisconnectAfterJob {
		return false, nil
	}
	return true, w.reflect(status)
}

func (w *worker) reflect(status int) error {
	if status == 0 || !w.set.ReflectExitStatus {
		return nil
	}
	return &ExitError{Code: status, Err: fmt.Errorf("the job ended with status %d", status)}
}

// acquire runs the one job that the worker was started for.
func (w *worker) acquire(ctx context.Context) error {
	var j wire.Job
	err := wire.Retry(ctx, wire.CallAcquire, w.retrying("acquire"), func(ctx context.Context, n int) (err error) {
		j, err = w.client().Acquire(ctx, w.set.AcquireJob, n)
		return err
	})
	if err != nil {
		err = fmt.Errorf("acquiring job %s: %w", w.set.AcquireJob, err)
		switch wire.Status(err) {
		case 422:
			return &ExitError{Code: ExitNotAcquired, Err: err}
		case 423:
			return &ExitError{Code: ExitLocked, Err: err}
		}
		return err
	}
	status, _ := w.runJob(j)
	return w.reflect(status)
}

// osDescription is what the agent's page shows of the system.
func osDescription() string {
	if text, err := os.ReadFile("/etc/os-release"); err == nil {
		return string(text)
	}
	return runtime.GOOS
}

func machineID() string {
	text, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
