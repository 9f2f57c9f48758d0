package hookapi

import (
	"net/http"

	"github.com/slipway-ci/slipway/internal/forge"
	"github.com/slipway-ci/slipway/internal/forge/gitea"
	"github.com/slipway-ci/slipway/internal/forge/github"
	"github.com/slipway-ci/slipway/internal/httperr"
)

// sender is the forge that a delivery comes from, with what its headers say.
type sender struct {
	provider string
	event    string
	id       string
	decode   func(event string, body []byte) (forge.Event, error)
	verify   func(h http.Header, secret, body []byte) bool
}

// senderOf tells the forge by its headers.
func senderOf(h http.Header) (sender, error) {
	// Gitea sends GitHub's header too.
	if event := h.Get("X-Gitea-Event"); event != "" {
		return sender{
			provider: "gitea", event: event, id: h.Get("X-Gitea-Delivery"), decode: gitea.Decode,
			verify: func(h http.Header, secret, body []byte) bool {
				return gitea.Verify(secret, body, h.Get("X-Gitea-Signature"))
			},
		}, nil
	}
	if event := h.Get("X-GitHub-Event"); event != "" {
		return sender{
			provider: "github", event: event, id: h.Get("X-GitHub-Delivery"), decode: github.Decode,
			verify: func(h http.Header, secret, body []byte) bool {
				return github.Verify(secret, body, h.Get("X-Hub-Signature-256"))
			},
		}, nil
	}
	return sender{}, httperr.New(http.StatusBadRequest, "The request has no header X-GitHub-Event or X-Gitea-Event: it is not a forge's webhook.")
}
