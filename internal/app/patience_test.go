package app

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// slowServer serves with little patience: it answers with how many bytes of a body came.
func slowServer(t *testing.T, p patience) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(p.handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			http.Error(w, "cut", http.StatusRequestTimeout)
			return
		}
		select {
		case <-r.Context().Done():
			return // the server took the end of its patience for that of the client
		case <-time.After(2 * p.step):
		}
		fmt.Fprint(w, n)
	})))
	s.Config.ReadHeaderTimeout = p.step
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// dial sends text and returns what comes back until the server closes the connection.
func dial(t *testing.T, s *httptest.Server, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(bufio.NewReader(c))
	if err != nil {
		t.Fatalf("the server keeps the connection: %v", err)
	}
	return string(got)
}

func TestSlowClientsAreGivenUp(t *testing.T) {
	t.Parallel()
	s := slowServer(t, patience{step: 50 * time.Millisecond, start: time.Hour, rate: 1})
	const head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n"
	for name, text := range map[string]string{"no end of the header": head, "half a body": head + "\r\nhalf"} {
		if got := dial(t, s, text); strings.Contains(got, "200 OK") {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// drip gives a byte at a time.
type drip struct {
	left  int
	every time.Duration
}

func (d *drip) Read(p []byte) (int, error) {
	if d.left == 0 {
		return 0, io.EOF
	}
	<-time.After(d.every)
	d.left--
	p[0] = 'x'
	return 1, nil
}

func TestABodyMayTakeLongIfItMoves(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		start time.Duration // in steps of the client
		rate  int64
		want  string
	}{
		"steady":      {start: 1000, rate: 1, want: "200 OK"},
		"a trickle":   {start: 5, rate: 1 << 20, want: "408 Request Timeout"},
		"fast enough": {start: 5, rate: 1, want: "200 OK"},
	} {
		// On a machine that is busy a client is late: then all go slower.
		got := ""
		for every := 10 * time.Millisecond; got != tt.want && every < time.Second; every *= 3 {
			got = dripped(t, patience{step: 20 * every, start: tt.start * every, rate: tt.rate}, every)
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

// dripped is what is answered to a body of thirty bytes, one each so often.
func dripped(t *testing.T, p patience, every time.Duration) string {
	t.Helper()
	resp, err := http.Post(slowServer(t, p).URL, "text/plain", &drip{left: 30, every: every})
	if err != nil {
		return err.Error()
	}
	resp.Body.Close()
	return resp.Status
}

func TestAFloodOfConnectionsKeepsNobodyOut(t *testing.T) {
	t.Parallel()
	s := slowServer(t, patience{step: 2 * time.Second, start: time.Hour, rate: 1})
	var flood []net.Conn
	for range 400 {
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		flood = append(flood, c)
	}
	resp, err := http.Post(s.URL, "text/plain", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	for _, c := range flood { // each is closed when its header does not come
		if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
			t.Fatalf("an idle connection is kept: %v", err)
		}
	}
}
