package agentapi_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/slipway-ci/slipway/internal/agent/wire"
	"github.com/slipway-ci/slipway/internal/agentapi"
	"github.com/slipway-ci/slipway/internal/ci"
)

// rawStream is a streaming ping as it is on the wire, over HTTP/1.1, without a client that understands it.
type rawStream struct {
	t    *testing.T
	resp *http.Response
	frag io.Reader
}

// userAgentV4 is what a v4 agent calls itself in a stream (v4.0.0-beta.15).
const userAgentV4 = "connect-go/1.19.1 (go1.26.8) buildkite-agent/4.0.0-beta.15.x (linux; amd64)"

// openRaw opens a stream as agents up to v3.138.1 and v4 do: the request names the agent and no version.
func (w *world) openRaw(t *testing.T, token, agentID string) rawStream {
	t.Helper()
	return w.openRawFor(t, token, agentID, "")
}

// openRawFor opens one that says how long it will wait, in gRPC's words; "": for ever.
func (w *world) openRawFor(t *testing.T, token, agentID, term string) rawStream {
	t.Helper()
	message := append([]byte{1<<3 | 2, byte(len(agentID))}, agentID...)
	body := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
	req := must(http.NewRequestWithContext(t.Context(), "POST", w.url+"/agentedge.v1.AgentEdgeService/StreamPings", bytes.NewReader(body)))(t)
	for name, value := range map[string]string{
		"Authorization": "Token " + token, "Content-Type": "application/grpc", "Te": "trailers", "Grpc-Accept-Encoding": "gzip", "User-Agent": userAgentV4,
	} {
		req.Header.Set(name, value)
	}
	if term != "" {
		req.Header.Set("Grpc-Timeout", term)
	}
	resp := must(http.DefaultClient.Do(req))(t)
	t.Cleanup(func() { resp.Body.Close() })
	return rawStream{t, resp, resp.Body}
}

// field is the number of the next message's action: 2 resume, 3 pause, 4 disconnect, 5 a job, 7 keepalive, and
// 6 if it has request headers alone. It is 0 at the stream's end.
func (s rawStream) field() int {
	s.t.Helper()
	head := make([]byte, 5)
	if _, err := io.ReadFull(s.frag, head); err != nil {
		if !errors.Is(err, io.EOF) {
			s.t.Fatalf("reading a frame: %v", err)
		}
		return 0
	}
	message := make([]byte, binary.BigEndian.Uint32(head[1:]))
	must(io.ReadFull(s.frag, message))(s.t)
	if head[0] != 0 || len(message) == 0 {
		s.t.Fatalf("frame %v %v, want an uncompressed message", head, message)
	}
	number, _, n := protowire.ConsumeField(message)
	if number == 6 && n > 0 && n < len(message) {
		number, _, _ = protowire.ConsumeField(message[n:])
	}
	return int(number)
}

func (s rawStream) want(fields ...int) {
	s.t.Helper()
	for _, want := range fields {
		if got := s.field(); got != want {
			s.t.Fatalf("the message is of field %d, want %d", got, want)
		}
	}
}

func TestMustKnow07_StorageNeedsNoToken(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t)
	h := w.running()
	text := strings.Repeat("0123456789", 2)
	answer := must(h.CreateArtifacts(ctx, h.job.ID, wire.Batch{
		ID: "B", Artifacts: []wire.Artifact{file("form", "x"), file("parts", text)}, MultipartSupported: true,
	}))(t)
	storage := h.WithToken("")
	form, parts := answer.ArtifactIDs[0], answer.ArtifactIDs[1]
	if err := storage.UploadForm(ctx, answer.PerArtifact[form], "form", strings.NewReader("x"), 1); err != nil {
		t.Errorf("a form without a token: %v", err)
	}
	states := []wire.ArtifactState{{ID: form, State: wire.ArtifactFinished}, {ID: parts, State: wire.ArtifactFinished, Multipart: true}}
	for i, action := range answer.PerArtifact[parts].Actions {
		etag := must(storage.UploadPart(ctx, action, "text/plain", strings.NewReader(text[10*i:10*i+10]), 10))(t)
		states[1].MultipartETags = append(states[1].MultipartETags, etag)
	}
	if err := h.UpdateArtifacts(ctx, h.job.ID, states); err != nil {
		t.Fatal(err)
	}
	for _, f := range must(h.SearchArtifacts(ctx, h.build.ID, wire.Search{Query: "**"}))(t) {
		if got := w.send(must(http.NewRequestWithContext(ctx, "GET", f.URL, http.NoBody))(t)); got.status != 200 || int64(len(got.body)) != f.FileSize {
			t.Errorf("%s without a token: %d %q", f.Path, got.status, got.body)
		}
		address, _, _ := strings.Cut(f.URL, "?")
		if got := w.send(must(http.NewRequestWithContext(ctx, "GET", address, http.NoBody))(t)); got.status != 403 {
			t.Errorf("%s without its signature: %d, want 403", f.Path, got.status)
		}
	}
}

func TestMustKnow08_SearchEchoesTheDestinationAndAValidTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.running()
	const bucket = "s3://bucket/prefix"
	elsewhere := file("elsewhere", "x")
	elsewhere.URL = "https://bucket.s3.amazonaws.com/prefix/elsewhere"
	must(h.CreateArtifacts(t.Context(), h.job.ID, wire.Batch{ID: "B", Artifacts: []wire.Artifact{elsewhere}, UploadDestination: bucket}))(t)
	h.upload(t, "here", "x")
	var found []map[string]any
	got := w.do(h.Token, "GET", "/v3/builds/"+h.build.ID+"/artifacts/search?query=**", "")
	if err := json.Unmarshal([]byte(got.body), &found); err != nil || len(found) != 2 {
		t.Fatalf("search: %s, %v", got.body, err)
	}
	for _, f := range found {
		want := map[any]any{"elsewhere": bucket, "here": nil}[f["path"]]
		if f["upload_destination"] != want && (want != nil || f["upload_destination"] != "") {
			t.Errorf("%v is at %v, want %v: the downloader picks its backend by that", f["path"], f["upload_destination"], want)
		}
		text, _ := f["created_at"].(string)
		if at, err := time.Parse(time.RFC3339, text); err != nil || at.IsZero() {
			t.Errorf("%v was created at %q: %v", f["path"], text, err)
		}
	}
}

// TestMustKnow12: an agent takes a failed ping for an idle one. A paused agent goes on by it, so the next ping
// must say it again, and nothing that others do may make a ping fail.
func TestMustKnow12_EachPingSaysTheWholeStateAndNoLoadFailsIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.agent()
	refused := 0
	for range 100 { // somebody at the same address floods the server with tokens that are not valid
		if w.do("made-up", "GET", "/v3/ping", "").status == http.StatusServiceUnavailable {
			refused++
		}
	}
	if refused == 0 {
		t.Fatal("the flood is not slowed down, so this test shows nothing")
	}
	if err := a.Pause(t.Context(), "stay", 5); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		if v := w.decoded(a.AccessToken, "GET", "/v3/ping", "", 200); v["action"] != "pause" || v["message"] != "stay" {
			t.Fatalf("ping = %v, want the pause again", v)
		}
	}
	if err := a.Stop(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if v := w.decoded(a.AccessToken, "GET", "/v3/ping", "", 200); v["action"] != "disconnect" {
			t.Fatalf("ping = %v, want disconnect again", v)
		}
	}
}

func TestMustKnow15_TheStreamIsAtTheRootAndNothingHangs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.agent()
	w.openRaw(t, a.AccessToken, a.ID).want(2)
	for _, path := range []string{"/v3/agentedge.v1.AgentEdgeService/StreamPings", "/v3/StreamPings"} {
		if got := w.do(a.AccessToken, "POST", path, ""); got.status != http.StatusNotFound {
			t.Errorf("%s: %d, want a 404 at once", path, got.status)
		}
	}
	// What is not gRPC is answered too: a stream that hangs keeps an agent from polling.
	if got := w.do(a.AccessToken, "POST", "/agentedge.v1.AgentEdgeService/StreamPings", "{}"); got.status < 400 {
		t.Errorf("a body that is not gRPC: %d", got.status)
	}
}

func TestMustKnow16_StreamsRunOverPlainHTTP1(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.agent()
	s := w.openRaw(t, a.AccessToken, a.ID)
	if s.resp.ProtoMajor != 1 || s.resp.StatusCode != 200 || !strings.HasPrefix(s.resp.Header.Get("Content-Type"), "application/grpc") {
		t.Fatalf("HTTP/%d %d of type %s", s.resp.ProtoMajor, s.resp.StatusCode, s.resp.Header.Get("Content-Type"))
	}
	s.want(2)
	j := w.job(w.build("steps:\n- command: true\n"))
	w.assign(j, a)
	s.want(5)
	w.api.EndStreams()
	s.want(0)
	if got := s.resp.Trailer.Get("Grpc-Status"); got != "4" {
		t.Errorf("Grpc-Status = %q, want 4, which reconnects without polling", got)
	}
}

// v4 is the agent's next line, v4.0.0-beta.15. To a server it differs in what it leaves out: no header_times, no
// stop before it ends, no version in its stream, so that it knows neither keepalives nor request headers there.

// agentV4 registers and connects as v4 does.
func (w *world) agentV4() agent {
	w.t.Helper()
	v := w.decoded(registrationToken, "POST", "/v3/register", `{"name":"w-%random","hostname":"vm","os":"PRETTY_NAME=\"x\"\nID=x",
		"arch":"amd64","script_eval_enabled":true,"ignore_in_dispatches":false,"version":"4.0.0-beta.15","build":"x",
		"meta_data":["queue=default"],"pid":7,"machine_id":"m","features":["disconnect-after-job"]}`, 200)
	token, _ := v["access_token"].(string)
	id, _ := v["id"].(string)
	name, _ := v["name"].(string)
	if got := w.do(token, "POST", "/v3/connect", ""); got.status != 200 {
		w.t.Fatalf("connect: %d %s", got.status, got.body)
	}
	return agent{wire.RegisterResponse{ID: id, Name: name, AccessToken: token}, w.client(token)}
}

func TestV4_AJobGoesThroughWithWhatV4Sends(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.agentV4()
	s := w.openRaw(t, a.AccessToken, a.ID)
	s.want(2)
	j := w.job(w.build("steps:\n- command: true\n"))
	w.assign(j, a)
	s.want(5)
	accepted := w.decoded(a.AccessToken, "PUT", "/v3/jobs/"+j.ID+"/accept", "", 200)
	token, _ := accepted["token"].(string)
	w.decoded(token, "PUT", "/v3/jobs/"+j.ID+"/start", `{"started_at":"2026-11-23T12:00:00.639684341Z"}`, 200)
	w.decoded(token, "GET", "/v3/jobs/"+j.ID, "", 200)
	req := must(http.NewRequestWithContext(t.Context(), "POST", w.url+"/v3/jobs/"+j.ID+"/chunks?sequence=1&offset=0&size=4", bytes.NewReader(zipped(t, "hi\r\n"))))(t)
	for name, value := range map[string]string{"Authorization": "Token " + token, "Content-Type": "text/plain", "Content-Encoding": "gzip"} {
		req.Header.Set(name, value)
	}
	if got := w.send(req); got.status != 201 {
		t.Errorf("chunk: %d %s", got.status, got.body)
	}
	w.decoded(token, "PUT", "/v3/jobs/"+j.ID+"/finish", `{"exit_status":"0","finished_at":"2026-11-23T12:00:01.5Z","chunks_failed_count":0,"ignore_agent_in_dispatches":true}`, 200)
	if got := must(w.Store.Job(t.Context(), j.ID))(t); got.State != ci.JobFinished || got.ExitStatus == nil || *got.ExitStatus != 0 {
		t.Errorf("the job is %s with %v", got.State, got.ExitStatus)
	}
	if w.do(a.AccessToken, "POST", "/v3/disconnect", "").status != 200 {
		t.Error("disconnect was refused")
	}
	if got := must(w.Store.Agent(t.Context(), a.ID))(t); got.State != ci.AgentDisconnected {
		t.Errorf("the agent is %s, want disconnected without having said stop", got.State)
	}
}

// TestV4_AnAgentThatEndsWithoutAWordGivesItsOfferBack: v4 does not say that it will end, so it may be offered a job that it
// will not accept any more.
func TestV4_AnAgentThatEndsWithoutAWordGivesItsOfferBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.agentV4()
	j := w.job(w.build("steps:\n- command: true\n"))
	w.assign(j, a)
	if w.do(a.AccessToken, "POST", "/v3/disconnect", "").status != 200 {
		t.Error("disconnect was refused")
	}
	if got := must(w.Store.Job(t.Context(), j.ID))(t); got.State != ci.JobScheduled {
		t.Errorf("the job is %s, want it scheduled", got.State)
	}
	w.assign(j, w.agent())
}

// TestV4_StreamsThatAreDroppedEachMinuteMissNothing: the client's time limit of 60 s covers the whole stream.
func TestV4_StreamsThatAreDroppedEachMinuteMissNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.agentV4()
	s := w.openRaw(t, a.AccessToken, a.ID)
	s.want(2)
	s.resp.Body.Close()
	j := w.job(w.build("steps:\n- command: true\n"))
	w.assign(j, a)
	w.openRaw(t, a.AccessToken, a.ID).want(5)
	if got := must(w.Store.Agent(t.Context(), a.ID))(t); got.State != ci.AgentConnected {
		t.Errorf("the agent is %s after its stream was dropped", got.State)
	}
}

func TestV4_AStreamWithoutAVersionCarriesActionsAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(d *agentapi.Deps) {
		d.Reread = time.Millisecond
		d.RequestHeaders = map[string]string{"Buildkite-Shard": "7"}
	})
	a := w.agentV4()
	s := w.openRaw(t, a.AccessToken, a.ID)
	var got []int
	got = append(got, s.field())
	w.advance(time.Minute) // a keepalive would be due
	if err := w.PauseAgent(t.Context(), a.ID, "x", time.Time{}); err != nil {
		t.Fatal(err)
	}
	got = append(got, s.field())
	if want := []int{2, 3}; !slices.Equal(got, want) {
		t.Errorf("the messages are of the fields %v, want %v: an action that the agent does not know counts as idle", got, want)
	}
}
