package jobcli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
)

// errNoJobAPI says that the agent does not serve the socket over which a job
// changes its own environment and the redaction of its log.
var errNoJobAPI = errors.New("the agent offers this job no job API (BUILDKITE_AGENT_JOB_API_SOCKET and BUILDKITE_AGENT_JOB_API_TOKEN are not set)")

// jobAPI is the agent's local API for the running job: HTTP over a Unix socket
// (jobapi and internal/socket of buildkite-agent v3.138.1).
type jobAPI struct {
	http  *http.Client
	token string
}

func (p *program) jobAPI() (*jobAPI, error) {
	socket, token := p.env["BUILDKITE_AGENT_JOB_API_SOCKET"], p.env["BUILDKITE_AGENT_JOB_API_TOKEN"]
	if socket == "" || token == "" {
		return nil, errNoJobAPI
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	return &jobAPI{&http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}, token}, nil
}

// do makes a request about the current job.
func (j *jobAPI) do(ctx context.Context, method, what string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("job API %s: %w", what, err)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://job/api/current-job/v0/"+what, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("job API %s: %w", what, err)
	}
	req.Header.Set("Authorization", "Bearer "+j.token)
	resp, err := j.http.Do(req)
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err
	}
	if err != nil {
		return fmt.Errorf("job API %s: %w", what, err)
	}
	defer resp.Body.Close() //nolint:errcheck // read side
	if err := decodeJobAPI(resp, out); err != nil {
		return fmt.Errorf("job API %s: %w", what, err)
	}
	return nil
}

func decodeJobAPI(resp *http.Response, out any) error {
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 == 2 {
		return json.Unmarshal(body, out)
	}
	var e struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(body, &e) != nil || e.Error == "" {
		e.Error = http.StatusText(resp.StatusCode)
	}
	return fmt.Errorf("%s (status %d)", e.Error, resp.StatusCode)
}

// hide makes the agent replace the texts in the rest of the log.
func (j *jobAPI) hide(ctx context.Context, texts ...string) error {
	for _, text := range texts {
		in := struct {
			Redact string `json:"redact"`
		}{text}
		if err := j.do(ctx, http.MethodPost, "redactions", in, &struct{}{}); err != nil {
			return err
		}
	}
	return nil
}

// hideBeforePrinting redacts texts that are about to be printed. Where that is
// impossible they are not to be printed.
func (p *program) hideBeforePrinting(ctx context.Context, what, variable string, texts ...string) error {
	j, err := p.jobAPI()
	if err == nil {
		err = j.hide(ctx, texts...)
	}
	if err != nil {
		return fmt.Errorf("%s is not printed because the log would show it: %w; to print it all the same give --skip-redaction or set %s=true", what, err, variable)
	}
	return nil
}
