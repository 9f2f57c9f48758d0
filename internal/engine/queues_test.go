package engine_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
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

func TestWhatIsChosenForAQueueIsKept(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		q := must(w.CreateQueue(ctx, engine.CreateQueue{ClusterID: w.cluster.ID, Key: "gpu"}))(t)
		if q.RetryAffinity != ci.PreferWarmest {
			t.Errorf("a new queue has %q", q.RetryAffinity)
		}
		must(w.UpdateQueue(ctx, q.ID, engine.QueueSettings{Description: new("With GPUs")}))(t)
		must(w.UpdateQueue(ctx, q.ID, engine.QueueSettings{RetryAffinity: new(ci.PreferDifferent)}))(t)
		must(w.PauseQueue(ctx, q.ID, "", "u"))(t)
		must(w.ResumeQueue(ctx, q.ID))(t)
		_, err := w.UpdateQueue(ctx, q.ID, engine.QueueSettings{Description: new(strings.Repeat("x", 1001)), RetryAffinity: new(ci.RetryAffinity(""))})
		no, ok := errors.AsType[*engine.Refused](err)
		if !ok || no.Why != engine.Invalid || no.Fields["description"] == "" || no.Fields["retry_agent_affinity"] != "must be prefer-warmest or prefer-different" {
			t.Errorf("%v", err)
		}
		q.Description, q.RetryAffinity = "With GPUs", ci.PreferDifferent
		if got := must(w.Store.QueueByID(ctx, q.ID))(t); got != q {
			t.Errorf("%+v, want %+v", got, q)
		}
		if _, err := w.UpdateQueue(ctx, "none", engine.QueueSettings{}); err == nil {
			t.Error("a queue that is not there was changed")
		}
	})
}
