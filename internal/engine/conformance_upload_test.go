package engine_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/store/storetest"
)

// uploading makes a build of one step that uploads, before a step behind a wait, and starts it.
func (w *world) uploading(t testing.TB) (store.Build, store.Job) {
	t.Helper()
	b := w.build(t, "steps:\n- {command: up, key: up}\n- wait\n- {command: last, key: last}\n")
	return b, w.begin(t, b, "up")
}

func TestP024_AKeyOfAnEarlierUploadIsTaken(t *testing.T) {
	w := stated(t)
	_, up := w.uploading(t)
	w.sent(t, up, `{"steps":[{"command":"x","key":"x"}]}`)
	for _, key := range []string{"x", "last", "up"} {
		w.wantRejected(t, up, `{"steps":[{"command":"fine","key":"fine"},{"command":"twice","key":"`+key+`"}]}`,
			`The key "`+key+`" has already been used by another step in this build`)
	}
}

func TestP030_AKeyReachesTheJob(t *testing.T) {
	w := stated(t)
	b := w.build(t, "steps:\n- {command: a, key: a}\n")
	wantEnv(t, w.env(t, w.job(t, b, "a")), map[string]string{"BUILDKITE_STEP_KEY": "a"})
}

func TestP036_MetaDataIsNoVariable(t *testing.T) {
	w := stated(t)
	b := w.ask(t, engine.CreateBuild{MetaData: map[string]string{"release": "1.2"}},
		"steps:\n- {command: 'echo <$release> <${release}>', key: a}\n", "")
	if got := must(w.job(t, b, "a").Spec())(t).Command; got != "echo <> <>" {
		t.Errorf("the command is %q", got)
	}
}

func TestP037_UploadedStepsFollowTheUploader(t *testing.T) {
	w := stated(t)
	b := w.build(t, "steps:\n- {command: a, key: a}\n- {command: up, key: up}\n- {command: z, key: z}\n")
	w.sent(t, w.begin(t, b, "up"), `{"steps":[{"command":"x","key":"x"},{"command":"y","key":"y"}]}`)
	if got := w.order(t, b.ID); got != "a up x y z" {
		t.Errorf("the steps are %s", got)
	}
}

func TestP038_TheNewestUploadComesFirst(t *testing.T) {
	w := stated(t)
	b, up := w.uploading(t)
	for _, key := range []string{"a", "b", "c"} {
		w.sent(t, up, fmt.Sprintf(`{"steps":[{"command":"x","key":"%s1"},{"command":"x","key":"%s2"}]}`, key, key))
	}
	if got := w.order(t, b.ID); got != "up c1 c2 b1 b2 a1 a2 wait last" {
		t.Errorf("the steps are %s", got)
	}
	var jobs []string
	for _, j := range must(w.Store.Jobs(t.Context(), b.ID))(t) {
		if s := must(w.Store.Step(t.Context(), j.StepID))(t); s.Key != "" {
			jobs = append(jobs, s.Key)
		}
	}
	if got := strings.Join(jobs, " "); got != "up c1 c2 b1 b2 a1 a2 last" {
		t.Errorf("the jobs are %s", got)
	}
}

func TestP039_UploadedStepsWaitForTheUploader(t *testing.T) {
	w := stated(t)
	b, up := w.uploading(t)
	w.sent(t, up, `{"steps":[{"command":"x","key":"x"},{"group":"g","steps":[{"command":"y","key":"y"}]}]}`)
	w.wantStates(t, b, "up=running x=waiting y=waiting")
	w.finish(t, up, 0)
	w.wantStates(t, b, "up=finished x=scheduled y=scheduled")
}

func TestP040_UploadedStepsDoNotRunBehindAFailedUploader(t *testing.T) {
	w := stated(t)
	b, up := w.uploading(t)
	w.sent(t, up, `{"steps":[{"command":"x","key":"x"}]}`)
	w.finish(t, up, 1)
	w.wantStates(t, b, "x=waiting_failed last=waiting_failed")
	w.wantBuild(t, b, ci.BuildFailed)

	soft := w.build(t, "steps:\n- {command: up, key: up, soft_fail: true}\n")
	up = w.begin(t, soft, "up")
	w.sent(t, up, `{"steps":[{"command":"x","key":"x"}]}`)
	w.finish(t, up, 1)
	w.wantStates(t, soft, "x=scheduled")
}

func TestP041_AFinalizerRunsBehindAFailedUploader(t *testing.T) {
	w := stated(t)
	b, up := w.uploading(t)
	w.sent(t, up, `{"steps":[{"command":"x","key":"x"},{"command":"clean","key":"clean","allow_dependency_failure":true}]}`)
	w.finish(t, up, 1)
	w.wantStates(t, b, "x=waiting_failed clean=scheduled")
	w.end(t, b, "clean", 0)
	w.wantBuild(t, b, ci.BuildFailed)
}

func TestP042_AnUploadedStepMayRunBesideTheUploader(t *testing.T) {
	w := stated(t)
	b, up := w.uploading(t)
	w.sent(t, up, `{"steps":[{"command":"x","key":"x","depends_on":null},{"command":"y","key":"y","depends_on":[]},{"command":"z","key":"z"}]}`)
	w.wantStates(t, b, "up=running x=scheduled y=scheduled z=waiting")
}

func TestP043_ADependantOfTheUploaderWaitsForWhatItUploads(t *testing.T) {
	w := stated(t)
	b := w.build(t, "steps:\n- {command: up, key: up}\n- {command: d, key: d, depends_on: up}\n")
	up := w.begin(t, b, "up")
	w.sent(t, up, `{"steps":[{"command":"more","key":"more"}]}`)
	w.finish(t, up, 0)
	w.wantStates(t, b, "more=scheduled d=waiting")
	more := w.begin(t, b, "more")
	w.sent(t, more, `{"steps":[{"command":"deep","key":"deep"}]}`)
	w.finish(t, more, 0)
	w.wantStates(t, b, "deep=scheduled d=waiting")
	w.end(t, b, "deep", 0)
	w.wantStates(t, b, "d=scheduled")
}

func TestP044_AWaitWaitsForUploadedSteps(t *testing.T) {
	w := stated(t)
	b, up := w.uploading(t)
	w.sent(t, up, `{"steps":[{"command":"more","key":"more"}]}`)
	w.finish(t, up, 0)
	more := w.begin(t, b, "more")
	w.sent(t, more, `{"steps":[{"command":"deep","key":"deep"},{"group":"g","steps":[{"command":"in","key":"in"}]}]}`)
	w.finish(t, more, 0)
	w.end(t, b, "deep", 0)
	w.wantStates(t, b, "in=scheduled last=waiting")
	w.end(t, b, "in", 0)
	w.wantStates(t, b, "last=scheduled")
}

// TestP043_UploadsOfOneJobRunSideBySide: the steps of an upload wait for the uploading step, not for what it
// uploads besides.
func TestP043_UploadsOfOneJobRunSideBySide(t *testing.T) {
	w := stated(t)
	b, up := w.uploading(t)
	w.sent(t, up, `{"steps":[{"command":"x","key":"x"},{"group":"g","steps":[{"command":"in","key":"in"}]},{"command":"own","key":"own","depends_on":"x"}]}`)
	w.sent(t, up, `{"steps":[{"command":"y","key":"y"}]}`)
	w.finish(t, up, 0)
	w.wantStates(t, b, "x=scheduled in=scheduled y=scheduled own=waiting last=waiting")
	for _, key := range []string{"x", "in", "own"} {
		w.end(t, b, key, 0)
	}
	w.wantStates(t, b, "y=scheduled last=waiting")
	w.end(t, b, "y", 0)
	w.wantStates(t, b, "last=scheduled")
}

// TestP044_AnUploadedWaitWaitsForLaterUploads: what is uploaded later comes before it.
func TestP044_AnUploadedWaitWaitsForLaterUploads(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]string{
		"behind a step": `{"steps":[{"command":"x","key":"x"},"wait",{"command":"behind","key":"behind"}]}`,
		"alone":         `{"steps":[{"command":"x","key":"x","depends_on":null},"wait",{"command":"behind","key":"behind"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			w := stated(t)
			b, up := w.uploading(t)
			w.sent(t, up, first)
			w.sent(t, up, `{"steps":[{"command":"y","key":"y"}]}`)
			w.finish(t, up, 0)
			w.end(t, b, "x", 0)
			w.wantStates(t, b, "y=scheduled behind=waiting")
			w.end(t, b, "y", 0)
			w.wantStates(t, b, "behind=scheduled")
		})
	}
}

func TestP045_AnUploadIsAppliedOnce(t *testing.T) {
	w := stated(t)
	b, up := w.uploading(t)
	op := engine.UploadPipeline{JobID: up.ID, UUID: "the-same", Pipeline: []byte(`{"steps":[{"command":"x"}]}`)}
	for range 3 {
		if got := must(w.UploadPipeline(t.Context(), op))(t); got.State != "applied" || got.Jobs != 1 {
			t.Errorf("got %+v", got)
		}
	}
	if got := w.order(t, b.ID); got != "up command wait last" {
		t.Errorf("the steps are %s", got)
	}
}

func TestP047_ARefusedUploadAddsNothing(t *testing.T) {
	w := stated(t)
	b, up := w.uploading(t)
	for document, part := range map[string]string{
		`{"steps":[{"command":"x"},{"wibble":1}]}`:                                 "Step is missing a type",
		`{"steps":[{"command":"x"},{"command":"y","agents":{"queue":"nowhere"}}]}`: "queue=nowhere, which does not exist",
		`{"steps":[{"command":"x"},{"command":"y","depends_on":"gone"}]}`:          "step dependencies not found",
		`{"env":{"A":"b"},"steps":[]}`:                                             "no steps",
		`{"steps":`:                                                                "",
	} {
		w.wantRejected(t, up, document, part)
	}
	if env := w.now(t, b).Detail.Env; len(env) != 0 {
		t.Errorf("the build's env is %v", env)
	}
	w.check(t, b)
}

func TestP048_AFinishedBuildTakesNoUpload(t *testing.T) {
	w := stated(t)
	b := w.build(t, "steps:\n- {command: up, key: up}\n")
	up := w.begin(t, b, "up")
	w.finish(t, up, 0)
	w.wantRejected(t, up, `{"steps":[{"command":"x"}]}`, "You can only change the pipeline of a running build")
	w.wantBuild(t, b, ci.BuildPassed)
}

func TestP049_ReplaceRemovesWhatHasNotStarted(t *testing.T) {
	w := stated(t)
	b := w.build(t, `steps:
- {command: done, key: done}
- {command: up, key: up}
- {command: busy, key: busy}
- {command: ready, key: ready}
- wait
- {command: mid, key: mid}
- block: b
  key: b
- {command: last, key: last}
`)
	w.end(t, b, "done", 0)
	up, busy := w.begin(t, b, "up"), w.begin(t, b, "busy")
	if got := w.send(t, up, `{"steps":[{"command":"new","key":"new"}]}`, true); got.State != "applied" {
		t.Fatalf("the upload is %s: %s", got.State, got.Message)
	}
	if got := w.order(t, b.ID); got != "done up new busy" {
		t.Errorf("the steps are %s", got)
	}
	w.wantStates(t, b, "done=finished up=running new=waiting busy=running")
	w.finish(t, up, 0)
	w.finish(t, busy, 0)
	w.end(t, b, "new", 0)
	w.wantBuild(t, b, ci.BuildPassed)
}

func TestP050_ReplacedKeysAreFree(t *testing.T) {
	w := stated(t)
	b, up := w.uploading(t)
	if got := w.send(t, up, `{"steps":[{"command":"again","key":"last"}]}`, true); got.State != "applied" {
		t.Fatalf("the upload is %s: %s", got.State, got.Message)
	}
	if got := w.order(t, b.ID); got != "up last" {
		t.Errorf("the steps are %s", got)
	}
	if got := must(w.job(t, b, "last").Spec())(t).Command; got != "again" {
		t.Errorf("the command is %q", got)
	}
}

func TestP051_ARefusedReplaceLeavesTheOldSteps(t *testing.T) {
	w := stated(t)
	b, up := w.uploading(t)
	if got := w.send(t, up, `{"steps":[{"wibble":1}]}`, true); got.State != "rejected" {
		t.Errorf("the upload is %s", got.State)
	}
	w.wantStates(t, b, "up=running last=waiting")
	if got := w.order(t, b.ID); got != "up wait last" {
		t.Errorf("the steps are %s", got)
	}
}

func TestP052_AnUploadIsBounded(t *testing.T) {
	w := stated(t)
	w.decide(t, `{"max_jobs_per_upload": 500}`)
	_, up := w.uploading(t)
	w.wantRejected(t, up, parallel(501), "The number of jobs in this upload exceeds your organization limit of 500")
	w.sent(t, up, parallel(500))
}

func TestP054_TheUploadsOfABuildAreBounded(t *testing.T) {
	w := stated(t)
	if most := engine.DefaultSettings().MaxUploadsPerBuild; most != 500 {
		t.Errorf("a new organization takes %d uploads of a build, want 500", most)
	}
	w.decide(t, `{"max_uploads_per_build": 10}`)
	b := w.build(t, steps("{command: up, key: up}"))
	up := w.begin(t, b, "up")
	for range 10 {
		w.sent(t, up, `{"steps":[{"command":"x"}]}`)
	}
	w.wantRejected(t, up, `{"steps":[{"command":"x"}]}`, "The build has 10 pipeline uploads; your organization's limit is 10.")
}

// TestP055_ABuildIsBounded has the service's value set; ours is larger.
func TestP055_ABuildIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite(t))
	w.decide(t, `{"max_jobs_per_build": 4000}`)
	b := w.build(t, document(map[string]any{"command": "up", "key": "up"}, map[string]any{"command": "a", "key": "a"},
		map[string]any{"command": "x", "key": "x", "parallelism": 3996, "retry": map[string]any{"automatic": true}}))
	up := w.begin(t, b, "up")
	w.end(t, b, "a", 1)
	must(w.RetryJob(t.Context(), w.job(t, b, "a").ID, "ana"))(t)
	w.wantRejected(t, up, parallel(2), "limit is 4000")
	w.sent(t, up, parallel(1))
	w.end(t, b, "x", 1)
	if j := w.job(t, b, "x"); j.State != ci.JobFinished || j.Retries != 0 {
		t.Errorf("in a full build the job is %s after %d retries", j.State, j.Retries)
	}
	_, err := w.RetryJob(t.Context(), w.job(t, b, "x").ID, "ana")
	wantRefusal(t, err, "The build would have 4001 jobs; your organization's limit is 4000.")
}

func TestP056_UploadedJobsInheritTheirRank(t *testing.T) {
	w := stated(t)
	b, up := w.uploading(t)
	w.advance(time.Hour)
	later := w.build(t, "steps:\n- {command: other, key: other}\n")
	w.sent(t, up, `{"steps":[{"command":"x","key":"x","depends_on":null}]}`)
	x := w.job(t, b, "x")
	if !x.ScheduledAt.Equal(up.ScheduledAt) || !x.CreatedAt.After(up.CreatedAt) {
		t.Errorf("scheduled at %v, want %v", x.ScheduledAt, up.ScheduledAt)
	}
	queue := must(w.Store.QueueHead(t.Context(), x.QueueID, 10))(t)
	if len(queue) != 2 || queue[0] != x.ID || queue[1] != w.job(t, later, "other").ID {
		t.Errorf("the older build's job does not come first: %v", queue)
	}
}

func TestP057_UploadedEnvReachesWhatHasNotStarted(t *testing.T) {
	w := stated(t)
	b, up := w.uploading(t)
	w.sent(t, up, `{"steps":[{"command":"x","key":"x","depends_on":null},{"command":"own","key":"own","depends_on":null,"env":{"A":"step"}}]}`)
	w.sent(t, up, `{"env":{"A":"later"},"steps":[{"command":"y"}]}`)
	wantEnv(t, w.env(t, w.job(t, b, "x")), map[string]string{"A": "later"})
	wantEnv(t, w.env(t, w.job(t, b, "own")), map[string]string{"A": "step"})
}

func TestP058_UploadedEnvDoesNotReachWhatHasStarted(t *testing.T) {
	w := stated(t)
	b := w.build(t, "steps:\n- {command: up, key: up}\n- {command: x, key: x}\n")
	up := w.begin(t, b, "up")
	before := w.accept(t, w.job(t, b, "x"))
	if err := w.StartJob(t.Context(), before.Job.ID, w.Now()); err != nil {
		t.Fatal(err)
	}
	w.sent(t, up, `{"env":{"A":"later"},"steps":[{"command":"y"}]}`)
	wantEnv(t, must(engine.JobEnv(before, ""))(t), map[string]string{"A": "-"})
	_, err := w.AcceptJob(t.Context(), before.Job.ID, before.Agent.ID)
	wantRefusal(t, err, "The job is running and cannot be accepted by this agent.")
}

func TestP059_UploadedAgentRulesStay(t *testing.T) {
	w := stated(t)
	b, up := w.uploading(t)
	w.sent(t, up, `{"agents":{"os":"linux"},"steps":[{"command":"a","key":"a"},{"command":"own","key":"own","agents":{"gpu":"yes"}}]}`)
	w.sent(t, up, `{"steps":[{"command":"b","key":"b"}]}`)
	w.sent(t, up, `{"agents":["os=mac"],"steps":[{"command":"c","key":"c"}]}`)
	for key, want := range map[string][]string{
		"up": {}, "a": {"os=linux"}, "own": {"gpu=yes"}, "b": {"os=linux"}, "c": {"os=mac"},
	} {
		if got := w.job(t, b, key).Rules; !slices.Equal(got, want) {
			t.Errorf("the rules of %q are %v, want %v", key, got, want)
		}
	}
}

func TestP060_NotificationsOfTheUploaderAreItsOwn(t *testing.T) {
	w := stated(t)
	b := w.build(t, "steps:\n- {command: up, key: up, notify: [github_check]}\n")
	w.sent(t, w.begin(t, b, "up"), `{"steps":[{"command":"x","key":"x"}]}`)
	if up, x := w.step(t, b, "up").Spec.Notify, w.step(t, b, "x").Spec.Notify; len(up) != 1 || len(x) != 0 {
		t.Errorf("the uploader notifies %s, the uploaded step %s", up, x)
	}
}

func TestP061_ARetriedUploaderUploadsAgain(t *testing.T) {
	w := stated(t)
	b, up := w.uploading(t)
	w.sent(t, up, `{"steps":[{"command":"x"}]}`)
	w.sent(t, up, `{"steps":[{"command":"y","key":"y"}]}`)
	w.finish(t, up, 1)
	must(w.RetryJob(t.Context(), up.ID, "ana"))(t)
	again := w.begin(t, b, "up")
	w.sent(t, again, `{"steps":[{"command":"x"}]}`)
	if got := w.order(t, b.ID); got != "up command y command wait last" {
		t.Errorf("the steps are %s", got)
	}
	w.wantRejected(t, again, `{"steps":[{"command":"y","key":"y"}]}`, `The key "y" has already been used`)
}

func TestP062_AnUploadedConditionIsEvaluatedAtOnce(t *testing.T) {
	w := stated(t)
	b, up := w.uploading(t)
	const document = `{"env":{"LATER":"yes"},"steps":[{"command":"x","key":"KEY","if":"build.env(\"LATER\") == \"yes\""}]}`
	w.sent(t, up, `{"steps":[{"command":"x","key":"early","if":"build.env(\"LATER\") == \"yes\""}]}`)
	w.sent(t, up, `{"env":{"LATER":"yes"},"steps":[{"command":"e"}]}`)
	w.sent(t, up, strings.Replace(document, "KEY", "late", 1))
	w.wantStates(t, b, "early=broken late=waiting")
}

func TestP238_AStepSkippedByTheAgentIsSkipped(t *testing.T) {
	w := stated(t)
	b, up := w.uploading(t)
	const why = "if_changed matched no unexcluded changed files in this build"
	w.sent(t, up, document(map[string]any{"command": "x", "key": "x", "skip": why}, map[string]any{"command": "y", "key": "y", "depends_on": "x"}))
	if j := w.job(t, b, "x"); j.State != ci.JobSkipped || j.Reason != why {
		t.Errorf("the job is %s: %s", j.State, j.Reason)
	}
	w.wantStates(t, b, "y=scheduled")
	w.wantRejected(t, up, `{"steps":[{"command":"x","if_changed":"*.go"}]}`, "if_changed")
}

func TestP031_AnUploadIsNotInterpolated(t *testing.T) {
	w := stated(t)
	b, up := w.uploading(t)
	const command = "echo $BUILDKITE_BRANCH ${BUILDKITE_BRANCH:-x} $$HOME"
	w.sent(t, up, document(map[string]any{"command": command, "key": "x", "label": "$BUILDKITE_BRANCH"}))
	spec := must(w.job(t, b, "x").Spec())(t)
	if spec.Command != command || spec.Label != "$BUILDKITE_BRANCH" {
		t.Errorf("the command is %q, the label %q", spec.Command, spec.Label)
	}
	var stored pipeline.Job
	if err := json.Unmarshal(w.step(t, b, "x").Definition, &stored); err != nil || stored.Command != command {
		t.Errorf("the definition is %s", w.step(t, b, "x").Definition)
	}
}

// grouped makes a build with a group named Tests, with or without a key, that has a step that uploads
// and one that follows behind a wait, and starts the former. A step waits for the group.
func (w *world) grouped(t testing.TB, key string) (store.Build, store.Job) {
	t.Helper()
	b := w.build(t, "steps:\n- group: Tests\n"+key+
		"  steps: [{command: up, key: up}, {wait: null, key: gate}, {command: z, key: z}]\n- wait\n- {command: last, key: last}\n")
	return b, w.begin(t, b, "up")
}

func TestP103_AnUploadedGroupJoinsTheUploadersOfTheSameName(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b, up := w.grouped(t, "")
		w.sent(t, up, `{"steps":[
			{"group":"Tests","key":"g","steps":[{"command":"a","key":"a"},"wait",{"command":"b","key":"b"}]},
			{"command":"c","key":"c","depends_on":"g"},
			{"group":"Tests","key":"other","steps":[{"command":"o","key":"o"}]}]}`)
		if got := w.order(t, b.ID); got != "g up a wait b c other o gate z wait last" {
			t.Errorf("the steps are %s", got)
		}
		group, other := w.step(t, b, "g"), w.step(t, b, "other")
		for key, want := range map[string]string{"up": group.ID, "a": group.ID, "b": group.ID, "c": group.ID, "o": other.ID} {
			if got := w.step(t, b, key).GroupID; got != want {
				t.Errorf("the group of %s is %q, want %q", key, got, want)
			}
		}
		if n := group.Jobs.Total(); n != 7 {
			t.Errorf("the group counts %d jobs", n)
		}
		w.wantStates(t, b, "up=running a=waiting b=waiting c=waiting z=waiting last=waiting")
		w.finish(t, up, 0)
		w.wantStates(t, b, "a=scheduled b=waiting c=waiting o=scheduled z=waiting")
		for _, key := range []string{"a", "b", "o", "c"} {
			w.end(t, b, key, 0)
		}
		w.wantStates(t, b, "z=scheduled last=waiting")
		w.end(t, b, "z", 1)
		w.wantStates(t, b, "last=waiting_failed")
		w.wantOutcome(t, b, "g", ci.OutcomeHardFailed)
	})
}

func TestP103_WhatAJoiningGroupDependsOnHoldsBackItsMembers(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		b, up := w.grouped(t, "  key: tests\n")
		w.sent(t, up, `{"steps":[{"command":"first","key":"first","depends_on":null}]}`)
		w.sent(t, up, `{"steps":[{"group":"Tests","key":"g","depends_on":"first","steps":[{"command":"a","key":"a","depends_on":[]}]}]}`)
		w.sent(t, up, `{"steps":[{"group":"Tests","depends_on":null,"steps":[{"command":"b","key":"b"}]}]}`)
		w.wantStates(t, b, "first=scheduled a=waiting b=scheduled")
		w.end(t, b, "first", 0)
		w.wantStates(t, b, "up=running a=scheduled")
		if got := w.step(t, b, "a").GroupID; got != w.step(t, b, "tests").ID {
			t.Errorf("step a is in the group %q", got)
		}
		w.wantRejected(t, up, `{"steps":[{"group":"Tests","depends_on":"tests","steps":[{"command":"x","key":"x"}]}]}`, "waits for it")
		w.wantRejected(t, up, `{"steps":[{"group":"Tests","key":"tests","steps":[{"command":"x","key":"x"}]}]}`, "already been used")
	})
}

func TestP103_OtherUploadedGroupsStandAlone(t *testing.T) {
	t.Parallel()
	const group = `{"group":"Tests","key":"new","steps":[{"command":"x","key":"x"}]}`
	for name, c := range map[string]struct{ group, document string }{
		"another name":          {"Tests", `{"steps":[` + strings.Replace(group, "Tests", "tests", 1) + `]}`},
		"not the first step":    {"Tests", `{"steps":[{"command":"y"},` + group + `]}`},
		"no name":               {"~", `{"steps":[` + strings.Replace(group, `"Tests"`, "null", 1) + `]}`},
		"uploader in no group":  {"", `{"steps":[` + group + `]}`},
		"uploader in another's": {"Lint", `{"steps":[` + group + `]}`},
	} {
		t.Run(name, func(t *testing.T) {
			worlds(t, func(t *testing.T, w *world) {
				source := "steps:\n- {group: Tests, key: tests, steps: [{command: t, key: t}]}\n- {command: up, key: up}\n"
				if c.group != "" {
					source = "steps:\n- {group: " + c.group + ", key: tests, steps: [{command: up, key: up}]}\n"
				}
				b := w.build(t, source)
				w.sent(t, w.begin(t, b, "up"), c.document)
				if got, want := w.step(t, b, "x").GroupID, w.step(t, b, "new").ID; got != want {
					t.Errorf("the uploaded step is in the group %q, want %q", got, want)
				}
				w.wantStates(t, b, "up=running x=waiting")
			})
		})
	}
}
