package agentapi_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/agent/wire"
	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/joblog"
)

func TestAJobThroughTheWholeProtocol(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t)
	b := w.build("steps:\n- command: make\n  key: one\n  label: ':go: build'\n  env: {A: b}\n")
	j := w.job(b)
	a := w.agent()
	if a.PingInterval != 1 || a.HeartbeatInterval != 30 || a.JobStatusInterval != 2 {
		t.Errorf("intervals of %+v, want 1, 30 and 2 s", a.RegisterResponse)
	}
	if p := must(a.Ping(ctx))(t); p.Action != "idle" || p.Job != nil {
		t.Errorf("first ping = %+v, want idle", p)
	}
	w.assign(j, a)
	if p := must(a.Ping(ctx))(t); p.Job == nil || p.Job.ID != j.ID {
		t.Fatalf("ping = %+v, want job %s", p, j.ID)
	}
	accepted := must(a.Accept(ctx, j.ID))(t)
	for name, want := range map[string]string{
		"BUILDKITE_JOB_ID": j.ID, "BUILDKITE_COMMAND": "make", "A": "b", "BUILDKITE_AGENT_NAME": a.Name,
		"BUILDKITE_PULL_REQUEST": "false", "BUILDKITE_REPO": "https://example.test/p.git",
	} {
		if accepted.Env[name] != want {
			t.Errorf("env %s = %q, want %q", name, accepted.Env[name], want)
		}
	}
	if accepted.ChunksMaxSizeBytes != joblog.ChunkBytes || accepted.ChunksIntervalSeconds != 1 {
		t.Errorf("chunks of %d bytes each %d s, want %d and 1", accepted.ChunksMaxSizeBytes, accepted.ChunksIntervalSeconds, joblog.ChunkBytes)
	}
	w.runToEnd(t, w.client(accepted.Token), j.ID)
	done := must(w.Store.Job(ctx, j.ID))(t)
	if done.State != ci.JobFinished || *done.ExitStatus != 0 || done.LogSize != 11 {
		t.Errorf("job = %s, %v, log of %d bytes, want finished, 0, 11", done.State, done.ExitStatus, done.LogSize)
	}
	if got := must(w.Store.Build(ctx, b.ID))(t); got.State != ci.BuildPassed {
		t.Errorf("build is %s, want passed", got.State)
	}
	if p := must(a.Ping(ctx))(t); p.Action != "idle" {
		t.Errorf("ping after the job = %+v, want idle", p)
	}
	if err := a.Disconnect(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Ping(ctx); wire.Status(err) != 401 {
		t.Errorf("ping after disconnecting: %v, want 401", err)
	}
}

// runToEnd starts a job, logs two chunks in the wrong order, one of them twice, and finishes it.
func (w *world) runToEnd(t *testing.T, c *wire.Client, id string) {
	t.Helper()
	ctx := context.Background()
	if err := c.Start(ctx, id, w.Now()); err != nil {
		t.Fatal(err)
	}
	if s := must(c.JobState(ctx, id))(t); s != "running" {
		t.Errorf("state = %q, want running", s)
	}
	second := wire.Chunk{Sequence: 2, Offset: 6, Size: 5, Gzip: zipped(t, "world")}
	for _, k := range []wire.Chunk{second, {Sequence: 1, Offset: 0, Size: 6, Gzip: zipped(t, "hello ")}, second} {
		if err := c.UploadChunk(ctx, id, k); err != nil {
			t.Errorf("chunk %d: %v", k.Sequence, err)
		}
	}
	w.advance(time.Second)
	if err := c.Finish(ctx, id, wire.Finish{ExitStatus: "0", FinishedAt: w.Now().Format(time.RFC3339Nano)}); err != nil {
		t.Fatal(err)
	}
	r := must(w.logs.Reader(ctx, id, 0))(t)
	defer r.Close()
	if text := string(must(io.ReadAll(r))(t)); text != "hello world" {
		t.Errorf("log = %q", text)
	}
	// The answers may have been lost: repeating a chunk is fine, finishing late is final.
	if err := c.UploadChunk(ctx, id, second); err != nil {
		t.Errorf("repeated chunk after the end: %v", err)
	}
	late := wire.Chunk{Sequence: 3, Offset: 11, Size: 1, Gzip: zipped(t, "!")}
	for what, err := range map[string]error{
		"new chunk":     c.UploadChunk(ctx, id, late),
		"second finish": c.Finish(ctx, id, wire.Finish{ExitStatus: "1", FinishedAt: "not a time"}),
		"late start":    c.Start(ctx, id, w.Now()),
	} {
		if wire.Status(err) != 422 {
			t.Errorf("%s after the end: %v, want 422", what, err)
		}
	}
	if _, err := c.JobState(ctx, id); wire.Status(err) != 401 {
		t.Errorf("state after the end: %v, want 401", err)
	}
}

func TestAJobCanceledAfterALostAcceptanceEnds(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t)
	b := w.build("steps:\n- command: true\n")
	j, a := w.job(b), w.agent()
	w.assign(j, a)
	must(w.AcceptJob(ctx, j.ID, a.ID))(t) // its answer never arrives
	must(w.CancelBuild(ctx, b.ID, "ana"))(t)
	if p := must(a.Ping(ctx))(t); p.Job == nil || p.Job.ID != j.ID {
		t.Fatalf("ping = %+v, want the job again", p)
	}
	if _, err := a.Accept(ctx, j.ID); wire.Status(err) != 422 {
		t.Errorf("accepting it: %v, want 422", err)
	}
	if got := w.job(b).State; got != ci.JobCanceled {
		t.Errorf("the job is %s, want canceled", got)
	}
	if got := must(w.Store.Build(ctx, b.ID))(t); got.State != ci.BuildCanceled {
		t.Errorf("the build is %s, want canceled", got.State)
	}
	if p := must(a.Ping(ctx))(t); p.Action != "idle" || p.Job != nil {
		t.Errorf("ping = %+v, want idle", p)
	}
}

func TestAJobThatItsPollingAgentHasGivenUpIsLost(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t)
	h := w.running() // its end is reported, and the report never arrives
	for range 2 {
		must(h.agent.Ping(ctx))(t)
		w.advance(40 * time.Second)
		must(h.JobState(ctx, h.job.ID))(t) // a word of the job begins the term anew
	}
	must(h.agent.Ping(ctx))(t)
	w.advance(59 * time.Second)
	must(h.agent.Ping(ctx))(t)
	if got := w.job(h.build).State; got != ci.JobRunning {
		t.Fatalf("the job is %s", got)
	}
	w.advance(time.Second)
	if p := must(h.agent.Ping(ctx))(t); p.Action != "idle" {
		t.Errorf("ping = %+v, want idle", p)
	}
	got := w.job(h.build)
	if got.State != ci.JobFinished || !got.Lost || *got.ExitStatus != -1 {
		t.Errorf("the job is %s, lost %v", got.State, got.Lost)
	}
	if a := must(w.Store.Agent(ctx, h.agent.ID))(t); a.JobID != "" || a.State != ci.AgentConnected {
		t.Errorf("the agent is %s with job %q", a.State, a.JobID)
	}
}

// canceledMeanwhile is the body of a request: the server reads it after it has found out who asks.
type canceledMeanwhile struct {
	io.Reader
	cancel func()
}

func (c *canceledMeanwhile) Read(p []byte) (int, error) {
	c.cancel()
	return c.Reader.Read(p)
}

func TestAJobCanceledWhileItsStartIsUnderWayEnds(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t)
	b := w.build("steps:\n- command: true\n")
	j, a := w.job(b), w.agent()
	w.assign(j, a)
	accepted := must(a.Accept(ctx, j.ID))(t)
	body := &canceledMeanwhile{Reader: strings.NewReader("{}"), cancel: sync.OnceFunc(func() {
		must(w.CancelBuild(ctx, b.ID, "ana"))(t)
	})}
	req := must(http.NewRequestWithContext(ctx, http.MethodPut, w.url+"/v3/jobs/"+j.ID+"/start", body))(t)
	req.Header.Set("Authorization", "Token "+accepted.Token)
	req.Header.Set("Expect", "100-continue")
	client := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Hour}}
	defer client.CloseIdleConnections()
	resp := must(client.Do(req))(t)
	defer resp.Body.Close()
	if resp.StatusCode != 422 {
		t.Errorf("status %d, want 422", resp.StatusCode)
	}
	if got := w.job(b).State; got != ci.JobCanceled {
		t.Errorf("the job is %s, want canceled", got)
	}
	if got := must(w.Store.Agent(ctx, a.ID))(t).JobID; got != "" {
		t.Errorf("the agent still holds job %s", got)
	}
}
