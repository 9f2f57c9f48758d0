package engine_test

import (
	"testing"
)

func TestQueuesKeepWhoPausedThemAndWhy(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		c := must(w.Store.Clusters(ctx, w.org.ID))(t)[0]
		q := must(w.PauseQueue(ctx, c.DefaultQueueID, " Moving machines ", "u1"))(t)
		since := q.PausedAt
		must(w.PauseQueue(ctx, q.ID, "Still moving", "u2"))(t)
		got := must(w.Store.QueueByID(ctx, q.ID))(t)
		if !got.PausedAt.Equal(since) || got.PausedBy != "u2" || got.PausedNote != "Still moving" {
			t.Errorf("%+v", got)
		}
		must(w.ResumeQueue(ctx, q.ID))(t)
		if got := must(w.Store.QueueByID(ctx, q.ID))(t); !got.PausedAt.IsZero() || got.PausedNote != "" || got.PausedBy != "" {
			t.Errorf("%+v", got)
		}
		if _, err := w.PauseQueue(ctx, "none", "", ""); err == nil {
			t.Error("a queue that is not there was paused")
		}
	})
}
