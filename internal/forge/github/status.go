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

// Status is a commit status (https://docs.github.com/en/rest/commits/statuses).
type Status struct {
	State       string `json:"state"` // pending, success, failure, error
	TargetURL   string `json:"target_url"`
	Description string `json:"description"` // 140 characters at most
	Context     string `json:"context"`
}

// ErrRefused says that GitHub will not take a status, however often it is asked: the token may not write
// them, or there is no such commit.
var ErrRefused = errors.New("GitHub refuses the status")

// PostStatus writes a status of a commit. api is the address of the API, repository its owner and name. An
// error that is not ErrRefused may pass; it names neither token nor address.
func PostStatus(ctx context.Context, client *http.Client, api, token, repository, sha string, s Status) error {
	body, err := json.Marshal(s)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, api+"/repos/"+repository+"/statuses/"+sha, bytes.NewReader(body))
	if err != nil {
		return errors.New("the address of the API is not a URL")
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "application/vnd.github+json")
	req.Header.Set("X-GitHub-Api-Version", "2022-11-28")
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "slipway")
	res, err := client.Do(req)
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if err != nil {
		return fmt.Errorf("posting a status to %s: %w", req.URL.Host, err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return fmt.Errorf("reading the answer of %s: %w", req.URL.Host, err)
	}
	return judge(res, answer)
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
	return fmt.Errorf("%w: %s %.200s", ErrRefused, res.Status, said.Message)
}
