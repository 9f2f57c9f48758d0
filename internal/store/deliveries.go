package store

import (
	"context"
	"encoding/json"
	"time"
)

// Webhook is where a forge delivers its events for a pipeline.
type Webhook struct {
	PipelineID string
	TokenHash  string
	Signed     bool // deliveries must bear a signature
	DisabledAt time.Time
	DisabledBy string
	CreatedAt  time.Time
}

// Delivery is something that arrived for a pipeline, with what became of it.
type Delivery struct {
	ID         string
	PipelineID string
	Key        string // the sender's id of it
	Source     string // webhook, pipeline_trigger, schedule
	Event      string
	Subject    string
	Outcome    string // built, canceled, ignored, refused
	Reason     string
	Builds     []int64 // numbers of those made or canceled
	CreatedAt  time.Time
}

// PullRequestFacts are an open pull request as the forge last described it.
type PullRequestFacts struct {
	PipelineID string
	Number     string
	Branch     string
	Own        bool // from the pipeline's own repository
	Facts      json.RawMessage
	UpdatedAt  time.Time // by the forge's clock
}

const (
	webhookColumns   = `pipeline_id, token_hash, signed, disabled_at, disabled_by, created_at`
	sqlWebhook       = `SELECT ` + webhookColumns + ` FROM webhooks WHERE pipeline_id = $1`
	sqlWebhookByHash = `SELECT ` + webhookColumns + ` FROM webhooks WHERE token_hash = $1`
	sqlPutWebhook    = `INSERT INTO webhooks (` + webhookColumns + `) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (pipeline_id) DO UPDATE SET token_hash = excluded.token_hash, signed = excluded.signed,
		disabled_at = excluded.disabled_at, disabled_by = excluded.disabled_by`

	deliveryColumns   = `id, pipeline_id, key, source, event, subject, outcome, reason, builds, created_at`
	sqlDelivery       = `SELECT ` + deliveryColumns + ` FROM deliveries WHERE pipeline_id = $1 AND key = $2`
	sqlDeliveries     = `SELECT ` + deliveryColumns + ` FROM deliveries WHERE pipeline_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2`
	sqlInsertDelivery = `INSERT INTO deliveries (` + deliveryColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`
	sqlOldDelivery    = `SELECT created_at FROM deliveries WHERE pipeline_id = $1 ORDER BY created_at DESC, id DESC LIMIT 1 OFFSET $2`
	sqlPruneDelivery  = `DELETE FROM deliveries WHERE pipeline_id = $1 AND created_at <= $2`
	sqlCountArrivals  = `SELECT COUNT(*) FROM deliveries WHERE pipeline_id = $1 AND source = $2 AND created_at > $3`

	pullColumns   = `pipeline_id, number, branch, own, facts, updated_at`
	sqlPull       = `SELECT ` + pullColumns + ` FROM pull_requests WHERE pipeline_id = $1 AND number = $2`
	sqlPullBranch = `SELECT ` + pullColumns + ` FROM pull_requests WHERE pipeline_id = $1 AND branch = $2 AND own ORDER BY updated_at DESC LIMIT 1`
	sqlPutPull    = `INSERT INTO pull_requests (` + pullColumns + `) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (pipeline_id, number) DO UPDATE SET branch = excluded.branch, own = excluded.own, facts = excluded.facts,
		updated_at = excluded.updated_at WHERE pull_requests.updated_at <= excluded.updated_at`
	sqlDropPull = `DELETE FROM pull_requests WHERE pipeline_id = $1 AND number = $2`

	sqlBuiltCommit = `SELECT number FROM builds WHERE pipeline_id = $1 AND commit_sha = $2 AND (branch = $3 OR $3 = '')
		ORDER BY number DESC LIMIT 1`
	sqlOpenOfBranch = `SELECT ` + buildColumns + ` FROM builds WHERE pipeline_id = $1 AND branch = $2 AND ` + skippableBuilds + ` ORDER BY number DESC LIMIT $3`
)

func scanWebhook(s scanner) (w Webhook, err error) {
	return w, s.Scan(&w.PipelineID, &w.TokenHash, &w.Signed, instant{&w.DisabledAt}, &w.DisabledBy, instant{&w.CreatedAt})
}

func scanDelivery(s scanner) (d Delivery, err error) {
	return d, s.Scan(&d.ID, &d.PipelineID, &d.Key, &d.Source, &d.Event, &d.Subject, &d.Outcome, &d.Reason, document{&d.Builds},
		instant{&d.CreatedAt})
}

func scanPull(s scanner) (p PullRequestFacts, err error) {
	return p, s.Scan(&p.PipelineID, &p.Number, &p.Branch, &p.Own, rawDocument{&p.Facts}, instant{&p.UpdatedAt})
}

// Webhook returns where a forge delivers for a pipeline.
func (r Reader) Webhook(ctx context.Context, pipelineID string) (Webhook, error) {
	return one(ctx, r.q, scanWebhook, sqlWebhook, pipelineID)
}

// WebhookByToken returns the webhook with the hash of a token.
func (r Reader) WebhookByToken(ctx context.Context, hash string) (Webhook, error) {
	return one(ctx, r.q, scanWebhook, sqlWebhookByHash, hash)
}

// PutWebhook adds or changes a pipeline's webhook.
func (tx *Tx) PutWebhook(ctx context.Context, w Webhook) error {
	return exec(ctx, tx.q, sqlPutWebhook, w.PipelineID, w.TokenHash, w.Signed, micros(w.DisabledAt), w.DisabledBy, micros(w.CreatedAt))
}

// Delivery returns what arrived for a pipeline under a key.
func (r Reader) Delivery(ctx context.Context, pipelineID, key string) (Delivery, error) {
	return one(ctx, r.q, scanDelivery, sqlDelivery, pipelineID, key)
}

// Deliveries returns up to limit deliveries for a pipeline, newest first.
func (r Reader) Deliveries(ctx context.Context, pipelineID string, limit int) ([]Delivery, error) {
	return list(ctx, r.q, scanDelivery, sqlDeliveries, pipelineID, limit)
}

// CountDeliveries returns how many arrived for a pipeline from a source since a time.
func (r Reader) CountDeliveries(ctx context.Context, pipelineID, source string, since time.Time) (int, error) {
	n, err := one(ctx, r.q, scanInt, sqlCountArrivals, pipelineID, source, micros(since))
	return int(n), err
}

// InsertDelivery adds a delivery and forgets all but about keep of the pipeline's newest.
func (tx *Tx) InsertDelivery(ctx context.Context, d Delivery, keep int) error {
	if err := exec(ctx, tx.q, sqlInsertDelivery, d.ID, d.PipelineID, d.Key, d.Source, d.Event, d.Subject, d.Outcome, d.Reason,
		text(append([]int64{}, d.Builds...)), micros(d.CreatedAt)); err != nil {
		return err
	}
	old, err := list(ctx, tx.q, scanInt, sqlOldDelivery, d.PipelineID, keep)
	if err != nil || len(old) == 0 {
		return err
	}
	_, err = count(ctx, tx.q, sqlPruneDelivery, d.PipelineID, old[0])
	return err
}

// PullRequest returns an open pull request by number.
func (r Reader) PullRequest(ctx context.Context, pipelineID, number string) (PullRequestFacts, error) {
	return one(ctx, r.q, scanPull, sqlPull, pipelineID, number)
}

// PullRequestOf returns the open pull request of a branch of the pipeline's own repository.
func (r Reader) PullRequestOf(ctx context.Context, pipelineID, branch string) (PullRequestFacts, error) {
	return one(ctx, r.q, scanPull, sqlPullBranch, pipelineID, branch)
}

// PutPullRequest keeps what a forge says of an open pull request, unless what is kept is newer.
func (tx *Tx) PutPullRequest(ctx context.Context, p PullRequestFacts) error {
	_, err := count(ctx, tx.q, sqlPutPull, p.PipelineID, p.Number, p.Branch, p.Own, string(p.Facts), micros(p.UpdatedAt))
	return err
}

// DropPullRequest forgets a pull request.
func (tx *Tx) DropPullRequest(ctx context.Context, pipelineID, number string) error {
	_, err := count(ctx, tx.q, sqlDropPull, pipelineID, number)
	return err
}

// BuiltCommit returns the number of the newest build of a commit, of one branch or, for "", of any.
func (r Reader) BuiltCommit(ctx context.Context, pipelineID, commit, branch string) (int64, error) {
	return one(ctx, r.q, scanInt, sqlBuiltCommit, pipelineID, commit, branch)
}

// OpenBuildsOfBranch returns up to limit builds of a branch that have not ended and are not being
// canceled, newest first.
func (r Reader) OpenBuildsOfBranch(ctx context.Context, pipelineID, branch string, limit int) ([]Build, error) {
	return list(ctx, r.q, scanBuild, sqlOpenOfBranch, pipelineID, branch, limit)
}
