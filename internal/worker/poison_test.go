package worker_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/dbtest"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/gitrepo"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/store/storetest"
	"github.com/slipway-ci/slipway/internal/trust"
	"github.com/slipway-ci/slipway/internal/worker"
)

// crowd is more rows than a pass takes at once.
const crowd = 251

// due is a pass and the rows that it finds to do, by key.
type due struct {
	table, key string
	pass       func(context.Context) (bool, error)
	rows       func() ([]string, error) // in the pass's order
}

// TestRowsThatCannotBeDoneKeepNoOtherWaiting: in each pass more of them than it takes at once come first.
func TestRowsThatCannotBeDoneKeepNoOtherWaiting(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(*world) due{
		"expire offers": offersDue, "time out": timeoutsDue, "resume agents": pausesDue, "lose agents": silenceDue,
		"expire jobs": oldJobsDue, "triggers": triggersDue, "admit": groupsDue, "schedules": schedulesDue, "plan": plansDue,
		"supersede": supersedersDue, "relay": effectsDue, "uploads": uploadsDue,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := storetest.Postgres(t)
			w := newWorldOn(t, o)
			d := prepare(w)
			rows, err := d.rows()
			w.must(err)
			if len(rows) != crowd {
				t.Fatalf("%d rows are due, want %d", len(rows), crowd)
			}
			dbtest.Poison(t, o.Postgres, d.table, d.key, rows[:crowd-1])
			for range 3 {
				_, _ = d.pass(w.ctx()) // it fails: most rows cannot be done
			}
			left, err := d.rows()
			w.must(err)
			if slices.Contains(left, rows[crowd-1]) || len(left) != crowd-1 {
				t.Errorf("%d rows are left, want the %d that cannot be done", len(left), crowd-1)
			}
		})
	}
}

func ids[T any](rows []T, err error, id func(T) string) (out []string, _ error) {
	for _, v := range rows {
		out = append(out, id(v))
	}
	return out, err
}

func jobIDs(rows []store.Job, err error) ([]string, error) {
	return ids(rows, err, func(j store.Job) string { return j.ID })
}

func agentIDs(rows []store.Agent, err error) ([]string, error) {
	return ids(rows, err, func(a store.Agent) string { return a.ID })
}

func (w *world) agents() (all []store.Agent) {
	for range crowd {
		all = append(all, w.agent())
	}
	return all
}

// offered gives each of a crowd of agents a job.
func (w *world) offered(more string) []store.Agent {
	w.build("p", fmt.Sprintf("steps:\n- {command: x, parallelism: %d%s}\n", crowd, more))
	all := w.agents()
	w.assign()
	return all
}

func offersDue(w *world) due {
	w.offered("")
	w.clock.Add(time.Minute.Microseconds())
	return due{"jobs", "id", worker.ExpireOffers(w.Engine), func() ([]string, error) { return jobIDs(w.ExpiredOffers(w.ctx(), crowd+1)) }}
}

func timeoutsDue(w *world) due {
	for _, a := range w.offered(", timeout_in_minutes: 1") {
		j := w.held(a)
		_, err := w.AcceptJob(w.ctx(), j.ID, a.ID)
		w.must(err)
		w.must(w.StartJob(w.ctx(), j.ID, w.Now()))
	}
	w.clock.Add((2 * time.Minute).Microseconds())
	return due{"jobs", "id", worker.TimeOut(w.Engine), func() ([]string, error) { return jobIDs(w.Store.TimedOutJobs(w.ctx(), w.Now(), crowd+1)) }}
}

func pausesDue(w *world) due {
	for _, a := range w.agents() {
		w.must(w.PauseAgent(w.ctx(), a.ID, "", w.Now().Add(time.Minute)))
	}
	w.clock.Add((2 * time.Minute).Microseconds())
	return due{"agents", "id", worker.ResumeAgents(w.Engine), func() ([]string, error) { return agentIDs(w.Store.RestedAgents(w.ctx(), w.Now(), crowd+1)) }}
}

func silenceDue(w *world) due {
	w.agents()
	pass := worker.LoseAgents(w.Engine, w.Now())
	w.passes(pass, 170*time.Second)
	w.clock.Add((20 * time.Second).Microseconds())
	aTerm := func(ctx context.Context) (bool, error) { // where all that it does fails, it takes itself for the one that is away
		_, err := pass(ctx)
		for range 20 {
			w.clock.Add((10 * time.Second).Microseconds())
			_, err = pass(ctx)
		}
		return false, err
	}
	return due{"agents", "id", aTerm, func() ([]string, error) {
		return agentIDs(w.Store.QuietAgents(w.ctx(), w.Now().Add(-w.LossTerm), crowd+1))
	}}
}

func oldJobsDue(w *world) due {
	w.build("p", fmt.Sprintf("steps:\n- {command: x, parallelism: %d}\n", crowd))
	w.clock.Add((60 * 24 * time.Hour).Microseconds())
	return due{"jobs", "id", worker.ExpireJobs(w.Engine), func() ([]string, error) {
		return jobIDs(w.Store.OldJobs(w.ctx(), w.org.ID, w.Now().Add(-40*24*time.Hour), crowd+1))
	}}
}

func triggersDue(w *world) due {
	w.build("child", "steps:\n- command: x\n")
	w.build("parent", "steps:\n"+strings.Repeat("- {trigger: child}\n", crowd))
	return due{"jobs", "id", worker.Triggers(w.Engine), func() ([]string, error) { return jobIDs(w.Store.ReadyTriggers(w.ctx(), crowd+1)) }}
}

func groupsDue(w *world) due {
	var steps strings.Builder
	for i := range crowd {
		fmt.Fprintf(&steps, "- {command: x, parallelism: 2, concurrency: 1, concurrency_group: g%d}\n", i)
	}
	b := w.build("p", "steps:\n"+steps.String())
	jobs, err := w.Store.Jobs(w.ctx(), b.ID)
	w.must(err)
	for _, j := range jobs {
		if j.State == ci.JobScheduled { // it was let go at once; the next waits for its place
			_, err := w.CancelJob(w.ctx(), j.ID, "test")
			w.must(err)
		}
	}
	return due{"concurrency_groups", "id", worker.Admit(w.Engine), func() ([]string, error) {
		groups, err := w.Store.DueGroups(w.ctx(), crowd+1)
		return ids(groups, err, func(g store.GroupDue) string { return g.ID })
	}}
}

func schedulesDue(w *world) due {
	for i := range crowd {
		if i%100 == 0 { // as many as a pipeline may have
			w.build(fmt.Sprint("p", i), "steps:\n- command: x\n")
		}
		pl, err := w.Store.Pipeline(w.ctx(), w.org.ID, fmt.Sprint("p", i/100*100))
		w.must(err)
		_, err = w.SaveSchedule(w.ctx(), pl.ID, "", func(store.Schedule) store.Schedule {
			return store.Schedule{Label: fmt.Sprint(i), Cronline: "0 * * * *", Enabled: true, Branch: "main", Commit: "HEAD"}
		})
		w.must(err)
	}
	w.clock.Add(time.Hour.Microseconds())
	return due{"schedules", "id", worker.Schedules(w.Engine), func() ([]string, error) {
		all, err := w.Store.DueSchedules(w.ctx(), w.Now(), crowd+1)
		return ids(all, err, func(s store.Schedule) string { return s.ID })
	}}
}

func (w *world) builds(op func(i int) engine.CreateBuild) {
	for i := range crowd {
		_, err := w.CreateBuild(w.ctx(), op(i))
		w.must(err)
	}
}

func plansDue(w *world) due {
	pl, err := w.CreatePipeline(w.ctx(), engine.CreatePipeline{OrganizationID: w.org.ID, Name: "p", Repository: w.t.TempDir()})
	w.must(err)
	w.builds(func(int) engine.CreateBuild { return engine.CreateBuild{PipelineID: pl.ID, Source: trust.SourceAPI} })
	pass := &worker.Plan{Engine: w.Engine, Repos: gitrepo.New(w.t.TempDir(), true)}
	return due{"builds", "id", pass.Pass, func() ([]string, error) {
		all, err := w.Store.CreatingBuilds(w.ctx(), crowd+1)
		return ids(all, err, func(b store.Build) string { return b.ID })
	}}
}

func supersedersDue(w *world) due {
	pl, err := w.CreatePipeline(w.ctx(), engine.CreatePipeline{
		OrganizationID: w.org.ID, Name: "p", Repository: "/r.git", Configuration: "steps:\n- command: x\n",
		Settings: []byte(`{"skip_queued_branch_builds": true}`),
	})
	w.must(err)
	w.builds(func(i int) engine.CreateBuild {
		return engine.CreateBuild{PipelineID: pl.ID, Source: trust.SourceAPI, Branch: fmt.Sprint("b", i)}
	})
	return due{"builds", "id", worker.Supersede(w.Engine), func() ([]string, error) {
		all, err := w.Store.Superseders(w.ctx(), crowd+1)
		return ids(all, err, func(s store.Superseder) string { return s.BuildID })
	}}
}

func uploadsDue(w *world) due {
	for _, a := range w.offered("") {
		job := w.held(a)
		_, err := w.AcceptJob(w.ctx(), job.ID, a.ID)
		w.must(err)
		w.must(w.StartJob(w.ctx(), job.ID, w.Now()))
		_, err = w.QueueUpload(w.ctx(), engine.UploadPipeline{JobID: job.ID, UUID: job.ID, Pipeline: []byte(`{"steps":[{"command":"x"}]}`)})
		w.must(err)
	}
	return due{"uploads", "job_id", worker.Uploads(w.Engine), func() ([]string, error) {
		all, err := w.Store.PendingUploads(w.ctx(), crowd+1)
		return ids(all, err, func(u store.Upload) string { return u.JobID })
	}}
}

func effectsDue(w *world) due {
	w.must(w.Store.Update(w.ctx(), func(tx *store.Tx) error {
		for i := range crowd {
			id := fmt.Sprintf("e%04d", i)
			err := tx.PutEffect(w.ctx(), store.Effect{ID: id, Kind: "test", Target: id, Lane: "lane", Payload: []byte("{}"), CreatedAt: w.Now(), NextAt: w.Now()})
			if err != nil {
				return err
			}
		}
		return nil
	}))
	relay := w.relay(http.DefaultClient)
	relay.Deliver["test"] = func(context.Context, store.Effect) error { return nil }
	pass := func(ctx context.Context) (bool, error) {
		more, err := relay.Pass(ctx)
		relay.Wait()
		return more, err
	}
	return due{"outbox", "id", pass, func() ([]string, error) {
		all, err := w.Store.DueEffects(w.ctx(), "lane", w.Now(), crowd+1)
		return ids(all, err, func(e store.Effect) string { return e.ID })
	}}
}

// TestJobsThatCannotBeOfferedTakeNoAgentFromOthers: more of them than a pass looks at come first in their lane.
func TestJobsThatCannotBeOfferedTakeNoAgentFromOthers(t *testing.T) {
	t.Parallel()
	for _, agents := range []int{1, crowd} {
		t.Run(fmt.Sprint(agents, " agents"), func(t *testing.T) {
			t.Parallel()
			o := storetest.Postgres(t)
			w := newWorldOn(t, o)
			b := w.build("p", fmt.Sprintf("steps:\n- {command: x, parallelism: %d}\n", crowd))
			for range agents {
				w.agent()
			}
			rows, err := jobIDs(w.Store.Jobs(w.ctx(), b.ID))
			w.must(err)
			last := rows[crowd-1]
			dbtest.Poison(t, o.Postgres, "jobs", "id", rows[:crowd-1])
			pass := &worker.Assign{Engine: w.Engine, Log: w.Log}
			passes := 0
			for ; passes < 20; passes++ {
				if _, err := pass.Pass(w.ctx()); err == nil {
					t.Fatal("nothing is said of what cannot be offered")
				}
				j, err := w.Store.Job(w.ctx(), last)
				w.must(err)
				if j.State == ci.JobAssigned {
					return
				}
			}
			t.Errorf("after %d passes the job that can run has no agent", passes)
		})
	}
}

// TestWhatCouldNotBeOfferedIsOfferedWhenItCan: nobody need ask for it.
func TestWhatCouldNotBeOfferedIsOfferedWhenItCan(t *testing.T) {
	t.Parallel()
	o := storetest.Postgres(t)
	w := newWorldOn(t, o)
	b := w.build("p", "steps:\n- {command: x, parallelism: 40}\n")
	for range 40 {
		w.agent()
	}
	rows, err := jobIDs(w.Store.Jobs(w.ctx(), b.ID))
	w.must(err)
	heal := dbtest.Poison(t, o.Postgres, "jobs", "id", rows)
	pass := &worker.Assign{Engine: w.Engine, Log: w.Log}
	if _, err := pass.Pass(w.ctx()); err == nil {
		t.Fatal("they could be offered")
	}
	heal()
	_, err = pass.Pass(w.ctx())
	w.must(err)
	jobs, err := w.Store.Jobs(w.ctx(), b.ID)
	w.must(err)
	for _, j := range jobs {
		if j.State != ci.JobAssigned {
			t.Errorf("job %d is %s", j.Number, j.State)
		}
	}
}
