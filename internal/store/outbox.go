package store

import (
	"context"
	"encoding/json"
	"time"
)

// Effect is something to be done outside after a transaction: at least once, in no promised order.
// Effects of one kind about one target coalesce until they are done. A lane is a host or a service:
// those of one lane are delivered a few at a time, and lanes do not wait for each other.
type Effect struct {
	ID        string
	Kind      string
	Target    string
	Lane      string
	Payload   json.RawMessage
	Attempts  int
	LastError string
	CreatedAt time.Time
	NextAt    time.Time
}

const (
	effectColumns = `id, kind, target, lane, payload, attempts, last_error, created_at, next_at`
	sqlPutEffect  = `INSERT INTO outbox (` + effectColumns + `) VALUES ($1, $2, $3, $4, $5, 0, '', $6, $7)
		ON CONFLICT (kind, target) DO UPDATE SET id = excluded.id, lane = excluded.lane, payload = excluded.payload, attempts = 0, last_error = '',
		next_at = excluded.next_at`
	sqlDueLanes   = `SELECT lane FROM outbox WHERE next_at <= $1 GROUP BY lane ORDER BY MIN(next_at) LIMIT $2`
	sqlDueEffects = `SELECT ` + effectColumns + ` FROM outbox WHERE lane = $1 AND next_at <= $2 ORDER BY next_at, created_at, id LIMIT $3`
	sqlClaim      = `UPDATE outbox SET next_at = $3 WHERE id = $1 AND next_at = $2`
	sqlDelay      = `UPDATE outbox SET attempts = attempts + 1, last_error = $2, next_at = $3 WHERE id = $1`
	sqlDone       = `DELETE FROM outbox WHERE id = $1`
)

func scanEffect(s scanner) (e Effect, err error) {
	return e, s.Scan(&e.ID, &e.Kind, &e.Target, &e.Lane, rawDocument{&e.Payload}, &e.Attempts, &e.LastError,
		instant{&e.CreatedAt}, instant{&e.NextAt})
}

// DueLanes returns up to limit lanes that have an effect due, the one that waits longest first.
func (r Reader) DueLanes(ctx context.Context, now time.Time, limit int) ([]string, error) {
	return list(ctx, r.q, scanString, sqlDueLanes, micros(now), limit)
}

// DueEffects returns up to limit effects of a lane that are due, those that wait longest first.
func (r Reader) DueEffects(ctx context.Context, lane string, now time.Time, limit int) ([]Effect, error) {
	return list(ctx, r.q, scanEffect, sqlDueEffects, lane, micros(now), limit)
}

// ClaimEffect puts a due effect off to a time by which it is delivered, or its deliverer is dead. It
// reports false if the effect was claimed, put off or done meanwhile.
func (tx *Tx) ClaimEffect(ctx context.Context, e Effect, until time.Time) (bool, error) {
	n, err := count(ctx, tx.q, sqlClaim, e.ID, micros(e.NextAt), micros(until))
	return n > 0, err
}

// PutEffect adds an effect, or replaces the one of its kind and target that is not done yet. It
// takes the new effect's id, so that a relay at work on the old one does not delete it. What was
// tried in vain before does not count against it.
func (tx *Tx) PutEffect(ctx context.Context, e Effect) error {
	return exec(ctx, tx.q, sqlPutEffect, e.ID, e.Kind, e.Target, e.Lane, string(e.Payload), micros(e.CreatedAt), micros(e.NextAt))
}

// DelayEffect records a failed attempt; an effect replaced meanwhile is left alone.
func (tx *Tx) DelayEffect(ctx context.Context, id, cause string, next time.Time) error {
	_, err := count(ctx, tx.q, sqlDelay, id, cause, micros(next))
	return err
}

// EffectDone removes an effect; one replaced meanwhile is left to be done again.
func (tx *Tx) EffectDone(ctx context.Context, id string) error {
	_, err := count(ctx, tx.q, sqlDone, id)
	return err
}
