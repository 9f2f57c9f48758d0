package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// later queues an upload of a job.
func (w *world) later(t testing.TB, job store.Job, uuid, document string, replace bool) store.Upload {
	t.Helper()
	return must(w.QueueUpload(t.Context(), engine.UploadPipeline{JobID: job.ID, UUID: uuid, Pipeline: []byte(document), Replace: replace}))(t)
}

// applyUploads does what the pass does, and returns the state and message of an upload.
func (w *world) applyUploads(t testing.TB, job store.Job, uuid string) string {
	t.Helper()
	for _, u := range must(w.Store.PendingUploads(t.Context(), 100))(t) {
		if err := w.ApplyUpload(t.Context(), u.JobID, u.UUID); err != nil {
			t.Error(err)
		}
	}
	up := must(w.Store.Upload(t.Context(), job.ID, uuid))(t)
	return strings.TrimSuffix(up.State+": "+up.Message, ": ")
}

func TestUploadsAreAppliedLaterAndOnce(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, "steps:\n- {command: up, key: up}\n- {command: old, key: old, depends_on: up}\n")
		job := w.begin(t, b, "up")
		const document = `{"steps":[{"command":"x","key":"old"}]}`
		for range 2 {
			if up := w.later(t, job, "u", document, true); up.State != "pending" {
				t.Fatalf("the upload is %s", up.State)
			}
		}
		if got := w.now(t, b).Jobs.Open(); got != 2 {
			t.Errorf("%d jobs are open before it is applied, want 2", got)
		}
		pending := must(w.Store.PendingUploads(t.Context(), 100))(t)
		for range 2 { // the second as if another server had found it too
			if got := w.applyUploads(t, job, "u"); got != "applied" {
				t.Fatalf("the upload is %s", got)
			}
			must(0, w.ApplyUpload(t.Context(), pending[0].JobID, pending[0].UUID))(t)
		}
		if up := w.later(t, job, "u", document, true); up.State != "applied" || up.Jobs != 1 {
			t.Errorf("repeated after it was applied, the upload is %+v", up)
		}
		w.finish(t, job, 0)
		w.wantJob(t, b, "old", ci.JobScheduled) // the new one, which waited for the upload's job alone
		w.check(t, b)
	})
}

func TestAnUploadThatIsRefusedLaterSaysWhy(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b := w.build(t, "steps:\n- {command: up, key: up}\n")
		job := w.begin(t, b, "up")
		w.later(t, job, "cycle", `{"steps":[{"command":"x","key":"a","depends_on":"a"}]}`, false)
		if got := w.applyUploads(t, job, "cycle"); !strings.HasPrefix(got, "rejected: ") || !strings.Contains(got, `a`) {
			t.Errorf("an upload that cannot be planned is %s", got)
		}
		w.later(t, job, "late", "{\"steps\":[{\"command\":\"not \xff UTF-8\"}]}", false)
		w.finish(t, job, 0)
		if got := w.applyUploads(t, job, "late"); got != "rejected: You can only change the pipeline of a running build" {
			t.Errorf("an upload of an ended job is %s", got)
		}
		w.wantBuild(t, b, ci.BuildPassed)
	})
}

func TestAJobHasFewUploadsWaiting(t *testing.T) {
	w := stated(t)
	b := w.build(t, "steps:\n- {command: up, key: up}\n")
	job := w.begin(t, b, "up")
	for i := range 10 {
		w.later(t, job, fmt.Sprint(i), `{"steps":[{"command":"x"}]}`, false)
	}
	_, err := w.QueueUpload(t.Context(), engine.UploadPipeline{JobID: job.ID, UUID: "more", Pipeline: []byte(`{"steps":[{"command":"x"}]}`)})
	wantRefusal(t, err, "The job has 10 pipeline uploads that are not applied yet; wait for one of them.")
}
