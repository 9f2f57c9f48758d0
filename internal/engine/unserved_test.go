package engine_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// unserved are the warnings of a build's steps that wait for an agent to come, and of those for which
// one came, a line each.
func (w *world) unserved(t testing.TB, b store.Build) (waiting, passed string) {
	t.Helper()
	r := must(w.Roster(t.Context(), w.cluster.ID))(t)
	lines := func(list []store.Unserved) string {
		var out []string
		for _, u := range list {
			out = append(out, u.Warning)
		}
		return strings.Join(out, "\n")
	}
	still, done := r.Unserved(w.now(t, b))
	return lines(still), lines(done)
}

func TestABuildSaysForWhichStepsNoAgentIsThere(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		for _, key := range []string{"mac", "win"} {
			must(w.CreateQueue(ctx, engine.CreateQueue{ClusterID: w.cluster.ID, Key: key}))(t)
		}
		w.agent(t, "queue=mac", "arch=arm")
		b := w.build(t, "steps:\n- {command: a, key: a, agents: {queue: mac}}\n- {command: b, key: b, agents: {queue: mac, arch: arn}, parallelism: 2}\n"+
			"- wait\n- {command: c, label: c, agents: {queue: win}}\n- {command: d, agents: {queue: win}}\n- {command: e, agents: {queue: win, x: y}, skip: true}\n")
		const b1 = "configuration:3:3: b waits until there is an agent for it: no agent in queue mac matches arch=arn; did you mean arch=arm?"
		const c1 = "configuration:5:3: c waits until there is an agent for it: no agent matches queue=win"
		if waiting, passed := w.unserved(t, b); waiting != b1+"\n"+c1 || passed != "" {
			t.Errorf("waiting:\n%s\npassed:\n%s", waiting, passed)
		}
		w.agent(t, "queue=win")
		if waiting, passed := w.unserved(t, b); waiting != b1 || passed != c1 {
			t.Errorf("with an agent of queue win waiting:\n%s\npassed:\n%s", waiting, passed)
		}
		must(w.CancelBuild(ctx, b.ID, "somebody"))(t)
		if waiting, passed := w.unserved(t, b); waiting != "" || passed != b1+"\n"+c1 {
			t.Errorf("of an ended build waiting:\n%s\npassed:\n%s", waiting, passed)
		}
	})
}

func TestAnUploadSaysForWhichStepsNoAgentIsThere(t *testing.T) {
	w := stated(t)
	b, up := w.uploading(t)
	w.sent(t, up, `{"steps":[{"command":"x","key":"x","agents":{"os":"plan9"}}]}`)
	if waiting, _ := w.unserved(t, b); !strings.HasPrefix(waiting, "x waits until there is an agent for it: ") {
		t.Errorf("waiting: %q", waiting)
	}
	if up := w.send(t, up, `{"steps":[{"command":"y","key":"y"}]}`, true); up.State != "applied" {
		t.Fatal(up.Message)
	}
	if waiting, passed := w.unserved(t, b); waiting != "" || strings.Contains(passed, "x waits") {
		t.Errorf("a step that was replaced is spoken of: %q %q", waiting, passed)
	}
}

// An agent would not take a job of a paused queue; that there is none is true all the same, and stays true when the queue is resumed.
func TestAWarningOfAPausedQueueNamesTheAgentThatIsMissing(t *testing.T) {
	w := stated(t)
	q := must(w.CreateQueue(t.Context(), engine.CreateQueue{ClusterID: w.cluster.ID, Key: "off"}))(t)
	must(w.PauseQueue(t.Context(), q.ID, "new disks", ""))(t)
	const document, want = "steps: [{command: a, key: a, agents: {queue: off}}]", "a waits until there is an agent for it: no agent matches queue=off"
	if waiting, _ := w.unserved(t, w.build(t, document)); !strings.Contains(waiting, want) {
		t.Errorf("the build says %q", waiting)
	}
	if _, said := w.checked(t, engine.CheckPipeline{Source: []byte(document)}); !strings.Contains(said, want) {
		t.Errorf("the check says %q", said)
	}
}

// A stack starts agents for the jobs that there are: none need be there before.
func TestAQueueThatAStackServesHasAgents(t *testing.T) {
	w := stated(t)
	queue := must(w.CreateQueue(t.Context(), engine.CreateQueue{ClusterID: w.cluster.ID, Key: "k8s"}))(t)
	const document = "steps: [{command: a, key: a, agents: {queue: k8s}}]"
	if _, said := w.checked(t, engine.CheckPipeline{Source: []byte(document)}); said == "" {
		t.Error("no warning without a stack")
	}
	before := w.build(t, document)
	_, _, err := w.RegisterStack(t.Context(), w.org.ID, store.Stack{ClusterID: w.cluster.ID, Key: "s", Type: "kubernetes", QueueID: queue.ID})
	if err != nil {
		t.Fatal(err)
	}
	if _, said := w.checked(t, engine.CheckPipeline{Source: []byte(document)}); said != "" {
		t.Errorf("said: %s", said)
	}
	if waiting, passed := w.unserved(t, before); waiting != "" || passed == "" {
		t.Errorf("waiting: %q, passed: %q", waiting, passed)
	}
	if waiting, passed := w.unserved(t, w.build(t, document)); waiting+passed != "" {
		t.Errorf("waiting: %q, passed: %q", waiting, passed)
	}
}

// TestALargeFleetIsLookedAtWhileOthersWrite: a build whose steps nobody serves must not keep everybody waiting for as long as it takes to
// look at thousands of agents.
func TestALargeFleetIsLookedAtWhileOthersWrite(t *testing.T) {
	t.Parallel()
	var w *world
	var looks, waited atomic.Int64
	w = newWorld(t, store.Options{Path: filepath.Join(t.TempDir(), "slipway.db"), Trace: func(statement string) {
		if !strings.Contains(statement, "GROUP BY queue_id, tags") || w == nil {
			return
		}
		looks.Add(1)
		ctx, give := context.WithTimeout(context.Background(), time.Minute)
		defer give()
		if w.Store.Update(ctx, func(*store.Tx) error { return nil }) != nil {
			waited.Add(1)
		}
	}})
	for i := range 510 {
		w.agent(t, fmt.Sprintf("host=h%d", i))
	}
	large := "# " + strings.Repeat("-", 5000) + "\n"
	for _, comment := range []string{"", large} {
		b := w.build(t, comment+"steps:\n- {command: a, agents: {host: h505}}\n- {command: b, label: b, agents: {host: hx}}\n- {command: c, agents: {host: hx}}\n")
		if got := len(b.Detail.Unserved); got != 1 || !strings.Contains(b.Detail.Unserved[0].Warning, "b waits until there is an agent for it: no agent in queue default matches host=hx") {
			t.Errorf("unserved: %+v", b.Detail.Unserved)
		}
	}
	if looks.Load() != 2 || waited.Load() != 0 {
		t.Errorf("the fleet was looked at %d times, %d of them while nobody could write", looks.Load(), waited.Load())
	}
}
