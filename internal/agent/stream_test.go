package agent

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/slipway-ci/slipway/internal/edge"
)

// scripted serves streams that say what the test tells them.
type scripted struct {
	say chan *edge.StreamPingsResponse // nil ends the stream
	end error
}

func (s *scripted) StreamPings(ctx context.Context, _ *connect.Request[edge.StreamPingsRequest], out *connect.ServerStream[edge.StreamPingsResponse]) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case m := <-s.say:
			if m == nil {
				return s.end
			}
			if err := out.Send(m); err != nil {
				return err
			}
		}
	}
}

func resumeMessage() *edge.StreamPingsResponse {
	return &edge.StreamPingsResponse{Action: &edge.StreamPingsResponse_Resume{Resume: &edge.ResumeAction{}}}
}

func assign(job string) *edge.StreamPingsResponse {
	return &edge.StreamPingsResponse{Action: &edge.StreamPingsResponse_JobAssigned{
		JobAssigned: &edge.JobAssignedAction{Job: &edge.Job{Id: job}},
	}}
}

func disconnectMessage() *edge.StreamPingsResponse {
	return &edge.StreamPingsResponse{Action: &edge.StreamPingsResponse_Disconnect{Disconnect: &edge.DisconnectAction{Reason: "test"}}}
}

// streamServer is a fake whose stream is scripted and whose pings offer nothing.
func streamServer(t *testing.T, end error) (*server, *scripted) {
	t.Helper()
	s := newServer(t)
	s.streams = true
	sc := &scripted{say: make(chan *edge.StreamPingsResponse), end: end}
	path, handler := edge.NewAgentEdgeServiceHandler(sc)
	inner := s.Config.Handler
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, path) {
			handler.ServeHTTP(w, r)
			return
		}
		inner.ServeHTTP(w, r)
	})
	return s, sc
}

func TestAPausedAgentTakesItsJobWhenResumed(t *testing.T) {
	t.Parallel()
	s, sc := streamServer(t, nil)
	j := s.add("true", nil)
	s.offered = 1
	ended := make(chan error, 1)
	c := s.config(t)
	c.PingMode = "stream-only"
	go func() { ended <- s.run(t.Context(), c) }()
	sc.say <- &edge.StreamPingsResponse{
		Action:         &edge.StreamPingsResponse_Pause{Pause: &edge.PauseAction{Reason: "maintenance"}},
		RequestHeaders: &edge.RequestHeaders{Values: map[string]string{"Buildkite-Shard": "7", "Authorization": "no"}},
	}
	resumed := time.Now()
	sc.say <- resumeMessage()
	sc.say <- assign(j.ID)
	sc.say <- assign(j.ID) // a repetition of what is accepted already
	<-s.done
	sc.say <- disconnectMessage()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if j.accepted.Before(resumed) || j.finish.ExitStatus != "0" {
		t.Errorf("accepted %s, finished %+v", j.accepted, j.finish)
	}
	accepts := 0
	for _, call := range s.calls {
		if strings.Contains(call, "/accept") {
			accepts++
		}
	}
	if accepts != 1 || slices.ContainsFunc(s.calls, func(c string) bool { return strings.HasPrefix(c, "GET /v3/ping") }) {
		t.Errorf("calls:\n%s", strings.Join(s.calls, "\n"))
	}
}

func TestAStreamThatEndsInOrderIsOpenedAgainWithoutPolling(t *testing.T) {
	t.Parallel()
	s, sc := streamServer(t, connect.NewError(connect.CodeDeadlineExceeded, errors.New("reconnect")))
	ended := make(chan error, 1)
	c := s.config(t)
	c.PingMode = "auto"
	go func() { ended <- s.run(t.Context(), c) }()
	for range 3 {
		sc.say <- resumeMessage()
		sc.say <- nil
	}
	sc.say <- disconnectMessage()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(s.calls, func(c string) bool { return strings.HasPrefix(c, "GET /v3/ping") }) {
		t.Errorf("calls:\n%s", strings.Join(s.calls, "\n"))
	}
}

func TestABrokenStreamIsReplacedByPolling(t *testing.T) {
	t.Parallel()
	s, sc := streamServer(t, connect.NewError(connect.CodeUnavailable, errors.New("going down")))
	j := s.add("true", nil)
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	c := s.config(t)
	c.PingMode = "auto"
	go func() { ended <- s.run(ctx, c) }()
	sc.say <- resumeMessage()
	sc.say <- nil
	<-s.done
	cancel()
	if err := <-ended; err != nil || j.finish.ExitStatus != "0" {
		t.Errorf("%v, %+v", err, j.finish)
	}
}

func TestStreamOnlyNeedsAServerThatStreams(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.config(t)
	c.PingMode = "stream-only"
	if err := s.run(t.Context(), c); err == nil || !strings.Contains(err.Error(), "streaming pings") {
		t.Errorf("ended with %v", err)
	}
}

// TestAServerThatIsAwayLosesNothing answers the end of a job with errors for a
// while.
func TestAServerThatIsAwayLosesNothing(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	j := s.add("seq 1 100", nil)
	for _, call := range []string{"POST /v3/jobs/job-1/chunks", "POST /v3/heartbeat", "GET /v3/jobs/job-1"} {
		s.status[call] = 503
	}
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- s.run(ctx, s.config(t)) }()
	s.await(t, func() bool {
		return slices.ContainsFunc(s.calls, func(c string) bool { return strings.Contains(c, "heartbeat") })
	})
	s.mu.Lock()
	clear(s.status)
	s.mu.Unlock()
	<-s.done
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if j.finish.ExitStatus != "0" || j.finish.ChunksFailedCount != 0 || !strings.Contains(j.text(), "\n99\n100\n") {
		t.Errorf("%+v\n%s", j.finish, j.text())
	}
}

func TestKillingEndsAJobWhoseServerIsAway(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, call := range []string{"POST /v3/jobs/job-1/chunks", "PUT /v3/jobs/job-1/finish", "POST /v3/disconnect"} {
		s.status[call] = 422
	}
	s.status["POST /v3/jobs/job-1/chunks"] = 503
	s.add("yes", nil)
	c := s.config(t)
	kill := make(chan struct{})
	c.Kill, c.CancelGrace = kill, 100*time.Millisecond
	ended := make(chan error, 1)
	go func() { ended <- s.run(t.Context(), c) }()
	s.await(t, func() bool {
		return slices.ContainsFunc(s.calls, func(c string) bool { return strings.Contains(c, "chunks") })
	})
	close(kill)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestARefusedHeartbeatEndsTheWorkerAndItsJob(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.status["POST /v3/heartbeat"] = 401
	j := s.add("sleep 60", nil)
	if err := s.run(t.Context(), s.config(t)); err == nil || !strings.Contains(err.Error(), "heartbeat") {
		t.Errorf("ended with %v", err)
	}
	if j.finish.SignalReason != "agent_stop" {
		t.Errorf("finished as %+v", j.finish)
	}
}

func TestAJobWhoseStartWasNotTakenMayBeOfferedAgain(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	const start = "PUT /v3/jobs/job-1/start"
	j := s.add("true", nil)
	s.status[start] = http.StatusGone
	inner := s.Config.Handler
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner.ServeHTTP(w, r)
		if r.Method+" "+r.URL.Path == start {
			s.mu.Lock()
			s.status[start], s.offered = 0, 0
			s.mu.Unlock()
		}
	})
	s.runAll(t, s.config(t))
	if j.finish.ExitStatus != "0" {
		t.Errorf("the job ended with %+v", j.finish)
	}
}
