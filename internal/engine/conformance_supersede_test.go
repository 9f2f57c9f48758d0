package engine_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

// branch is a pipeline with settings whose builds are made by on.
func (w *world) branch(t testing.TB, configuration, settings string) store.Pipeline {
	t.Helper()
	return must(w.CreatePipeline(t.Context(), engine.CreatePipeline{
		OrganizationID: w.org.ID, Name: "p-" + w.NewID(), Repository: "r", Configuration: configuration, Settings: []byte(settings),
	}))(t)
}

// on makes a build of a branch and lets it end older ones.
func (w *world) on(t testing.TB, pl store.Pipeline, branch string) store.Build {
	t.Helper()
	b := must(w.CreateBuild(t.Context(), engine.CreateBuild{PipelineID: pl.ID, Source: trust.SourceAPI, Branch: branch}))(t)
	w.supersede(t)
	return b
}

func (w *world) supersede(t testing.TB) {
	t.Helper()
	for _, s := range must(w.Store.Superseders(t.Context(), 100))(t) {
		if err := w.SupersedeOlder(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	if left := must(w.Store.Superseders(t.Context(), 100))(t); len(left) > 0 {
		t.Errorf("what was done is to be done again: %v", left)
	}
}

const (
	skipsQueued   = `{"skip_queued_branch_builds": true}`
	cancelRunning = `{"cancel_running_branch_builds": true}`
)

func TestP118_AFalseConditionBreaksAJobAndANewerBuildSkipsOne(t *testing.T) {
	w := stated(t)
	pl := w.branch(t, steps("{command: a, key: a, if: 'false'}", "{command: b, key: b}", "wait", "{command: c, key: c}"), skipsQueued)
	older := w.on(t, pl, "main")
	newest := w.on(t, pl, "main")
	w.wantStates(t, older, "a=broken b=skipped c=skipped")
	if a, b := w.job(t, older, "a"), w.job(t, older, "b"); a.Reason != "conditional_failed" || b.Reason != fmt.Sprintf("skipped for the newer build #%d", newest.Number) {
		t.Errorf("the reasons are %q and %q", a.Reason, b.Reason)
	}
}

func TestP161_ANewerBuildSkipsOlderOnesThatHaveNotBegun(t *testing.T) {
	w := stated(t)
	pl := w.branch(t, steps("{command: a, key: a}"), skipsQueued)
	begun := w.on(t, pl, "main")
	w.begin(t, begun, "a")
	first, other := w.on(t, pl, "main"), w.on(t, pl, "other")
	offered := w.agent(t)
	if !must(w.AssignJob(t.Context(), w.job(t, first, "a").ID, offered.ID))(t) {
		t.Fatal("not offered")
	}
	second := w.on(t, pl, "main")
	w.wantBuild(t, begun, ci.BuildRunning)
	w.wantBuild(t, other, ci.BuildScheduled)
	w.wantBuild(t, second, ci.BuildScheduled)
	w.wantBuild(t, first, ci.BuildSkipped)
	got := w.now(t, first)
	if by := got.Detail.SupersededBy; by == nil || by.Number != second.Number || !strings.Contains(string(got.CanceledBy), fmt.Sprint(second.Number)) {
		t.Errorf("skipped by %+v, %q", by, got.CanceledBy)
	}
	if a := must(w.Store.Agent(t.Context(), offered.ID))(t); a.JobID != "" {
		t.Error("the agent still holds the skipped job")
	}
	w.check(t, first)
	quiet := w.branch(t, steps("{command: a, key: a}"), "{}")
	kept := w.on(t, quiet, "main")
	w.on(t, quiet, "main")
	w.wantBuild(t, kept, ci.BuildScheduled)
}

func TestP162_PatternsLimitWhichBuildsAreSkippedOrCanceled(t *testing.T) {
	w := stated(t)
	pl := w.branch(t, steps("{command: a, key: a}"), `{"skip_queued_branch_builds": true, "skip_queued_branch_builds_filter": "!main",
		"cancel_running_branch_builds": true, "cancel_running_branch_builds_filter": "feature/* !feature/slow"}`)
	for branch, want := range map[string][2]ci.BuildState{
		"main": {ci.BuildScheduled, ci.BuildRunning}, "feature/x": {ci.BuildSkipped, ci.BuildCanceling},
		"feature/slow": {ci.BuildSkipped, ci.BuildRunning}, "other": {ci.BuildSkipped, ci.BuildRunning},
	} {
		running := w.on(t, pl, branch)
		w.begin(t, running, "a")
		queued, newest := w.on(t, pl, branch), w.on(t, pl, branch)
		w.begin(t, newest, "a")
		w.supersede(t)
		if got := [2]ci.BuildState{w.now(t, queued).State, w.now(t, running).State}; got != want {
			t.Errorf("on %s queued and running builds are %v, want %v", branch, got, want)
		}
	}
}

func TestP163_ANewerBuildThatBeginsCancelsOlderOnesThatRun(t *testing.T) {
	w := stated(t)
	pl := w.branch(t, steps("{command: a, key: a}", "{command: b, key: b}", "{block: c}"), cancelRunning)
	running, failing, blocked, queued := w.on(t, pl, "main"), w.on(t, pl, "main"), w.on(t, pl, "main"), w.on(t, pl, "main")
	w.begin(t, running, "a")
	w.end(t, failing, "a", 1)
	w.end(t, blocked, "a", 0)
	w.end(t, blocked, "b", 0)
	w.supersede(t)
	newest := w.on(t, pl, "main")
	w.wantBuild(t, blocked, ci.BuildBlocked)
	w.wantBuild(t, running, ci.BuildCanceling) // for blocked, which is newer and began
	w.begin(t, newest, "a")
	w.supersede(t)
	w.wantBuild(t, failing, ci.BuildCanceled)
	w.wantBuild(t, blocked, ci.BuildCanceled)
	w.wantBuild(t, queued, ci.BuildScheduled)
	if got := w.now(t, blocked); got.Detail.SupersededBy.Number != newest.Number || got.CanceledBy != ci.Canceler(fmt.Sprintf("newer build #%d", newest.Number)) {
		t.Errorf("canceled by %+v, %q", got.Detail.SupersededBy, got.CanceledBy)
	}
	w.begin(t, queued, "a")
	w.supersede(t)
	w.wantBuild(t, newest, ci.BuildRunning)
	w.wantBuild(t, queued, ci.BuildRunning) // it began after the newer one
}

func TestP185_ATriggerWhoseBuildWasEndedForANewerOneIsSkipped(t *testing.T) {
	w := stated(t)
	for _, settings := range []string{skipsQueued, cancelRunning} {
		pl := w.branch(t, steps("{command: a, key: a}"), settings)
		parent := w.build(t, steps("{trigger: "+pl.Slug+", key: t}", "wait", "{command: z, key: z}"))
		w.settle(t)
		child := must(w.Store.Build(t.Context(), w.job(t, parent, "t").TriggeredBuild))(t)
		var a store.Job
		if settings == cancelRunning {
			a = w.begin(t, child, "a")
		}
		newest := w.on(t, pl, "main")
		if settings == cancelRunning {
			w.begin(t, newest, "a")
			w.supersede(t)
			w.finish(t, a, -1)
		}
		w.settle(t)
		w.wantStates(t, parent, "t=skipped z=scheduled")
		if want := fmt.Sprintf("its build #%d was ended for the newer build #%d", child.Number, newest.Number); w.job(t, parent, "t").Reason != want {
			t.Errorf("the reason is %q, want %q", w.job(t, parent, "t").Reason, want)
		}
	}
}

func TestBuildsThatOneBuildTriggeredAreAllWanted(t *testing.T) {
	w := stated(t)
	pl := w.branch(t, steps("{command: a, key: a}"), skipsQueued)
	parent := w.build(t, steps("{trigger: "+pl.Slug+", key: t, parallelism: 3}"))
	w.settle(t)
	w.supersede(t)
	for _, j := range must(w.Store.JobsOfStep(t.Context(), w.step(t, parent, "t").ID))(t) {
		w.wantBuild(t, must(w.Store.Build(t.Context(), j.TriggeredBuild))(t), ci.BuildScheduled)
	}
}

// TestBuildsOfABranchMadeAtOnceLeaveTheNewest makes builds side by side, each of which skips the older
// ones as soon as it is there.
func TestBuildsOfABranchMadeAtOnceLeaveTheNewest(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		pl := w.branch(t, steps("{command: a, key: a}"), `{"skip_queued_branch_builds": true, "cancel_running_branch_builds": true}`)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 3 {
					b, err := w.CreateBuild(t.Context(), engine.CreateBuild{PipelineID: pl.ID, Source: trust.SourceAPI, Branch: "main"})
					if err != nil {
						t.Errorf("create: %v", err)
						return
					}
					if err := w.SupersedeOlder(t.Context(), store.Superseder{BuildID: b.ID, Due: store.SupersedeQueued}); err != nil {
						t.Errorf("supersede: %v", err)
					}
				}
			})
		}
		wg.Wait()
		for _, b := range must(w.Store.Builds(t.Context(), pl.ID, store.CreatedBefore{}, 100))(t) {
			want := ci.BuildSkipped
			if b.Number == 12 {
				want = ci.BuildScheduled
			}
			if b.State != want {
				t.Errorf("build %d is %s, want %s", b.Number, b.State, want)
			}
		}
	})
}
