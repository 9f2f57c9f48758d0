package agent

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/slipway-ci/slipway/internal/agent/wire"
	"github.com/slipway-ci/slipway/internal/edge"
)

// server is a fake of the other end of the wire: it speaks the protocol over
// HTTP, hands out jobs in order and records what it is told. Its zero value
// polls; tests change its behaviour by its fields before the first request.
type server struct {
	*httptest.Server
	streams bool // serve the stream instead of answering 404
	status  map[string]int
	keepLog bool // reassemble logs; else only count bytes

	mu      sync.Mutex
	calls   []string
	jobs    []*fakeJob
	offered int
	left    int // jobs not finished
	done    chan struct{}
	changed chan struct{}
	data    map[string]string
}

type fakeJob struct {
	wire.Job
	state    string
	log      []byte
	bytes    int
	accepted time.Time
	finished time.Time
	finish   wire.Finish
	waitFor  string // cancel when the log holds this
	cancelAs string
	asked    func(state string) // what its agent is told now
}

func newServer(t testing.TB) *server {
	t.Helper()
	s := &server{status: map[string]int{}, keepLog: true, done: make(chan struct{}), changed: make(chan struct{}, 1), data: map[string]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v3/register", s.register)
	mux.HandleFunc("POST /v3/connect", empty)
	mux.HandleFunc("POST /v3/disconnect", empty)
	mux.HandleFunc("POST /v3/stop", empty)
	mux.HandleFunc("POST /v3/heartbeat", func(w http.ResponseWriter, _ *http.Request) { reply(w, wire.Heartbeat{}) })
	mux.HandleFunc("GET /v3/ping", s.ping)
	mux.HandleFunc("PUT /v3/jobs/{id}/accept", s.accept)
	mux.HandleFunc("PUT /v3/jobs/{id}/acquire", s.accept)
	mux.HandleFunc("PUT /v3/jobs/{id}/start", empty)
	mux.HandleFunc("GET /v3/jobs/{id}", s.jobState)
	mux.HandleFunc("POST /v3/jobs/{id}/chunks", s.chunk)
	mux.HandleFunc("PUT /v3/jobs/{id}/finish", s.finish)
	mux.HandleFunc("POST /v3/jobs/{id}/data/{what}", s.metaData)
	mux.HandleFunc("GET /v3/jobs/{id}/secrets", func(w http.ResponseWriter, r *http.Request) {
		reply(w, map[string]string{"key": r.URL.Query().Get("key"), "value": "value of " + r.URL.Query().Get("key")})
	})
	path, stream := edge.NewAgentEdgeServiceHandler(s)
	mux.Handle(path, stream)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.record(w, r) {
			mux.ServeHTTP(w, r)
		}
		select {
		case s.changed <- struct{}{}:
		default:
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// record notes the call and answers it with an error if the test wants one.
func (s *server) record(w http.ResponseWriter, r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := r.Method + " " + r.URL.Path
	s.calls = append(s.calls, name+" "+strings.TrimPrefix(r.Header.Get("Authorization"), "Token "))
	if strings.Contains(name, "StreamPings") && !s.streams {
		http.NotFound(w, r)
		return false
	}
	if status := s.status[name]; status != 0 {
		http.Error(w, `{"message":"no"}`, status)
		return false
	}
	return true
}

func empty(http.ResponseWriter, *http.Request) {}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v) //nolint:errcheck // the test sees the client's side
}

func (s *server) register(w http.ResponseWriter, r *http.Request) {
	var in wire.RegisterRequest
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), 400)
		return
	}
	reply(w, wire.RegisterResponse{
		ID: "id-" + in.Name, Name: in.Name, AccessToken: "session-" + in.Name,
		PingInterval: 1, HeartbeatInterval: 1, JobStatusInterval: 1,
	})
}

// add queues a job; script is its command.
func (s *server) add(script string, env map[string]string) *fakeJob {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := fmt.Sprintf("job-%d", len(s.jobs)+1)
	all := map[string]string{
		"BUILDKITE": "true", "BUILDKITE_JOB_ID": id, "BUILDKITE_COMMAND": script,
		"BUILDKITE_AGENT_NAME": "a-1", "BUILDKITE_ORGANIZATION_SLUG": "org", "BUILDKITE_PIPELINE_SLUG": "pipe",
		"BUILDKITE_PIPELINE_PROVIDER": "git", "BUILDKITE_PULL_REQUEST": "false",
		"BUILDKITE_BRANCH": "main", "BUILDKITE_COMMIT": "HEAD", "BUILDKITE_REPO": "unused", "BUILDKITE_SKIP_CHECKOUT": "true",
	}
	for name, value := range env {
		all[name] = value
	}
	j := &fakeJob{Job: wire.Job{ID: id, Token: "token-" + id, Env: all, ChunksMaxSizeBytes: 102400, ChunksIntervalSeconds: 1}, state: "running"}
	s.jobs = append(s.jobs, j)
	s.left++
	return j
}

func (s *server) nextJob() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.offered == len(s.jobs) {
		return ""
	}
	s.offered++
	return s.jobs[s.offered-1].ID
}

func (s *server) ping(w http.ResponseWriter, _ *http.Request) {
	var answer wire.PingResponse
	if id := s.nextJob(); id != "" {
		answer.Job = &wire.PingJob{ID: id}
	}
	reply(w, answer)
}

// StreamPings serves the agent's stream.
func (s *server) StreamPings(ctx context.Context, _ *connect.Request[edge.StreamPingsRequest], out *connect.ServerStream[edge.StreamPingsResponse]) error {
	if err := out.Send(&edge.StreamPingsResponse{Action: &edge.StreamPingsResponse_Resume{Resume: &edge.ResumeAction{}}}); err != nil {
		return err
	}
	for id := s.nextJob(); id != ""; id = s.nextJob() {
		err := out.Send(&edge.StreamPingsResponse{Action: &edge.StreamPingsResponse_JobAssigned{
			JobAssigned: &edge.JobAssignedAction{Job: &edge.Job{Id: id}},
		}})
		if err != nil {
			return err
		}
	}
	<-ctx.Done()
	return nil
}

func (s *server) job(r *http.Request) *fakeJob {
	for _, j := range s.jobs {
		if j.ID == r.PathValue("id") {
			return j
		}
	}
	return &fakeJob{}
}

func (s *server) accept(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.job(r)
	j.accepted = time.Now()
	reply(w, j.Job)
}

func (s *server) jobState(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.job(r)
	if j.asked != nil {
		j.asked(j.state)
	}
	reply(w, map[string]string{"state": j.state})
}

func (s *server) chunk(w http.ResponseWriter, r *http.Request) {
	offset, err := strconv.Atoi(r.URL.Query().Get("offset"))
	if err != nil {
		http.Error(w, err.Error(), 400)
		return
	}
	zip, err := gzip.NewReader(r.Body)
	if err != nil {
		http.Error(w, err.Error(), 400)
		return
	}
	plain, err := io.ReadAll(zip)
	if err != nil || strconv.Itoa(len(plain)) != r.URL.Query().Get("size") {
		http.Error(w, "size", 400)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.job(r)
	j.bytes += len(plain)
	if s.keepLog {
		if end := offset + len(plain); end > len(j.log) {
			j.log = append(j.log, make([]byte, end-len(j.log))...)
		}
		copy(j.log[offset:], plain)
	}
	if j.waitFor != "" && bytes.Contains(j.log, []byte(j.waitFor)) {
		j.state = j.cancelAs
	}
	w.WriteHeader(http.StatusCreated)
}

func (s *server) finish(w http.ResponseWriter, r *http.Request) {
	var f wire.Finish
	if err := json.NewDecoder(r.Body).Decode(&f); err != nil {
		http.Error(w, err.Error(), 400)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.job(r)
	j.finish, j.finished = f, time.Now()
	if s.left--; s.left == 0 {
		close(s.done)
	}
}

func (s *server) metaData(w http.ResponseWriter, r *http.Request) {
	var m wire.MetaData
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
		http.Error(w, err.Error(), 400)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch _, has := s.data[m.Key]; r.PathValue("what") {
	case "exists":
		reply(w, map[string]bool{"exists": has})
	case "set":
		s.data[m.Key] = m.Value
	}
}

// await waits until a call of the agent makes the condition true.
func (s *server) await(t testing.TB, condition func() bool) {
	t.Helper()
	limit := time.After(5 * time.Minute)
	for {
		s.mu.Lock()
		ok := condition()
		s.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-s.changed:
		case <-limit:
			t.Fatal("waited in vain")
		}
	}
}

func (s *server) config(t testing.TB) Config {
	t.Helper()
	return Config{
		Endpoint: s.URL + "/v3", Token: "registration", Name: "a-%spawn", BuildPath: t.TempDir(),
		PingMode: "poll-only", Env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "BUILDKITE_AGENT_TOKEN=registration"},
	}
}

// run runs agents and then waits for requests that they gave up on, so that the
// test can read what was recorded.
func (s *server) run(ctx context.Context, c Config) error {
	err := Run(ctx, c, slog.New(slog.DiscardHandler))
	s.Close()
	return err
}

// runAll runs agents until every job has finished.
func (s *server) runAll(t testing.TB, c Config) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	go func() {
		select {
		case <-s.done:
		case <-ctx.Done():
		}
		cancel()
	}()
	if err := s.run(ctx, c); err != nil {
		t.Fatal(err)
	}
	if s.left != 0 {
		t.Fatalf("%d jobs did not finish; calls:\n%s", s.left, strings.Join(s.calls, "\n"))
	}
}

var (
	stamps  = regexp.MustCompile("\x1b_bk;t=[0-9]+\a")
	colours = regexp.MustCompile("\x1b\\[[0-9;]*m")
)

// text is the job's log as people read it.
func (j *fakeJob) text() string {
	plain := colours.ReplaceAll(stamps.ReplaceAll(j.log, nil), nil)
	return strings.ReplaceAll(string(plain), "\r\n", "\n")
}
