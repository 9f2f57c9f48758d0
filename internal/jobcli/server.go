package jobcli

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"strings"

	"github.com/slipway-ci/slipway/internal/agent/wire"
)

// serverFlags say which server to talk to, and as whom.
type serverFlags struct {
	f               *flags
	token, endpoint *string
}

func (f *flags) server() serverFlags {
	s := serverFlags{
		f:        f,
		token:    f.text("agent-access-token", "BUILDKITE_AGENT_ACCESS_TOKEN", "", "the token of the job"),
		endpoint: f.text("endpoint", "BUILDKITE_AGENT_ENDPOINT", "", "the base URL of the agent API"),
	}
	f.yes("no-http2", "BUILDKITE_NO_HTTP2", "accepted; the server chooses the protocol")
	f.yes("debug-http", "BUILDKITE_AGENT_DEBUG_HTTP", "accepted; requests are not dumped, because they hold tokens")
	f.yes("trace-http", "BUILDKITE_AGENT_TRACE_HTTP", "accepted; requests are not timed")
	return s
}

func (f *flags) job() *string {
	return f.text("job", "BUILDKITE_JOB_ID", "", "the job that makes the request")
}

// connect returns a client of the server, or what is missing for one.
func (s serverFlags) connect(p *program) (*wire.Client, error) {
	err := errors.Join(s.f.require("agent-access-token", *s.token), s.f.require("endpoint", *s.endpoint))
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(*s.endpoint)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("--endpoint %q is not a URL such as https://ci.example.com/v3", *s.endpoint)
	}
	return &wire.Client{
		Endpoint: *s.endpoint, Token: *s.token, UserAgent: userAgent(), HTTP: p.http,
		Headers: requestHeaders(p.env),
	}, nil
}

func userAgent() string {
	return fmt.Sprintf("slipway/%s (%s; %s)", fullVersion(), runtime.GOOS, runtime.GOARCH)
}

// requestHeaders restores the headers that the server asked the agent to send,
// which the agent passes down as variables.
func requestHeaders(env environ) http.Header {
	chosen := map[string]string{}
	for name, value := range env {
		if suffix, ok := strings.CutPrefix(name, "BUILDKITE_REQUEST_HEADER_"); ok {
			chosen[http.CanonicalHeaderKey(strings.ReplaceAll(suffix, "_", "-"))] = value
		}
	}
	return wire.ServerHeaders(chosen)
}

// retry makes a call as its policy says and warns of each repetition.
func (p *program) retry(ctx context.Context, call wire.Call, try func(ctx context.Context, n int) error) error {
	return wire.Retry(ctx, call, func(f wire.Failure) {
		p.warn("%v; attempt %d of %d, the next in %s", f.Err, f.Attempt, f.Tries, f.Wait.Round(100_000_000))
	}, try)
}

// explain adds to an error what the user can do about it.
func explain(err error) string {
	var why string
	if errors.Is(err, context.Canceled) {
		return err.Error()
	}
	switch _, unanswered := errors.AsType[*url.Error](err); {
	case wire.Status(err) == http.StatusUnauthorized:
		why = "the server does not accept this token (any more): the job may have finished or been canceled"
	case isCertificate(err):
		why = "the server's certificate is not trusted here: install its authority, or set SSL_CERT_FILE"
	case unanswered:
		why = "check that the server (BUILDKITE_AGENT_ENDPOINT) can be reached from where this job runs"
	default:
		return err.Error()
	}
	return err.Error() + "\n" + why
}

func isCertificate(err error) bool {
	_, ok := errors.AsType[*tls.CertificateVerificationError](err)
	return ok
}

// newUUID returns a random (version 4) UUID.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:]) //nolint:errcheck // never fails since Go 1.24
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
