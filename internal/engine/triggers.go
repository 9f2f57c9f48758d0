package engine

import (
	"context"
	"errors"
	"maps"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/secret"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

// Limits of trigger addresses (https://buildkite.com/docs/apis/webhooks/incoming/pipeline-triggers).
const (
	maxTriggers     = 10  // of a pipeline
	maxTriggersHour = 300 // requests of a pipeline in an hour
)

// TriggerPrefix begins the tokens of trigger addresses.
const TriggerPrefix = "bktr_"

// TriggerSecretPlace is where the secret is sealed that requests to a trigger address are signed with.
func TriggerSecretPlace(id string) string { return "trigger-secret/" + id }

// SaveTrigger adds a trigger address to a pipeline, or changes the one with an id.
type SaveTrigger struct {
	PipelineID string
	ID         string // "": a new one
	Rotate     bool   // give it a new token; the old one is good for nothing from then on
	Secret     *string
	Change     func(store.PipelineTrigger) store.PipelineTrigger
}

// SaveTrigger returns the trigger and, if it got one, its token, which is kept as a hash alone.
func (e *Engine) SaveTrigger(ctx context.Context, op SaveTrigger) (out store.PipelineTrigger, token string, err error) {
	err = e.Store.Update(ctx, func(tx *store.Tx) error {
		token = ""
		was := store.PipelineTrigger{ID: e.NewID(), PipelineID: op.PipelineID, Commit: "HEAD", Enabled: true, CreatedAt: e.Now()}
		if op.ID != "" { // whose lock comes before its pipeline's, as where it makes a build
			was, err = triggerOf(ctx, tx, op.PipelineID, op.ID)
		} else {
			_, err = tx.LockPipeline(ctx, op.PipelineID)
			err = missing(err, "No pipeline found")
		}
		if err != nil {
			return err
		}
		out = op.Change(was)
		out.ID, out.PipelineID, out.CreatedAt, out.TokenHash, out.Signed = was.ID, was.PipelineID, was.CreatedAt, was.TokenHash, was.Signed
		if err := checkTrigger(&out); err != nil {
			return err
		}
		if op.ID == "" || op.Rotate {
			token = secret.NewToken(TriggerPrefix)
			out.TokenHash = secret.HashToken(token)
		}
		if err := e.signTrigger(ctx, tx, &out, op.Secret); err != nil {
			return err
		}
		if op.ID != "" {
			return tx.UpdatePipelineTrigger(ctx, out)
		}
		all, err := tx.PipelineTriggers(ctx, op.PipelineID, maxTriggers)
		if err != nil {
			return err
		}
		if len(all) == maxTriggers {
			return refuse(Conflict, "The pipeline has %d trigger addresses, which is the most that it may have.", maxTriggers)
		}
		return tx.InsertPipelineTrigger(ctx, out)
	})
	return out, token, err
}

func triggerOf(ctx context.Context, tx *store.Tx, pipelineID, id string) (store.PipelineTrigger, error) {
	v, err := tx.LockPipelineTrigger(ctx, id)
	if err == nil && v.PipelineID != pipelineID {
		err = store.ErrNotFound
	}
	return v, missing(err, "No pipeline trigger found")
}

func checkTrigger(v *store.PipelineTrigger) error {
	v.Label, v.Branch, v.Commit = strings.TrimSpace(v.Label), strings.TrimSpace(v.Branch), firstNonEmpty(strings.TrimSpace(v.Commit), "HEAD")
	fields := map[string]string{}
	if v.Label == "" {
		fields["label"] = "can't be blank"
	}
	maps.Copy(fields, checkOrigin(v.Branch, v.Commit))
	if len(fields) > 0 {
		return &Refused{Why: Invalid, Message: "Validation Failed", Fields: fields}
	}
	return nil
}

func (e *Engine) signTrigger(ctx context.Context, tx *store.Tx, v *store.PipelineTrigger, key *string) error {
	switch {
	case key == nil:
		return nil
	case len(*key) > maxWebhookSecret:
		return invalidField("secret", "is longer than 1024 bytes")
	case *key == "":
		v.Signed = false
		return tx.DeleteSealed(ctx, TriggerSecretPlace(v.ID))
	}
	v.Signed = true
	return e.seal(ctx, tx, TriggerSecretPlace(v.ID), []byte(*key))
}

// DeleteTrigger removes a pipeline's trigger address.
func (e *Engine) DeleteTrigger(ctx context.Context, pipelineID, id string) error {
	return e.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := triggerOf(ctx, tx, pipelineID, id); err != nil {
			return err
		}
		if err := tx.DeleteSealed(ctx, TriggerSecretPlace(id)); err != nil {
			return err
		}
		return tx.DeletePipelineTrigger(ctx, id)
	})
}

// Trigger is a request to a trigger address. Requests with one key make one build; a request without a key
// is one of its own.
type Trigger struct {
	ID      string // of the trigger
	Key     string
	Payload []byte
}

// FireTrigger makes the build that a member gave the address.
func (e *Engine) FireTrigger(ctx context.Context, op Trigger) (store.Build, error) {
	var out store.Build
	err := e.drafting(ctx, func(d *draft) (err error) {
		out, err = e.fireTrigger(ctx, op, d)
		return err
	})
	return out, err
}

func (e *Engine) fireTrigger(ctx context.Context, op Trigger, d *draft) (out store.Build, err error) {
	err = e.update(ctx, func(tx *store.Tx, hint func(...string)) error {
		v, err := tx.LockPipelineTrigger(ctx, op.ID)
		if err != nil {
			return missing(err, "Pipeline trigger not found")
		}
		if !v.Enabled {
			return refuse(Forbidden, "Pipeline trigger is disabled")
		}
		key := "trigger:" + v.ID + ":" + firstNonEmpty(op.Key, e.NewID())
		before, err := tx.Delivery(ctx, v.PipelineID, key)
		if err == nil && len(before.Builds) == 1 {
			out, err = tx.BuildByNumber(ctx, v.PipelineID, before.Builds[0])
			return err
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		n, err := tx.CountDeliveries(ctx, v.PipelineID, "pipeline_trigger", e.Now().Add(-time.Hour))
		if err != nil {
			return err
		}
		if n >= maxTriggersHour {
			return refuse(TooMany, "The pipeline's trigger addresses take %d requests in an hour.", maxTriggersHour)
		}
		out, err = e.triggeredBuild(ctx, tx, hint, v, op.Payload, key, d)
		return err
	})
	return out, err
}

func (e *Engine) triggeredBuild(ctx context.Context, tx *store.Tx, hint func(...string), v store.PipelineTrigger, payload []byte, key string, d *draft) (store.Build, error) {
	create := CreateBuild{
		PipelineID: v.PipelineID, Source: trust.SourceAddress, Commit: v.Commit, Branch: v.Branch,
		Message: firstNonEmpty(v.Message, "Triggered build"), Env: v.Env, CreatorID: v.CreatedBy, draft: d,
	}
	var err error
	if create.Author, err = personOf(ctx, tx.Reader, v.CreatedBy); err != nil {
		return store.Build{}, err
	}
	if len(payload) > 0 {
		create.MetaData = map[string]string{PayloadKey: string(payload)}
	}
	b, err := e.createBuild(ctx, tx, hint, create)
	if err != nil {
		return b, err
	}
	v.UsedAt = e.Now()
	if err := tx.UpdatePipelineTrigger(ctx, v); err != nil {
		return b, err
	}
	return b, tx.InsertDelivery(ctx, store.Delivery{
		ID: e.NewID(), PipelineID: v.PipelineID, Key: key, Source: "pipeline_trigger", Event: "trigger", Subject: v.Label,
		Outcome: Built, Builds: []int64{b.Number}, Reason: "A request to the trigger address.", CreatedAt: e.Now(),
	}, keepDeliveries)
}
