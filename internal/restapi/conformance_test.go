package restapi_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/engine"
)

type groupedView struct {
	State string
	Wait  *int64 `json:"concurrency_wait_time_ms"`
}

// shown is a job as its build's address shows it.
func (w *world) shown(t testing.TB, at, key string) groupedView {
	t.Helper()
	type job struct {
		groupedView
		Key string `json:"step_key"`
	}
	for _, j := range get[struct{ Jobs []job }](t, w, at).Jobs {
		if j.Key == key {
			return j.groupedView
		}
	}
	t.Fatalf("no job %s", key)
	return groupedView{}
}

const oneAtATime = `steps:
- {command: a, key: a, concurrency: 1, concurrency_group: g}
- {command: b, key: b, concurrency: 1, concurrency_group: g}
- wait
- {command: c, key: c, concurrency: 1, concurrency_group: g}
- {command: d, key: d}
`

func TestP116_FinishedJobsAreShownAsPassedOrFailedAndLimitedOnesAsScheduled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.build(t, w.pipeline(t, "p", oneAtATime))
	at := fmt.Sprintf("%s/pipelines/p/builds/%d", main, b.Number)
	if got := w.job(t, b, "b").State; got != "limited" {
		t.Fatalf("the second job is %s", got)
	}
	if got := w.shown(t, at, "b").State; got != "scheduled" {
		t.Errorf("a limited job is shown as %s", got)
	}
	w.start(t, w.job(t, b, "a"), w.agent(t, "a"))
	must(w.FinishJob(t.Context(), engine.FinishJob{JobID: w.job(t, b, "a").ID}))(t)
	w.admit(t)
	w.start(t, w.job(t, b, "b"), w.agent(t, "b"))
	must(w.FinishJob(t.Context(), engine.FinishJob{JobID: w.job(t, b, "b").ID, ExitStatus: 1}))(t)
	if a, b := w.shown(t, at, "a").State, w.shown(t, at, "b").State; a != "passed" || b != "failed" {
		t.Errorf("finished jobs are shown as %s and %s", a, b)
	}
}

func TestP208_TheWaitForAGroupIsShown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.build(t, w.pipeline(t, "p", oneAtATime))
	at := fmt.Sprintf("%s/pipelines/p/builds/%d", main, b.Number)
	w.advance(1500 * time.Millisecond)
	w.start(t, w.job(t, b, "a"), w.agent(t, "a"))
	must(w.FinishJob(t.Context(), engine.FinishJob{JobID: w.job(t, b, "a").ID}))(t)
	if got := w.shown(t, at, "b").Wait; got != nil {
		t.Errorf("a job that still waits has waited for %d ms", *got)
	}
	w.admit(t)
	for key, want := range map[string]string{"a": "0", "b": "1500", "c": "null", "d": "null"} {
		got := "null"
		if ms := w.shown(t, at, key).Wait; ms != nil {
			got = fmt.Sprint(*ms)
		}
		if got != want {
			t.Errorf("%s waited for %s ms, want %s", key, got, want)
		}
	}
}

// admit lets jobs go that their groups have room for.
func (w *world) admit(t testing.TB) {
	t.Helper()
	for _, g := range must(w.Store.DueGroups(t.Context(), 10))(t) {
		must(0, w.AdmitGroup(t.Context(), g))(t)
	}
}

func TestAJobsOwnAddressSaysWhyItIsNotRunning(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.build(t, w.pipeline(t, "p", oneAtATime))
	type view struct {
		Explanation *engine.Explanation
	}
	at := fmt.Sprintf("%s/pipelines/p/builds/%d/jobs/", main, b.Number)
	got := get[view](t, w, at+w.job(t, b, "b").ID).Explanation
	if got == nil || got.Kind != engine.WaitsForGroup || got.Group != "g" || got.Place != 1 || len(got.HeldBy) != 1 || got.HeldBy[0].ID != b.ID {
		t.Errorf("%+v", got)
	}
	w.start(t, w.job(t, b, "a"), w.agent(t, "a"))
	if got := get[view](t, w, at+w.job(t, b, "a").ID).Explanation; got != nil {
		t.Errorf("a job that runs: %+v", got)
	}
}
