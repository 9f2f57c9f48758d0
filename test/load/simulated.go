package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net/http"
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

	printed wire.Chunk // what each job prints
}

// printed is a chunk of one line, as an agent sends it.
func printed(line string) (wire.Chunk, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(line))
	err = errors.Join(err, z.Close())
	return wire.Chunk{Sequence: 1, Size: len(line), Gzip: b.Bytes()}, err
}

// connect registers n agents and opens their streams.
func (s *server) connect(ctx context.Context, n int) (*fleet, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = n
	client := &http.Client{Transport: transport}
	line, err := printed("hello\r\n")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	f := &fleet{cancel: cancel, took: make(chan time.Duration, 100_000), printed: line}
	f.group, ctx = errgroup.WithContext(ctx)
	f.ctx = ctx
	ready := make(chan struct{}, n)
	for i := range n {
		f.group.Go(func() error { return s.simulate(ctx, client, fmt.Sprintf("simulated-%d", i), f, ready) })
	}
	for range n {
		select {
		case <-ready:
		case <-ctx.Done():
			return nil, f.stop()
		}
	}
	return f, nil
}

// stop ends the agents and returns why one ended before.
func (f *fleet) stop() error {
	f.cancel()
	return f.group.Wait()
}

// simulate is one agent, from registration until ctx ends.
func (s *server) simulate(ctx context.Context, client *http.Client, name string, f *fleet, ready chan<- struct{}) error {
	registration := &wire.Client{Endpoint: s.URL + "/v3", Token: s.AgentToken, UserAgent: "slipway-load", HTTP: client}
	self, err := registration.Register(ctx, wire.RegisterRequest{
		Name: name, Hostname: "load", OS: "linux", Arch: "amd64", ScriptEvalEnabled: true,
		Version: "load", MetaData: []string{"queue=default"}, Features: []string{},
	})
	if err != nil {
		return fmt.Errorf("register %s: %w", name, err)
	}
	session := registration.WithToken(self.AccessToken)
	if err := session.Connect(ctx); err != nil {
		return fmt.Errorf("connect %s: %w", name, err)
	}
	for ctx.Err() == nil {
		if err := s.stream(ctx, session, self.ID, f, ready); err != nil && ctx.Err() == nil {
			return fmt.Errorf("stream of %s: %w", name, err)
		}
		ready = nil // reported once
	}
	return nil
}

// stream takes jobs from one stream until it ends.
func (s *server) stream(ctx context.Context, session *wire.Client, id string, f *fleet, ready chan<- struct{}) error {
	request := connect.NewRequest(&edge.StreamPingsRequest{AgentId: id})
	request.Header().Set("Authorization", "Token "+session.Token)
	messages, err := edge.NewAgentEdgeServiceClient(session.HTTP, s.URL, connect.WithGRPC()).StreamPings(ctx, request)
	if err != nil {
		return err
	}
	defer messages.Close()
	for messages.Receive() {
		if ready != nil {
			ready <- struct{}{}
			ready = nil
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
	client := session.WithToken(job.Token)
	if err := client.Start(ctx, id, time.Now().UTC()); err != nil {
		return err
	}
	if err := client.UploadChunk(ctx, id, f.printed); err != nil {
		return err
	}
	return client.Finish(ctx, id, wire.Finish{ExitStatus: "0", FinishedAt: time.Now().UTC().Format(time.RFC3339Nano)})
}
