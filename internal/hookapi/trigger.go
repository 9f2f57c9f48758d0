package hookapi

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/forge/github"
	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/secret"
	"github.com/slipway-ci/slipway/internal/store"
)

// tokenLength is that of a trigger address's token behind its prefix: 32 bytes in base64.
const tokenLength = 43

// trigger makes the build of a trigger address.
func (s *server) trigger(w http.ResponseWriter, r *http.Request) error {
	token := r.PathValue("secret")
	if len(token) != len(engine.TriggerPrefix)+tokenLength {
		return httperr.New(http.StatusBadRequest, "Invalid pipeline trigger token")
	}
	v, err := s.Store.PipelineTriggerByToken(r.Context(), secret.HashToken(token))
	if errors.Is(err, store.ErrNotFound) {
		return httperr.New(http.StatusNotFound, "Pipeline trigger not found")
	}
	if err != nil {
		return err
	}
	if !v.Enabled {
		return httperr.New(http.StatusForbidden, "Pipeline trigger is disabled")
	}
	body, err := httperr.Body(w, r, engine.MaxPayload)
	if err != nil {
		return err
	}
	if err := s.verifyTrigger(r, v, body); err != nil {
		return err
	}
	if len(body) > 0 && !json.Valid(body) {
		return httperr.New(http.StatusBadRequest, "The body is not JSON.")
	}
	b, err := s.Engine.FireTrigger(r.Context(), engine.Trigger{ID: v.ID, Key: requestID(r.Header), Payload: body})
	if err != nil {
		return err
	}
	return httperr.JSON(w, http.StatusCreated, answer{ID: b.ID, Outcome: engine.Built, Message: "A build was made.", Builds: []int64{b.Number}})
}

// verifyTrigger refuses a request that lacks the signature that the address asks for, in GitHub's header or
// in Linear's, which has the same digest without its name (https://linear.app/developers/webhooks).
func (s *server) verifyTrigger(r *http.Request, v store.PipelineTrigger, body []byte) error {
	if !v.Signed {
		return nil
	}
	key, err := s.Engine.Unseal(r.Context(), engine.TriggerSecretPlace(v.ID))
	if err != nil {
		return err
	}
	signature := r.Header.Get("X-Hub-Signature-256")
	if linear := r.Header.Get("Linear-Signature"); signature == "" && linear != "" {
		signature = "sha256=" + linear
	}
	if !github.Verify(key, body, signature) {
		return httperr.New(http.StatusUnauthorized, "The signature is missing or wrong: the body's HMAC-SHA256 is expected in X-Hub-Signature-256 or Linear-Signature.")
	}
	return nil
}

// requestID is the sender's own id of a request, by which a repeated one makes no second build; "" for none.
func requestID(h http.Header) string {
	for _, name := range []string{"Idempotency-Key", "X-GitHub-Delivery", "Linear-Delivery"} {
		if id := h.Get(name); id != "" && len(id) <= maxID {
			return id
		}
	}
	return ""
}
