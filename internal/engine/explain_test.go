package engine_test

import (
	"testing"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/store"
)

func TestAJobThatWaitsForAnAgentIsExplained(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		for _, key := range []string{"mac", "mca"} {
			q := store.Queue{ID: w.NewID(), ClusterID: w.cluster.ID, Key: key, CreatedAt: w.Now()}
			if err := w.Store.Update(t.Context(), func(tx *store.Tx) error { return tx.InsertQueue(t.Context(), q) }); err != nil {
				t.Fatal(err)
			}
		}
		b := w.build(t, "steps:\n- {command: a, key: a, agents: {queue: mca}}\n- {command: b, key: b, agents: {queue: mac, os: linux}}\n"+
			"- {command: c, key: c, agents: {queue: mac}}\n- wait\n- {command: d, key: d}\n")
		holder := w.agent(t, "queue=mac", "os=macos")
		want := func(key, sentence string) {
			t.Helper()
			got := must(w.Explain(t.Context(), w.job(t, b, key).ID))(t)
			if got != sentence {
				t.Errorf("%s: %q, want %q", key, got, sentence)
			}
		}
		want("a", "no agent matches queue=mca; did you mean mac?")
		want("b", "no agent in queue mac matches os=linux")
		want("c", "an agent that matches is free; other jobs may come first")
		want("d", "")
		other := w.job(t, w.build(t, "steps:\n- {command: e, key: e, agents: {queue: mac}}\n"), "e")
		if !must(w.AssignJob(t.Context(), other.ID, holder.ID))(t) {
			t.Fatal("not assigned")
		}
		want("c", "no agent that matches is free in queue mac: 1 busy")
		r := must(w.Roster(t.Context(), w.cluster.ID))(t)
		c := w.job(t, b, "c")
		if s := r.Standing(must(w.Store.Build(t.Context(), b.ID))(t), c.QueueID, c.Rules); s.Matching != 1 || s.Busy != 1 || s.Paused {
			t.Errorf("stands as %+v", s)
		}
		head := must(w.Store.QueueHead(t.Context(), c.QueueID, 10))(t)
		if len(head) != 2 || head[1] != c.ID {
			t.Errorf("the queue's head is %v, want %s second", head, c.ID)
		}
		_, err := w.Explain(t.Context(), "nowhere")
		wantRefusal(t, err, "No job found")
	})
}

func TestAConcurrencyGroupSaysWhoHoldsItAndWhoIsNext(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		const one = "steps:\n- {command: a, key: a, concurrency: 1, concurrency_group: lock}\n"
		first, second, third := w.build(t, one), w.build(t, one), w.build(t, one)
		w.wantJob(t, first, "a", ci.JobScheduled)
		w.wantJob(t, second, "a", ci.JobLimited)
		users := must(w.Store.GroupUsers(t.Context(), w.job(t, first, "a").GroupID, 10))(t)
		line := must(w.Store.Line(t.Context(), w.job(t, first, "a").GroupID, 10))(t)
		if len(users) != 1 || users[0].ID != first.ID || len(line) != 2 || line[1].ID != w.job(t, third, "a").ID {
			t.Errorf("held by %v, line %v", users, line)
		}
	})
}
