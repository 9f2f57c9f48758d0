package engine_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

// wantRefusal checks that an operation said no in the given words, "" for any.
func wantRefusal(t rapid.TB, err error, message string) {
	t.Helper()
	r, ok := errors.AsType[*engine.Refused](err)
	if !ok || message != "" && r.Message != message {
		t.Errorf("got %v, want the refusal %q", err, message)
	}
}

// refused is the refusal that an error must be.
func refused(t rapid.TB, err error) *engine.Refused {
	t.Helper()
	r, ok := errors.AsType[*engine.Refused](err)
	if !ok {
		t.Fatalf("got %v, want a refusal", err)
	}
	return r
}

func TestAcceptingIsIdempotentForTheHolderAlone(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, "steps:\n- {command: a, key: a}\n")
		job, holder, other := w.job(t, b, "a"), w.agent(t), w.agent(t)
		_, err := w.AcceptJob(t.Context(), job.ID, holder.ID)
		wantRefusal(t, err, "The job is scheduled and cannot be accepted by this agent.")
		if ok := must(w.AssignJob(t.Context(), job.ID, holder.ID))(t); !ok {
			t.Fatal("not assigned")
		}
		_, err = w.AcceptJob(t.Context(), job.ID, other.ID)
		wantRefusal(t, err, "The job is assigned and cannot be accepted by this agent.")
		first := must(w.AcceptJob(t.Context(), job.ID, holder.ID))(t)
		again := must(w.AcceptJob(t.Context(), job.ID, holder.ID))(t)
		if again.Token != first.Token {
			t.Error("the agent, which may have heard either answer, is given two tokens")
		}
		_, err = w.AcceptJob(t.Context(), job.ID, other.ID)
		wantRefusal(t, err, "The job is accepted and cannot be accepted by this agent.")
		_, err = w.AcceptJob(t.Context(), "nowhere", holder.ID)
		wantRefusal(t, err, "No job found")
		if err := w.StartJob(t.Context(), job.ID, w.Now()); err != nil {
			t.Fatal(err)
		}
		_, err = w.AcceptJob(t.Context(), job.ID, holder.ID)
		wantRefusal(t, err, "The job is running and cannot be accepted by this agent.")
	})
}

func TestAnAgentIsGivenOneJobAtATime(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, "steps:\n- {command: a, key: a}\n- {command: b, key: b}\n")
		one, two, a := w.job(t, b, "a"), w.job(t, b, "b"), w.agent(t)
		for _, step := range []struct {
			job  store.Job
			want bool
		}{{one, true}, {one, false}, {two, false}} {
			if got := must(w.AssignJob(t.Context(), step.job.ID, a.ID))(t); got != step.want {
				t.Errorf("assigned: %v, want %v", got, step.want)
			}
		}
		_, err := w.AcquireJob(t.Context(), two.ID, a.ID)
		wantRefusal(t, err, "The agent cannot take the job.")
		w.wantJob(t, b, "b", ci.JobScheduled)
	})
}

func TestAnOfferThatNobodyTakesReturnsToTheQueue(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, "steps:\n- {command: a, key: a}\n")
		job, a := w.job(t, b, "a"), w.agent(t)
		must(w.AssignJob(t.Context(), job.ID, a.ID))(t)
		expire := func() {
			t.Helper()
			if err := w.ExpireOffer(t.Context(), job.ID); err != nil {
				t.Fatal(err)
			}
		}
		expire() // too early
		w.wantJob(t, b, "a", ci.JobAssigned)
		w.advance(30 * time.Second)
		expire()
		expire()
		w.wantJob(t, b, "a", ci.JobScheduled)
		_, err := w.AcceptJob(t.Context(), job.ID, a.ID)
		wantRefusal(t, err, "")
		if ok := must(w.AssignJob(t.Context(), job.ID, a.ID))(t); !ok {
			t.Error("the agent is not free again")
		}
		w.check(t, b)
	})
}

func TestAJobEndsOnce(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, "steps:\n- {command: a, key: a}\n")
		job := w.job(t, b, "a")
		_, err := w.FinishJob(t.Context(), engine.FinishJob{JobID: job.ID})
		wantRefusal(t, err, "The job has ended already.")
		w.run(t, job, 0)
		_, err = w.FinishJob(t.Context(), engine.FinishJob{JobID: job.ID, ExitStatus: 1})
		wantRefusal(t, err, "The job has ended already.")
		wantRefusal(t, w.StartJob(t.Context(), job.ID, w.Now()), "The job is finished; start is not possible.")
		_, err = w.CancelJob(t.Context(), job.ID, "ana")
		wantRefusal(t, err, "The job can't be canceled because it's already finished.")
		_, err = w.CancelBuild(t.Context(), b.ID, "ana")
		wantRefusal(t, err, "Build can't be canceled because it's already finished.")
		_, err = w.RetryJob(t.Context(), job.ID, "ana")
		wantRefusal(t, err, "Only failed, timed out or canceled jobs can be retried")
		_, err = w.UnblockJob(t.Context(), engine.UnblockJob{JobID: job.ID})
		wantRefusal(t, err, "This job type cannot be unblocked")
		w.wantBuild(t, b, ci.BuildPassed)
	})
}

func TestAJobIsRetriedOnceAndOnlyWhereItMay(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, `steps:
- {command: a, key: a}
- {command: b, key: b, retry: {manual: {allowed: false, reason: Deploys are not repeated}}}
- {block: Go, key: gate}
`)
		job := w.job(t, b, "a")
		w.run(t, job, 1)
		w.run(t, w.job(t, b, "b"), 1)
		next := must(w.RetryJob(t.Context(), job.ID, "ana"))(t)
		_, err := w.RetryJob(t.Context(), job.ID, "ana")
		wantRefusal(t, err, "The job has been retried already, as "+next.ID+".")
		_, err = w.RetryJob(t.Context(), w.job(t, b, "b").ID, "ana")
		wantRefusal(t, err, "Deploys are not repeated")
		_, err = w.RetryJob(t.Context(), w.job(t, b, "gate").ID, "ana")
		wantRefusal(t, err, "This job type cannot be retried")
		must(w.CancelBuild(t.Context(), b.ID, "ana"))(t)
		_, err = w.RetryJob(t.Context(), next.ID, "ana")
		wantRefusal(t, err, "Jobs from canceled builds cannot be retried")
		w.check(t, b)
	})
}

func TestAnUploadIsAnsweredOnce(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, "steps:\n- {command: up, key: up}\n")
		job := w.job(t, b, "up")
		w.start(t, job)
		bad := engine.UploadPipeline{JobID: job.ID, UUID: "bad", Pipeline: []byte(`{"steps":[{"command":"x","agents":{"queue":"q"}}]}`)}
		for range 2 {
			up := must(w.UploadPipeline(t.Context(), bad))(t)
			if up.State != "rejected" || up.Message == "" {
				t.Errorf("got %+v", up)
			}
			bad.Pipeline = []byte(`{"steps":[{"command":"x"}]}`) // the uuid decides
		}
		good := engine.UploadPipeline{JobID: job.ID, UUID: "good", Pipeline: bad.Pipeline}
		first := must(w.UploadPipeline(t.Context(), good))(t)
		if again := must(w.UploadPipeline(t.Context(), good))(t); first.Jobs != 1 || !cmp.Equal(first, again) {
			t.Errorf("got %+v, then %+v", first, again)
		}
		if n := must(w.Store.CountJobs(t.Context(), b.ID))(t); n != 2 {
			t.Errorf("the build has %d jobs, want 2", n)
		}
		w.check(t, b)
	})
}

func TestAnArtifactBatchIsMadeOnce(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, "steps:\n- {command: a, key: a}\n")
		job := w.job(t, b, "a")
		files := []store.Artifact{{Path: "b"}, {Path: "a"}}
		first := must(w.CreateArtifacts(t.Context(), job, "batch", files))(t)
		again := must(w.CreateArtifacts(t.Context(), job, "batch", files))(t)
		if diff := cmp.Diff(first, again); diff != "" || len(first) != 2 || first[0].Path != "b" {
			t.Errorf("the same batch again (-first +again):\n%s", diff)
		}
		if n := len(must(w.Store.Artifacts(t.Context(), b.ID))(t)); n != 2 {
			t.Errorf("%d artifacts, want 2", n)
		}
		wantRefusal(t, w.SetArtifactStates(t.Context(), job, map[string]string{first[0].ID: "deleted"}), "")
		wantRefusal(t, w.SetArtifactStates(t.Context(), store.Job{BuildID: b.ID}, map[string]string{first[0].ID: "finished"}), "No artifact found")
	})
}

func TestAnAgentThatHasLeftTakesNothing(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, "steps:\n- {command: a, key: a}\n")
		job, a := w.job(t, b, "a"), w.agent(t)
		must(w.AssignJob(t.Context(), job.ID, a.ID))(t)
		for range 2 {
			if err := w.DisconnectAgent(t.Context(), a.ID); err != nil {
				t.Fatal(err)
			}
		}
		w.wantJob(t, b, "a", ci.JobScheduled)
		_, err := w.AcceptJob(t.Context(), job.ID, a.ID)
		wantRefusal(t, err, "The agent's session has ended.")
		_, err = w.AcquireJob(t.Context(), job.ID, a.ID)
		wantRefusal(t, err, "The agent's session has ended.")
		if ok := must(w.AssignJob(t.Context(), job.ID, a.ID))(t); ok {
			t.Error("a job was assigned to an agent that has left")
		}
		wantRefusal(t, w.ConnectAgent(t.Context(), a.ID), "")
		w.check(t, b)
	})
}

// untrusted takes a build's verdict away, as if it had been made for another commit or never.
func (w *world) untrusted(t testing.TB, b store.Build, change func(*store.Build)) {
	t.Helper()
	err := w.Store.Update(t.Context(), func(tx *store.Tx) error {
		b, err := tx.LockBuild(t.Context(), b.ID)
		if err != nil {
			return err
		}
		change(&b)
		return tx.UpdateBuild(t.Context(), b)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestNothingOfABuildThatIsNotTrustedRuns(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		for name, change := range map[string]func(*store.Build){
			"held":           func(b *store.Build) { b.Verdict.Decision = "hold" },
			"denied":         func(b *store.Build) { b.Verdict.Decision = "deny" },
			"another commit": func(b *store.Build) { b.Commit = "0123456789012345678901234567890123456789" },
		} {
			t.Run(name, func(t *testing.T) { w.runsNothing(t, change) })
		}
	})
}

func (w *world) runsNothing(t *testing.T, change func(*store.Build)) {
	b := w.build(t, `steps:
- {command: up, key: up}
- {command: failed, key: failed}
- {command: offered, key: offered}
- {command: free, key: free}
- {input: Go, key: gate}
`)
	up, failed, offered, free := w.job(t, b, "up"), w.job(t, b, "failed"), w.job(t, b, "offered"), w.job(t, b, "free")
	w.start(t, up)
	w.run(t, failed, 1)
	holder := w.agent(t)
	must(w.AssignJob(t.Context(), offered.ID, holder.ID))(t)
	w.untrusted(t, b, change)

	_, err := w.AssignJob(t.Context(), free.ID, w.agent(t).ID)
	wantRefusal(t, err, "")
	_, err = w.AcquireJob(t.Context(), free.ID, w.agent(t).ID)
	wantRefusal(t, err, "")
	_, err = w.AcceptJob(t.Context(), offered.ID, holder.ID)
	wantRefusal(t, err, "")
	_, err = w.RetryJob(t.Context(), failed.ID, "ana")
	wantRefusal(t, err, "")
	_, err = w.UnblockJob(t.Context(), engine.UnblockJob{JobID: w.job(t, b, "gate").ID})
	wantRefusal(t, err, "")
	op := engine.UploadPipeline{JobID: up.ID, UUID: "u", Pipeline: []byte(`{"steps":[{"command":"x"}]}`)}
	if got := must(w.UploadPipeline(t.Context(), op))(t); got.State != "rejected" {
		t.Errorf("the upload was %s", got.State)
	}
	w.wantJob(t, b, "free", ci.JobScheduled)
	w.check(t, b)
}

func TestABuildFromAWebhookIsHeldUntilItsCodeIsKnown(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		pl := w.pipeline(t, "hooked", "steps:\n- command: a\n")
		b := must(w.CreateBuild(t.Context(), engine.CreateBuild{PipelineID: pl.ID, Source: trust.SourceWebhook}))(t)
		if b.Verdict.Decision != "hold" || b.State != ci.BuildCreating {
			t.Errorf("the build is %s with the verdict %q", b.State, b.Verdict.Decision)
		}
		if n := must(w.Store.CountJobs(t.Context(), b.ID))(t); n != 0 {
			t.Errorf("a held build has %d jobs", n)
		}
		if n := len(must(w.Store.CreatingBuilds(t.Context(), 10))(t)); n != 0 {
			t.Errorf("a held build is listed for planning")
		}
		wantRefusal(t, w.PlanBuild(t.Context(), engine.PlanBuild{BuildID: b.ID, Source: []byte("steps:\n- command: a\n")}), "")
	})
}

func TestATriggeredBuildHasTheVerdictOfTheFirst(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		w.pipeline(t, "child", `{"steps": [{"command": "c", "key": "c"}]}`)
		_, job := w.triggered(t, `"trigger": "child"`)
		child := must(w.Store.Build(t.Context(), job.TriggeredBuild))(t)
		if v := child.Verdict; child.Source != "trigger_job" || v.Decision != "allow" || v.Rule != "root-build" {
			t.Errorf("source %s, verdict %+v", child.Source, v)
		}
		b := w.build(t, `{"steps": [{"key": "t", "trigger": "child"}]}`)
		w.untrusted(t, b, func(b *store.Build) { b.Verdict.Decision = "hold" })
		wantRefusal(t, w.TriggerBuild(t.Context(), w.job(t, b, "t").ID), "")
	})
}
