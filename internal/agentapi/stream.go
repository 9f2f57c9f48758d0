package agentapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"github.com/slipway-ci/slipway/internal/auth"
	"github.com/slipway-ci/slipway/internal/edge"
	"github.com/slipway-ci/slipway/internal/live"
)

const (
	// sendTimeout bounds the writing of one message to a stream.
	sendTimeout = 10 * time.Second
	// keepaliveEvery is how long a stream is silent before a keepalive is sent to an agent that
	// knows keepalives.
	keepaliveEvery = 30 * time.Second
	// reofferAfter is how long an accepted job may stay unstarted before the agent is sent it
	// again. Agents start a job at once; one that has not lost the answer to its acceptance.
	reofferAfter = 45 * time.Second
	// compressAbove keeps compressors, which are large, out of streams of tiny messages. In bytes.
	compressAbove = 1 << 16
)

// streaming is the handler of streaming pings and its path. It serves gRPC and Connect over HTTP/1.1
// and HTTP/2.
func (a *Server) streaming() (string, http.Handler) {
	path, h := edge.NewAgentEdgeServiceHandler(pingStreams{a}, connect.WithCompressMinBytes(compressAbove))
	return path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(newTimedWriter(w), r)
	})
}

// pingStreams implements edge.AgentEdgeServiceHandler.
type pingStreams struct{ api *Server }

// StreamPings sends an agent its orders, at first and whenever they change, until the agent goes,
// its session ends or the server does.
func (p pingStreams) StreamPings(ctx context.Context, req *connect.Request[edge.StreamPingsRequest], out *connect.ServerStream[edge.StreamPingsResponse]) error {
	a := p.api
	agent, err := a.session(ctx, &http.Request{Header: req.Header()})
	if errors.Is(err, auth.ErrUnauthorized) {
		return connect.NewError(connect.CodeUnauthenticated, errors.New("the access token is not valid for this"))
	}
	if err != nil {
		return a.unavailable(ctx, err)
	}
	if req.Msg.GetAgentId() != agent.AgentID {
		return connect.NewError(connect.CodePermissionDenied, errors.New("the access token belongs to another agent"))
	}
	s := &pingStream{api: a, agentID: agent.AgentID, keepalive: req.Msg.GetAgentVersion() != "", out: out}
	return s.run(ctx)
}

func (a *Server) unavailable(ctx context.Context, err error) error {
	a.Log.ErrorContext(ctx, "streaming ping", "err", err)
	return connect.NewError(connect.CodeUnavailable, errors.New("something went wrong on the server; its log has the cause"))
}

// errReconnect ends a stream that the agent should open again.
var errReconnect = connect.NewError(connect.CodeDeadlineExceeded, errors.New("the server ends this stream; reconnect"))

// pingStream is one open stream. It reads the database when a hint for its agent comes and every
// Reread, and holds no buffer between messages.
type pingStream struct {
	api       *Server
	agentID   string
	keepalive bool
	out       *connect.ServerStream[edge.StreamPingsResponse]

	last  order     // sent or, for busy, seen
	since time.Time // of last
	sent  time.Time // the newest message
}

func (s *pingStream) run(ctx context.Context) error {
	// Subscribing first leaves no gap between the first look and the first hint.
	sub := s.api.Hub.Subscribe(live.Agent(s.agentID))
	defer sub.Close()
	timer := time.NewTimer(s.api.Reread)
	defer timer.Stop()
	for {
		if err := s.look(ctx); err != nil {
			return err
		}
		timer.Reset(s.api.Reread)
		select {
		case <-ctx.Done():
			return errReconnect
		case <-s.api.closing:
			return errReconnect
		case <-sub.C:
		case <-timer.C:
		}
	}
}

// look sends what changed.
func (s *pingStream) look(ctx context.Context) error {
	errand, err := s.api.Store.Errand(ctx, s.agentID)
	if err != nil {
		return s.fault(ctx, err)
	}
	if !errand.Live() {
		return connect.NewError(connect.CodeUnauthenticated, errors.New("the agent's session has ended"))
	}
	return s.tell(orderFor(errand), s.api.Now())
}

// fault ends the stream: the agent polls meanwhile and comes back.
func (s *pingStream) fault(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errReconnect
	}
	return s.api.unavailable(ctx, err)
}

func (s *pingStream) tell(next order, now time.Time) error {
	first := s.last == order{}
	changed := next != s.last
	if changed {
		s.last, s.since = next, now
	}
	switch {
	case next.accepted && now.Sub(s.since) >= reofferAfter:
		s.since = now
		return s.send(message(next), now)
	case changed && !next.accepted && next.action != busy:
		return s.send(message(next), now)
	case first:
		// An agent counts a stream without a first message as failed (3.138.2 on). To one that
		// runs a job, resume changes nothing.
		return s.send(message(order{action: idle}), now)
	case s.keepalive && now.Sub(s.sent) >= keepaliveEvery:
		return s.send(&edge.StreamPingsResponse{Action: &edge.StreamPingsResponse_Keepalive{Keepalive: &edge.KeepaliveAction{}}}, now)
	}
	return nil
}

// send sends a message. The first carries the request headers, beside its action: an agent that does
// not know them sees the action alone.
func (s *pingStream) send(m *edge.StreamPingsResponse, now time.Time) error {
	if s.sent.IsZero() && len(s.api.RequestHeaders) > 0 {
		m.RequestHeaders = &edge.RequestHeaders{Values: s.api.RequestHeaders}
	}
	s.sent = now
	return s.out.Send(m)
}

// message is an order as agents are told it.
func message(o order) *edge.StreamPingsResponse {
	switch o.action {
	case pause:
		return &edge.StreamPingsResponse{Action: &edge.StreamPingsResponse_Pause{Pause: &edge.PauseAction{Reason: o.note}}}
	case disconnect:
		return &edge.StreamPingsResponse{Action: &edge.StreamPingsResponse_Disconnect{Disconnect: &edge.DisconnectAction{Reason: o.note}}}
	case run:
		return &edge.StreamPingsResponse{Action: &edge.StreamPingsResponse_JobAssigned{
			JobAssigned: &edge.JobAssignedAction{Job: &edge.Job{Id: o.jobID}},
		}}
	case idle, busy:
	}
	return &edge.StreamPingsResponse{Action: &edge.StreamPingsResponse_Resume{Resume: &edge.ResumeAction{}}}
}

// timedWriter bounds each write instead of the whole answer.
type timedWriter struct {
	http.ResponseWriter
	conn *http.ResponseController
}

func newTimedWriter(w http.ResponseWriter) *timedWriter {
	t := &timedWriter{w, http.NewResponseController(w)}
	// A deadline that cannot be set (http.ErrNotSupported, in a server of another kind) leaves
	// writes bounded by the connection's keep-alive.
	_ = t.conn.SetReadDeadline(time.Time{})
	_ = t.conn.SetWriteDeadline(time.Time{})
	return t
}

func (t *timedWriter) Write(b []byte) (n int, err error) {
	t.timed(func() { n, err = t.ResponseWriter.Write(b) })
	return n, err
}

// Flush implements http.Flusher, which connect asks for.
func (t *timedWriter) Flush() {
	t.timed(func() {
		// A failure shows in the next write, and the request's context ends.
		_ = t.conn.Flush()
	})
}

// timed takes the deadline away again: on HTTP/2 it would reset the stream when it passes.
func (t *timedWriter) timed(write func()) {
	_ = t.conn.SetWriteDeadline(time.Now().Add(sendTimeout))
	write()
	_ = t.conn.SetWriteDeadline(time.Time{})
}

// Unwrap lets http.ResponseController reach what is underneath.
func (t *timedWriter) Unwrap() http.ResponseWriter { return t.ResponseWriter }
