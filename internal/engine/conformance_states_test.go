package engine_test

import (
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

func TestP105_ABuildIsCreatedScheduledRunAndPassed(t *testing.T) {
	w := stated(t)
	pl := w.pipeline(t, "read-from-its-repository", "")
	b := must(w.CreateBuild(t.Context(), engine.CreateBuild{PipelineID: pl.ID, Source: trust.SourceUI}))(t)
	w.wantBuild(t, b, ci.BuildCreating)
	op := engine.PlanBuild{BuildID: b.ID, Source: []byte("steps: [{command: a, key: a}]"), Commit: commit}
	if err := w.PlanBuild(t.Context(), op); err != nil {
		t.Fatal(err)
	}
	w.wantBuild(t, b, ci.BuildScheduled)
	w.advance(time.Second)
	a := w.begin(t, b, "a")
	w.wantBuild(t, b, ci.BuildRunning)
	w.advance(time.Second)
	w.finish(t, a, 0)
	w.wantBuild(t, b, ci.BuildPassed)
	got := w.now(t, b)
	if got.ScheduledAt.Before(got.CreatedAt) || !got.StartedAt.After(got.ScheduledAt) || !got.FinishedAt.After(got.StartedAt) {
		t.Errorf("created %v, scheduled %v, started %v, finished %v", got.CreatedAt, got.ScheduledAt, got.StartedAt, got.FinishedAt)
	}
}

func TestP106_AFailureMakesABuildFailThenFailed(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}", "{command: b, key: b}"))
	w.end(t, b, "a", 1)
	w.wantBuild(t, b, ci.BuildFailing)
	w.end(t, b, "b", 0)
	w.wantBuild(t, b, ci.BuildFailed)
}

func TestP107_ARetryWhileFailingReturnsToRunning(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}", "{command: b, key: b}"))
	w.begin(t, b, "b")
	w.end(t, b, "a", 1)
	w.wantBuild(t, b, ci.BuildFailing)
	must(w.RetryJob(t.Context(), w.job(t, b, "a").ID, "ana"))(t)
	w.wantBuild(t, b, ci.BuildRunning)
}

func TestP108_ARetryReopensAFailedBuild(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}"))
	w.end(t, b, "a", 1)
	w.wantBuild(t, b, ci.BuildFailed)
	must(w.RetryJob(t.Context(), w.job(t, b, "a").ID, "ana"))(t)
	w.wantBuild(t, b, ci.BuildRunning)
	if !w.now(t, b).FinishedAt.IsZero() {
		t.Error("the build that runs again has finished")
	}
	w.end(t, b, "a", 0)
	w.wantBuild(t, b, ci.BuildPassed)
}

func TestP109_WhenABuildWasFailingStays(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}", "{command: b, key: b}"))
	w.end(t, b, "a", 1)
	at := w.now(t, b).FailingAt
	if at.IsZero() {
		t.Fatal("nobody knows when the build was failing")
	}
	w.advance(time.Minute)
	must(w.RetryJob(t.Context(), w.job(t, b, "a").ID, "ana"))(t)
	w.end(t, b, "a", 0)
	w.end(t, b, "b", 0)
	w.wantBuild(t, b, ci.BuildPassed)
	if got := w.now(t, b).FailingAt; !got.Equal(at) {
		t.Errorf("failing at %v, want %v", got, at)
	}
}

func TestP110_ABuildOfWhichNothingRunsIsNotRun(t *testing.T) {
	w := stated(t)
	for _, document := range []string{
		steps("{command: a, skip: true}", "{command: b, if: 'false'}"),
		steps("{command: a, branches: other}", "wait", "{command: b, skip: why}"),
		"steps: [{group: g, if: 'false', steps: [{command: a}]}]",
	} {
		w.wantBuild(t, w.build(t, document), ci.BuildNotRun)
	}
	w.wantBuild(t, w.build(t, steps("{command: a, skip: true}", "{command: b}")), ci.BuildScheduled)
}

func TestP112_ABlockSaysWhatABlockedBuildLooksLike(t *testing.T) {
	w := stated(t)
	for blocked, want := range map[string]string{
		"{block: go}": "passed", "{block: go, blocked_state: failed}": "failed",
		"{block: go, blocked_state: running}": "running", "{input: go, blocked_state: failed}": "failed",
	} {
		b := w.build(t, steps("{command: a, key: a}", blocked))
		w.end(t, b, "a", 0)
		w.wantBuild(t, b, ci.BuildBlocked)
		if got := w.now(t, b).BlockedState; got != want {
			t.Errorf("%s: blocked as %q, want %q", blocked, got, want)
		}
	}
}

func TestP114_AJobGoesFromScheduledToFinished(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}"))
	j, a := w.job(t, b, "a"), w.agent(t)
	want := func(s ci.JobState) {
		t.Helper()
		w.wantJob(t, b, "a", s)
		w.advance(time.Second)
	}
	want(ci.JobScheduled)
	must(w.AssignJob(t.Context(), j.ID, a.ID))(t)
	want(ci.JobAssigned)
	must(w.AcceptJob(t.Context(), j.ID, a.ID))(t)
	want(ci.JobAccepted)
	if err := w.StartJob(t.Context(), j.ID, w.Now()); err != nil {
		t.Fatal(err)
	}
	want(ci.JobRunning)
	w.finish(t, j, 0)
	want(ci.JobFinished)
	j = w.job(t, b, "a")
	at := []time.Time{j.CreatedAt, j.RunnableAt, j.StartedAt, j.FinishedAt}
	for i, t1 := range at[1:] {
		if t1.Before(at[i]) || t1.IsZero() {
			t.Errorf("created, runnable, started and finished at %v", at)
		}
	}
	if j.ScheduledAt.IsZero() || !j.FinishedAt.After(j.StartedAt) || !j.StartedAt.After(j.RunnableAt) {
		t.Errorf("created, runnable, started and finished at %v, scheduled at %v", at, j.ScheduledAt)
	}
}

func TestP115_AnOfferNobodyTakesReturnsToTheQueue(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}"))
	j := w.job(t, b, "a")
	must(w.AssignJob(t.Context(), j.ID, w.agent(t).ID))(t)
	w.advance(30 * time.Second)
	for _, old := range must(w.ExpiredOffers(t.Context(), 10))(t) {
		if err := w.ExpireOffer(t.Context(), old.ID); err != nil {
			t.Fatal(err)
		}
	}
	w.wantStates(t, b, "a=scheduled")
	w.end(t, b, "a", 0)
}

func TestP117_AFinishedWaitHasPassed(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}", "{wait: ~, key: w, continue_on_failure: true}", "{command: b, key: b}"))
	w.end(t, b, "a", 1)
	if j := w.job(t, b, "w"); j.State != ci.JobFinished || !j.Passed() {
		t.Errorf("the wait is %s, passed: %v", j.State, j.Passed())
	}
}

func TestP120_RunnableWhenScheduledStartedWhenBegun(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}", "wait", "{command: c, key: c}"))
	w.advance(time.Minute)
	if j := w.job(t, b, "c"); !j.RunnableAt.IsZero() || j.ScheduledAt.IsZero() {
		t.Errorf("a waiting job is runnable at %v, scheduled at %v", j.RunnableAt, j.ScheduledAt)
	}
	w.end(t, b, "a", 0)
	runnable := w.Now()
	w.advance(time.Minute)
	c := w.begin(t, b, "c")
	if !c.RunnableAt.Equal(runnable) || !c.StartedAt.Equal(w.Now()) {
		t.Errorf("runnable at %v, started at %v; want %v and %v", c.RunnableAt, c.StartedAt, runnable, w.Now())
	}
}

func TestP121_AStepSaysWhereItIs(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: a}", "{command: s, key: s, skip: true}", "{block: go, key: gate}", "{command: c, key: c}"))
	want := func(key string, state ci.StepState, outcome ci.Outcome) {
		t.Helper()
		if s := w.step(t, b, key); s.State() != state || s.Outcome() != outcome {
			t.Errorf("step %q is %s, %s; want %s, %s", key, s.State(), s.Outcome(), state, outcome)
		}
	}
	want("a", ci.StepReady, ci.OutcomeNeutral)
	want("s", ci.StepIgnored, ci.OutcomeNeutral)
	want("gate", ci.StepWaiting, ci.OutcomeNeutral)
	a := w.begin(t, b, "a")
	want("a", ci.StepRunning, ci.OutcomeNeutral)
	if err := w.PromiseFailure(t.Context(), a.ID, 1, ""); err != nil {
		t.Fatal(err)
	}
	want("a", ci.StepFailing, ci.OutcomeNeutral)
	w.finish(t, a, 1)
	want("a", ci.StepFinished, ci.OutcomeHardFailed)
	want("c", ci.StepIgnored, ci.OutcomeNeutral)
	must(w.RetryJob(t.Context(), a.ID, "ana"))(t)
	w.end(t, b, "a", 0)
	want("a", ci.StepFinished, ci.OutcomePassed)
	want("gate", ci.StepNeedsPerson, ci.OutcomeNeutral)
	must(w.CancelBuild(t.Context(), b.ID, "ana"))(t)
	want("c", ci.StepCanceled, ci.OutcomeErrored)
}

// timeOut lets a running job run out of its time limit of a minute.
func (w *world) timeOut(t testing.TB, j store.Job) {
	t.Helper()
	w.advance(time.Minute)
	for _, late := range must(w.Store.TimedOutJobs(t.Context(), w.Now(), 100))(t) {
		if err := w.TimeOutJob(t.Context(), late.ID); err != nil {
			t.Fatal(err)
		}
	}
	if got := must(w.Store.Job(t.Context(), j.ID))(t).State; got != ci.JobTimingOut {
		t.Fatalf("the job is %s", got)
	}
}

const month = 30 * 24 * time.Hour

// expire ends the jobs that nobody took for a month.
func (w *world) expire(t testing.TB) {
	t.Helper()
	before := w.Now().Add(-month)
	for _, j := range must(w.Store.OldJobs(t.Context(), w.org.ID, before, 100))(t) {
		if err := w.ExpireJob(t.Context(), j.ID, before); err != nil {
			t.Fatal(err)
		}
	}
}

func TestP122_WhatDidNotEndByItselfIsErrored(t *testing.T) {
	w := stated(t)
	b := w.build(t, steps("{command: a, key: late, timeout_in_minutes: 1}", "{command: b, key: canceled}", "{command: c, key: old}", "{command: d, key: lost}"))
	late := w.begin(t, b, "late")
	w.timeOut(t, late)
	w.finish(t, late, 1)
	must(w.CancelJob(t.Context(), w.job(t, b, "canceled").ID, "ana"))(t)
	if err := w.LoseAgent(t.Context(), w.start(t, w.job(t, b, "lost")).ID, "gone"); err != nil {
		t.Fatal(err)
	}
	w.advance(month)
	w.expire(t)
	w.wantStates(t, b, "late=timed_out canceled=canceled old=expired lost=finished")
	for _, key := range []string{"late", "canceled", "old", "lost"} {
		w.wantOutcome(t, b, key, ci.OutcomeErrored)
	}
}
