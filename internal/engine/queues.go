package engine

import (
	"context"
	"strings"

	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/store"
)

// maxNoteBytes bounds the note on a paused queue.
const maxNoteBytes = 1000

// PauseQueue keeps the jobs of a queue from agents. Jobs that agents have go on. Pausing again changes
// the note.
func (e *Engine) PauseQueue(ctx context.Context, id, note, by string) (store.Queue, error) {
	if len(note) > maxNoteBytes {
		return store.Queue{}, invalidField("dispatch_paused_note", "is longer than 1000 bytes")
	}
	return e.onQueue(ctx, id, func(q *store.Queue) {
		if q.PausedAt.IsZero() {
			q.PausedAt = e.Now()
		}
		q.PausedBy, q.PausedNote = by, strings.TrimSpace(note)
	})
}

// ResumeQueue gives the jobs of a queue to agents again. One that is not paused stays as it is.
func (e *Engine) ResumeQueue(ctx context.Context, id string) (store.Queue, error) {
	return e.onQueue(ctx, id, func(q *store.Queue) {
		*q = store.Queue{ID: q.ID, ClusterID: q.ClusterID, Key: q.Key, Description: q.Description, CreatedAt: q.CreatedAt}
	})
}

func (e *Engine) onQueue(ctx context.Context, id string, change func(*store.Queue)) (store.Queue, error) {
	var q store.Queue
	err := e.update(ctx, func(tx *store.Tx, hint func(...string)) (err error) {
		if q, err = tx.QueueByID(ctx, id); err != nil {
			return missing(err, "No queue found")
		}
		change(&q)
		hint(live.Fleet, live.Assign)
		return tx.PauseQueue(ctx, q)
	})
	return q, err
}
