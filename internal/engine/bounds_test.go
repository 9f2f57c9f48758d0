package engine_test

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/trust"
)

// endless is a text that no index entry of PostgreSQL holds, compressed or not.
func endless() string {
	b, r := make([]byte, 9000), rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte('0' + r.IntN(10))
	}
	return string(b)
}

func TestTextsThatRowsAreFoundByAreBounded(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		pl := w.pipeline(t, "bounds", "steps: [{command: a, key: a}]")
		long := endless()
		for _, op := range []engine.CreateBuild{{Branch: long}, {Commit: long}, {Tag: long}, {MetaData: map[string]string{long: "x"}}} {
			op.PipelineID, op.Source = pl.ID, trust.SourceAPI
			_, err := w.CreateBuild(ctx, op)
			if r := refused(t, err); len(r.Fields) != 1 {
				t.Errorf("the refusal names the fields %v", r.Fields)
			}
		}
		b := must(w.CreateBuild(ctx, engine.CreateBuild{PipelineID: pl.ID, Source: trust.SourceAPI}))(t)
		wantRefusal(t, w.SetMetaData(ctx, b.ID, map[string]string{long: "x"}), "")
		wantRefusal(t, w.UpdateStep(ctx, engine.UpdateStep{BuildID: b.ID, Step: "a", Attribute: "label", Value: "l", UUID: long}), "")
		_, _, err := w.RegisterAgent(ctx, engine.RegisterAgent{Token: w.agents, Name: "%hostname", Hostname: long})
		wantRefusal(t, err, "The agent's name would have 9000 bytes, with what its placeholders stand for; the limit is 1000.")
	})
}

func TestATriggerOfAnEndlessBranchFailsItsJob(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		w.pipeline(t, "child", "steps: [{command: c}]")
		b, job := w.triggered(t, `"trigger": "child", "build": {"branch": `+strconv.Quote(endless())+`}`)
		w.wantBuild(t, b, ci.BuildFailed)
		if want := "Validation Failed: branch has 9000 bytes; the limit is 1000"; job.Reason != want {
			t.Errorf("reason %q, want %q", job.Reason, want)
		}
	})
}

func TestPrioritiesHaveTheBoundsOfTheDocument(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, "steps:\n- {command: a, key: a}\n")
		_, err := w.SetJobPriority(t.Context(), w.job(t, b, "a").ID, -1<<63)
		wantRefusal(t, err, "Priority must be between -2147483648 and 2147483647")
		for value, ok := range map[string]bool{"-9223372036854775808": false, "2147483648": false, "-2147483648": true, "2147483647": true} {
			err := w.UpdateStep(t.Context(), engine.UpdateStep{BuildID: b.ID, Step: "a", Attribute: "priority", Value: value})
			if (err == nil) != ok {
				t.Errorf("priority %s: %v", value, err)
			}
		}
	})
}

func TestALongTimeLimitIsNotOverAtOnce(t *testing.T) {
	w := stated(t)
	most := strconv.Itoa(pipeline.MaxTimeoutMinutes)
	settings := `{"default_command_step_timeout": 2147483647}`
	for _, attributes := range []string{"", ", timeout_in_minutes: " + most} {
		b := w.ask(t, engine.CreateBuild{}, steps("{command: a, key: a"+attributes+"}"), settings)
		job := w.begin(t, b, "a")
		if left := job.TimeoutAt.Sub(w.Now()); left < 100*365*24*time.Hour {
			t.Errorf("%q: the job may run for %s", attributes, left)
		}
	}
	b := w.build(t, "steps:\n- {command: a, key: a}\n")
	wantRefusal(t, w.SetJobTimeout(t.Context(), w.begin(t, b, "a").ID, "150000001"), "")
}

// Sums of sizes would otherwise overflow, and no artifact of the job could be announced any more.
func TestSizesOfArtifactsAddUp(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		job := w.begin(t, w.build(t, "steps:\n- {command: a, key: a}\n"), "a")
		announce := func(batch string, size int64) error {
			_, err := w.CreateArtifacts(t.Context(), job, batch, []store.Artifact{{Path: batch, Size: size, UploadDestination: "s3://b/p"}})
			return err
		}
		w.decide(t, `{"max_artifact_mib_per_job": 0}`)
		for _, c := range []struct {
			batch string
			size  int64
			ok    bool
		}{{"a", 1<<63 - 1, false}, {"b", 1 << 59, true}, {"c", 1<<59 + 1, false}, {"d", 1, true}} {
			if err := announce(c.batch, c.size); (err == nil) != c.ok {
				t.Errorf("%s: %v", c.batch, err)
			}
		}
	})
}
