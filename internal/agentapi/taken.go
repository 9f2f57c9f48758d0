package agentapi

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/slipway-ci/slipway/internal/edge"
)

// lastWords bounds the writing of a stream's end.
const lastWords = time.Second

// taken is the line of a stream whose connection was taken from the HTTP server: gRPC over HTTP/1.1, which agents speak
// without TLS. The server keeps buffers and a deep stack for a request under way, several times what is needed to wait.
//
// The answer's head and first message are out. Each further message is a chunk (RFC 9112, 7.1) that holds a gRPC frame: a byte
// 0, for no compression, and the length in four; the end is the last chunk with gRPC's trailers (PROTOCOL-HTTP2.md of grpc).
// The head said "Connection: close", so no request follows on the connection.
type taken struct{ conn net.Conn }

// takeable says whether the answer to a request has the form that taken writes.
func takeable(r *http.Request) bool {
	kind := r.Header.Get("Content-Type")
	return r.ProtoMajor == 1 && r.ProtoAtLeast(1, 1) && (kind == "application/grpc" || kind == "application/grpc+proto")
}

// takeOver takes the connection of an answer; nil: it stays with its handler. The request was read to its end, which
// connect sees to, and a message was flushed. The deadline of ctx is the agent's, which it sent.
func takeOver(ctx context.Context, out *timedWriter) *taken {
	if !out.takeable {
		return nil
	}
	conn, _, err := out.conn.Hijack()
	if err != nil {
		return nil // a server of another kind
	}
	out.taken = true
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetReadDeadline(deadline)
	}
	return &taken{conn}
}

// wait returns when the agent is gone, when its deadline has passed, or after End.
func (t *taken) wait() error {
	_, err := t.conn.Read(make([]byte, 1))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errReconnect
	}
	return errGone // also if it sends something, which no agent does
}

// Send implements line. After an error the connection is closed: nobody knows how much of the message is out.
func (t *taken) Send(m *edge.StreamPingsResponse) error {
	message, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	b := fmt.Appendf(nil, "%x\r\n\x00", len(message)+5)
	b = binary.BigEndian.AppendUint32(b, uint32(len(message)))
	b = append(append(b, message...), "\r\n"...)
	if err := t.write(b, sendTimeout); err != nil {
		return errors.Join(err, t.conn.Close())
	}
	return nil
}

// End implements line.
func (t *taken) End(err error) {
	if e, ok := errors.AsType[*connect.Error](err); ok {
		// The error is the agent's: there is nobody left to tell.
		_ = t.write(fmt.Appendf(nil, "0\r\nGrpc-Status: %d\r\nGrpc-Message: %s\r\n\r\n", e.Code(), url.PathEscape(e.Message())), lastWords)
	}
	_ = t.conn.Close()
}

func (t *taken) write(b []byte, term time.Duration) error {
	if err := t.conn.SetWriteDeadline(time.Now().Add(term)); err != nil {
		return err
	}
	_, err := t.conn.Write(b)
	return err
}
