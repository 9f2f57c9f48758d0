// Package gitea reads what Gitea and Forgejo deliver to a webhook. Their payloads are GitHub's, with other
// words for some changes of pull requests and without a kind of account, so that nobody's fork is trusted
// by what they say (https://docs.gitea.com/usage/webhooks).
package gitea

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"

	"github.com/slipway-ci/slipway/internal/forge"
	"github.com/slipway-ci/slipway/internal/forge/github"
)

// changes are Gitea's words for what GitHub calls otherwise.
var changes = map[forge.Change]forge.Change{
	"synchronized":   forge.Synchronized,
	"label_updated":  forge.Labeled,
	"label_cleared":  forge.Unlabeled,
	"review_request": forge.ReviewRequested,
}

// names are Gitea's names of events that GitHub has under one.
var names = map[string]string{
	"pull_request_sync": "pull_request", "pull_request_label": "pull_request", "pull_request_comment": "issue_comment",
	"pull_request_review_request": "pull_request",
}

// Decode reads an event. name is that of the header X-Gitea-Event.
func Decode(name string, body []byte) (forge.Event, error) {
	known := name
	if github, ok := names[name]; ok {
		known = github
	}
	ev, err := github.Decode(known, body)
	ev.Name = name
	if change, ok := changes[ev.Change]; ok {
		ev.Change = change
	}
	return ev, err
}

// Verify says whether a signature, as in the header X-Gitea-Signature, is that of the body as it came.
func Verify(secret, body []byte, signature string) bool {
	got, err := hex.DecodeString(signature)
	if err != nil || len(secret) == 0 {
		return false
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write(body)
	return hmac.Equal(got, mac.Sum(nil))
}
