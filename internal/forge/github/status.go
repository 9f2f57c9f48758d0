package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
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
	_, _, err := call(ctx, client, http.MethodPost, api+"/repos/"+repository+"/statuses/"+sha, token, s)
	if r, ok := errors.AsType[*refusal](err); ok {
		return fmt.Errorf("%w: %w", ErrRefused, r)
	}
	return err
}
