package engine_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

func TestAJobThatWaitsForAnAgentIsExplained(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		for _, key := range []string{"mac", "mca"} {
			q := store.Queue{ID: w.NewID(), ClusterID: w.cluster.ID, Key: key, RetryAffinity: ci.PreferWarmest, CreatedAt: w.Now()}
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
			if got.Text != sentence {
				t.Errorf("%s: %q, want %q", key, got.Text, sentence)
			}
		}
		want("a", "no agent matches queue=mca; did you mean mac?")
		want("b", "no agent in queue mac matches os=linux")
		want("c", "an agent that matches is free; other jobs may come first")
		want("d", "waits for a, b, c")
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

func TestAJobOfAPausedQueueSaysWhoPausedItAndWhy(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		b := w.build(t, "steps: [{command: a, key: a}]")
		j := w.job(t, b, "a")
		owner := must(w.Store.FirstUser(ctx))(t)
		for _, c := range []struct{ note, by, want string }{
			{"", "", "queue default is paused"},
			{"new\n disks.", owner.ID, "queue default is paused by " + owner.Name + ": new disks"},
			{strings.Repeat("x", 300), "", "queue default is paused: " + strings.Repeat("x", 200) + "…"},
		} {
			must(w.PauseQueue(ctx, j.QueueID, c.note, c.by))(t)
			if got := must(w.Explain(ctx, j.ID))(t); got.Text != c.want {
				t.Errorf("%q, want %q", got.Text, c.want)
			}
		}
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

func TestEveryJobThatDoesNotRunIsExplained(t *testing.T) {
	w := stated(t)
	gate := steps("{command: o, key: o, concurrency: 1, concurrency_group: gate}", "wait", "{command: x, key: x}", "wait",
		"{command: z, key: z, concurrency: 1, concurrency_group: gate}")
	w.pipeline(t, "child", steps("{command: c, key: c}"))
	first, second, third := w.build(t, gate), w.build(t, gate), w.build(t, gate)
	slug := must(w.Store.PipelineByID(t.Context(), first.PipelineID))(t).Slug
	b := w.build(t, steps("{block: go, key: go, allowed_teams: [ops, sre]}", "{command: d, key: d, depends_on: [go, f]}", "{command: f, key: f, depends_on: null}",
		"{command: n, key: n, depends_on: f}", "{command: i, key: i, if: 'build.branch == \"x\"'}", "{command: r, key: r, branches: x}", "{command: s, key: s, skip: not now}",
		"{trigger: child, key: t, depends_on: null}", "{command: y, key: y, depends_on: null}"))
	want := func(b store.Build, key, kind, text string) {
		t.Helper()
		got := must(w.Explain(t.Context(), w.job(t, b, key).ID))(t)
		if got.Kind != kind || got.Text != text {
			t.Errorf("%s: %q, %q; want %q, %q", key, got.Kind, got.Text, kind, text)
		}
	}
	want(b, "go", engine.WaitsForPerson, "waits for a member of ops, sre to unblock it")
	want(b, "d", engine.WaitsForSteps, "waits for go, f")
	want(b, "i", engine.StoppedByCondition, `its condition does not hold: if: build.branch == "x"`)
	want(b, "r", engine.StoppedByBranch, "it is not for this branch: branches: x")
	want(b, "s", engine.StoppedBySkip, "not now")
	want(b, "t", engine.WaitsForBuild, "its build is about to be made")
	w.settle(t)
	want(b, "t", engine.WaitsForBuild, "waits for child #1, which is scheduled")
	must(w.CancelJob(t.Context(), w.job(t, b, "y").ID, "ana"))(t)
	want(b, "y", engine.StoppedByPerson, "canceled by ana")
	w.end(t, b, "f", 1)
	want(b, "n", engine.StoppedByStep, "f failed")
	want(b, "f", "", "")

	want(third, "o", engine.WaitsForGroup, "1 of 1 slots of gate are in use by "+slug+" #1; number 4 in line")
	w.end(t, first, "o", 0)
	w.admit(t)
	want(second, "o", engine.WaitsForGroup, "its turn in gate comes after "+slug+" #1; number 2 in line")
	want(first, "z", engine.WaitsForSteps, "waits for x")
	held := must(w.Explain(t.Context(), w.job(t, second, "o").ID))(t).HeldBy
	if len(held) != 1 || held[0].ID != first.ID {
		t.Errorf("held by %v", held)
	}
}

func TestAJobThatAStackHasSaysWhoAndWhatWasSaidOfIt(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		b := w.build(t, "steps:\n- {command: a, key: a}\n")
		job := w.job(t, b, "a")
		k, _, err := w.RegisterStack(ctx, w.org.ID, store.Stack{ClusterID: w.cluster.ID, Key: "k8s", Type: "kubernetes", QueueID: job.QueueID})
		if err != nil {
			t.Fatal(err)
		}
		if got := must(w.ReserveJobs(ctx, k, []string{job.ID}, 10*time.Minute))(t); len(got) != 1 {
			t.Fatal("the job was not reserved")
		}
		until := w.Now().Add(10 * time.Minute)
		want := func(text string, notes ...engine.Note) {
			t.Helper()
			got := must(w.Explain(ctx, job.ID))(t)
			if got.Kind != engine.WaitsForStack || got.Text != text || got.Stack != "k8s" || got.Until == nil || !got.Until.Equal(until) || !slices.Equal(got.Notes, notes) {
				t.Errorf("explained as %+v until %v; want %q and the notes %v", got, got.Until, text, notes)
			}
		}
		want("reserved by stack k8s until 2026-11-23T12:10:00Z")
		first := engine.Note{At: w.Now(), Text: "Pod created"}
		w.advance(time.Minute)
		second := engine.Note{At: w.Now(), Text: "Pulling the image"}
		for _, n := range []engine.Note{first, second} {
			if refused := must(w.AddStackNotes(ctx, k, []engine.StackSaid{{JobID: job.ID, Detail: n.Text, At: n.At.Format(time.RFC3339Nano)}}))(t); len(refused) > 0 {
				t.Fatalf("the note was refused: %v", refused)
			}
		}
		want("reserved by stack k8s until 2026-11-23T12:10:00Z; Pulling the image", first, second)
	})
}

func TestTheNextAttemptOfAJobIsReservedByNoStack(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		job := w.job(t, w.build(t, "steps:\n- {command: a, key: a}\n"), "a")
		k, _, err := w.RegisterStack(ctx, w.org.ID, store.Stack{ClusterID: w.cluster.ID, Key: "k8s", Type: "kubernetes", QueueID: job.QueueID})
		if err != nil {
			t.Fatal(err)
		}
		must(w.ReserveJobs(ctx, k, []string{job.ID}, 10*time.Minute))(t)
		if err := w.DeclineJob(ctx, k, job.ID, 1, "no room"); err != nil {
			t.Fatal(err)
		}
		next := must(w.RetryJob(ctx, job.ID, "ana"))(t)
		if got := must(w.Store.Job(ctx, next.ID))(t); got.ReservedBy != "" || got.State != ci.JobScheduled {
			t.Errorf("the next attempt is %s, reserved by %q", got.State, got.ReservedBy)
		}
	})
}
