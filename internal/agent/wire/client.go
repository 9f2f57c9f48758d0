package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// requestTimeout ends every API request; buildkite-agent v3.138.1 uses the same
// (internal/agenthttp/client.go).
const requestTimeout = 60 * time.Second

// idlePerHost is how many idle connections to one server are kept. Agents talk
// to one host only, and log chunks, state polls and artifacts overlap.
const idlePerHost = 64

// Client calls one agent API endpoint with one token.
type Client struct {
	// Endpoint is the base URL, such as "https://ci.example.com/v3".
	// A trailing slash does not matter.
	Endpoint string
	// Token is sent as "Authorization: Token …": a registration, session or
	// job token, as the call demands.
	Token string
	// UserAgent names this program and its version.
	UserAgent string
	// HTTP carries the requests; required. [NewHTTPClient] makes a good one,
	// and Clients that talk to the same server should share it.
	HTTP *http.Client
	// Headers are added to every API request. [ServerHeaders] makes them from
	// what the server asked for.
	Headers http.Header
}

// NewHTTPClient returns an HTTP client that keeps many connections to one host
// alive. It has no overall timeout: [Client] bounds API requests itself, and
// artifact transfers may last.
func NewHTTPClient() *http.Client {
	dialer := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Client{Transport: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          4 * idlePerHost,
		MaxIdleConnsPerHost:   idlePerHost,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   30 * time.Second,
		ExpectContinueTimeout: time.Second,
	}}
}

// WithToken returns a copy of c that authorises with token.
func (c *Client) WithToken(token string) *Client {
	d := *c
	d.Token = token
	return &d
}

// WithEndpoint returns a copy of c that talks to endpoint.
func (c *Client) WithEndpoint(endpoint string) *Client {
	d := *c
	d.Endpoint = endpoint
	return &d
}

// WithHeaders returns a copy of c that sends h in place of its headers.
func (c *Client) WithHeaders(h http.Header) *Client {
	d := *c
	d.Headers = h.Clone()
	return &d
}

// ServerHeaders turns the request headers a server chose (in its register,
// ping or stream answer) into the ones to send. Names that do not start with
// exactly "Buildkite-" are dropped, so a server cannot replace, say, the
// Authorization header (api/client.go of buildkite-agent v3.138.1).
func ServerHeaders(chosen map[string]string) http.Header {
	h := make(http.Header, len(chosen))
	for name, value := range chosen {
		if strings.HasPrefix(name, "Buildkite-") {
			h.Set(name, value)
		}
	}
	return h
}

// call is one request to the API.
type call struct {
	method string
	path   string // relative to the endpoint, encoded
	query  url.Values
	header http.Header
	body   any // JSON-encoded, unless nil or raw is set
	raw    []byte
}

// path joins segments, encoding each. The dots are encoded as well because
// some servers cut a path at its last dot (railsPathEscape in api/client.go of
// buildkite-agent v3.138.1).
func path(segments ...string) string {
	for i, s := range segments {
		segments[i] = strings.ReplaceAll(url.PathEscape(s), ".", "%2E")
	}
	return strings.Join(segments, "/")
}

// do makes the request and decodes a 2xx JSON body into out unless out is nil.
// The response headers are returned with every answer, also with an *Error.
func (c *Client) do(ctx context.Context, k call, out any) (*http.Response, error) {
	deadline, hasDeadline := ctx.Deadline()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := c.request(ctx, k)
	if err != nil {
		return nil, err
	}
	if left := time.Until(deadline); hasDeadline && left > 0 {
		req.Header.Set("Buildkite-Timeout-Milliseconds", strconv.FormatInt(left.Milliseconds(), 10))
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer drain(resp.Body)
	if resp.StatusCode/100 != 2 {
		return resp, errorFrom(resp, k)
	}
	if out == nil {
		return resp, nil
	}
	return resp, decode(resp, k, out)
}

func (c *Client) request(ctx context.Context, k call) (*http.Request, error) {
	body := k.raw
	if k.body != nil {
		var buf bytes.Buffer
		if err := json.NewEncoder(&buf).Encode(k.body); err != nil {
			return nil, fmt.Errorf("encoding %s %s: %w", k.method, k.path, err)
		}
		body = buf.Bytes()
	}
	target := strings.TrimRight(c.Endpoint, "/") + "/" + k.path
	if len(k.query) > 0 {
		target += "?" + k.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, k.method, target, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("agent API endpoint %q: %w", c.Endpoint, err)
	}
	maps.Copy(req.Header, c.Headers)
	maps.Copy(req.Header, k.header)
	req.Header.Set("Authorization", "Token "+c.Token)
	req.Header.Set("User-Agent", c.UserAgent)
	if k.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

// drain empties a bounded part of body before closing it, so that the
// connection can carry the next request.
func drain(body io.ReadCloser) {
	io.CopyN(io.Discard, body, 64<<10) //nolint:errcheck // only costs a connection
	body.Close()                       //nolint:errcheck // read side
}

// backoffSequence tells the server how many times the call was made before.
func backoffSequence(n int) http.Header {
	h := http.Header{}
	h.Set("X-Buildkite-Backoff-Sequence", strconv.Itoa(n))
	return h
}
