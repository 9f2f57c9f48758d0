package engine_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/dbtest"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/store/storetest"
)

// crossing runs operations many times side by side on PostgreSQL, and fails if one of them does or if two waited for each other: a
// second goes by before the database ends one of the two.
func crossing(t *testing.T, operations func(w *world) []func() error) {
	t.Parallel()
	o := storetest.Postgres(t)
	w := newWorld(t, o)
	const rounds = 40
	var all sync.WaitGroup
	for i, op := range operations(w) {
		all.Go(func() {
			for range rounds {
				if err := op(); err != nil {
					t.Errorf("operation %d: %v", i, err)
					return
				}
			}
		})
	}
	all.Wait()
	if err := w.Store.Close(); err != nil { // a session tells of what it counted with its end
		t.Fatal(err)
	}
	if n := dbtest.Deadlocks(t, o.Postgres); n > 0 {
		t.Errorf("%d times two operations waited for each other", n)
	}
}

func TestAScheduleIsChangedWhileItMakesBuilds(t *testing.T) {
	crossing(t, func(w *world) []func() error {
		pl := w.pipeline(t, "p", "steps:\n- command: a\n")
		s := must(w.SaveSchedule(t.Context(), pl.ID, "", func(s store.Schedule) store.Schedule {
			s.Label, s.Cronline = "often", "@hourly"
			return s
		}))(t)
		n := 0
		return []func() error{
			func() error { w.advance(time.Hour); return w.FireSchedule(t.Context(), s.ID) },
			func() error {
				_, err := w.SaveSchedule(t.Context(), pl.ID, s.ID, func(s store.Schedule) store.Schedule {
					n++
					s.Label = strconv.Itoa(n)
					return s
				})
				return err
			},
		}
	})
}

func TestATriggerIsChangedWhileItMakesBuilds(t *testing.T) {
	crossing(t, func(w *world) []func() error {
		pl := w.pipeline(t, "p", "steps:\n- command: a\n")
		save := func(id string) (store.PipelineTrigger, error) {
			v, _, err := w.SaveTrigger(t.Context(), engine.SaveTrigger{PipelineID: pl.ID, ID: id, Rotate: true, Change: func(v store.PipelineTrigger) store.PipelineTrigger {
				v.Label = "deploy"
				return v
			}})
			return v, err
		}
		v := must(save(""))(t)
		return []func() error{
			func() error { _, err := w.FireTrigger(t.Context(), engine.Trigger{ID: v.ID}); return err },
			func() error { _, err := save(v.ID); return err },
		}
	})
}

func TestAnAnnotationIsRemovedWhileItIsWritten(t *testing.T) {
	crossing(t, func(w *world) []func() error {
		b := w.build(t, "steps:\n- command: a\n")
		write := func() error {
			_, err := w.Annotate(t.Context(), engine.Annotate{BuildID: b.ID, Body: "x", Append: true})
			return err
		}
		remove := func() error { return w.RemoveAnnotation(t.Context(), b.ID, "", "default") }
		return []func() error{write, remove, write, remove}
	})
}

func TestArtifactsComeAndGoAtOnce(t *testing.T) {
	crossing(t, func(w *world) []func() error {
		jobs := [2]store.Job{}
		for i := range jobs {
			b := w.build(t, "steps:\n- {command: a, key: a}\n")
			jobs[i] = w.job(t, b, "a")
		}
		// Each round brings the same files of two jobs, and takes them away.
		round := func(job store.Job, order int) error {
			files := make([]store.Artifact, 4)
			for i := range files {
				files[i] = store.Artifact{Path: strconv.Itoa(i), SHA256: strconv.Itoa((i*order + 4) % 4), Size: 10}
			}
			made, err := w.CreateArtifacts(t.Context(), job, w.NewID(), files)
			if err != nil {
				return err
			}
			var ids []string
			states := map[string]string{}
			for _, a := range made {
				w.arrive(t, a.ID, a.ID)
				ids, states[a.ID] = append(ids, a.ID), "finished"
			}
			var both sync.WaitGroup
			errs := [2]error{}
			for i := range errs {
				both.Go(func() { errs[i] = w.SetArtifactStates(t.Context(), job, states) })
			}
			both.Wait()
			if errs[0] != nil || errs[1] != nil {
				return fmt.Errorf("%w, %w", errs[0], errs[1])
			}
			return w.ExpireArtifacts(t.Context(), ids)
		}
		return []func() error{
			func() error { return round(jobs[0], 1) }, func() error { return round(jobs[1], -1) },
			func() error { return round(jobs[0], -1) }, func() error { return round(jobs[1], 1) },
		}
	})
}

func TestCachesAreSavedDroppedAndTakenAwayAtOnce(t *testing.T) {
	crossing(t, func(w *world) []func() error {
		w.decide(t, `{"max_cache_mib_in_total": 1}`)
		j := w.cached(t, engine.CreateBuild{}, false)
		save := func(key string) func() error {
			return func() error {
				v, err := w.SaveCache(t.Context(), cacheOf(j, key), blobOf("1", 400<<10), "linux/amd64")
				if err != nil {
					return err
				}
				_, err = w.CacheArrived(t.Context(), v.ID, v.ID)
				if _, gone := errors.AsType[*engine.Refused](err); gone {
					return nil // it was taken away for another
				}
				return err
			}
		}
		drop := func() error {
			for _, v := range must(w.Store.UnusedCacheEntries(t.Context(), w.org.ID, w.Now().Add(time.Hour), 10))(t) {
				if err := w.DropUnusedCache(t.Context(), v); err != nil {
					return err
				}
			}
			return nil
		}
		return []func() error{save("a"), save("b"), drop}
	})
}

// atOnce runs an operation from several sides and returns what each got.
func atOnce[T any](t *testing.T, op func() (T, error)) []T {
	t.Helper()
	out := make([]T, 8)
	var all sync.WaitGroup
	for i := range out {
		all.Go(func() {
			var err error
			if out[i], err = op(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	return out
}

func TestWhatIsAskedForTwiceAtOnceIsDoneOnce(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, "steps:\n- {command: a, key: a}\n")
		job := w.begin(t, b, "a")
		for range 10 {
			batch := w.NewID()
			made := atOnce(t, func() ([]store.Artifact, error) {
				return w.CreateArtifacts(t.Context(), job, batch, []store.Artifact{{Path: "a"}, {Path: "b"}})
			})
			for _, got := range made {
				if len(got) != 2 || got[0].ID != made[0][0].ID {
					t.Errorf("a batch has the artifacts %v for one and %v for another", made[0], got)
				}
			}
			uploads := atOnce(t, func() (store.Upload, error) {
				return w.UploadPipeline(t.Context(), engine.UploadPipeline{JobID: job.ID, UUID: batch, Pipeline: []byte(`{"steps":[{"nonsense":1}]}`)})
			})
			for _, got := range uploads {
				if got.State != "rejected" || got.Message != uploads[0].Message {
					t.Errorf("the upload is %q: %s", got.State, got.Message)
				}
			}
		}
	})
}

// Two who change different things of one row at once both read it before either writes.
func TestChangesOfOneThingKeepEachOther(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		q := must(w.CreateQueue(ctx, engine.CreateQueue{ClusterID: w.cluster.ID, Key: "q"}))(t)
		for n := range 20 {
			text, networks := strconv.Itoa(n), fmt.Sprintf("10.0.0.%d", n)
			var all sync.WaitGroup
			try := func(op func() error) {
				all.Go(func() {
					if err := op(); err != nil {
						t.Error(err)
					}
				})
			}
			secret := w.secret(t, "S"+text, "v", "")
			policy := "- pipeline_slug: p" + text + "\n"
			try(func() error { _, err := w.UpdateAgentToken(ctx, w.agents.ID, &text, nil); return err })
			try(func() error { _, err := w.UpdateAgentToken(ctx, w.agents.ID, &networks, &networks); return err })
			try(func() error { return w.SetSecretValue(ctx, secret.ID, "w", "") })
			try(func() error {
				_, err := w.UpdateSecret(ctx, engine.UpdateSecret{ID: secret.ID, Policy: &policy})
				return err
			})
			try(func() error { _, err := w.PauseQueue(ctx, q.ID, text, ""); return err })
			try(func() error { _, err := w.UpdateQueue(ctx, q.ID, engine.QueueSettings{Description: &text}); return err })
			all.Wait()
			token := must(w.Store.AgentTokenByID(ctx, w.agents.ID))(t)
			if got := must(w.Store.Secret(ctx, secret.ID))(t).Policy; token.AllowedIPs != networks || got != policy {
				t.Errorf("round %d: the token is for %q, the secret's policy is %q", n, token.AllowedIPs, got)
			}
			if q := must(w.Store.QueueByID(ctx, q.ID))(t); q.PausedNote != text || q.Description != text {
				t.Errorf("round %d: the queue is %+v", n, q)
			}
		}
	})
}

// Whoever narrows the networks of a token wants agents elsewhere gone, also those that register at that moment.
func TestAgentsAreDisconnectedFromWhereTheirTokenIsNotForAnyMore(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		token, _, err := w.CreateAgentToken(ctx, engine.CreateAgentToken{ClusterID: w.cluster.ID, Description: "one"})
		if err != nil {
			t.Fatal(err)
		}
		register := func(ip string) (store.Agent, error) {
			a, _, err := w.RegisterAgent(ctx, engine.RegisterAgent{Token: token, IP: ip})
			return a, err
		}
		near, far := must(register("10.0.0.7"))(t), must(register("192.0.2.1"))(t)
		if err := w.ConnectAgent(ctx, far.ID); err != nil {
			t.Fatal(err)
		}
		b := w.build(t, "steps:\n- {command: a, key: a}\n")
		job := w.job(t, b, "a")
		if ok := must(w.AssignJob(ctx, job.ID, far.ID))(t); !ok {
			t.Fatal("the job was not assigned")
		}
		must(w.AcceptJob(ctx, job.ID, far.ID))(t)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				_, err := register("192.0.2.2")
				if _, no := errors.AsType[*engine.Refused](err); err != nil && !no {
					t.Error(err)
				}
			})
		}
		networks := "10.0.0.0/8"
		must(w.UpdateAgentToken(ctx, token.ID, nil, &networks))(t)
		all.Wait()
		left := must(w.Store.AddressesOfToken(ctx, token.ID, "", 100))(t)
		if want := []store.AgentAddress{{AgentID: near.ID, IP: "10.0.0.7"}}; !slices.Equal(left, want) {
			t.Errorf("left are %v, want %v", left, want)
		}
		if got := w.job(t, b, "a"); !got.State.Terminal() || !strings.Contains(got.Reason, "192.0.2.1") {
			t.Errorf("the job of an agent elsewhere is %s: %q, want it lost", got.State, got.Reason)
		}
		anywhere := "0.0.0.0/0"
		must(w.UpdateAgentToken(ctx, token.ID, nil, &anywhere))(t)
		for _, ip := range []string{"192.0.2.1", "2001:db8::1"} {
			must(register(ip))(t)
		}
	})
}

func TestNoAgentOutlivesTheTokenThatItRegisteredWith(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		for range 10 {
			token, _, err := w.CreateAgentToken(ctx, engine.CreateAgentToken{ClusterID: w.cluster.ID, Description: "one"})
			if err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					_, _, err := w.RegisterAgent(ctx, engine.RegisterAgent{Token: token})
					if _, no := errors.AsType[*engine.Refused](err); err != nil && !no {
						t.Error(err)
					}
				})
			}
			if err := w.RevokeAgentToken(ctx, token.ID); err != nil {
				t.Fatal(err)
			}
			all.Wait()
			if left := must(w.Store.AgentsOfToken(ctx, token.ID, 10))(t); len(left) > 0 {
				t.Fatalf("agents are left of a token that was revoked: %v", left)
			}
		}
	})
}
