package engine_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

// schedule gives a pipeline a schedule.
func (w *world) schedule(t testing.TB, pl store.Pipeline, cronline string) (store.Schedule, error) {
	t.Helper()
	return w.SaveSchedule(t.Context(), pl.ID, "", func(s store.Schedule) store.Schedule {
		s.Label, s.Cronline = "nightly", cronline
		return s
	})
}

// fire lets every due schedule make its build.
func (w *world) fire(t testing.TB) {
	t.Helper()
	for _, s := range must(w.Store.DueSchedules(t.Context(), w.Now(), 100))(t) {
		if err := w.FireSchedule(t.Context(), s.ID); err != nil {
			t.Error(err)
		}
	}
}

// moveTo sets the clock, and fires what is due.
func (w *world) moveTo(t testing.TB, text string) {
	t.Helper()
	w.clock.Store(must(time.Parse("2006-01-02 15:04", text))(t).UnixMicro())
	w.fire(t)
}

func (w *world) wantBuilds(t testing.TB, pl store.Pipeline, want int) []store.Build {
	t.Helper()
	builds := must(w.Store.Builds(t.Context(), pl.ID, store.CreatedBefore{}, 100))(t)
	if len(builds) != want {
		t.Fatalf("%s: %d builds, want %d", w.Now(), len(builds), want)
	}
	return builds
}

func TestP285_AScheduleMakesBuildsInItsZone(t *testing.T) {
	w := stated(t)
	w.Policy.Schedules = trust.SchedulesOrigin
	pl := w.pipeline(t, "p", steps("{command: x, key: a}"))
	s := must(w.schedule(t, pl, "0 8 * * * America/Vancouver"))(t)
	if !s.NextAt.Equal(time.Date(2026, 11, 23, 16, 0, 0, 0, time.UTC)) {
		t.Errorf("the next time is %s", s.NextAt)
	}
	w.moveTo(t, "2026-11-23 15:59")
	w.wantBuilds(t, pl, 0)
	w.moveTo(t, "2026-11-23 16:00")
	w.fire(t)
	b := w.wantBuilds(t, pl, 1)[0]
	if b.Source != "schedule" || b.Branch != "main" || b.Commit != "HEAD" || b.Message != "Scheduled build: nightly" || b.Verdict.Rule != "schedule" {
		t.Errorf("%+v", b)
	}
	w.wantStates(t, b, "a=scheduled")
	wantEnv(t, w.env(t, w.job(t, b, "a")), map[string]string{"BUILDKITE_SOURCE": "schedule"})
	w.moveTo(t, "2026-11-24 16:03")
	w.wantBuilds(t, pl, 2)
	// In summer it is another hour in UTC.
	w.moveTo(t, "2027-07-01 14:59")
	w.wantBuilds(t, pl, 3) // one for all that was missed
	w.moveTo(t, "2027-07-01 15:00")
	w.wantBuilds(t, pl, 4)
	if s = must(w.Store.Schedule(t.Context(), s.ID))(t); !s.NextAt.Equal(time.Date(2027, 7, 2, 15, 0, 0, 0, time.UTC)) {
		t.Errorf("the next time is %s", s.NextAt)
	}
	if log := must(w.Store.Deliveries(t.Context(), pl.ID, 1))(t); log[0].Source != "schedule" || log[0].Reason != "The schedule's time of 2027-07-01T15:00:00Z." {
		t.Errorf("%+v", log)
	}
}

func TestP286_SchedulesThatAreTooFrequentAreRefused(t *testing.T) {
	w := stated(t)
	pl := w.pipeline(t, "p", steps("{command: x}"))
	for line, want := range map[string]string{
		"*/5 * * * *": "every 5 minutes; the shortest interval is 10 minutes", "~ 8 * * *": "random times (~)", "0~30 8 * * *": "random times (~)",
		"0 8 * *": "five fields", "0 8 * * * Nowhere/Town": "is not a time zone",
	} {
		_, err := w.schedule(t, pl, line)
		if r, ok := errors.AsType[*engine.Refused](err); !ok || !strings.Contains(r.Fields["cronline"], want) {
			t.Errorf("%s: %v, want a refusal with %q", line, err, want)
		}
	}
	for line, want := range map[string]string{
		"0 0 L * *": "2026-11-30T00:00:00Z", "0 0 last * *": "2026-11-30T00:00:00Z", "0 0 -2-L * *": "2026-11-29T00:00:00Z",
		"0 9 * * 0%3+1": "2026-12-13T09:00:00Z", "0 9 * * 0%3": "2026-12-06T09:00:00Z", "@daily": "2026-11-24T00:00:00Z", "*/10 * * * *": "2026-11-23T12:10:00Z",
		"0 9 * JAN SUN": "2027-01-03T09:00:00Z",
	} {
		if s := must(w.schedule(t, pl, line))(t); s.NextAt.Format(time.RFC3339) != want {
			t.Errorf("%s: next %s, want %s", line, s.NextAt.Format(time.RFC3339), want)
		}
	}
}

// However many servers find a schedule due, its time makes one build.
func TestAScheduleFiresOnce(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		pl := w.pipeline(t, "p", steps("{command: x}"))
		s := must(w.schedule(t, pl, "@hourly"))(t)
		w.advance(3*time.Hour + time.Minute)
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				if err := w.FireSchedule(t.Context(), s.ID); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		w.wantBuilds(t, pl, 1)
	})
}

func TestAScheduleThatFailsSaysSo(t *testing.T) {
	w := stated(t)
	pl := w.pipeline(t, "p", steps("{command: x}"))
	s := must(w.schedule(t, pl, "@hourly"))(t)
	archived := func(at time.Time) {
		must(w.UpdatePipeline(t.Context(), pl.ID, func(pl store.Pipeline) store.Pipeline { pl.ArchivedAt = at; return pl }))(t)
	}
	archived(w.Now())
	w.advance(time.Hour)
	w.fire(t)
	w.wantBuilds(t, pl, 0)
	if s = must(w.Store.Schedule(t.Context(), s.ID))(t); !strings.Contains(s.FailedMessage, "is archived") || !s.FailedAt.Equal(w.Now()) || !s.Enabled || !s.NextAt.After(w.Now()) {
		t.Errorf("%+v", s)
	}
	archived(time.Time{})
	w.advance(time.Hour)
	w.fire(t)
	w.wantBuilds(t, pl, 1)
	if s = must(w.Store.Schedule(t.Context(), s.ID))(t); s.FailedMessage != "" || !s.FailedAt.IsZero() {
		t.Errorf("%+v", s)
	}
	off := must(w.SaveSchedule(t.Context(), pl.ID, s.ID, func(s store.Schedule) store.Schedule { s.Enabled = false; return s }))(t)
	w.advance(5 * time.Hour)
	w.fire(t)
	w.wantBuilds(t, pl, 1)
	on := must(w.SaveSchedule(t.Context(), pl.ID, s.ID, func(s store.Schedule) store.Schedule { s.Enabled = true; return s }))(t)
	if off.Enabled || !on.NextAt.After(w.Now()) {
		t.Errorf("enabled again, the next time is %s", on.NextAt)
	}
}

// Without a word of the policy, what comes of itself waits for a person.
func TestAScheduleHeedsThePolicy(t *testing.T) {
	w := stated(t)
	pl := w.pipeline(t, "p", steps("{command: x}"))
	must(w.schedule(t, pl, "@hourly"))(t)
	w.advance(time.Hour)
	w.fire(t)
	if b := w.wantBuilds(t, pl, 1)[0]; b.Verdict.Decision != "hold" {
		t.Errorf("%+v", b.Verdict)
	}
}
