package engine_test

import (
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/engine"
)

func TestAnAgentsClockMovesNothingBackwards(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, "steps:\n- {command: a, key: a}\n")
		w.advance(time.Minute)
		job, a := w.job(t, b, "a"), w.agent(t)
		must(w.AssignJob(t.Context(), job.ID, a.ID))(t)
		must(w.AcceptJob(t.Context(), job.ID, a.ID))(t)
		if err := w.StartJob(t.Context(), job.ID, w.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
		must(w.FinishJob(t.Context(), engine.FinishJob{JobID: job.ID, FinishedAt: w.Now().Add(-2 * time.Hour)}))(t)
		j := w.job(t, b, "a")
		if j.StartedAt.Before(j.RunnableAt) || j.FinishedAt.Before(j.StartedAt) {
			t.Errorf("runnable at %v, started at %v, ended at %v", j.RunnableAt, j.StartedAt, j.FinishedAt)
		}
	})
}

func TestAnAgentsClockThatIsAheadIsNow(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, "steps:\n- {command: a, key: a}\n")
		job := w.job(t, b, "a")
		w.start(t, job)
		must(w.FinishJob(t.Context(), engine.FinishJob{JobID: job.ID, FinishedAt: w.Now().Add(time.Hour)}))(t)
		if got := w.job(t, b, "a").FinishedAt; !got.Equal(w.Now()) {
			t.Errorf("ended at %v, now is %v", got, w.Now())
		}
	})
}

func TestStartingTwiceDoesNotProlongTheTimeout(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, "steps:\n- {command: a, key: a, timeout_in_minutes: 5}\n")
		job := w.job(t, b, "a")
		w.start(t, job)
		first := w.job(t, b, "a")
		w.advance(time.Minute)
		if err := w.StartJob(t.Context(), job.ID, w.Now()); err != nil {
			t.Fatal(err)
		}
		if again := w.job(t, b, "a"); !again.TimeoutAt.Equal(first.TimeoutAt) || !again.StartedAt.Equal(first.StartedAt) {
			t.Errorf("started %v until %v, then %v until %v", first.StartedAt, first.TimeoutAt, again.StartedAt, again.TimeoutAt)
		}
	})
}

func TestAnAgentsClockThatIsBehindShortensNoTimeLimit(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, "steps:\n- {command: a, key: a, timeout_in_minutes: 60}\n")
		w.advance(2 * time.Hour) // the job waited for an agent
		job, a := w.job(t, b, "a"), w.agent(t)
		must(w.AssignJob(t.Context(), job.ID, a.ID))(t)
		must(w.AcceptJob(t.Context(), job.ID, a.ID))(t)
		if err := w.StartJob(t.Context(), job.ID, w.Now().Add(-3*time.Hour)); err != nil {
			t.Fatal(err)
		}
		want := w.Now().Add(time.Hour)
		if got := w.job(t, b, "a").TimeoutAt; !got.Equal(want) {
			t.Errorf("may run until %v, want %v", got, want)
		}
		if err := w.SetJobTimeout(t.Context(), job.ID, "90"); err != nil {
			t.Fatal(err)
		}
		if got := w.job(t, b, "a").TimeoutAt; !got.Equal(want.Add(30 * time.Minute)) {
			t.Errorf("may run until %v, want %v", got, want.Add(30*time.Minute))
		}
	})
}
