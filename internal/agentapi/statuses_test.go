package agentapi_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/agent/wire"
)

// answerCase is an answer, and what the official agent makes of it (v3.138.1: core/client.go, agent/agent_worker.go,
// agent/pipeline_uploader.go, internal/artifact, clicommand).
type answerCase struct {
	row          string // the call
	method, path string
	token, body  string
	want         int
	call         wire.Call
	reaction     string // of the client; it begins with "again" where it makes the call again
}

const noCall = wire.Call(-1) // one that the agent makes at intervals, whatever the answer

// stage is what the cases are about.
type stage struct {
	*world
	t               *testing.T
	h, ended, other held
	gone, fresh     agent
	ready           agent // that is offered a job
	offered         string
	waiting, locked string // jobs: one that is free, one that waits for another step
	file            string // an artifact of h
}

func newStage(t *testing.T, w *world) *stage {
	t.Helper()
	s := &stage{world: w, t: t, h: w.running(), ended: w.running(), other: w.running(), gone: w.agent(), fresh: w.agent()}
	finish(t, s.ended)
	if err := s.gone.Disconnect(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.ready, s.offered = w.agent(), w.job(w.build("steps:\n- command: true\n")).ID
	s.assign(must(w.Store.Job(t.Context(), s.offered))(t), s.ready)
	s.waiting = w.job(w.build("steps:\n- command: true\n")).ID
	for _, j := range must(w.Store.Jobs(t.Context(), w.build("steps:\n- {command: a, key: a}\n- {command: b, depends_on: a}\n").ID))(t) {
		if j.State == "waiting" {
			s.locked = j.ID
		}
	}
	s.file = s.h.create(t, "stage", file("announced", "text")).ArtifactIDs[0]
	return s
}

// agentCases are the calls of the agent's process.
func (s *stage) agentCases() []answerCase {
	job, session := "/v3/jobs/"+s.h.job.ID, s.h.agent.AccessToken
	return []answerCase{
		{"register", "POST", "/v3/register", registrationToken, `{"name":"a"}`, 200, wire.CallRegister, ""},
		{"register", "POST", "/v3/register", "made-up", `{"name":"a"}`, 401, wire.CallRegister, "the process ends with 1 and shows the message"},
		{"register", "POST", "/v3/register", registrationToken, `{"meta_data":["queue=none"]}`, 422, wire.CallRegister, "the process ends with 1 and shows the message"},
		{"connect", "POST", "/v3/connect", s.fresh.AccessToken, "", 200, wire.CallConnect, ""},
		{"connect", "POST", "/v3/connect", s.gone.AccessToken, "", 401, wire.CallConnect, "again, ten times in all; then the process ends"},
		{"disconnect", "POST", "/v3/disconnect", "made-up", "", 401, wire.CallDisconnect, "again, four times in all; then it goes"},
		{"ping", "GET", "/v3/ping", session, "", 200, noCall, ""},
		{"ping", "GET", "/v3/ping", s.gone.AccessToken, "", 401, noCall, "the worker ends, the process with 1"},
		{"heartbeat", "POST", "/v3/heartbeat", session, `{}`, 200, wire.CallHeartbeat, ""},
		{"heartbeat", "POST", "/v3/heartbeat", s.gone.AccessToken, `{}`, 401, wire.CallHeartbeat, "the worker cancels its job and ends"},
		{"accept", "PUT", "/v3/jobs/" + s.offered + "/accept", s.ready.AccessToken, "", 200, wire.CallAccept, ""},
		{"accept", "PUT", job + "/accept", s.fresh.AccessToken, "", 422, wire.CallAccept, "it asks for work with a ping"},
		{"accept", "PUT", "/v3/jobs/none/accept", session, "", 404, wire.CallAccept, "it asks for work with a ping"},
		{"acquire", "PUT", "/v3/jobs/" + s.locked + "/acquire", s.fresh.AccessToken, "", 423, wire.CallAcquire, "again after Retry-After, seven times in all; then exit 28"},
		{"acquire", "PUT", job + "/acquire", s.fresh.AccessToken, "", 422, wire.CallAcquire, "exit 27"},
		{"acquire", "PUT", "/v3/jobs/none/acquire", s.fresh.AccessToken, "", 404, wire.CallAcquire, "it gives up"},
		{"acquire", "PUT", "/v3/jobs/" + s.waiting + "/acquire", s.fresh.AccessToken, "", 200, wire.CallAcquire, ""},
		{"start", "PUT", job + "/start", s.h.Token, `{}`, 200, wire.CallStart, ""},
		{"start", "PUT", "/v3/jobs/" + s.ended.job.ID + "/start", s.ended.Token, `{}`, 422, wire.CallStart, "it drops the job and asks for work"},
		{"job state", "GET", job, s.h.Token, "", 200, noCall, ""},
		{"job state", "GET", "/v3/jobs/" + s.ended.job.ID, s.ended.Token, "", 401, noCall, "it cancels the job"},
		{"header_times", "POST", job + "/header_times", s.h.Token, `{"header_times":{"0":"2026-11-23T12:00:00Z"}}`, 200, noCall, ""},
		{"header_times", "POST", job + "/header_times", s.h.Token, `{"header_times":{"x":"2026-11-23T12:00:00Z"}}`, 422, noCall, "the times are lost"},
		{"chunks", "POST", job + "/chunks?sequence=x&offset=0&size=1", s.h.Token, "", 422, wire.CallChunk, "the chunk is lost and counted"},
		{"finish", "PUT", job + "/finish", s.h.Token, `{"exit_status":"x"}`, 422, wire.CallFinish, "it takes the job for ended and asks for work"},
		{"finish", "PUT", "/v3/jobs/" + s.ended.job.ID + "/finish", s.ended.Token, `{"exit_status":"0"}`, 422, wire.CallFinish, "it takes the job for ended and asks for work"},
		{"stop", "POST", "/v3/stop", s.unconnected(), "", 422, wire.CallAgentControl, "the command fails with the message"},
		{"pause", "POST", "/v3/pause", s.h.Token, `{"timeout_in_minutes":-1}`, 422, wire.CallAgentControl, "the command fails with the message"},
		{"resume", "POST", "/v3/resume", s.h.Token, "", 200, wire.CallAgentControl, ""},
	}
}

// unconnected is the token of an agent that registered only.
func (s *stage) unconnected() string {
	r := must(s.client(registrationToken).Register(s.t.Context(), wire.RegisterRequest{Name: "new", Hostname: "h"}))(s.t)
	return r.AccessToken
}

// jobCases are the calls of a job's commands.
func (s *stage) jobCases() []answerCase {
	job, build, t := "/v3/jobs/"+s.h.job.ID, "/v3/builds/"+s.h.build.ID, s.h.Token
	uuid := "/pipelines/0199a1b2-0000-7000-8000-000000000001"
	return []answerCase{
		{"pipelines POST", "POST", job + "/pipelines?async=true", t, `{"uuid":"0199a1b2-0000-7000-8000-000000000001","pipeline":{"steps":[{"command":"x"}]}}`, 200, wire.CallUploadPipeline, ""},
		{"pipelines POST", "POST", job + "/pipelines?async=true", t, `{"uuid":"u2","pipeline":{"steps":[{"command":"x","depends_on":7}]}}`, 422, wire.CallUploadPipeline, "the upload fails with the message"},
		{"pipelines POST", "POST", job + "/pipelines?async=true", t, `{"uuid":"u3","pipeline":{"steps":[{"command":"` + strings.Repeat("x", 1<<20) + `"}]}}`, 202, wire.CallUploadPipeline, "it asks what became of it, after Retry-After"},
		{"pipelines status", "GET", job + uuid, t, "", 200, wire.CallPipelineStatus, ""},
		{"pipelines status", "GET", job + "/pipelines/none", t, "", 404, wire.CallPipelineStatus, "again, sixty times in all; only an upload that answered 202 is asked for, and that is known"},
		{"artifacts create", "POST", job + "/artifacts", t, `{"id":"b","artifacts":[{"path":"a","file_size":1,"sha1sum":"1","sha256sum":"` + sumOf("a") + `"}]}`, 201, wire.CallCreateArtifacts, ""},
		{"artifacts create", "POST", job + "/artifacts", t, `{"id":"c","artifacts":[{"path":"a","file_size":-1}]}`, 422, wire.CallCreateArtifacts, "the upload fails with the message"},
		{"artifacts update", "PUT", job + "/artifacts", t, `{"artifacts":[]}`, 200, wire.CallUpdateArtifacts, ""},
		{"artifacts update", "PUT", job + "/artifacts", t, `{"artifacts":[{"id":"none","state":"finished"}]}`, 404, wire.CallUpdateArtifacts, "again, ten times in all"},
		{"artifacts update", "PUT", job + "/artifacts", t, `{"artifacts":[{"id":"` + s.file + `","state":"finished"}]}`, 422, wire.CallUpdateArtifacts, "again, ten times in all"},
		{"artifacts search", "GET", build + "/artifacts/search?query=none", t, "", 200, wire.CallSearchArtifacts, ""},
		{"artifacts search", "GET", build + "/artifacts/search?query=" + strings.Repeat("x", 5000), t, "", 422, wire.CallSearchArtifacts, "again, ten times in all"},
		{"meta-data get", "POST", job + "/data/get", t, `{"key":"none"}`, 404, wire.CallMetaDataRead, "the default, or a failure"},
		{"meta-data set", "POST", job + "/data/set", t, `{"key":"k","value":""}`, 422, wire.CallMetaDataSet, "the command fails with the message"},
		{"set-batch", "POST", job + "/data/set-batch", t, `{"items":[{"key":"k","value":" "}]}`, 422, wire.CallMetaDataSetBatch, "again, ten times in all"},
		{"meta-data exists", "POST", "/v3/builds/none/data/exists", t, `{"key":"k"}`, 404, wire.CallMetaDataRead, "the command fails with the message"},
		{"meta-data keys", "POST", "/v3/builds/none/data/keys", t, "", 404, wire.CallMetaDataRead, "the command fails with the message"},
		{"annotate", "POST", job + "/annotations", t, `{"body":"b","style":"loud"}`, 422, wire.CallAnnotate, "the command fails with the message"},
		{"annotation remove", "DELETE", job + "/annotations/c?scope=world", t, "", 422, wire.CallAnnotate, "the command fails with the message"},
		{"step export", "POST", "/v3/steps/none/export", t, `{}`, 404, wire.CallStep, "the command fails with the message"},
		{"step export", "POST", "/v3/steps/one/export", t, `{"attribute":"none"}`, 422, wire.CallStep, "the command fails with the message"},
		{"step update", "PUT", "/v3/steps/none", t, `{"attribute":"label","value":"x"}`, 404, wire.CallStep, "the command fails with the message"},
		{"step cancel", "POST", "/v3/steps/one/cancel", t, `{"force":true,"force_grace_period":18446744074}`, 422, wire.CallStep, "the command fails with the message"},
		{"step cancel", "POST", "/v3/steps/one/cancel", t, `{"force":true,"force_grace_period":-1}`, 422, wire.CallStep, "the command fails with the message"},
		{"builds/cancel", "POST", "/v3/builds/" + s.other.build.ID + "/cancel", t, "", 403, wire.CallCancelBuild, "the command fails with the message"},
		{"job update", "PUT", job, t, `{"label":"x"}`, 422, wire.CallUpdateJob, "the command fails with the message"},
		{"promise_failure", "PUT", job + "/promise_failure", t, `{"exit_status":0}`, 422, wire.CallPromiseFailure, "the command fails with the message"},
		{"secrets", "GET", job + "/secrets?key=NONE", t, "", 404, wire.CallSecret, "the command fails with the message; of a step, the job does"},
		{"oidc", "POST", job + "/oidc/tokens", t, `{"lifetime":-1}`, 422, wire.CallOIDCToken, "the command fails with the message"},
		{"repository_access_token", "POST", job + "/repository_access_token", t, `{"repo_url":"https://example.test/p.git"}`, 404, wire.CallRepositoryToken, "git asks somebody else for credentials"},
		{"cache peek", "POST", "/v3/cache_registries/No%20such/peek", t, `{}`, 404, noCall, "the command fails with the message"},
		{"cache store", "PUT", "/v3/cache_registries/No%20such/store", t, `{}`, 404, noCall, "the command fails with the message"},
		{"cache expire", "POST", "/v3/cache_registries/No%20such/expire", t, `{}`, 404, noCall, "the command fails with the message"},
		{"what is not there", "GET", "/caches/", t, "", 404, noCall, ""},
		{"what is not there", "POST", "/caches/x", t, "", 405, noCall, ""},
		{"what is not there", "GET", "/.well-known/none", t, "", 404, noCall, ""},
		{"what is not there", "POST", "/.well-known/jwks", t, "", 405, noCall, ""},
		{"what is not there", "POST", "/agentedge.v1.AgentEdgeService/None", t, "", 404, noCall, ""},
		{"what is not there", "GET", "/agentedge.v1.AgentEdgeService/StreamPings", t, "", 405, noCall, ""},
	}
}

// stackCases are the calls of programs that find agents for jobs (stacksapi v1.0.2: every 4xx is final).
func (s *stage) stackCases() []answerCase {
	many := strings.TrimSuffix(strings.Repeat(`"x",`, 1001), ",")
	notes := strings.TrimSuffix(strings.Repeat(`{"job_uuid":"x","detail":"d"},`, 1001), ",")
	return []answerCase{
		{"stack", "POST", "/v3/stacks/register", registrationToken, `{"key":"k","type":"custom","queue_key":"default"}`, 201, noCall, ""},
		{"stack reserve", "PUT", "/v3/stacks/k/scheduled-jobs/batch-reserve", registrationToken, `{"job_uuids":[],"reservation_expiry_seconds":-1}`, 422, noCall, "an error"},
		{"stack states", "POST", "/v3/stacks/k/jobs/get-states", registrationToken, `{"job_uuids":[` + many + `]}`, 422, noCall, "an error"},
		{"stack notes", "POST", "/v3/stacks/k/notifications", registrationToken, `{"notifications":[` + notes + `]}`, 422, noCall, "an error"},
	}
}

func TestStatusesAndWhatAgentsMakeOfThem(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		s := newStage(t, w)
		for _, cases := range [][]answerCase{s.agentCases(), s.jobCases(), s.stackCases()} {
			for _, c := range cases {
				got := w.do(c.token, c.method, c.path, c.body)
				if got.status != c.want {
					t.Errorf("%s: %s %s: %d %s, want %d", c.row, c.method, c.path, got.status, got.body, c.want)
				}
				c.check(t, got)
			}
		}
	})
}

// check holds the reaction named against what our client, which repeats as the official one does, would do.
func (c answerCase) check(t *testing.T, got answer) {
	t.Helper()
	if got.status < 400 {
		return
	}
	got.message(t)
	if c.call == noCall {
		return
	}
	if again := c.call.Policy().Again(&wire.Error{Status: got.status}); again != strings.HasPrefix(c.reaction, "again") {
		t.Errorf("%s: after a %d the call is repeated: %t; the case says %q", c.row, got.status, again, c.reaction)
	}
}

// Streams answer in the words of gRPC. What an agent makes of them: unimplemented, unauthenticated and
// permission_denied are for good, deadline_exceeded is a reason to come again at once, anything else
// to poll meanwhile (agent/agent_worker_streaming.go of v3.138.1).
func TestStatusesOfStreams(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		s := newStage(t, w)
		for _, c := range []struct{ token, id, want string }{
			{s.h.agent.AccessToken, s.h.agent.ID, "resume"},
			{s.gone.AccessToken, s.gone.ID, "end: unauthenticated"},
			{s.h.agent.AccessToken, s.fresh.ID, "end: permission_denied"},
		} {
			w.open(t, c.token, c.id, "").want(c.want)
		}
		open := w.open(t, s.fresh.AccessToken, s.fresh.ID, "")
		open.want("resume")
		w.api.EndStreams()
		open.want("end: deadline_exceeded")
	})
}

// TestStatusesOfStorage: an upload is repeated ten times and a download five, whatever the answer.
func TestStatusesOfStorage(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t)
	h := w.running()
	id := h.upload(t, "kept", "0123456789")
	found := must(h.SearchArtifacts(ctx, h.build.ID, wire.Search{Query: "kept"}))(t)
	for _, c := range []struct {
		header, value string
		want          int
	}{
		{"Range", "bytes=2-4", 206},
		{"Range", "bytes=10-", 416},
		{"If-None-Match", `"` + sumOf("0123456789") + `"`, 304},
		{"If-Match", `"other"`, 412},
		{"Accept", "*/*", 200},
	} {
		if got := w.fetch("GET", found[0].URL, "", c.header, c.value); got.status != c.want {
			t.Errorf("download with %s %s: %d, want %d", c.header, c.value, got.status, c.want)
		} else if c.want >= 400 && !strings.HasPrefix(got.body, `{"message":"`) {
			t.Errorf("download with %s %s: %s", c.header, c.value, got.body)
		}
	}
	batch := wire.Batch{ID: "B", Artifacts: []wire.Artifact{file("parts", strings.Repeat("0123456789", 2)), file("form", "x")}, MultipartSupported: true}
	answer := must(h.CreateArtifacts(ctx, h.job.ID, batch))(t)
	part := answer.PerArtifact[answer.ArtifactIDs[0]].Actions[0]
	if got := w.fetch("PUT", part.URL, "0123456789 and more"); got.status != 422 {
		t.Errorf("a part that is too long: %d, want 422", got.status)
	}
	form := answer.PerArtifact[answer.ArtifactIDs[1]]
	for _, gone := range append(answer.ArtifactIDs, id) {
		if err := w.DeleteArtifact(ctx, gone); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.fetch("PUT", part.URL, "0123456789"); got.status != 404 {
		t.Errorf("a part of what was deleted: %d, want 404", got.status)
	}
	for name, in := range map[string]wire.Instructions{"form": form, "form of the batch": *answer.Common} {
		in.Data = map[string]string{"path": "form"}
		if err := h.WithToken("").UploadForm(ctx, in, "form", strings.NewReader("x"), 1); wire.Status(err) != http.StatusNotFound {
			t.Errorf("%s of what was deleted: %v, want 404", name, err)
		}
	}
	if got := w.fetch("GET", found[0].URL, ""); got.status != 404 {
		t.Errorf("what was deleted: %d, want 404", got.status)
	}
}

func TestStatusesOfCaches(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.running()
	const about = `"target_paths":["n"],"cache_key":[{"value":"k","mandatory":true}]`
	save := `{` + about + `,"platform":"p","blobs":[{"digest":{"algorithm":"sha256","value":"` + sumOf("0123456789") + `"},"file_size":10,"compression":"zstd"}]}`
	begun := h.cache(w, "PUT", "store", save, 200)
	if got := w.fetch("PUT", begun.Upload[0], "0123456789"); got.status != 204 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	h.cache(w, "PUT", "commit", `{"upload_id":"`+begun.UploadID+`"}`, 200)
	url := h.cache(w, "POST", "retrieve", "{"+about+"}", 200).Download[0]
	for _, c := range []struct {
		header, value string
		want          int
	}{{"Range", "bytes=10-", 416}, {"If-None-Match", `"` + sumOf("0123456789") + `"`, 304}, {"If-Match", `"other"`, 412}} {
		if got := w.fetch("GET", url, "", c.header, c.value); got.status != c.want {
			t.Errorf("%s %s: %d, want %d", c.header, c.value, got.status, c.want)
		}
	}
	loseFiles(t, w.blobs)
	if got := w.fetch("GET", url, ""); got.status != 404 {
		t.Errorf("what is not there any more: %d, want 404", got.status)
	}
}

// loseFiles deletes what a store of files has, behind its back.
func loseFiles(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			err = os.Remove(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
