package worker

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"
)

// post posts JSON to an address that somebody gave, which often is a secret: errors name its host
// alone. Anything but a 2xx is an error.
func post(ctx context.Context, client *http.Client, to string, header http.Header, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return errors.New("the address is not a URL")
	}
	req.Header = header
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // the error around it names the whole address
	}
	if err != nil {
		return fmt.Errorf("posting to %s: %w", req.URL.Host, err)
	}
	defer res.Body.Close()
	// What is answered is of no use, but reading it lets the connection be used again.
	if _, err := io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)); err != nil {
		return fmt.Errorf("reading the answer of %s: %w", req.URL.Host, err)
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("%s answered %s", req.URL.Host, res.Status)
	}
	return nil
}

// ErrForbiddenAddress says that a webhook names an address that only this machine can reach.
var ErrForbiddenAddress = errors.New("the address is this machine's own")

// WebhookClient is a client for URLs that pipelines name. Unless local is set it does not connect
// to addresses of this machine, among them the metadata service of its cloud, whatever a name
// resolves to. It follows no redirects.
func WebhookClient(local bool) *http.Client { return webhookClient(local, nil) }

// UnverifiedClient is a WebhookClient that does not check whom it speaks to.
func UnverifiedClient(local bool) *http.Client {
	return webhookClient(local, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12})
}

func webhookClient(local bool, config *tls.Config) *http.Client {
	d := &net.Dialer{Timeout: 10 * time.Second}
	if !local {
		d.Control = func(_, address string, _ syscall.RawConn) error {
			host, _, err := net.SplitHostPort(address)
			if err != nil {
				return err
			}
			if ip := net.ParseIP(host); ip == nil || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsUnspecified() {
				return ErrForbiddenAddress
			}
			return nil
		}
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext: d.DialContext, MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute, TLSClientConfig: config,
			ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
