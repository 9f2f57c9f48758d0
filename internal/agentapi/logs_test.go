package agentapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/agent/wire"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/joblog"
	"github.com/slipway-ci/slipway/internal/store/storetest"
	"github.com/slipway-ci/slipway/internal/worker"
)

// chunk sends a piece of the log of h's job.
func (h held) chunk(t *testing.T, sequence int, offset int64, text string) error {
	t.Helper()
	return h.UploadChunk(context.Background(), h.job.ID, wire.Chunk{Sequence: sequence, Offset: offset, Size: len(text), Gzip: zipped(t, text)})
}

func (w *world) logText(t *testing.T, jobID string) string {
	t.Helper()
	r := must(w.logs.Reader(t.Context(), jobID, 0))(t)
	defer r.Close()
	return string(must(io.ReadAll(r))(t))
}

// pass runs a pass until there is nothing more for it.
func pass(t *testing.T, p func(context.Context) (bool, error)) {
	t.Helper()
	for more := true; more; {
		var err error
		if more, err = p(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *world) decide(t *testing.T, settings string) {
	t.Helper()
	change := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(settings), &change); err != nil {
		t.Fatal(err)
	}
	org := must(w.Store.Organization(t.Context(), "main"))(t)
	must(w.ChangeSettings(t.Context(), org.ID, change))(t)
}

func TestALogOverItsLimitSaysSoAndTheJobGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.decide(t, `{"max_log_mib": 1}`)
	h := w.running()
	if h.job.LogMaxSizeBytes != 1<<20 {
		t.Errorf("the agent is told of a limit of %d bytes", h.job.LogMaxSizeBytes)
	}
	line := strings.Repeat("x", 1023) + "\n"
	for n := range 11 {
		err := h.chunk(t, n+1, int64(n)*100<<10, strings.Repeat(line, 100))
		if want := map[bool]int{true: http.StatusRequestEntityTooLarge}[n == 10]; wire.Status(err) != want {
			t.Errorf("chunk %d: %v, want status %d", n, err, want)
		}
	}
	if err := h.Finish(t.Context(), h.job.ID, wire.Finish{ExitStatus: "0"}); err != nil {
		t.Error(err)
	}
	if text := w.logText(t, h.job.ID); !strings.HasSuffix(text, "[slipway: the log has reached its limit of 1048576 bytes; what follows was not kept]\r\n") {
		t.Errorf("the log ends with %q", text[len(text)-100:])
	}
}

func TestTheLogOfALostJobIsClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.running()
	for _, err := range []error{h.chunk(t, 1, 0, "first\n"), h.chunk(t, 3, 10, "third\n")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.LoseAgent(t.Context(), h.agent.ID, "its process ended"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		pass(t, worker.CloseLogs(w.Engine, w.logs))
		want := "first\n\r\n[slipway: 4 bytes of the log are missing here; they never arrived]\r\nthird\n"
		if diff := cmp.Diff(want, w.logText(t, h.job.ID)); diff != "" {
			t.Error(diff)
		}
		if j := must(w.Store.Job(t.Context(), h.job.ID))(t); j.LogSize != int64(len(want)) {
			t.Errorf("log of %d bytes, want %d", j.LogSize, len(want))
		}
	}
}

// A job that prints much is not looked up for each chunk. What its token opens must stay its own log, for as long as that is open.
func TestTheTokenOfAJobThatPrints(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h, other := w.running(), w.running()
	if err := h.chunk(t, 1, 0, "first\n"); err != nil {
		t.Fatal(err)
	}
	astray := h
	astray.job = other.job
	if err := astray.chunk(t, 1, 0, "stray\n"); wire.Status(err) != 403 {
		t.Errorf("a chunk for another job: %v, want 403", err)
	}
	if err := w.LoseAgent(t.Context(), h.agent.ID, "its process ended"); err != nil {
		t.Fatal(err)
	}
	pass(t, worker.CloseLogs(w.Engine, w.logs))
	if err := h.chunk(t, 2, 6, "late\n"); wire.Status(err) != 422 {
		t.Errorf("a chunk for a log that was closed this moment: %v, want 422", err)
	}
	if err := w.logs.Delete(t.Context(), h.job.ID); err != nil {
		t.Fatal(err)
	}
	w.advance(time.Second)
	if err := h.chunk(t, 3, 11, "later\n"); wire.Status(err) != 422 {
		t.Errorf("a chunk for a log that was deleted: %v, want 422", err)
	}
}

// A job is remembered for a second, and its log may be deleted within it: what its agent still prints must not begin another.
func TestALogThatWasDeletedDoesNotBeginAnew(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		h := w.running()
		if err := h.chunk(t, 1, 0, "first\n"); err != nil {
			t.Fatal(err)
		}
		if err := w.LoseAgent(t.Context(), h.agent.ID, "its process ended"); err != nil {
			t.Fatal(err)
		}
		if err := w.logs.Delete(t.Context(), h.job.ID); err != nil {
			t.Fatal(err)
		}
		w.advance(time.Second / 2)
		if err := h.chunk(t, 2, 6, "late\n"); wire.Status(err) != 422 {
			t.Errorf("a chunk after the deletion: %v, want 422", err)
		}
		if err := w.DropLog(t.Context(), must(w.Store.Job(t.Context(), h.job.ID))(t), engine.LogDeleted, "for the test"); err != nil {
			t.Fatal(err)
		}
		if err := h.Finish(t.Context(), h.job.ID, wire.Finish{ExitStatus: "0"}); wire.Status(err) != 422 {
			t.Errorf("the job's end after the deletion: %v, want 422", err)
		}
		if size, err := w.logs.Size(t.Context(), h.job.ID); !errors.Is(err, joblog.ErrNotFound) {
			t.Errorf("the log is there again: %+v, %v", size, err)
		}
	})
}

// TestALogThatEndedWithItsJobIsKept, although the request that began it still looks at the job: the agent did not wait for its answer.
func TestALogThatEndedWithItsJobIsKept(t *testing.T) {
	t.Parallel()
	var meanwhile atomic.Pointer[func()]
	o := storetest.SQLite(t)
	o.Trace = func(statement string) {
		if !strings.Contains(statement, "FROM jobs WHERE token_hash = $1") {
			return
		}
		if end := meanwhile.Swap(nil); end != nil {
			(*end)()
		}
	}
	w := newWorldOn(t, o)
	h := w.running()
	w.advance(time.Second / 2)
	end := func() {
		if err := h.Finish(context.Background(), h.job.ID, wire.Finish{ExitStatus: "0"}); err != nil {
			t.Error(err)
		}
	}
	meanwhile.Store(&end)
	if err := h.chunk(t, 1, 0, "all of it\n"); err != nil || meanwhile.Load() != nil {
		t.Errorf("the chunk: %v; the job was looked at: %v", err, meanwhile.Load() == nil)
	}
	if text := w.logText(t, h.job.ID); text != "all of it\n" {
		t.Errorf("the log says %q", text)
	}
}

func TestLogsAreKeptAsLongAsTheOrganizationWants(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old, young := w.running(), w.running()
	end := func(h held) {
		if err := errors.Join(h.chunk(t, 1, 0, "text\n"), h.Finish(t.Context(), h.job.ID, wire.Finish{ExitStatus: "0"})); err != nil {
			t.Fatal(err)
		}
	}
	end(old)
	w.advance(48 * time.Hour)
	end(young)
	w.advance(time.Minute)
	expire := worker.ExpireLogs(w.Engine, w.logs)
	pass(t, expire)
	w.logText(t, old.job.ID) // nothing was decided
	w.decide(t, `{"log_retention_days": 2}`)
	pass(t, expire)
	if _, err := w.logs.Size(t.Context(), old.job.ID); !errors.Is(err, joblog.ErrNotFound) {
		t.Errorf("the old log is still there: %v", err)
	}
	l := must(w.Store.JobLog(t.Context(), old.job.ID))(t)
	if l.State != engine.LogExpired || l.Note != "The log was removed: logs are kept for 2 days." {
		t.Errorf("%+v", l)
	}
	w.logText(t, young.job.ID)
}

func TestHeaderTimesAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.running()
	at := "/v3/jobs/" + h.job.ID + "/header_times"
	for body, want := range map[string]int{
		`{"header_times": {"0": "2026-11-23T12:00:00.5Z"}}`:                                   200,
		`{"header_times": {"0": "2026-11-23T12:00:00.5Z", "1": "2026-11-23T14:00:01+02:00"}}`: 200,
		`{"header_times": {"x": "2026-11-23T12:00:00Z"}}`:                                     422,
		`{"header_times": {"5000": "2026-11-23T12:00:00Z"}}`:                                  422,
		`{"header_times": {"2": "yesterday"}}`:                                                400,
		`{"header_times": {"2": "0001-01-01T00:00:00Z"}}`:                                     422,
		`{"header_times": {"2": "9999-01-01T00:00:00Z"}}`:                                     422,
	} {
		if got := w.do(h.Token, "POST", at, body); got.status != want {
			t.Errorf("%s: %d %s, want %d", body, got.status, got.body, want)
		}
	}
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	want := map[int]time.Time{0: noon.Add(500 * time.Millisecond), 1: noon.Add(time.Second)}
	if diff := cmp.Diff(want, must(w.Store.HeaderTimes(t.Context(), h.job.ID))(t)); diff != "" {
		t.Error(diff)
	}
}

// TestHostileChunksAreRefused covers what readChunk and the log tell from a fault of the server's.
func TestHostileChunksAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.running()
	bomb := zipped(t, strings.Repeat("0", 30<<20))
	for name, c := range map[string]struct {
		query  string
		body   []byte
		status int
	}{
		"a bomb":                {"sequence=1&offset=0&size=1000", bomb, 422},
		"a bomb of a true size": {"sequence=1&offset=0&size=31457280", bomb, 422},
		"no gzip":               {"sequence=1&offset=0&size=4", []byte("text"), 422},
		"nothing":               {"sequence=1&offset=0&size=1", nil, 422},
		"too large":             {"sequence=1&offset=0&size=1", make([]byte, 2<<20), 413},
		"a huge offset":         {"sequence=1&offset=9223372036854775807&size=4", zipped(t, "text"), 422},
		"beyond the limit":      {"sequence=1&offset=1152921504606846975&size=4", zipped(t, "text"), 413},
		"a negative size":       {"sequence=1&offset=0&size=-4", zipped(t, "text"), 422},
		"no sequence":           {"offset=0&size=4", zipped(t, "text"), 422},
		"too many digits":       {"sequence=1&offset=0&size=99999999999999999999", zipped(t, "text"), 422},
	} {
		req := must(http.NewRequestWithContext(t.Context(), "POST", w.url+"/v3/jobs/"+h.job.ID+"/chunks?"+c.query, strings.NewReader(string(c.body))))(t)
		req.Header.Set("Authorization", "Token "+h.Token)
		req.Header.Set("Content-Encoding", "gzip")
		if got := w.send(req); got.status != c.status || got.message(t) == "" {
			t.Errorf("%s: %d %s, want %d", name, got.status, got.body, c.status)
		}
	}
	if err := h.chunk(t, 1, 0, "text\n"); err != nil {
		t.Errorf("a good chunk after the bad ones: %v", err)
	}
}
