package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-ci/slipway/internal/agent/wire"
	"github.com/slipway-ci/slipway/internal/edge"
)

// fleet are simulated agents that stream and finish each job at once.
type fleet struct {
	group  *errgroup.Group
	ctx    context.Context // done when an agent fails
	cancel context.CancelFunc
	took   chan time.Duration // from runnable to accepted, one per job

	chunks []wire.Chunk // what each job prints
	told   atomic.Int64 // how large a chunk may be, as the last job said

	known sync.Map      // ids of agents that have had a stream
	came  atomic.Int64  // their number
	open  atomic.Int64  // streams
	every time.Duration // how long a stream is held before it is opened again; 0: until the server ends it
}

// idling is how an official agent behaves that streams: a new stream each minute, a heartbeat every
// 30 s (api/streaming.go and agent/agent_worker.go of v3.138.1, with the interval that we answer).
const (
	streamFor      = time.Minute
	heartbeatEvery = 30 * time.Second
)

// printed is a chunk of one line, as an agent sends it.
func printed(line string) (wire.Chunk, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(line))
	err = errors.Join(err, z.Close())
	return wire.Chunk{Sequence: 1, Size: len(line), Gzip: b.Bytes()}, err
}

// connect registers n agents and opens their streams.
func (s *server) connect(ctx context.Context, n int, every time.Duration) (*fleet, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 0, n
	client := &http.Client{Transport: transport}
	line, err := printed("hello\r\n")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	f := &fleet{cancel: cancel, took: make(chan time.Duration, 100_000), chunks: []wire.Chunk{line}, every: every}
	f.group, ctx = errgroup.WithContext(ctx)
	f.ctx = ctx
	turn := make(chan struct{}, 64) // as many register at once
	for i := range n {
		f.group.Go(func() error { return s.simulate(ctx, client, fmt.Sprintf("simulated-%d", i), f, turn) })
	}
	// Of many streams that are opened anew now and then, some are always closed.
	err = await(ctx, 5*time.Millisecond, func() bool { return f.came.Load() == int64(n) })
	if err != nil {
		return nil, errors.Join(err, f.stop())
	}
	return f, nil
}

// stop ends the agents and returns why one ended before.
func (f *fleet) stop() error {
	f.cancel()
	return f.group.Wait()
}

// simulate is one agent, from registration until ctx ends.
func (s *server) simulate(ctx context.Context, client *http.Client, name string, f *fleet, turn chan struct{}) error {
	turn <- struct{}{}
	session, id, err := s.register(ctx, client, name)
	<-turn
	if err != nil {
		return err
	}
	f.group.Go(func() error { return beat(ctx, session) })
	for ctx.Err() == nil {
		if err := s.hold(ctx, session, id, f); err != nil && ctx.Err() == nil {
			return fmt.Errorf("stream of %s: %w", name, err)
		}
	}
	return nil
}

func (s *server) register(ctx context.Context, client *http.Client, name string) (*wire.Client, string, error) {
	registration := &wire.Client{Endpoint: s.URL + "/v3", Token: s.AgentToken, UserAgent: "slipway-load", HTTP: client}
	request := wire.RegisterRequest{
		Name: name, Hostname: "load", OS: "linux", Arch: "amd64", ScriptEvalEnabled: true,
		Version: "load", MetaData: []string{"queue=default"}, Features: []string{},
	}
	self, err := registration.Register(ctx, request)
	for wire.Status(err) == http.StatusServiceUnavailable && ctx.Err() == nil {
		pause(ctx, time.Second) // more came from this address within a second than are served
		self, err = registration.Register(ctx, request)
	}
	if err != nil {
		return nil, "", fmt.Errorf("register %s: %w", name, err)
	}
	session := registration.WithToken(self.AccessToken)
	if err := session.Connect(ctx); err != nil {
		return nil, "", fmt.Errorf("connect %s: %w", name, err)
	}
	return session, self.ID, nil
}

// beat sends heartbeats until ctx ends. A server that is away for a while is no reason to stop.
func beat(ctx context.Context, session *wire.Client) error {
	wait := time.Duration(rand.Int64N(int64(heartbeatEvery)))
	for {
		if pause(ctx, wait); ctx.Err() != nil {
			return nil
		}
		if _, err := session.Heartbeat(ctx, time.Now()); err != nil && wire.Status(err) != 0 && wire.Status(err) < 500 {
			return fmt.Errorf("heartbeat: %w", err)
		}
		wait = heartbeatEvery
	}
}

// hold opens a stream and takes jobs from it for as long as the fleet holds one. Where streams are
// held for ever a broken one is an error; elsewhere the agent opens another within a second, as the
// official one does.
func (s *server) hold(ctx context.Context, session *wire.Client, id string, f *fleet) error {
	if f.every == 0 {
		return s.stream(ctx, session, id, f)
	}
	held, cancel := context.WithTimeout(ctx, f.every/2+time.Duration(rand.Int64N(int64(f.every))))
	defer cancel()
	err := s.stream(held, session, id, f)
	switch connect.CodeOf(err) {
	case connect.CodeUnauthenticated, connect.CodePermissionDenied, connect.CodeUnimplemented:
		return err // an agent gives streaming up for good
	}
	pause(ctx, time.Duration(rand.Int64N(int64(time.Second))))
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// stream takes jobs from one stream until it ends.
func (s *server) stream(ctx context.Context, session *wire.Client, id string, f *fleet) error {
	request := connect.NewRequest(&edge.StreamPingsRequest{AgentId: id})
	request.Header().Set("Authorization", "Token "+session.Token)
	messages, err := edge.NewAgentEdgeServiceClient(session.HTTP, s.URL, connect.WithGRPC()).StreamPings(ctx, request)
	if err != nil {
		return err
	}
	defer messages.Close()
	opened := false
	defer func() {
		if opened {
			f.open.Add(-1)
		}
	}()
	for messages.Receive() {
		if !opened {
			opened = true
			f.open.Add(1)
			if _, before := f.known.LoadOrStore(id, true); !before {
				f.came.Add(1)
			}
		}
		if assigned := messages.Msg().GetJobAssigned(); assigned != nil {
			if err := s.work(ctx, session, assigned.GetJob().GetId(), f); err != nil {
				return err
			}
		}
	}
	if connect.CodeOf(messages.Err()) == connect.CodeDeadlineExceeded {
		return nil // the server asks to open it again
	}
	return messages.Err()
}

// work runs a job of which nothing is executed: accept, start, one chunk, finish.
func (s *server) work(ctx context.Context, session *wire.Client, id string, f *fleet) error {
	job, err := session.Accept(ctx, id)
	if wire.Status(err) == http.StatusUnprocessableEntity {
		return nil // another agent has it
	}
	if err != nil {
		return err
	}
	runnable, err := time.Parse(time.RFC3339Nano, job.RunnableAt)
	if err != nil {
		return err
	}
	f.took <- time.Since(runnable)
	f.told.Store(int64(job.ChunksMaxSizeBytes))
	client := session.WithToken(job.Token)
	if err := client.Start(ctx, id, time.Now().UTC()); err != nil {
		return err
	}
	for _, c := range f.chunks {
		if err := client.UploadChunk(ctx, id, c); err != nil {
			return err
		}
	}
	return client.Finish(ctx, id, wire.Finish{ExitStatus: "0", FinishedAt: time.Now().UTC().Format(time.RFC3339Nano)})
}
