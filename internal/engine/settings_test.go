package engine_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

func TestSettingsAreDecidedOneByOne(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		want := engine.DefaultSettings()
		w.wantSettings(t, want)
		w.decide(t, `{"max_jobs_per_build": 4000, "agents_create_queues": true}`)
		w.decide(t, `{"scheduled_job_expiry_days": 3, "max_jobs_per_build": 0}`)
		want.MaxJobsPerBuild, want.AgentsCreateQueues, want.ScheduledJobExpiryDays = 0, true, 3
		w.wantSettings(t, want)
		w.decide(t, `{"max_jobs_per_build": null}`)
		want.MaxJobsPerBuild = 20_000
		w.wantSettings(t, want)
	})
}

func (w *world) wantSettings(t testing.TB, want engine.Settings) {
	t.Helper()
	org := must(w.Store.OrganizationByID(t.Context(), w.org.ID))(t)
	if d := cmp.Diff(want, must(engine.SettingsOf(org))(t)); d != "" {
		t.Error(d)
	}
}

func TestWrongSettingsAreRefusedTogether(t *testing.T) {
	w := stated(t)
	for change, want := range map[string]map[string]string{
		`{"max_jobs_per_upload": -1, "max_jobs_per_build": 5}`: {"max_jobs_per_upload": "must be between 0 and 100000"},
		`{"max_jobs_per_upload": "5"}`:                         {"max_jobs_per_upload": "must be a whole number"},
		`{"max_jobs_per_upload": 1.5}`:                         {"max_jobs_per_upload": "must be a whole number"},
		`{"agents_create_queues": 1}`:                          {"agents_create_queues": "must be true or false"},
		`{"max_jobs_per_uplaod": 5}`:                           {"max_jobs_per_uplaod": "is not a setting"},
		`{"Max_jobs_per_upload": 5}`:                           {"Max_jobs_per_upload": "is not a setting"},
		`{"scheduled_job_expiry_days": 31}`:                    {"scheduled_job_expiry_days": "must be between 1 and 30"},
	} {
		var values map[string]json.RawMessage
		if err := json.Unmarshal([]byte(change), &values); err != nil {
			t.Fatal(err)
		}
		_, err := w.ChangeSettings(t.Context(), w.org.ID, values)
		refused, ok := errors.AsType[*engine.Refused](err)
		if !ok {
			t.Errorf("%s: %v", change, err)
			continue
		}
		if d := cmp.Diff(want, refused.Fields); d != "" {
			t.Errorf("%s:\n%s", change, d)
		}
	}
	w.wantSettings(t, engine.DefaultSettings())
}

func TestAnOrganizationLetsJobsWaitForLessThanAMonth(t *testing.T) {
	w := stated(t)
	w.decide(t, `{"scheduled_job_expiry_days": 2}`)
	term := must(engine.SettingsOf(must(w.Store.OrganizationByID(t.Context(), w.org.ID))(t)))(t).JobTerm()
	if term != 48*time.Hour {
		t.Errorf("jobs wait for %v", term)
	}
}

func TestAgentsMakeQueuesWhereTheOrganizationSaysSo(t *testing.T) {
	w := stated(t)
	w.Config.OpenQueues = false
	ask := func() error {
		_, _, err := w.RegisterAgent(t.Context(), engine.RegisterAgent{Token: w.agents, Name: "a", Tags: []string{"queue=new"}})
		return err
	}
	wantRefusal(t, ask(), "The queue \"new\" does not exist; the queues are: default. Create it, or start the agent with one of these.")
	w.decide(t, `{"agents_create_queues": true}`)
	if err := ask(); err != nil {
		t.Error(err)
	}
	if _, err := w.Store.Queue(t.Context(), w.cluster.ID, "new"); errors.Is(err, store.ErrNotFound) {
		t.Error("there is no queue")
	}
}
