package agentapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	"github.com/slipway-ci/slipway/internal/auth"
	"github.com/slipway-ci/slipway/internal/edge"
	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/store"
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
	// maxRequest bounds, in bytes, what an agent sends to open a stream: its id and version.
	maxRequest = 1 << 12
)

// streamKinds are the content types of streams that connect knows, in the two codecs that it has without options.
var streamKinds = regexp.MustCompile(`^application/((grpc|grpc-web)(\+proto|\+json)?|connect\+(proto|json))(;|$)`)

// pingRoute is the handler of streaming pings and its pattern. It serves gRPC and Connect over HTTP/1.1
// and HTTP/2. A handler of connect is made for each stream, which may ask for its connection.
func (a *Server) pingRoute() (string, http.Handler) {
	return "POST " + edge.AgentEdgeServiceStreamPingsProcedure, httperr.Handler(a.Log, renderError, a.openStream)
}

// openStream reads what the agent sends before it waits for a turn, and waits before the protocol is looked at, which is most of the work.
func (a *Server) openStream(w http.ResponseWriter, r *http.Request) error {
	if kind := r.Header.Get("Content-Type"); !streamKinds.MatchString(kind) {
		return httperr.New(http.StatusUnsupportedMediaType, "A stream is gRPC, gRPC-Web or Connect; %q is none of them.", kind)
	}
	body, err := httperr.Body(w, r, maxRequest)
	if err != nil {
		return err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	endTurn, err := a.turns.take(r.Context())
	if err != nil {
		return err
	}
	defer endTurn()
	out := newTimedWriter(w)
	if takeable(r) {
		out.takeable = true
		w.Header().Set("Connection", "close")
	}
	_, h := edge.NewAgentEdgeServiceHandler(pingStreams{a, out, endTurn}, connect.WithCompressMinBytes(compressAbove))
	h.ServeHTTP(out, r)
	return nil
}

// pingStreams implements edge.AgentEdgeServiceHandler, for one request.
type pingStreams struct {
	api     *Server
	answer  *timedWriter
	endTurn func()
}

// StreamPings sends an agent its orders, at first and whenever they change, until the agent goes,
// its session ends or the server does. Where the connection can be taken over it returns after the first.
func (p pingStreams) StreamPings(ctx context.Context, req *connect.Request[edge.StreamPingsRequest], out *connect.ServerStream[edge.StreamPingsResponse]) error {
	s := &pingStream{api: p.api, agentID: req.Msg.GetAgentId(), keepalive: req.Msg.GetAgentVersion() != ""}
	return s.run(ctx, req.Header(), out, p)
}

func (a *Server) unavailable(ctx context.Context, err error) error {
	a.Log.ErrorContext(ctx, "streaming ping", "err", err)
	return connect.NewError(connect.CodeUnavailable, errors.New("something went wrong on the server; its log has the cause"))
}

// Why streams end.
var (
	errReconnect = connect.NewError(connect.CodeDeadlineExceeded, errors.New("the server ends this stream; reconnect"))
	errSession   = connect.NewError(connect.CodeUnauthenticated, errors.New("the agent's session has ended"))
	errGone      = errors.New("the agent is gone")
)

// line is a stream's way to its agent.
type line interface {
	Send(m *edge.StreamPingsResponse) error
	// End is called once, after the last Send. It waits for no more than the agent to take it, for lastWords.
	End(err error)
}

// served is the line of a stream whose handler waits for its end.
type served struct {
	*connect.ServerStream[edge.StreamPingsResponse]
	ended chan error
}

func (s served) End(err error) { s.ended <- err }

// pingStream is one open stream. Between messages no goroutine runs for it but the one that notices that its agent
// goes: a hint for the agent, and the rounds of the server's streams, wake one that looks and ends.
type pingStream struct {
	api       *Server
	agentID   string
	tokenHash string
	keepalive bool
	hints     *live.Subscription
	wanted    atomic.Int32 // looks asked for since the one under way began, that one included; 0: none is under way
	reread    time.Time    // when the rounds are to read for it next; theirs alone

	mu    sync.Mutex // held while sending
	line  line
	over  bool
	last  order     // sent or, for busy, seen
	told  action    // the newest that was sent
	since time.Time // of last
	sent  time.Time // the newest message
}

// run opens a stream. It returns when the stream has ended or stands without the request.
func (s *pingStream) run(ctx context.Context, request http.Header, out *connect.ServerStream[edge.StreamPingsResponse], p pingStreams) error {
	handler := served{out, make(chan error, 1)}
	s.line = handler
	s.wanted.Store(1)
	// Listening first leaves no gap between the first look and the first hint.
	s.hints = s.api.Hub.Call(s.wake, live.Agent(s.agentID))
	if err := s.begin(ctx, request, p.endTurn); err != nil {
		s.hints.Close()
		return err
	}
	taken := takeOver(ctx, p.answer)
	if taken != nil {
		s.line = taken
	}
	if !s.api.streams.add(s) {
		s.end(errReconnect)
	}
	if !s.wanted.CompareAndSwap(1, 0) {
		s.api.streams.start(s.looks)
	}
	if taken != nil {
		s.api.streams.start(func() { s.end(taken.wait()) })
		return nil
	}
	select {
	case <-ctx.Done():
		s.end(errReconnect)
		return errReconnect
	case err := <-handler.ended:
		return err
	}
}

// begin sends the first message, to the agent whose token the request bears. Who the agent is is found out in its turn.
func (s *pingStream) begin(ctx context.Context, request http.Header, endTurn func()) error {
	r := &http.Request{Header: request}
	s.tokenHash, _ = auth.SessionHash(r)
	errand, err := s.api.session(ctx, r)
	endTurn()
	switch {
	case errors.Is(err, auth.ErrUnauthorized):
		return connect.NewError(connect.CodeUnauthenticated, errors.New("the access token is not valid for this"))
	case err != nil:
		return s.fault(ctx, err)
	case errand.AgentID != s.agentID:
		return connect.NewError(connect.CodePermissionDenied, errors.New("the access token belongs to another agent"))
	}
	return s.tell(orderFor(errand), s.api.Now())
}

// wake asks for a look.
func (s *pingStream) wake() {
	if s.wanted.Add(1) == 1 {
		s.api.streams.start(s.looks)
	}
}

// looks looks until nobody has asked for more.
func (s *pingStream) looks() {
	ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
	defer cancel()
	for {
		asked := s.wanted.Load()
		if err := s.look(ctx); err != nil {
			s.end(err) // wanted stays: it does not look again
			return
		}
		if s.wanted.CompareAndSwap(asked, 0) {
			return
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
		return errSession
	}
	return s.tell(orderFor(errand), s.api.Now())
}

// fault ends the stream: the agent polls meanwhile and comes back.
func (s *pingStream) fault(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return errReconnect
	}
	return s.api.unavailable(ctx, err)
}

// stale says whether a look would have something to tell an agent whose errand was just read.
func (s *pingStream) stale(errand store.Errand, now time.Time) bool {
	if !s.mu.TryLock() {
		return false // it is being told something; the next round sees whether that was all
	}
	defer s.mu.Unlock()
	next := orderFor(errand)
	return !errand.Live() || next != s.last || s.reoffers(next, now) || s.silent(now)
}

func (s *pingStream) reoffers(next order, now time.Time) bool {
	return next.accepted && now.Sub(s.since) >= reofferAfter
}

func (s *pingStream) silent(now time.Time) bool {
	return s.keepalive && now.Sub(s.sent) >= keepaliveEvery
}

func (s *pingStream) tell(next order, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := s.last == order{}
	resumed := s.told == pause && next.action != pause
	changed := next != s.last
	if changed {
		s.last, s.since = next, now
	}
	switch {
	case s.reoffers(next, now):
		s.since = now
		return s.give(next, now)
	case changed && !next.accepted && next.action != busy:
		return s.give(next, now)
	case first, resumed:
		// An agent counts a stream without a first message as failed (3.138.2 on). To one that
		// runs a job, resume changes nothing but a pause that it keeps for when the job has ended.
		return s.give(order{action: idle}, now)
	case s.silent(now):
		return s.send(&edge.StreamPingsResponse{Action: &edge.StreamPingsResponse_Keepalive{Keepalive: &edge.KeepaliveAction{}}}, now)
	}
	return nil
}

func (s *pingStream) give(o order, now time.Time) error {
	s.told = o.action
	return s.send(message(o), now)
}

// send sends a message. The first carries the request headers, beside its action: an agent that does
// not know them sees the action alone. That there are none is said too: the agent may have some of an earlier time.
func (s *pingStream) send(m *edge.StreamPingsResponse, now time.Time) error {
	if s.over {
		return errGone
	}
	if s.sent.IsZero() {
		m.RequestHeaders = &edge.RequestHeaders{Values: s.api.RequestHeaders}
	}
	s.sent = now
	return s.line.Send(m)
}

// end ends the stream, once, when the message that is being sent is out.
func (s *pingStream) end(err error) {
	s.hints.Close()
	s.api.streams.remove(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	s.over = true
	s.line.End(err)
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
	conn     *http.ResponseController
	takeable bool // what connect writes, taken can go on with
	taken    bool // with the connection: what is written goes nowhere
}

func newTimedWriter(w http.ResponseWriter) *timedWriter {
	t := &timedWriter{ResponseWriter: w, conn: http.NewResponseController(w)}
	// A deadline that cannot be set (http.ErrNotSupported, in a server of another kind) leaves
	// writes bounded by the connection's keep-alive.
	_ = t.conn.SetReadDeadline(time.Time{})
	_ = t.conn.SetWriteDeadline(time.Time{})
	return t
}

func (t *timedWriter) Write(b []byte) (n int, err error) {
	if t.taken {
		return len(b), nil
	}
	t.timed(func() { n, err = t.ResponseWriter.Write(b) })
	return n, err
}

// Flush implements http.Flusher, which connect asks for.
func (t *timedWriter) Flush() {
	if t.taken {
		return
	}
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
