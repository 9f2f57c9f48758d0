package engine

import (
	"context"
	"errors"
	"time"

	"github.com/slipway-ci/slipway/internal/secret"
	"github.com/slipway-ci/slipway/internal/store"
)

// Places of sealed values of a pipeline: the token of its delivery address, and what the forge signs with.
func addressPlace(pipelineID string) string { return "webhook/" + pipelineID }

// SignaturePlace is where the secret is sealed that a forge signs a pipeline's deliveries with.
func SignaturePlace(pipelineID string) string { return "webhook-secret/" + pipelineID }

// SetWebhook changes where and how a forge delivers for a pipeline. Nil fields stay as they are.
type SetWebhook struct {
	PipelineID string
	Rotate     bool    // give the address a new token; the old one is good for nothing from then on
	Secret     *string // what the forge signs with; "" for no signatures
	Disabled   *bool   // deliveries are answered and build nothing
	By         string  // who disables
}

// maxWebhookSecret is the longest secret to sign with, in bytes.
const maxWebhookSecret = 1024

// SetWebhook makes the pipeline's delivery address if it has none, and changes it.
func (e *Engine) SetWebhook(ctx context.Context, op SetWebhook) (store.Webhook, error) {
	var out store.Webhook
	if op.Secret != nil && len(*op.Secret) > maxWebhookSecret {
		return out, invalidField("secret", "is longer than 1024 bytes")
	}
	err := e.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.LockPipeline(ctx, op.PipelineID); err != nil {
			return missing(err, "No pipeline found")
		}
		w, err := tx.Webhook(ctx, op.PipelineID)
		fresh := errors.Is(err, store.ErrNotFound)
		if err != nil && !fresh {
			return err
		}
		if fresh || op.Rotate {
			if w, err = e.readdress(ctx, tx, op.PipelineID, w); err != nil {
				return err
			}
		}
		if out, err = e.changeWebhook(ctx, tx, w, op); err != nil {
			return err
		}
		return tx.PutWebhook(ctx, out)
	})
	return out, err
}

// readdress gives a webhook a new token, which is sealed so that the address can be shown again.
func (e *Engine) readdress(ctx context.Context, tx *store.Tx, pipelineID string, w store.Webhook) (store.Webhook, error) {
	token := secret.NewToken("bkwh_")
	if w.CreatedAt.IsZero() {
		w.PipelineID, w.CreatedAt = pipelineID, e.Now()
	}
	w.TokenHash = secret.HashToken(token)
	return w, e.seal(ctx, tx, addressPlace(pipelineID), []byte(token))
}

func (e *Engine) changeWebhook(ctx context.Context, tx *store.Tx, w store.Webhook, op SetWebhook) (store.Webhook, error) {
	switch {
	case op.Disabled == nil:
	case !*op.Disabled:
		w.DisabledAt, w.DisabledBy = time.Time{}, ""
	case w.DisabledAt.IsZero():
		w.DisabledAt, w.DisabledBy = e.Now(), op.By
	}
	switch {
	case op.Secret == nil:
		return w, nil
	case *op.Secret == "":
		w.Signed = false
		return w, tx.DeleteSealed(ctx, SignaturePlace(w.PipelineID))
	}
	w.Signed = true
	return w, e.seal(ctx, tx, SignaturePlace(w.PipelineID), []byte(*op.Secret))
}

// firstWebhook gives a new pipeline its delivery address.
func (e *Engine) firstWebhook(ctx context.Context, tx *store.Tx, pipelineID string) error {
	if e.Sealer == nil {
		return nil
	}
	w, err := e.readdress(ctx, tx, pipelineID, store.Webhook{})
	if err != nil {
		return err
	}
	return tx.PutWebhook(ctx, w)
}

// WebhookTokens returns the tokens of pipelines' delivery addresses, by the pipeline's id. A pipeline
// without one is left out.
func (e *Engine) WebhookTokens(ctx context.Context, pipelineIDs []string) (map[string]string, error) {
	out := map[string]string{}
	if e.Sealer == nil {
		return out, nil
	}
	places := map[string]string{}
	var names []string
	for _, id := range pipelineIDs {
		places[addressPlace(id)] = id
		names = append(names, addressPlace(id))
	}
	values, err := e.Store.SealedIn(ctx, names)
	if err != nil {
		return nil, err
	}
	for _, v := range values {
		token, err := e.open(v)
		if err != nil {
			return nil, err
		}
		out[places[v.Place]] = string(token)
	}
	return out, nil
}
