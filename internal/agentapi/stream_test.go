package agentapi_test

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/slipway-ci/slipway/internal/agent/wire"
	"github.com/slipway-ci/slipway/internal/agentapi"
	"github.com/slipway-ci/slipway/internal/edge"
	"github.com/slipway-ci/slipway/internal/store/storetest"
)

// stream is an open streaming ping.
type stream struct {
	t  *testing.T
	in *connect.ServerStreamForClient[edge.StreamPingsResponse]
}

// open opens a stream as agents do: gRPC, here over HTTP/1.1.
func (w *world) open(t *testing.T, token, agentID, version string) stream {
	t.Helper()
	return w.openWith(t, &http.Client{}, token, agentID, version)
}

func (w *world) openWith(t *testing.T, client *http.Client, token, agentID, version string) stream {
	t.Helper()
	return w.openAs(t, edge.NewAgentEdgeServiceClient(client, w.url, connect.WithGRPC()), token, agentID, version)
}

func (w *world) openAs(t *testing.T, c edge.AgentEdgeServiceClient, token, agentID, version string) stream {
	t.Helper()
	req := connect.NewRequest(&edge.StreamPingsRequest{AgentId: agentID, AgentVersion: version})
	req.Header().Set("Authorization", "Token "+token)
	in := must(c.StreamPings(t.Context(), req))(t)
	t.Cleanup(func() { in.Close() })
	return stream{t, in}
}

// next is the next message in words.
func (s stream) next() string {
	s.t.Helper()
	if !s.in.Receive() {
		return "end: " + connect.CodeOf(s.in.Err()).String()
	}
	switch m := s.in.Msg().GetAction().(type) {
	case *edge.StreamPingsResponse_Resume:
		return "resume"
	case *edge.StreamPingsResponse_Pause:
		return "pause: " + m.Pause.GetReason()
	case *edge.StreamPingsResponse_Disconnect:
		return "disconnect"
	case *edge.StreamPingsResponse_JobAssigned:
		return "job " + m.JobAssigned.GetJob().GetId()
	case *edge.StreamPingsResponse_Keepalive:
		return "keepalive"
	}
	return "nothing"
}

func (s stream) want(messages ...string) {
	s.t.Helper()
	for _, want := range messages {
		if got := s.next(); got != want {
			s.t.Fatalf("message = %q, want %q", got, want)
		}
	}
}

// TestStreamCarriesOrders runs with hints alone, and with the timer alone.
func TestStreamCarriesOrders(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*agentapi.Deps){
		"hints": func(d *agentapi.Deps) { d.Reread = time.Hour },
		"timer": func(d *agentapi.Deps) { d.Reread = time.Millisecond; d.Hub.Deaf.Store(true) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			w := newWorld(t, change)
			a := w.agent()
			s := w.open(t, a.AccessToken, a.ID, "")
			s.want("resume")
			if err := a.Pause(ctx, "for a look", 5); err != nil {
				t.Fatal(err)
			}
			s.want("pause: for a look")
			if err := a.Resume(ctx); err != nil {
				t.Fatal(err)
			}
			s.want("resume")
			j := w.job(w.build("steps:\n- command: true\n"))
			w.assign(j, a)
			s.want("job " + j.ID)
			accepted := must(a.Accept(ctx, j.ID))(t)
			w.runToEnd(t, w.client(accepted.Token), j.ID)
			s.want("resume")
			if err := a.Stop(ctx, false); err != nil {
				t.Fatal(err)
			}
			s.want("disconnect")
			if err := a.Disconnect(ctx); err != nil {
				t.Fatal(err)
			}
			s.want("end: unauthenticated")
		})
	}
}

// An agent keeps a pause for when its job has ended, and acts on the last that it was told until then.
func TestAPauseThatEndsDuringAJobIsTakenBack(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t)
	h := w.running()
	s := w.open(t, h.agent.AccessToken, h.agent.ID, "")
	s.want("resume")
	for range 2 {
		if err := h.agent.Pause(ctx, "", 5); err != nil {
			t.Fatal(err)
		}
		s.want("pause: ")
		if err := h.agent.Resume(ctx); err != nil {
			t.Fatal(err)
		}
		s.want("resume")
	}
	if err := h.agent.Pause(ctx, "again", 5); err != nil {
		t.Fatal(err)
	}
	s.want("pause: again")
	finish(t, h)
	if err := h.agent.Stop(ctx, false); err != nil {
		t.Fatal(err)
	}
	s.want("disconnect")
}

func TestStreamsShareAnHTTP2Connection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var only http.Protocols
	only.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: &http.Transport{Protocols: &only}}
	t.Cleanup(client.CloseIdleConnections)
	var streams []stream
	var agents []agent
	for range 3 {
		a := w.agent()
		agents = append(agents, a)
		streams = append(streams, w.openWith(t, client, a.AccessToken, a.ID, "3.140.0"))
	}
	for i, s := range streams {
		s.want("resume")
		if err := agents[i].Pause(t.Context(), "over HTTP/2", 1); err != nil {
			t.Fatal(err)
		}
		s.want("pause: over HTTP/2")
	}
	w.api.EndStreams()
	for _, s := range streams {
		s.want("end: deadline_exceeded")
	}
}

func TestStreamTellsAtOnceWhatItMissed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.agent()
	j := w.job(w.build("steps:\n- command: true\n"))
	w.assign(j, a)
	w.open(t, a.AccessToken, a.ID, "").want("job " + j.ID)
	accepted := must(a.Accept(t.Context(), j.ID))(t)
	if err := w.client(accepted.Token).Start(t.Context(), j.ID, w.Now()); err != nil {
		t.Fatal(err)
	}
	w.open(t, a.AccessToken, a.ID, "").want("resume")
}

func TestStreamEndsCleanlyBeforeShutdown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.agent()
	s := w.open(t, a.AccessToken, a.ID, "3.140.0")
	s.want("resume")
	w.api.EndStreams()
	s.want("end: deadline_exceeded")
}

func TestStreamRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, other := w.agent(), w.agent()
	h := w.running()
	for name, tt := range map[string]struct{ token, id, want string }{
		"nobody":             {"", a.ID, "end: unauthenticated"},
		"registration token": {registrationToken, a.ID, "end: unauthenticated"},
		"job token":          {h.Token, h.agent.ID, "end: unauthenticated"},
		"another agent":      {a.AccessToken, other.ID, "end: permission_denied"},
	} {
		if got := w.open(t, tt.token, tt.id, "").next(); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

func TestKeepaliveGoesOnlyToAgentsThatKnowIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(d *agentapi.Deps) { d.Reread = time.Millisecond })
	a, old := w.agent(), w.agent()
	s, silent := w.open(t, a.AccessToken, a.ID, "3.140.0"), w.open(t, old.AccessToken, old.ID, "")
	s.want("resume")
	silent.want("resume")
	w.advance(time.Minute)
	s.want("keepalive")
	if err := w.PauseAgent(context.Background(), old.ID, "", time.Time{}); err != nil {
		t.Fatal(err)
	}
	silent.want("pause: ")
}

func TestAJobWhoseAcceptanceWasNotHeardIsOfferedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(d *agentapi.Deps) { d.Reread = time.Millisecond })
	a := w.agent()
	s := w.open(t, a.AccessToken, a.ID, "")
	s.want("resume")
	j := w.job(w.build("steps:\n- command: true\n"))
	w.assign(j, a)
	s.want("job " + j.ID)
	must(a.Accept(t.Context(), j.ID))(t)
	if p := must(a.Ping(t.Context()))(t); p.Job == nil || p.Job.ID != j.ID {
		t.Errorf("ping = %+v, want the job again", p)
	}
	// A stream that opens now sees the job accepted; it tells of it when that has lasted.
	later := w.open(t, a.AccessToken, a.ID, "")
	later.want("resume")
	w.advance(time.Minute)
	later.want("job " + j.ID)
}

// TestStreamsOfEveryProtocol: agents speak gRPC over HTTP/1.1, whose streams the server holds apart from requests. The others
// that connect serves carry the same.
func TestStreamsOfEveryProtocol(t *testing.T) {
	t.Parallel()
	var http2 http.Protocols
	http2.SetUnencryptedHTTP2(true)
	overHTTP2 := &http.Client{Transport: &http.Transport{Protocols: &http2}}
	t.Cleanup(overHTTP2.CloseIdleConnections)
	for name, tt := range map[string]struct {
		client  *http.Client
		options []connect.ClientOption
	}{
		"gRPC":                     {&http.Client{}, []connect.ClientOption{connect.WithGRPC()}},
		"gRPC over HTTP/2":         {overHTTP2, []connect.ClientOption{connect.WithGRPC()}},
		"gRPC of JSON":             {&http.Client{}, []connect.ClientOption{connect.WithGRPC(), connect.WithProtoJSON()}},
		"gRPC-Web":                 {&http.Client{}, []connect.ClientOption{connect.WithGRPCWeb()}},
		"Connect":                  {&http.Client{}, nil},
		"gRPC, compressed request": {&http.Client{}, []connect.ClientOption{connect.WithGRPC(), connect.WithSendGzip()}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			a := w.agent()
			c := edge.NewAgentEdgeServiceClient(tt.client, w.url, tt.options...)
			s := w.openAs(t, c, a.AccessToken, a.ID, "3.140.0")
			s.want("resume")
			if err := a.Pause(t.Context(), strings.Repeat("long ", 1000), 1); err != nil {
				t.Fatal(err)
			}
			s.want("pause: " + strings.Repeat("long ", 1000))
			w.api.EndStreams()
			s.want("end: deadline_exceeded")
			late := w.openAs(t, c, a.AccessToken, a.ID, "3.140.0")
			late.want("pause: "+strings.Repeat("long ", 1000), "end: deadline_exceeded")
		})
	}
}

// TestAStreamWhoseAgentIsGoneIsForgotten: of a fleet that opens its streams anew each minute nothing may pile up.
func TestAStreamWhoseAgentIsGoneIsForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.agent()
	c := openBare(t, w, a.AccessToken, a.ID)
	w.awaitStreams(t, 1)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	w.awaitStreams(t, 0)
}

// awaitStreams waits until the server knows of n streams. It sends a first message before it counts one.
func (w *world) awaitStreams(t *testing.T, n int) {
	t.Helper()
	within(t, fmt.Sprintf("%d streams", n), func() {
		for w.api.OpenStreams() != n {
			runtime.Gosched()
		}
	})
}

// TestAStreamEndsWhenItsAgentSaid: an agent whose machine is gone does not say that it no longer waits.
func TestAStreamEndsWhenItsAgentSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.agent()
	s := w.openRawFor(t, a.AccessToken, a.ID, "50m") // milliseconds, of gRPC
	s.want(2)
	if field := s.field(); field != 0 || s.resp.Trailer.Get("Grpc-Status") != "4" {
		t.Errorf("field %d, trailers %v; want the end with status 4", field, s.resp.Trailer)
	}
}

// TestHeartbeatsBesideAStreamAskNoDatabase, and are refused when the session has ended and the stream with it.
func TestHeartbeatsBesideAStreamAskNoDatabase(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	var statements atomic.Int64
	o := storetest.SQLite(t)
	o.Trace = func(string) { statements.Add(1) }
	w := newWorldOn(t, o)
	a, polls := w.agent(), w.agent()
	s := w.open(t, a.AccessToken, a.ID, "")
	s.want("resume")
	w.awaitStreams(t, 1)
	statements.Store(0)
	w.advance(time.Minute)
	must(a.Heartbeat(ctx, w.Now()))(t)
	if n := statements.Load(); n != 0 {
		t.Errorf("a heartbeat took %d statements, want none", n)
	}
	must(polls.Heartbeat(ctx, w.Now()))(t)
	if n := statements.Load(); n != 1 {
		t.Errorf("a heartbeat of an agent without a stream took %d statements, want 1", n)
	}
	if err := w.api.FlushSeen(ctx); err != nil {
		t.Fatal(err)
	}
	if seen := must(w.Store.Agent(ctx, a.ID))(t).LastSeen; !seen.Equal(w.Now()) {
		t.Errorf("last seen %s, want %s", seen, w.Now())
	}
	if err := w.LoseAgent(ctx, a.ID, "for the test"); err != nil {
		t.Fatal(err)
	}
	s.want("end: unauthenticated")
	if _, err := a.Heartbeat(ctx, w.Now()); wire.Status(err) != http.StatusUnauthorized {
		t.Errorf("a heartbeat after the end: %v, want 401", err)
	}
}
