package agentapi_test

import (
	"bufio"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/slipway-ci/slipway/internal/edge"
)

// BenchmarkIdleStreams reports what one connected and idle agent costs the server's process, kernel
// buffers aside. The far ends are bare connections, so that next to nothing of it is theirs.
func BenchmarkIdleStreams(b *testing.B) {
	const agents = 500
	w := newWorld(b)
	fleet := w.fleet(agents)
	for b.Loop() {
		before := memory()
		var conns []net.Conn
		for _, a := range fleet {
			conns = append(conns, openBare(b, w, a.AccessToken, a.ID))
		}
		b.ReportMetric(float64(memory()-before)/agents, "B/stream")
		for _, c := range conns {
			if err := c.Close(); err != nil {
				b.Error(err)
			}
		}
	}
}

func memory() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// openBare opens a stream without a client library and returns when its first message is there.
func openBare(b testing.TB, w *world, token, id string) net.Conn {
	b.Helper()
	m := must(proto.Marshal(&edge.StreamPingsRequest{AgentId: id, AgentVersion: "3.140.0"}))(b)
	c := must(net.Dial("tcp", strings.TrimPrefix(w.url, "http://")))(b)
	must(fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/grpc\r\nTe: trailers\r\nAuthorization: Token %s\r\n"+
		"Grpc-Accept-Encoding: gzip\r\nContent-Length: %d\r\n\r\n\x00\x00\x00\x00%c%s",
		edge.AgentEdgeServiceStreamPingsProcedure, token, len(m)+5, len(m), m))(b)
	for r := bufio.NewReaderSize(c, 256); ; {
		if line := must(r.ReadString('\n'))(b); strings.TrimSpace(line) == "" {
			must(r.ReadString('\n'))(b) // the length of the first message's chunk
			return c
		}
	}
}
