package engine

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/store"
)

// maxNoteBytes bounds the note on a paused queue.
const maxNoteBytes = 1000

// QueueSettings are what may be chosen for a queue. Nil keeps what is; a new queue has no description and prefers the warmest agent.
type QueueSettings struct {
	Description   *string // up to 1000 bytes
	RetryAffinity *ci.RetryAffinity
}

func (s QueueSettings) set(q *store.Queue) error {
	if s.Description != nil {
		q.Description = *s.Description
	}
	if s.RetryAffinity != nil {
		q.RetryAffinity = *s.RetryAffinity
	}
	fields := map[string]string{}
	if len(q.Description) > maxDescriptionBytes {
		fields["description"] = "is longer than 1000 bytes"
	}
	if !slices.Contains(ci.RetryAffinities, q.RetryAffinity) {
		fields["retry_agent_affinity"] = "must be prefer-warmest or prefer-different"
	}
	if len(fields) > 0 {
		return &Refused{Why: Invalid, Message: "Validation Failed", Fields: fields}
	}
	return nil
}

// CreateQueue asks for a queue of a cluster.
type CreateQueue struct {
	ClusterID string
	Key       string // 1 to 100 letters, digits, dashes or underscores
	QueueSettings
}

// CreateQueue adds a queue to a cluster.
func (e *Engine) CreateQueue(ctx context.Context, op CreateQueue) (store.Queue, error) {
	var q store.Queue
	err := e.Store.Update(ctx, func(tx *store.Tx) error {
		var err error
		q, err = e.createQueue(ctx, tx, op)
		return err
	})
	return q, err
}

func (e *Engine) createQueue(ctx context.Context, tx *store.Tx, op CreateQueue) (store.Queue, error) {
	q := store.Queue{ID: e.NewID(), ClusterID: op.ClusterID, Key: op.Key, RetryAffinity: ci.PreferWarmest, CreatedAt: e.Now()}
	if !queueKey.MatchString(op.Key) {
		return q, invalidField("key", "must be 1 to 100 letters, digits, dashes or underscores")
	}
	if err := op.set(&q); err != nil {
		return q, err
	}
	err := tx.InsertQueue(ctx, q)
	if errors.Is(err, store.ErrConflict) {
		return q, invalidField("key", "has already been taken")
	}
	return q, err
}

// UpdateQueue changes what is chosen for a queue. Jobs that agents have go on.
func (e *Engine) UpdateQueue(ctx context.Context, id string, s QueueSettings) (store.Queue, error) {
	return e.onQueue(ctx, id, s.set)
}

// PauseQueue keeps the jobs of a queue from agents. Jobs that agents have go on. Pausing again changes
// the note.
func (e *Engine) PauseQueue(ctx context.Context, id, note, by string) (store.Queue, error) {
	if len(note) > maxNoteBytes {
		return store.Queue{}, invalidField("dispatch_paused_note", "is longer than 1000 bytes")
	}
	return e.onQueue(ctx, id, func(q *store.Queue) error {
		if q.PausedAt.IsZero() {
			q.PausedAt = e.Now()
		}
		q.PausedBy, q.PausedNote = by, strings.TrimSpace(note)
		return nil
	})
}

// ResumeQueue gives the jobs of a queue to agents again. One that is not paused stays as it is.
func (e *Engine) ResumeQueue(ctx context.Context, id string) (store.Queue, error) {
	return e.onQueue(ctx, id, func(q *store.Queue) error {
		q.PausedAt, q.PausedBy, q.PausedNote = time.Time{}, "", ""
		return nil
	})
}

func (e *Engine) onQueue(ctx context.Context, id string, change func(*store.Queue) error) (store.Queue, error) {
	var q store.Queue
	err := e.update(ctx, func(tx *store.Tx, hint func(...string)) (err error) {
		if q, err = tx.LockQueue(ctx, id); err != nil {
			return missing(err, "No queue found")
		}
		if err := change(&q); err != nil {
			return err
		}
		hint(live.Fleet, live.Assign)
		return tx.UpdateQueue(ctx, q)
	})
	return q, err
}
