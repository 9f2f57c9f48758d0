package httperr_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/httperr"
)

// A caller that is told to come again would otherwise write a line into the server's log with each request.
func TestOnlyFaultsAreLogged(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err    error
		logged bool
	}{
		"a refusal":       {httperr.New(http.StatusNotFound, "Not Found"), false},
		"come again":      {httperr.New(http.StatusServiceUnavailable, "Come again."), false},
		"a fault":         {errors.New("disk full"), true},
		"a fault, softly": {&httperr.Error{Status: http.StatusServiceUnavailable, Message: "Send it again.", Err: errors.New("disk full")}, true},
	} {
		var log bytes.Buffer
		render := func(w http.ResponseWriter, _ *http.Request, e *httperr.Error) { w.WriteHeader(e.Status) }
		h := httperr.Handler(slog.New(slog.NewTextHandler(&log, nil)), render, func(http.ResponseWriter, *http.Request) error { return c.err })
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/x", http.NoBody))
		if logged := log.Len() > 0; logged != c.logged {
			t.Errorf("%s: the log has %q", name, log.String())
		}
	}
}

// Neither is a fault of the server, which its log would show as one.
func TestABodyThatDoesNotArriveIsTheCallers(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	render := func(w http.ResponseWriter, _ *http.Request, e *httperr.Error) { http.Error(w, e.Message, e.Status) }
	s := httptest.NewServer(httperr.Handler(slog.New(slog.NewTextHandler(&log, nil)), render, func(w http.ResponseWriter, r *http.Request) error {
		if r.URL.Path == "/slow" {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Millisecond))
		}
		var v map[string]any
		return httperr.Decode(w, r, 1000, &v)
	}))
	t.Cleanup(s.Close)
	for name, c := range map[string]struct{ request, want string }{
		"nothing comes":    {"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{", "408 "},
		"it ends too soon": {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{", "408 "},
		"it is not HTTP":   {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n", "400 "},
		"it is compressed": {"POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", "415 "},
		"it is too large":  {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n\r\n" + strings.Repeat("x", 2000), "413 "},
	} {
		if got := answerTo(t, s, c.request); !strings.HasPrefix(got, "HTTP/1.1 "+c.want) {
			t.Errorf("%s: %q, want %s", name, got, c.want)
		}
	}
	if log.Len() > 0 {
		t.Errorf("the log has %s", log.String())
	}
}

// answerTo sends a request, and no more, and returns the first line of the answer.
func answerTo(t *testing.T, s *httptest.Server, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(request, "POST /slow") {
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// A list or a log whose end could not be read must not look whole to a client, which would take what is missing for not there.
func TestAnAnswerThatFailsMidwayIsNoWholeAnswer(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	s := httptest.NewUnstartedServer(httperr.Handler(log, nil, func(w http.ResponseWriter, _ *http.Request) error {
		if _, err := io.WriteString(w, "[1,2"); err != nil {
			return err
		}
		return errors.New("the third is lost")
	}))
	s.Config.Protocols = &http.Protocols{}
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	for _, second := range []bool{false, true} {
		var p http.Protocols
		p.SetHTTP1(!second)
		p.SetUnencryptedHTTP2(second)
		transport := &http.Transport{Protocols: &p}
		t.Cleanup(transport.CloseIdleConnections)
		resp, err := (&http.Client{Transport: transport}).Get(s.URL)
		var body []byte
		if err == nil {
			body, err = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		if err == nil {
			t.Errorf("HTTP/%d: %q was read, and no error", resp.ProtoMajor, body)
		}
	}
}

// A reader that stops a download is no fault of the server.
func TestACallerThatGoesAwayMidwayIsNotLogged(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	over := make(chan error, 1)
	s := httptest.NewServer(httperr.Handler(slog.New(slog.NewTextHandler(&log, nil)), nil, func(w http.ResponseWriter, _ *http.Request) (err error) {
		for err == nil {
			_, err = io.WriteString(w, strings.Repeat("x", 1<<16))
		}
		over <- err
		return err
	}))
	resp, err := http.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if err := <-over; err == nil {
		t.Error("all was written")
	}
	s.Close() // waits for the handler
	if log.Len() > 0 {
		t.Errorf("logged: %s", log.String())
	}
}
