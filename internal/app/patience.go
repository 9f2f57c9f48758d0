package app

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// patience is how long the server waits for a client that is slow. The server as a whole has no time limit for
// a request: streams last for days, and an upload may take an hour as long as it moves.
type patience struct {
	step  time.Duration // for the next bytes of a body, and for a client to take what is written
	start time.Duration // from then on a body must come at the rate
	rate  int64         // bytes a second, on average
}

// ours is the server's: a body that trickles to hold a connection is given up after a minute.
var ours = patience{step: 30 * time.Second, start: time.Minute, rate: 1 << 10}

// handler gives up on clients that are too slow. Handlers may set deadlines of their own.
func (p patience) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn := http.NewResponseController(w)
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = &steadyBody{ReadCloser: r.Body, conn: conn, patience: p, began: time.Now()}
		}
		next.ServeHTTP(&steadyWriter{ResponseWriter: w, conn: conn, step: p.step}, r)
	})
}

// steadyBody bounds each read.
type steadyBody struct {
	io.ReadCloser
	conn *http.ResponseController
	patience
	began time.Time
	came  int64
}

func (b *steadyBody) Read(p []byte) (int, error) {
	now := time.Now()
	deadline := now.Add(b.step)
	if due := b.began.Add(b.start + time.Duration(b.came/b.rate)*time.Second); due.Before(deadline) {
		deadline = due
	}
	// Where deadlines are not possible, in a server of another kind, there is none.
	_ = b.conn.SetReadDeadline(deadline)
	n, err := b.ReadCloser.Read(p)
	b.came += int64(n)
	if errors.Is(err, io.EOF) {
		// The server reads on, to notice that the client goes: that must not end.
		_ = b.conn.SetReadDeadline(time.Time{})
	}
	return n, err
}

// steadyWriter bounds each write. The deadline is taken away again: on HTTP/2 it would reset the
// stream when it passes.
type steadyWriter struct {
	http.ResponseWriter
	conn *http.ResponseController
	step time.Duration
}

func (w *steadyWriter) Write(b []byte) (n int, err error) {
	w.timed(func() { n, err = w.ResponseWriter.Write(b) })
	return n, err
}

// Flush implements http.Flusher.
func (w *steadyWriter) Flush() {
	// A failure shows in the next write, and the request's context ends.
	w.timed(func() { _ = w.conn.Flush() })
}

func (w *steadyWriter) timed(write func()) {
	_ = w.conn.SetWriteDeadline(time.Now().Add(w.step))
	write()
	_ = w.conn.SetWriteDeadline(time.Time{})
}

// Unwrap lets http.ResponseController reach what is underneath.
func (w *steadyWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
