package github

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// refusal is what GitHub will answer however often it is asked.
type refusal struct {
	status  int
	text    string // of the status, as in "404 Not Found"
	message string // GitHub's own, may be empty
}

func (r *refusal) Error() string { return fmt.Sprintf("%s %.200s", r.text, r.message) }

// call asks the API for something, with a token or an assertion of an app. An error that is not a refusal
// may pass; no error names the bearer or the address.
func call(ctx context.Context, client *http.Client, method, address, bearer string, body any) (*http.Response, []byte, error) {
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, nil, err
		}
		reader = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, reader)
	if err != nil {
		return nil, nil, errors.New("the address of the API is not a URL")
	}
	req.Header.Set("Authorization", "Bearer "+bearer)
	req.Header.Set("Accept", "application/vnd.github+json")
	req.Header.Set("X-GitHub-Api-Version", "2022-11-28")
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "slipway")
	res, err := client.Do(req)
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // the error around it names the whole address
	}
	if err != nil {
		return nil, nil, fmt.Errorf("asking %s: %w", req.URL.Host, err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 256<<10))
	if err != nil {
		return nil, nil, fmt.Errorf("reading the answer of %s: %w", req.URL.Host, err)
	}
	return res, answer, judge(res, answer)
}

// judge tells what passes from what does not. GitHub answers 403 and 429 to who asks too often, and says
// so in headers (https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api).
func judge(res *http.Response, answer []byte) error {
	limited := res.StatusCode == http.StatusTooManyRequests ||
		res.StatusCode == http.StatusForbidden && (res.Header.Get("X-RateLimit-Remaining") == "0" || res.Header.Get("Retry-After") != "")
	switch {
	case res.StatusCode < 300:
		return nil
	case limited || res.StatusCode >= 500:
		return fmt.Errorf("%s answered %s", res.Request.URL.Host, res.Status)
	}
	var said struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(answer, &said) != nil {
		said.Message = ""
	}
	return &refusal{res.StatusCode, res.Status, said.Message}
}
