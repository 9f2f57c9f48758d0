package officialagent

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/buildkite/agent/v3/api"
)

// agent is a registered and connected agent.
type agent struct {
	*api.Client
	id   string
	name string
}

func (s *server) register(t *testing.T, name string, tags ...string) *agent {
	t.Helper()
	registration := s.client(s.AgentToken)
	reg, _, err := registration.Register(t.Context(), &api.AgentRegisterRequest{
		Name: name, Hostname: "host", OS: "linux", Arch: "amd64", Version: "3.138.1", Build: "x",
		ScriptEvalEnabled: true, Tags: tags, PID: 1, Features: []string{},
	})
	if err != nil {
		t.Fatal(err)
	}
	if reg.PingInterval <= 0 || reg.HeartbeatInterval <= 0 || reg.JobStatusInterval <= 0 {
		t.Fatalf("intervals of %+v: the agent panics on one that is not positive", reg)
	}
	a := &agent{registration.FromAgentRegisterResponse(reg), reg.UUID, reg.Name}
	if _, err := a.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a
}

// accept waits until a ping offers a job, and accepts it.
func (s *server) accept(t *testing.T, a *agent) (*api.Job, *api.Client) {
	t.Helper()
	var id string
	eventually(t, "a ping offers a job", func() bool {
		ping, _, err := a.Ping(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if ping.Job != nil {
			id = ping.Job.ID
		}
		return id != ""
	})
	job, _, err := a.AcceptJob(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return job, s.client(job.Token)
}

// running is accept followed by start.
func (s *server) running(t *testing.T, a *agent) (*api.Job, *api.Client) {
	t.Helper()
	job, client := s.accept(t, a)
	job.StartedAt = now()
	if _, err := client.StartJob(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	return job, client
}

func finish(t *testing.T, client *api.Client, job *api.Job, status string) {
	t.Helper()
	job.ExitStatus, job.FinishedAt = status, now()
	if _, err := client.FinishJob(t.Context(), job, nil); err != nil {
		t.Fatal(err)
	}
}

func now() string { return time.Now().UTC().Format(time.RFC3339Nano) }

// status is the HTTP status of a refusal, 0 for none.
func status(err error) int {
	if refused, ok := errors.AsType[*api.ErrorResponse](err); ok {
		return refused.Response.StatusCode
	}
	return 0
}

const oneStep = `
steps:
  - key: test
    command: make test
`

func TestUnknownTokensAreRefused(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	_, _, err := s.client("wrong").Register(t.Context(), &api.AgentRegisterRequest{Name: "a", Tags: []string{}})
	if got := status(err); got != http.StatusUnauthorized {
		t.Errorf("register with a wrong token: %d (%v), want 401", got, err)
	}
	_, _, err = s.client("wrong").Ping(t.Context())
	if got := status(err); got != http.StatusUnauthorized {
		t.Errorf("ping with a wrong token: %d (%v), want 401", got, err)
	}
}

func TestAgentsLiveAndLeave(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	a := s.register(t, "lives-%spawn-%hostname")
	if strings.Contains(a.name, "%hostname") {
		t.Errorf("name %q: the server expands %%hostname", a.name)
	}
	beat, _, err := a.Heartbeat(t.Context())
	if err != nil || beat.ReceivedAt == "" {
		t.Errorf("heartbeat = %+v, %v", beat, err)
	}
	if _, err := a.Pause(t.Context(), &api.AgentPauseRequest{Note: "disk"}); err != nil {
		t.Error(err)
	}
	if ping, _, err := a.Ping(t.Context()); err != nil || ping.Action != "pause" {
		t.Errorf("ping of a paused agent = %+v, %v", ping, err)
	}
	if _, err := a.Resume(t.Context()); err != nil {
		t.Error(err)
	}
	if ping, _, err := a.Ping(t.Context()); err != nil || ping.Action == "pause" {
		t.Errorf("ping of a resumed agent = %+v, %v", ping, err)
	}
	if _, err := a.Stop(t.Context(), &api.AgentStopRequest{}); err != nil {
		t.Error(err)
	}
	if _, err := a.Disconnect(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestStoppedAgentIsToldToDisconnect(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	a := s.register(t, "stopped")
	s.rest(t, "PUT", "/agents/"+a.id+"/stop", map[string]bool{"force": false}, nil)
	ping, _, err := a.Ping(t.Context())
	if err != nil || ping.Action != "disconnect" {
		t.Errorf("ping of a stopped agent = %+v, %v; want disconnect", ping, err)
	}
}

func TestOneJobFromPingToPassed(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	b := s.newBuild(t, "one", oneStep)
	a := s.register(t, "one", "queue=default")
	job, client := s.accept(t, a)

	if job.ChunksMaxSizeBytes == 0 || job.Token == "" {
		t.Fatalf("job has chunks_max_size_bytes %d and token %q: the agent would drop it", job.ChunksMaxSizeBytes, job.Token)
	}
	for name, want := range map[string]string{
		"BUILDKITE":                   "true",
		"BUILDKITE_JOB_ID":            job.ID,
		"BUILDKITE_BUILD_ID":          b.ID,
		"BUILDKITE_BUILD_NUMBER":      "1",
		"BUILDKITE_BRANCH":            "main",
		"BUILDKITE_COMMIT":            "HEAD",
		"BUILDKITE_COMMAND":           "make test",
		"BUILDKITE_STEP_KEY":          "test",
		"BUILDKITE_AGENT_ID":          a.id,
		"BUILDKITE_AGENT_NAME":        a.name,
		"BUILDKITE_PIPELINE_SLUG":     "one",
		"BUILDKITE_ORGANIZATION_SLUG": "main",
		"BUILDKITE_REPO":              "https://git.example.test/repo.git",
		"BUILDKITE_PULL_REQUEST":      "false",
		"BUILDKITE_SOURCE":            "api",
	} {
		if got := job.Env[name]; got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if job.Env["BUILDKITE_PIPELINE_PROVIDER"] == "" {
		t.Error("BUILDKITE_PIPELINE_PROVIDER is empty: bootstrap refuses the job")
	}

	if _, err := client.StartJob(t.Context(), &api.Job{ID: job.ID, StartedAt: now()}); err != nil {
		t.Fatal(err)
	}
	state, _, err := client.GetJobState(t.Context(), job.ID)
	if err != nil || state.State != "running" {
		t.Errorf("state = %+v, %v; want running", state, err)
	}
	finish(t, client, job, "0")
	s.rest(t, "GET", "/pipelines/one/builds/1", nil, &b)
	if b.State != "passed" || b.Jobs[0].State != "passed" {
		t.Errorf("build is %s and its job %s, want passed", b.State, b.Jobs[0].State)
	}
}

func TestAcceptIsIdempotentForItsAgentOnly(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.newBuild(t, "accept", oneStep)
	a := s.register(t, "first")
	job, _ := s.accept(t, a)
	again, _, err := a.AcceptJob(t.Context(), job.ID)
	if err != nil || again.ID != job.ID || again.Token != job.Token {
		t.Errorf("accept again = %v, want the job and its token", err)
	}
	other := s.register(t, "second")
	if _, _, err := other.AcceptJob(t.Context(), job.ID); status(err) != http.StatusUnprocessableEntity {
		t.Errorf("accept by another agent: %v, want 422", err)
	}
}

func TestFinishedJobRefusesLateResults(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.newBuild(t, "late", oneStep)
	job, client := s.running(t, s.register(t, "late"))
	finish(t, client, job, "1")
	job.ExitStatus = "0"
	if _, err := client.FinishJob(t.Context(), job, nil); status(err) != http.StatusUnprocessableEntity {
		t.Errorf("second finish: %v, want 422", err)
	}
	if _, _, err := client.GetJobState(t.Context(), job.ID); status(err) != http.StatusUnauthorized {
		t.Errorf("state after the end: %v, want 401", err)
	}
	var b buildView
	s.rest(t, "GET", "/pipelines/late/builds/1", nil, &b)
	if b.State != "failed" {
		t.Errorf("build is %s, want failed", b.State)
	}
}

func TestCanceledJobIsToldSo(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.newBuild(t, "cancel", oneStep)
	job, client := s.running(t, s.register(t, "cancel"))
	s.rest(t, "PUT", "/pipelines/cancel/builds/1/cancel", nil, nil)
	state, _, err := client.GetJobState(t.Context(), job.ID)
	if err != nil || !slices.Contains([]string{"canceling", "canceled"}, state.State) {
		t.Errorf("state = %+v, %v; want canceling", state, err)
	}
	job.Signal, job.SignalReason = "SIGTERM", "cancel"
	finish(t, client, job, "-1")
	var b buildView
	s.rest(t, "GET", "/pipelines/cancel/builds/1", nil, &b)
	if b.State != "canceled" || b.Jobs[0].State != "canceled" {
		t.Errorf("build is %s and its job %s, want canceled", b.State, b.Jobs[0].State)
	}
}

func TestChunksMakeTheLogInAnyOrder(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.newBuild(t, "log", oneStep)
	job, client := s.running(t, s.register(t, "log"))
	first, second := "--- one\r\n", "two\r\n"
	chunks := []*api.Chunk{
		{Data: []byte(second), Sequence: 2, Offset: uint64(len(first)), Size: uint64(len(second))},
		{Data: []byte(first), Sequence: 1, Offset: 0, Size: uint64(len(first))},
		{Data: []byte(second), Sequence: 2, Offset: uint64(len(first)), Size: uint64(len(second))},
	}
	for _, c := range chunks {
		if _, err := client.UploadChunk(t.Context(), job.ID, c); err != nil {
			t.Fatal(err)
		}
	}
	finish(t, client, job, "0")
	var log struct {
		Content string
		Size    int
	}
	s.rest(t, "GET", "/pipelines/log/builds/1/jobs/"+job.ID+"/log", nil, &log)
	if log.Content != first+second || log.Size != len(first+second) {
		t.Errorf("log = %+v, want %q", log, first+second)
	}
}

func TestMetaData(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	b := s.newBuild(t, "meta", oneStep)
	job, client := s.running(t, s.register(t, "meta"))
	ctx := t.Context()
	if _, err := client.SetMetaData(ctx, job.ID, &api.MetaData{Key: "release", Value: "1.0"}); err != nil {
		t.Fatal(err)
	}
	batch := &api.MetaDataBatch{Items: []api.MetaData{{Key: "a", Value: "1"}, {Key: "b", Value: "2"}}}
	if _, err := client.SetMetaDataBatch(ctx, job.ID, batch); err != nil {
		t.Fatal(err)
	}
	for scope, id := range map[string]string{"job": job.ID, "build": b.ID} {
		if got, _, err := client.GetMetaData(ctx, scope, id, "release"); err != nil || got.Value != "1.0" {
			t.Errorf("%s get = %+v, %v", scope, got, err)
		}
		if got, _, err := client.ExistsMetaData(ctx, scope, id, "none"); err != nil || got.Exists {
			t.Errorf("%s exists = %+v, %v; want false", scope, got, err)
		}
	}
	if _, _, err := client.GetMetaData(ctx, "job", job.ID, "none"); status(err) != http.StatusNotFound {
		t.Errorf("get of an unset key: %v, want 404", err)
	}
	keys, _, err := client.MetaDataKeys(ctx, "job", job.ID)
	slices.Sort(keys)
	if err != nil || !slices.Equal(keys, []string{"a", "b", "release"}) {
		t.Errorf("keys = %v, %v", keys, err)
	}
}

func TestAnnotations(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.newBuild(t, "note", oneStep)
	job, client := s.running(t, s.register(t, "note"))
	for _, a := range []api.Annotation{
		{Body: "**12** tests", Context: "tests", Style: "info", Priority: 3, Scope: "build"},
		{Body: " and 1 more", Context: "tests", Append: true, Priority: 3, Scope: "build"},
	} {
		if _, err := client.Annotate(t.Context(), job.ID, &a); err != nil {
			t.Fatal(err)
		}
	}
	for _, context := range []string{"a.b/c", "/", ".."} {
		if _, err := client.Annotate(t.Context(), job.ID, &api.Annotation{Body: "gone", Context: context, Scope: "build"}); err != nil {
			t.Fatal(err)
		}
		if _, err := client.AnnotationRemove(t.Context(), job.ID, context, "build"); err != nil {
			t.Errorf("removing %q: %v", context, err)
		}
	}
	finish(t, client, job, "0")
}

func TestArtifactsGoUpAndComeDown(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	b := s.newBuild(t, "files", oneStep)
	job, client := s.running(t, s.register(t, "files"))
	content := []byte("a report\n")
	created, _, err := client.CreateArtifacts(t.Context(), job.ID, &api.ArtifactBatch{
		ID: "0190b0c8-0000-7000-8000-000000000001",
		Artifacts: []*api.Artifact{{
			Path: "out/report.txt", AbsolutePath: "/build/out/report.txt", FileSize: int64(len(content)),
			Sha1Sum: fmt.Sprintf("%x", sha1.Sum(content)), Sha256Sum: fmt.Sprintf("%x", sha256.Sum256(content)),
			ContentType: "text/plain",
		}},
	})
	if err != nil || len(created.ArtifactIDs) != 1 {
		t.Fatalf("create = %+v, %v; want one id", created, err)
	}
	id := created.ArtifactIDs[0]
	instructions := created.InstructionsTemplate
	if own := created.PerArtifactInstructions[id]; own != nil {
		instructions = own
	}
	upload(t, instructions, "out/report.txt", content)
	if _, err := client.UpdateArtifacts(t.Context(), job.ID, []api.ArtifactState{{ID: id, State: "finished"}}); err != nil {
		t.Fatal(err)
	}
	found, _, err := client.SearchArtifacts(t.Context(), b.ID, &api.ArtifactSearchOptions{Query: "out/*.txt", State: "finished"})
	if err != nil || len(found) != 1 || found[0].Path != "out/report.txt" {
		t.Fatalf("search = %+v, %v; want the artifact", found, err)
	}
	resp, err := http.Get(found[0].URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(got, content) {
		t.Errorf("download = %q, %v; want %q", got, err, content)
	}
	none, _, err := client.SearchArtifacts(t.Context(), b.ID, &api.ArtifactSearchOptions{Query: "nothing/*"})
	if err != nil || len(none) != 0 {
		t.Errorf("search without a match = %v, %v; want an empty list", none, err)
	}
}

func TestLargeArtifactsGoUpInParts(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	b := s.newBuild(t, "parts", oneStep)
	job, client := s.running(t, s.register(t, "parts"))
	content := bytes.Repeat([]byte("0123456789abcdef"), 17<<16) // 17 MiB
	created, _, err := client.CreateArtifacts(t.Context(), job.ID, &api.ArtifactBatch{
		ID: "0190b0c8-0000-7000-8000-000000000006", MultipartSupported: true,
		Artifacts: []*api.Artifact{{
			Path: "large", AbsolutePath: "/build/large", FileSize: int64(len(content)), ContentType: "application/zip",
			Sha1Sum: fmt.Sprintf("%x", sha1.Sum(content)), Sha256Sum: fmt.Sprintf("%x", sha256.Sum256(content)),
		}},
	})
	if err != nil || len(created.ArtifactIDs) != 1 {
		t.Fatalf("create = %+v, %v; want one id", created, err)
	}
	id := created.ArtifactIDs[0]
	actions := created.PerArtifactInstructions[id].Actions
	if len(actions) != 2 {
		t.Fatalf("%d parts, want 2", len(actions))
	}
	state := api.ArtifactState{ID: id, State: "finished", Multipart: true}
	half := len(content) / 2
	for i, part := range [][]byte{content[:half], content[half:]} {
		req, err := http.NewRequestWithContext(t.Context(), actions[i].Method, actions[i].URL, bytes.NewReader(part))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		state.MultipartETags = append(state.MultipartETags, api.ArtifactPartETag{PartNumber: actions[i].PartNumber, ETag: resp.Header.Get("ETag")})
	}
	for range 2 { // agents repeat what is not answered in time
		if _, err := client.UpdateArtifacts(t.Context(), job.ID, []api.ArtifactState{state}); err != nil {
			t.Fatal(err)
		}
	}
	found, _, err := client.SearchArtifacts(t.Context(), b.ID, &api.ArtifactSearchOptions{Query: "*", State: "finished"})
	if err != nil || len(found) != 1 {
		t.Fatalf("search = %+v, %v; want the artifact", found, err)
	}
	resp, err := http.Get(found[0].URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(got, content) {
		t.Errorf("download of %d bytes, %v; want %d", len(got), err, len(content))
	}
}

// upload sends the form of the instructions as internal/artifact of the agent
// does: the fields in any order, then the file, without authorization.
func upload(t *testing.T, in *api.ArtifactUploadInstructions, path string, content []byte) {
	t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for name, value := range in.Data {
		if err := form.WriteField(name, strings.ReplaceAll(value, "${artifact:path}", path)); err != nil {
			t.Fatal(err)
		}
	}
	file, err := form.CreateFormFile(in.Action.FileInput, path)
	if err != nil {
		t.Fatal(err)
	}
	file.Write(content)
	form.Close()
	target, err := url.Parse(in.Action.URL)
	if err != nil {
		t.Fatal(err)
	}
	target.Path = in.Action.Path
	req, err := http.NewRequestWithContext(t.Context(), in.Action.Method, target.String(), &body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", form.FormDataContentType())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		t.Fatalf("upload to %s: %s", target, resp.Status)
	}
}

func TestUploadedStepsRun(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.newBuild(t, "upload", oneStep)
	a := s.register(t, "upload")
	job, client := s.running(t, a)
	change := &api.PipelineChange{
		UUID:     "0190b0c8-0000-7000-8000-000000000002",
		Pipeline: map[string]any{"steps": []any{map[string]any{"command": "echo later", "key": "later"}}},
	}
	for range 2 { // the second is a retry, and adds nothing
		if _, err := client.UploadPipeline(t.Context(), job.ID, change); err != nil {
			t.Fatal(err)
		}
	}
	// Agents ask after an answer of 202.
	if got, _, err := client.PipelineUploadStatus(t.Context(), job.ID, change.UUID); err != nil || got.State != "applied" {
		t.Errorf("the upload's status = %+v, %v; want applied", got, err)
	}
	finish(t, client, job, "0")
	later, laterClient := s.running(t, a)
	if got := later.Env["BUILDKITE_COMMAND"]; got != "echo later" {
		t.Errorf("second job runs %q", got)
	}
	finish(t, laterClient, later, "0")
	var b buildView
	s.rest(t, "GET", "/pipelines/upload/builds/1", nil, &b)
	if b.State != "passed" || len(b.Jobs) != 2 {
		t.Errorf("build is %s with %d jobs, want passed with 2", b.State, len(b.Jobs))
	}
}

func TestInvalidUploadIsRefusedForGood(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.newBuild(t, "invalid", oneStep)
	job, client := s.running(t, s.register(t, "invalid"))
	_, err := client.UploadPipeline(t.Context(), job.ID, &api.PipelineChange{
		UUID:     "0190b0c8-0000-7000-8000-000000000003",
		Pipeline: map[string]any{"steps": []any{map[string]any{"command": "x", "depends_on": "nobody"}}},
	})
	if status(err) != http.StatusUnprocessableEntity || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("upload that depends on a missing step: %v, want 422 that names it", err)
	}
}

func TestStepsAreReadAndChanged(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	b := s.newBuild(t, "step", oneStep)
	job, client := s.running(t, s.register(t, "step"))
	if _, err := client.StepUpdate(t.Context(), "test", &api.StepUpdate{
		IdempotencyUUID: "0190b0c8-0000-7000-8000-000000000004", Build: b.ID, Attribute: "label", Value: "renamed",
	}); err != nil {
		t.Fatal(err)
	}
	got, _, err := client.StepExport(t.Context(), "test", &api.StepExportRequest{Build: b.ID, Attribute: "label"})
	if err != nil || got.Output != "renamed" {
		t.Errorf("label = %+v, %v; want renamed", got, err)
	}
	finish(t, client, job, "0")
}

func TestStreamNamesAJobAtOnce(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	a := s.register(t, "stream")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	messages, err := a.StreamPings(ctx, a.id)
	if err != nil {
		t.Fatal(err)
	}
	created := false
	for message, err := range messages {
		if err != nil {
			t.Fatal(err)
		}
		if !created {
			if message.GetResume() == nil {
				t.Errorf("first message = %v, want resume", message)
			}
			s.newBuild(t, "stream", oneStep)
			created = true
			continue
		}
		if assigned := message.GetJobAssigned(); assigned != nil {
			if _, _, err := a.AcceptJob(t.Context(), assigned.GetJob().GetId()); err != nil {
				t.Error(err)
			}
			return
		}
	}
	t.Error("the stream ended without a job")
}
