package agentapi_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/agent/wire"
	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/store/storetest"
)

func TestMetaDataOfJobsAndBuilds(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t)
	h, other := w.running(), w.running()
	err := errors.Join(
		h.SetMetaData(ctx, h.job.ID, wire.MetaData{Key: "k", Value: "v"}),
		h.SetMetaDataBatch(ctx, h.job.ID, []wire.MetaData{{Key: "a", Value: "1"}, {Key: "buildkite:git:commit", Value: "commit 1"}}),
	)
	if err != nil {
		t.Fatal(err)
	}
	for name, scope := range map[string]wire.Scope{"job": wire.OfJob(h.job.ID), "build": wire.OfBuild(h.build.ID)} {
		if v := must(h.MetaData(ctx, scope, "k"))(t); v != "v" {
			t.Errorf("%s: k = %q", name, v)
		}
		if _, err := h.MetaData(ctx, scope, "absent"); wire.Status(err) != 404 {
			t.Errorf("%s: absent key: %v, want 404", name, err)
		}
		if must(h.MetaDataExists(ctx, scope, "absent"))(t) || !must(h.MetaDataExists(ctx, scope, "a"))(t) {
			t.Errorf("%s: exists is wrong", name)
		}
		if diff := cmp.Diff([]string{"a", "buildkite:git:commit", "k"}, must(h.MetaDataKeys(ctx, scope))(t)); diff != "" {
			t.Errorf("%s: keys (-want +got):\n%s", name, diff)
		}
	}
	if v := must(other.MetaData(ctx, wire.OfBuild(h.build.ID), "k"))(t); v != "v" {
		t.Errorf("from another build of the organization: %q", v)
	}
	if got := w.do(other.Token, "POST", "/v3/jobs/"+other.job.ID+"/data/keys", ""); strings.TrimSpace(got.body) != "[]" {
		t.Errorf("keys of a build without any = %q, want []", got.body)
	}
	if err := h.SetMetaDataBatch(ctx, h.job.ID, []wire.MetaData{{Key: "b", Value: "2"}, {Key: "c", Value: " "}}); wire.Status(err) != 422 {
		t.Errorf("blank value: %v, want 422", err)
	}
	if must(h.MetaDataExists(ctx, wire.OfJob(h.job.ID), "b"))(t) {
		t.Error("a refused batch was stored in part")
	}
}

func TestAnnotations(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t)
	h := w.running()
	for _, a := range []wire.Annotation{
		{Body: "hello ", Context: "a.b/c", Style: "info", Priority: 3, Scope: "build"},
		{Body: "world", Context: "a.b/c", Append: true, Priority: 5, Scope: "build"},
		{Body: "mine", Context: "a.b/c", Priority: 1, Scope: "job"},
	} {
		if err := h.Annotate(ctx, h.job.ID, a); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.RemoveAnnotation(ctx, h.job.ID, "a.b/c", "job"); err != nil {
		t.Fatal(err)
	}
	left := must(w.Store.Annotations(ctx, h.build.ID))(t)
	if len(left) != 1 || left[0].Body != "hello world" || left[0].Style != "info" || left[0].Priority != 5 {
		t.Errorf("annotations = %+v", left)
	}
	if err := h.Annotate(ctx, h.job.ID, wire.Annotation{Context: "a.b/c", Style: "default"}); err != nil {
		t.Fatal(err)
	}
	if left := must(w.Store.Annotations(ctx, h.build.ID))(t); left[0].Style != "" || left[0].Body != "hello world" {
		t.Errorf("without a style the annotation is %+v", left[0])
	}
	for name, a := range map[string]wire.Annotation{
		"scope": {Body: "x", Scope: "organization"}, "style": {Body: "x", Style: "loud"},
		"size": {Body: strings.Repeat("x", 1<<20+1)},
	} {
		if err := h.Annotate(ctx, h.job.ID, a); wire.Status(err) != 422 {
			t.Errorf("%s: %v, want 422", name, err)
		}
	}
	if err := h.Annotate(ctx, h.job.ID, wire.Annotation{Body: strings.Repeat("\x01", 1<<20), Context: "escaped"}); err != nil {
		t.Errorf("a body of the largest size that needs escapes: %v", err)
	}
}

func TestPipelineUploads(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t)
	h := w.running()
	up := wire.PipelineUpload{UUID: "U", Pipeline: json.RawMessage(`{"steps":[{"command":"make","key":"two"}]}`)}
	for n := range 2 {
		if got := must(h.UploadPipeline(ctx, h.job.ID, up, n))(t); got.Pending {
			t.Error("an upload was left for later")
		}
	}
	if n := must(w.Store.CountJobs(ctx, h.build.ID))(t); n != 2 {
		t.Errorf("%d jobs after the same upload twice, want 2", n)
	}
	if s := must(h.PipelineStatus(ctx, h.job.ID, "U", 0))(t); s.State != "applied" {
		t.Errorf("status = %+v, want applied", s)
	}
	bad := wire.PipelineUpload{UUID: "V", Pipeline: json.RawMessage(`{"steps":[{"command":"x","key":"two"}]}`)}
	_, err := h.UploadPipeline(ctx, h.job.ID, bad, 0)
	if wire.Status(err) != 422 || !strings.Contains(err.Error(), "two") {
		t.Errorf("duplicate key: %v, want a 422 that names it", err)
	}
	if s := must(h.PipelineStatus(ctx, h.job.ID, "V", 0))(t); s.State != "rejected" || s.Message == "" {
		t.Errorf("status = %+v, want rejected with a message", s)
	}
	if _, err := h.UploadPipeline(ctx, h.job.ID, wire.PipelineUpload{Pipeline: up.Pipeline}, 0); wire.Status(err) != 422 {
		t.Errorf("no uuid: %v, want 422", err)
	}
}

// TestLargeUploadsAreAppliedAfterTheAnswer: agents learn from a status what became of them.
func TestLargeUploadsAreAppliedAfterTheAnswer(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t)
	h := w.running()
	large := func(uuid, key string) wire.PipelineUpload {
		step := fmt.Sprintf(`{"command":%q,"key":"two","depends_on":%q}`, strings.Repeat("x", 1<<20), key)
		return wire.PipelineUpload{UUID: uuid, Pipeline: json.RawMessage(`{"steps":[` + step + `]}`)}
	}
	for uuid, key := range map[string]string{"good": "one", "bad": "none"} {
		if got := must(h.UploadPipeline(ctx, h.job.ID, large(uuid, key), 0))(t); !got.Pending || got.Wait != time.Second {
			t.Errorf("%s: %+v, want one that is asked for in a second", uuid, got)
		}
		_, err := h.PipelineStatus(ctx, h.job.ID, uuid, 0)
		if _, notYet := errors.AsType[*wire.NotYet](err); !notYet {
			t.Errorf("%s: before it is applied the status is %v", uuid, err)
		}
		if err := w.ApplyUpload(ctx, h.job.ID, uuid); err != nil {
			t.Error(err)
		}
	}
	if s := must(h.PipelineStatus(ctx, h.job.ID, "good", 0))(t); s.State != "applied" {
		t.Errorf("status = %+v, want applied", s)
	}
	if s := must(h.PipelineStatus(ctx, h.job.ID, "bad", 0))(t); s.State != "rejected" || !strings.Contains(s.Message, "none") {
		t.Errorf("status = %+v, want rejected with the step that is not there", s)
	}
}

func TestStepsOfTheBuild(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t)
	h := w.held(w.build("steps:\n- command: make\n  key: one\n  label: build\n  agents: {queue: default}\n  timeout_in_minutes: 7\n- command: later\n  key: two\n  depends_on: one\n"))
	for attribute, want := range map[string]string{
		"key": "one", "label": "build", "command": "make", "type": "command", "timeout": "7", "agents": `{"queue":"default"}`, "state": "running",
	} {
		if got := must(h.ExportStep(ctx, "one", wire.StepExport{Attribute: attribute}))(t); got != want {
			t.Errorf("%s = %q, want %q", attribute, got, want)
		}
	}
	if got := must(h.ExportStep(ctx, h.job.Env["BUILDKITE_STEP_ID"], wire.StepExport{Attribute: "label", Format: "json"}))(t); got != `"build"` {
		t.Errorf("label as JSON = %s", got)
	}
	var all map[string]any
	if err := json.Unmarshal([]byte(must(h.ExportStep(ctx, "two", wire.StepExport{BuildID: h.build.ID}))(t)), &all); err != nil || all["depends_on"] == nil {
		t.Errorf("whole step = %v, %v", all, err)
	}
	if err := h.UpdateStep(ctx, "one", wire.StepUpdate{Attribute: "label", Value: " it", Append: true}); err != nil {
		t.Fatal(err)
	}
	if got := must(h.ExportStep(ctx, "one", wire.StepExport{Attribute: "label"}))(t); got != "build it" {
		t.Errorf("label after appending = %q", got)
	}
	if id := must(h.CancelStep(ctx, "two", wire.StepCancel{BuildID: h.build.ID}))(t); id == "" {
		t.Error("cancelling a step returned no id")
	}
	for name, err := range map[string]error{
		"404 unknown step":      second(h.ExportStep(ctx, "nope", wire.StepExport{})),
		"404 unknown to cancel": second(h.CancelStep(ctx, "nope", wire.StepCancel{})),
		"422 unknown attribute": second(h.ExportStep(ctx, "one", wire.StepExport{Attribute: "colour"})),
		"422 fixed attribute":   h.UpdateStep(ctx, "one", wire.StepUpdate{Attribute: "command", Value: "x"}),
		"403 another build":     second(h.CancelStep(ctx, "one", wire.StepCancel{BuildID: w.build("steps: [wait]").ID})),
	} {
		if strconv.Itoa(wire.Status(err)) != name[:3] {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// second is the error of a call whose result does not matter.
func second[T any](_ T, err error) error { return err }

func TestCancelingIsSeenByTheStatePoll(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t)
	h := w.running()
	must(h.CancelBuild(ctx, h.build.ID))(t)
	if s := must(h.JobState(ctx, h.job.ID))(t); s != "canceling" {
		t.Errorf("state = %q, want canceling", s)
	}
	if err := h.UploadChunk(ctx, h.job.ID, wire.Chunk{Sequence: 1, Size: 3, Gzip: zipped(t, "bye")}); err != nil {
		t.Errorf("chunk of a job that is being canceled: %v", err)
	}
	err := h.Finish(ctx, h.job.ID, wire.Finish{ExitStatus: "-1", Signal: "SIGTERM", SignalReason: "cancel", FinishedAt: "2026-11-23T12:00:01Z"})
	if err != nil {
		t.Fatal(err)
	}
	if j := must(w.Store.Job(ctx, h.job.ID))(t); j.State != ci.JobCanceled || j.LogSize != 3 {
		t.Errorf("job = %s with a log of %d bytes, want canceled, 3", j.State, j.LogSize)
	}
}

func TestAJobCanceledBeforeItsStartEndsWhenItIsRefused(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t)
	b, a := w.build("steps:\n- command: true\n"), w.agent()
	j := w.job(b)
	w.assign(j, a)
	c := w.client(must(a.Accept(ctx, j.ID))(t).Token)
	must(w.CancelBuild(ctx, b.ID, "a person"))(t)
	if err := c.Start(ctx, j.ID, w.Now()); wire.Status(err) != 422 {
		t.Errorf("start: %v, want 422", err)
	}
	if got := must(w.Store.Build(ctx, b.ID))(t); got.State != ci.BuildCanceled {
		t.Errorf("build is %s, want canceled: the agent will not say more", got.State)
	}
	if p := must(a.Ping(ctx))(t); p.Action != "idle" {
		t.Errorf("ping = %+v, want idle", p)
	}
}

func TestAcceptIsForTheAgentThatWasOfferedTheJob(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t)
	j := w.job(w.build("steps:\n- command: true\n"))
	a, other := w.agent(), w.agent()
	w.assign(j, a)
	if _, err := other.Accept(ctx, j.ID); wire.Status(err) != 422 {
		t.Errorf("accept by another agent: %v, want 422", err)
	}
	first := must(a.Accept(ctx, j.ID))(t)
	again := must(a.Accept(ctx, j.ID))(t)
	for which, token := range map[string]string{"first": first.Token, "second": again.Token} {
		if err := w.client(token).Start(ctx, j.ID, w.Now()); err != nil {
			t.Errorf("start with the token of the %s answer: %v", which, err)
		}
	}
	if _, err := a.Accept(ctx, "unknown"); wire.Status(err) != 404 {
		t.Errorf("accept of nothing: %v, want 404", err)
	}
}

func TestAcquire(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t)
	b := w.build("steps:\n- command: one\n  key: one\n- command: two\n  depends_on: one\n")
	jobs := must(w.Store.Jobs(ctx, b.ID))(t)
	a, other := w.agent(), w.agent()
	got := w.do(a.AccessToken, "PUT", "/v3/jobs/"+jobs[1].ID+"/acquire", "")
	if got.status != http.StatusLocked || got.header.Get("Retry-After") == "" {
		t.Errorf("acquire of a waiting job: %d, Retry-After %q, want 423 with one", got.status, got.header.Get("Retry-After"))
	}
	if j := must(a.Acquire(ctx, jobs[0].ID, 0))(t); j.Token == "" || j.Env["BUILDKITE_COMMAND"] != "one" {
		t.Errorf("acquired = %+v", j)
	}
	if _, err := other.Acquire(ctx, jobs[0].ID, 0); wire.Status(err) != 422 {
		t.Errorf("acquire of a job that is taken: %v, want 422", err)
	}
}

func TestALostAttemptCountsForNothing(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t)
	h := w.running()
	if err := h.UploadChunk(ctx, h.job.ID, wire.Chunk{Sequence: 1, Size: 2, Gzip: zipped(t, "hi")}); err != nil {
		t.Fatal(err)
	}
	if err := w.LoseAgent(ctx, h.agent.ID, "not heard of"); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"401 state":     second(h.JobState(ctx, h.job.ID)),
		"422 finish":    h.Finish(ctx, h.job.ID, wire.Finish{ExitStatus: "0", FinishedAt: "2026-11-23T12:00:01Z"}),
		"401 meta-data": h.SetMetaData(ctx, h.job.ID, wire.MetaData{Key: "k", Value: "v"}),
		"401 ping":      second(h.agent.Ping(ctx)),
		"401 heartbeat": second(h.agent.Heartbeat(ctx, w.Now())),
	} {
		if strconv.Itoa(wire.Status(err)) != name[:3] {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := h.UploadChunk(ctx, h.job.ID, wire.Chunk{Sequence: 2, Offset: 2, Size: 2, Gzip: zipped(t, "!!")}); wire.Status(err) != 422 {
		t.Errorf("chunk of a lost job: %v, want 422", err)
	}
	if j := must(w.Store.Job(ctx, h.job.ID))(t); *j.ExitStatus != -1 {
		t.Errorf("exit status = %d, want -1", *j.ExitStatus)
	}
}

func TestChunksThatCanNeverBeStoredAreRefusedForGood(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.running()
	good := zipped(t, "four")
	for name, k := range map[string]wire.Chunk{
		"422 size":     {Sequence: 1, Size: 5, Gzip: good},
		"422 sequence": {Sequence: 0, Size: 4, Gzip: good},
		"422 not gzip": {Sequence: 1, Size: 4, Gzip: []byte("four")},
		"413 body":     {Sequence: 1, Size: 4, Gzip: make([]byte, 3<<20)},
		"413 limit":    {Sequence: 1, Offset: 1 << 30, Size: 4, Gzip: good},
	} {
		err := h.UploadChunk(t.Context(), h.job.ID, k)
		if strconv.Itoa(wire.Status(err)) != name[:3] {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A network that is slow or breaks off is no reason to lose a chunk.
func TestAChunkThatDoesNotArriveWholeIsSentAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.running()
	c := must(net.Dial("tcp", strings.TrimPrefix(w.url, "http://")))(t)
	defer c.Close()
	must(fmt.Fprintf(c, "POST /v3/jobs/%s/chunks?sequence=1&offset=0&size=4 HTTP/1.1\r\nHost: x\r\nAuthorization: Token %s\r\n"+
		"Content-Encoding: gzip\r\nContent-Length: 100\r\n\r\n\x1f", h.job.ID, h.Token))(t)
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := must(bufio.NewReader(c).ReadString('\n'))(t); !strings.Contains(got, " 503 ") {
		t.Errorf("half a chunk: %q, want 503", got)
	}
}

func TestPromisedFailure(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t)
	h := w.running()
	for range 2 {
		if err := h.PromiseFailure(ctx, h.job.ID, 4, "because"); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.PromiseFailure(ctx, h.job.ID, 5, ""); wire.Status(err) != 409 {
		t.Errorf("another status: %v, want 409", err)
	}
	finish(t, h)
	if j := must(w.Store.Job(ctx, h.job.ID))(t); *j.ExitStatus != 4 {
		t.Errorf("exit status = %d, want the promised 4", *j.ExitStatus)
	}
}

func TestTimeLimitOfARunningJob(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t)
	h := w.running()
	if err := h.UpdateJob(ctx, h.job.ID, "timeout_in_minutes", "5"); err != nil {
		t.Fatal(err)
	}
	if j := must(w.Store.Job(ctx, h.job.ID))(t); !j.TimeoutAt.Equal(w.Now().Add(5 * time.Minute)) {
		t.Errorf("times out at %s, want in 5 min", j.TimeoutAt)
	}
	if err := h.UpdateJob(ctx, h.job.ID, "label", "x"); wire.Status(err) != 422 {
		t.Errorf("label: %v, want 422", err)
	}
	// A job that is ended by force does not put its end off.
	if err := w.CancelStep(ctx, engine.CancelStep{BuildID: h.build.ID, Step: h.job.Env["BUILDKITE_STEP_ID"], Force: true, Grace: 10 * time.Second}); err != nil {
		t.Fatal(err)
	}
	if err := h.UpdateJob(ctx, h.job.ID, "timeout", "60"); wire.Status(err) != 422 {
		t.Errorf("of a job that is canceled: %v, want 422", err)
	}
	if j := must(w.Store.Job(ctx, h.job.ID))(t); !j.TimeoutAt.Equal(w.Now().Add(10 * time.Second)) {
		t.Errorf("the end by force is at %s, want in 10 s", j.TimeoutAt)
	}
}

func TestHeartbeatsAreWrittenInBatches(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t)
	a := w.agent()
	w.advance(time.Minute)
	sent := w.Now().Add(-time.Second)
	if h := must(a.Heartbeat(ctx, sent))(t); h.SentAt == "" || h.ReceivedAt == "" {
		t.Errorf("heartbeat = %+v", h)
	}
	before := must(w.Store.Agent(ctx, a.ID))(t).LastSeen
	if err := w.api.FlushSeen(ctx); err != nil {
		t.Fatal(err)
	}
	after := must(w.Store.Agent(ctx, a.ID))(t).LastSeen
	if !before.Equal(w.Now().Add(-time.Minute)) || !after.Equal(w.Now()) {
		t.Errorf("last seen %s before the flush and %s after, want a minute ago and now", before, after)
	}
}

func TestAHeartbeatThatCannotBeWrittenAtOnceIsWrittenLater(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorldOn(t, storetest.Postgres(t))
	a := w.agent()
	w.advance(time.Minute)
	must(a.Heartbeat(ctx, w.Now()))(t)
	heard := w.Now()
	err := w.Store.Update(ctx, func(tx *store.Tx) error { // as something that happens to the agent meanwhile
		_, err := tx.LockAgent(ctx, a.ID)
		return errors.Join(err, w.api.FlushSeen(ctx))
	})
	if err := errors.Join(err, w.api.FlushSeen(ctx)); err != nil {
		t.Fatal(err)
	}
	if seen := must(w.Store.Agent(ctx, a.ID))(t).LastSeen; !seen.Equal(heard) {
		t.Errorf("last seen %s, want %s", seen, heard)
	}
}

func TestPauseAndStopByAJob(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t)
	h := w.running()
	if err := h.Pause(ctx, "look", 0); err != nil {
		t.Fatal(err)
	}
	if p := must(h.agent.Ping(ctx))(t); p.Action != "pause" || p.Message != "look" {
		t.Errorf("ping = %+v, want pause", p)
	}
	if a := must(w.Store.Agent(ctx, h.agent.ID))(t); !a.PauseUntil.Equal(w.Now().Add(5 * time.Minute)) {
		t.Errorf("paused until %s, want 5 min from now", a.PauseUntil)
	}
	if err := h.Resume(ctx); err != nil {
		t.Fatal(err)
	}
	if err := h.Stop(ctx, true); err != nil {
		t.Fatal(err)
	}
	if p := must(h.agent.Ping(ctx))(t); p.Action != "disconnect" {
		t.Errorf("ping = %+v, want disconnect", p)
	}
	if s := must(h.JobState(ctx, h.job.ID))(t); s != "canceling" {
		t.Errorf("state of the job of an agent stopped by force = %q, want canceling", s)
	}
}

func TestRegistrationTokenDescribed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var got map[string]any
	a := w.do(registrationToken, "GET", "/v3/token", "")
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || got["organization_slug"] != "main" || got["cluster_name"] != "Default cluster" {
		t.Errorf("token = %s, %v", a.body, err)
	}
}

func TestAnUnknownQueueIsRefusedWithTheKnownOnes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.client(registrationToken).Register(t.Context(), wire.RegisterRequest{MetaData: []string{"queue=gpu"}})
	if wire.Status(err) != 422 || !strings.Contains(err.Error(), "default") {
		t.Errorf("register: %v, want a 422 that names the queue default", err)
	}
}

func TestStepsComeAsTheyWereUploadedWithTheirSecrets(t *testing.T) {
	t.Parallel()
	const signature = "signature: {algorithm: HS256, signed_fields: [command], value: x}"
	for name, tt := range map[string]struct {
		configuration string
		want          string
	}{
		"plain":    {"steps:\n- command: make\n", `{"command":"make"}`},
		"matrix":   {"steps:\n- command: make {{matrix}}\n  matrix: [a]\n", `{"command":"make {{matrix}}","matrix":["a"]}`},
		"document": {"secrets: [A]\nsteps:\n- command: make\n  secrets: {E: B}\n", `{"command":"make","secrets":[{"key":"B","environment_variable":"E"},{"key":"A","environment_variable":"A"}]}`},
		"signed":   {"secrets: [A]\nsteps:\n- command: make\n  " + signature + "\n", `{"command":"make","signature":{"algorithm":"HS256","signed_fields":["command"],"value":"x"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			h := w.held(w.build(tt.configuration))
			var got, want any
			if err := errors.Join(json.Unmarshal(h.job.Step, &got), json.Unmarshal([]byte(tt.want), &want)); err != nil {
				t.Fatalf("step %s: %v", h.job.Step, err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("step (-want +got):\n%s", diff)
			}
			if name == "matrix" && (h.job.MatrixPermutation[""] != "a" || h.job.Env["BUILDKITE_COMMAND"] != "make a") {
				t.Errorf("permutation %v, command %q", h.job.MatrixPermutation, h.job.Env["BUILDKITE_COMMAND"])
			}
		})
	}
}

func TestBuildsOfOtherOrganizationsDoNotExist(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t)
	h := w.running()
	org := store.Organization{ID: w.NewID(), Slug: "other", Name: "other", Settings: json.RawMessage("{}"), CreatedAt: w.Now()}
	cluster := store.Cluster{ID: w.NewID(), OrganizationID: org.ID, Name: "c", DefaultQueueID: w.NewID(), CreatedAt: w.Now()}
	err := w.Store.Update(ctx, func(tx *store.Tx) error {
		return errors.Join(tx.InsertOrganization(ctx, org), tx.InsertCluster(ctx, cluster), tx.InsertQueue(ctx,
			store.Queue{ID: cluster.DefaultQueueID, ClusterID: cluster.ID, Key: "default", RetryAffinity: ci.PreferWarmest, CreatedAt: w.Now()}))
	})
	if err != nil {
		t.Fatal(err)
	}
	foreign := w.buildOf(org.ID, "steps:\n- command: true\n  key: one\n")
	if err := w.SetMetaData(ctx, foreign.ID, map[string]string{"k": "v"}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.MetaData(ctx, wire.OfBuild(foreign.ID), "k"); wire.Status(err) != 404 {
		t.Errorf("meta-data: %v, want 404", err)
	}
	if _, err := h.ExportStep(ctx, "one", wire.StepExport{BuildID: foreign.ID}); wire.Status(err) != 404 {
		t.Errorf("step: %v, want 404", err)
	}
	if _, err := h.CancelBuild(ctx, foreign.ID); wire.Status(err) != 403 {
		t.Errorf("cancel: %v, want 403", err)
	}
}
