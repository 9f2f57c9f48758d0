package wire

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// snippetBytes bounds how much of a foreign error page is quoted.
const snippetBytes = 512

// Error is an answer of the server that is not a success, or a success whose
// body could not be decoded.
type Error struct {
	Method string
	Path   string // relative to the endpoint
	Status int    // the HTTP status
	// Message is what the server said, meant for people. Where the body was
	// not an API error it quotes the first 512 bytes.
	Message string
	// RetryAfter is how long the server asked to wait; 0 if it did not.
	RetryAfter time.Duration
	// Decoding is why a 2xx body could not be decoded, otherwise nil. It
	// usually means that a proxy answered in place of the server.
	Decoding error
}

// Error names the call, the status and the server's message.
func (e *Error) Error() string {
	s := fmt.Sprintf("%s %s: %d %s", e.Method, e.Path, e.Status, http.StatusText(e.Status))
	if e.Decoding != nil {
		s += fmt.Sprintf(": undecodable answer (%v), perhaps from a proxy", e.Decoding)
	}
	if e.Message != "" {
		s += ": " + e.Message
	}
	return s
}

// Unwrap returns the decoding error, if any.
func (e *Error) Unwrap() error { return e.Decoding }

// Retryable reports whether the same call may succeed later: 429, every 5xx,
// and bodies that could not be decoded (api/retryable.go of buildkite-agent
// v3.138.1).
func (e *Error) Retryable() bool {
	return e.Status == http.StatusTooManyRequests || e.Status >= 500 || e.Decoding != nil
}

// Retryable reports whether err is transient: an [*Error] that says so, or a
// failure of the network. A certificate that does not verify is not.
func Retryable(err error) bool {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Retryable()
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return false
	}
	if _, ok := errors.AsType[*url.Error](err); ok {
		return true
	}
	return errors.Is(err, io.ErrUnexpectedEOF)
}

// Status returns the HTTP status of the [*Error] in err, or 0 if the server
// did not answer.
func Status(err error) int {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Status
	}
	return 0
}

func errorFrom(resp *http.Response, k call) *Error {
	e := &Error{
		Method: k.method, Path: k.path, Status: resp.StatusCode,
		RetryAfter: retryAfter(resp.Header),
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return e
	}
	var api struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &api) == nil {
		e.Message = api.Message
	} else if len(body) > 0 && !isJSON(resp.Header) {
		e.Message = fmt.Sprintf("answer is not JSON, it starts with %q", cut(body, snippetBytes))
	}
	return e
}

func decode(resp *http.Response, k call, out any) error {
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return &Error{Method: k.method, Path: k.path, Status: resp.StatusCode, Decoding: err}
	}
	err = json.Unmarshal(body, out)
	if err == nil {
		return nil
	}
	e := &Error{Method: k.method, Path: k.path, Status: resp.StatusCode, Decoding: err}
	if !isJSON(resp.Header) && len(body) > 0 {
		// A body that claims to be JSON may hold a token, so only others are quoted.
		e.Message = fmt.Sprintf("it starts with %q", cut(body, snippetBytes))
	}
	return e
}

func isJSON(h http.Header) bool {
	t, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && (t == "application/json" || strings.HasSuffix(t, "+json"))
}

func cut(b []byte, n int) string {
	return strings.ToValidUTF8(string(b[:min(n, len(b))]), "")
}

// retryAfter reads Retry-After in seconds, possibly fractional. HTTP dates are
// ignored, as buildkite-agent v3.138.1 does.
func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.ParseFloat(h.Get("Retry-After"), 64)
	if err != nil || !(seconds > 0) || seconds > 24*3600 {
		return 0
	}
	return time.Duration(seconds * float64(time.Second))
}
