package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	"github.com/slipway-ci/slipway/internal/agent/wire"
	"github.com/slipway-ci/slipway/internal/edge"
)

const (
	streamBackoff = time.Second      // before the first reconnect; doubles
	streamCeiling = 64 * time.Second // the longest pause between reconnects
	// deadAir is how long a stream whose server sends keepalives may be silent.
	deadAir = 90 * time.Second
)

// stream listens to the server until ctx ends. While it works, the worker need
// not ping. It returns an error where the server does not serve streams at all.
func (w *worker) stream(ctx context.Context) error {
	for wait := streamBackoff; ; {
		heard, err := w.listen(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if heard {
			wait = streamBackoff
		}
		switch connect.CodeOf(err) {
		case connect.CodeUnimplemented, connect.CodeUnauthenticated, connect.CodePermissionDenied:
			w.feed.healthy(false)
			return fmt.Errorf("streaming pings: %w", err)
		case connect.CodeDeadlineExceeded:
			err = nil
		}
		pause := wait/2 + rand.N(wait/2)
		if err == nil {
			pause = rand.N(100 * time.Millisecond)
		} else {
			w.feed.healthy(false)
			w.log.Debug("Stream interrupted, polling meanwhile", "error", err)
			wait = min(2*wait, streamCeiling)
		}
		if !wire.Sleep(ctx, pause) {
			return nil
		}
	}
}

// listen holds one stream. A nil error means that the server ended it in order.
func (w *worker) listen(ctx context.Context) (heard bool, err error) {
	api := w.client()
	base, err := root(api.Endpoint)
	if err != nil {
		return false, connect.NewError(connect.CodeUnimplemented, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	request := connect.NewRequest(&edge.StreamPingsRequest{AgentId: w.id, AgentVersion: w.set.Version})
	for name, values := range api.Headers {
		request.Header()[name] = values
	}
	request.Header().Set("Authorization", "Token "+api.Token)
	messages, err := edge.NewAgentEdgeServiceClient(w.set.HTTP, base, connect.WithGRPC()).StreamPings(ctx, request)
	if err != nil {
		return false, err
	}
	defer messages.Close() //nolint:errcheck // the stream has ended
	var silent atomic.Bool
	watchdog := time.AfterFunc(time.Hour, func() { silent.Store(true); cancel() })
	defer watchdog.Stop()
	for messages.Receive() {
		if m := messages.Msg(); w.heed(m) {
			watchdog.Reset(deadAir)
		}
		if !heard {
			heard = true
			w.feed.healthy(true)
		}
	}
	if silent.Load() {
		return heard, errors.New("the server fell silent")
	}
	return heard, messages.Err()
}

// heed passes a message on and reports whether it was a keepalive.
func (w *worker) heed(m *edge.StreamPingsResponse) bool {
	if h := m.GetRequestHeaders(); h != nil {
		w.setHeaders(h.GetValues())
	}
	switch action := m.GetAction().(type) {
	case *edge.StreamPingsResponse_Resume:
		w.feed.resume()
	case *edge.StreamPingsResponse_Pause:
		w.log.Info("Paused by the server", "reason", action.Pause.GetReason())
		w.feed.pause()
	case *edge.StreamPingsResponse_Disconnect:
		w.log.Info("Asked to disconnect by the server", "reason", action.Disconnect.GetReason())
		w.feed.stop()
	case *edge.StreamPingsResponse_JobAssigned:
		w.feed.assign(action.JobAssigned.GetJob().GetId())
	case *edge.StreamPingsResponse_Keepalive:
		return true
	}
	return false
}

// root is the host of the endpoint, where the stream's service lives.
func root(endpoint string) (string, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", fmt.Errorf("endpoint: %w", err)
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host}).String(), nil
}
