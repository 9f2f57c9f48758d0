package agentapi_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/agent/wire"
	"github.com/slipway-ci/slipway/internal/agentapi"
	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/store"
)

func TestRegistration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	many := `["a=1"` + strings.Repeat(`,"a=1"`, 501) + `]`
	for name, tt := range map[string]struct {
		body string
		want int
	}{
		"nothing at all":              {`{}`, 200},
		"a negative priority":         {`{"priority":"-3"}`, 200},
		"no number for a priority":    {`{"priority":"high"}`, 422},
		"a tag twice":                 {`{"meta_data":["queue=default","queue=default","linux"]}`, 200},
		"an unknown queue":            {`{"meta_data":["queue=nope"]}`, 422},
		"two queues":                  {`{"meta_data":["queue=default","queue=other"]}`, 422},
		"too many tags":               {`{"meta_data":` + many + `}`, 422},
		"a long name":                 {`{"name":"` + strings.Repeat("n", 256) + `"}`, 422},
		"a name of two lines":         {`{"name":"a\nb"}`, 422},
		"a name that paints":          {`{"name":"\u001b[31mred"}`, 422},
		"a hostname of two lines":     {`{"name":"%hostname","hostname":"a\nb"}`, 422},
		"a long tag":                  {`{"meta_data":["a=` + strings.Repeat("n", 2000) + `"]}`, 422},
		"a long os":                   {`{"os":"` + strings.Repeat("n", 20000) + `"}`, 422},
		"a name that is not a text":   {`{"name":1}`, 400},
		"a name that is not UTF-8":    {"{\"name\":\"\xff\xfe\"}", 200},
		"no JSON":                     {`name=x`, 400},
		"more than a registration":    {`{"name":"` + strings.Repeat("n", 1<<20) + `"}`, 413},
		"what later versions may say": {`{"name":"x","later":{"deep":[1]}}`, 200},
	} {
		got := w.do(registrationToken, "POST", "/v3/register", tt.body)
		if got.status != tt.want {
			t.Errorf("%s: %d %s, want %d", name, got.status, got.body, tt.want)
		}
		if got.status != 200 {
			got.message(t)
		}
	}
}

func TestAnAgentThatAcquiresIsNeverOfferedAJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := must(w.client(registrationToken).Register(t.Context(), wire.RegisterRequest{Name: "once", IgnoreInDispatches: true}))(t)
	a := agent{r, w.client(r.AccessToken)}
	if err := a.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	j := w.job(w.build("steps:\n- command: true\n"))
	if must(w.AssignJob(t.Context(), j.ID, a.ID))(t) {
		t.Error("the job was offered")
	}
	must(a.Acquire(t.Context(), j.ID, 0))(t)
	must(a.Acquire(t.Context(), j.ID, 0))(t) // the answer was lost
}

func TestAcquiringSaysWhetherToComeAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, other := w.agent(), w.agent()
	b := w.build("steps:\n- command: true\n- wait\n- command: false\n")
	var ids []string
	for _, j := range must(w.Store.Jobs(t.Context(), b.ID))(t) {
		ids = append(ids, j.ID)
	}
	var pauses []time.Duration
	for n := range 7 { // as often as agents ask
		_, err := a.Acquire(t.Context(), ids[2], n)
		locked, ok := errors.AsType[*wire.Error](err)
		if !ok || locked.Status != 423 {
			t.Fatalf("a job that waits: %v, want 423", err)
		}
		pauses = append(pauses, locked.RetryAfter/time.Second)
	}
	if want := []time.Duration{2, 4, 8, 16, 32, 64, 64}; !slices.Equal(pauses, want) {
		t.Errorf("agents are asked to come again after %d seconds, want %d", pauses, want)
	}
	must(a.Acquire(t.Context(), ids[0], 0))(t)
	for what, got := range map[string]answer{
		"held by another": w.do(other.AccessToken, "PUT", "/v3/jobs/"+ids[0]+"/acquire", ""),
		"a wait":          w.do(other.AccessToken, "PUT", "/v3/jobs/"+ids[1]+"/acquire", ""),
	} {
		if got.status != 422 {
			t.Errorf("%s: %d, want 422", what, got.status)
		}
	}
	if got := w.do(other.AccessToken, "PUT", "/v3/jobs/nope/acquire", ""); got.status != 404 {
		t.Errorf("no job: %d, want 404", got.status)
	}
}

func TestPausingAndResumingMayBeRepeated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.running()
	for _, token := range []string{h.Token, h.agent.AccessToken} {
		for range 2 {
			w.decoded(token, "POST", "/v3/pause", `{"note":"disk","timeout_in_minutes":7}`, 200)
		}
		if got := w.do(token, "POST", "/v3/pause", `{"note":"another reason"}`); got.status != 422 {
			t.Errorf("another pause: %d, want 422", got.status)
		}
		if got := must(w.Store.Agent(t.Context(), h.agent.ID))(t); !got.Paused || got.PauseNote != "disk" || got.PauseUntil.Sub(w.Now()).Minutes() != 7 {
			t.Errorf("the pause is %v, %q until %s", got.Paused, got.PauseNote, got.PauseUntil)
		}
		for range 2 {
			w.decoded(token, "POST", "/v3/resume", "", 200)
		}
	}
	for _, minutes := range []string{"-1", "1441"} {
		if got := w.do(h.Token, "POST", "/v3/pause", `{"timeout_in_minutes":`+minutes+`}`); got.status != 422 {
			t.Errorf("a pause of %s minutes: %d, want 422", minutes, got.status)
		}
	}
}

// TestAnOfferGoesBackAtOnce: an agent that leaves or rests is not told of its job, which should not wait
// for the offer to run out.
func TestAnOfferGoesBackAtOnce(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/v3/pause", "/v3/stop", "/v3/disconnect"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			b := w.build("steps:\n- command: true\n")
			a, j := w.agent(), w.job(b)
			w.assign(j, a)
			w.decoded(a.AccessToken, "POST", path, "{}", 200)
			if got := w.job(b); got.State != ci.JobScheduled {
				t.Errorf("the job is %s, want scheduled", got.State)
			}
			w.assign(j, w.agent())
			if got := w.do(a.AccessToken, "PUT", "/v3/jobs/"+j.ID+"/accept", ""); got.status != 422 && path != "/v3/disconnect" {
				t.Errorf("accepting it now: %d, want 422", got.status)
			}
		})
	}
}

func TestAStopWaitsForTheJobUnlessItIsForced(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{`{}`: "running", `{"force":true}`: "canceling"} {
		w := newWorld(t)
		h := w.running()
		w.decoded(h.Token, "POST", "/v3/stop", body, 200)
		if s := must(h.JobState(t.Context(), h.job.ID))(t); s != want {
			t.Errorf("after stop %s the job is %s, want %s", body, s, want)
		}
		finish(t, h)
		if p := must(h.agent.Ping(t.Context()))(t); p.Action != "disconnect" {
			t.Errorf("ping after the job = %+v, want disconnect", p)
		}
	}
}

func TestAJobIsLostWithTheDisconnectOfItsAgent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.running()
	w.decoded(h.agent.AccessToken, "POST", "/v3/disconnect", "", 200)
	j := must(w.Store.Job(t.Context(), h.job.ID))(t)
	if j.State != ci.JobFinished || *j.ExitStatus != -1 || !j.Lost {
		t.Errorf("the job is %s with %v, lost: %v", j.State, j.ExitStatus, j.Lost)
	}
	if got := w.do(h.Token, "GET", "/v3/jobs/"+h.job.ID, ""); got.status != 401 {
		t.Errorf("state of a lost job: %d, want 401", got.status)
	}
}

func TestAgentsAreSentElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(d *agentapi.Deps) {
		d.AgentEndpoint, d.RequestHeaders = "https://new.example.test/v3", map[string]string{"Buildkite-Shard": "7"}
	})
	a := w.agent()
	if a.RegisterResponse.Endpoint != "https://new.example.test/v3" || a.RequestHeaders["Buildkite-Shard"] != "7" {
		t.Errorf("registration = %+v, want the endpoint and the header", a.RegisterResponse)
	}
	if p := must(a.Ping(t.Context()))(t); p.Endpoint != "https://new.example.test/v3" || p.RequestHeaders["Buildkite-Shard"] != "7" {
		t.Errorf("ping = %+v, want the endpoint and the header", p)
	}
	s := w.open(t, a.AccessToken, a.ID, "3.138.1")
	s.want("resume")
	if got := s.in.Msg().GetRequestHeaders().GetValues()["Buildkite-Shard"]; got != "7" {
		t.Errorf("the first message has header %q, want 7", got)
	}
	if err := a.Pause(t.Context(), "x", 1); err != nil {
		t.Fatal(err)
	}
	s.want("pause: x")
	if s.in.Msg().GetRequestHeaders() != nil {
		t.Error("the second message has headers again")
	}
}

// An agent keeps the headers that it has until it is told others, and its session outlives the server's settings.
func TestHeadersThatAreNoMoreAreTakenFromAgents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.agent()
	if got := w.do(a.AccessToken, "GET", "/v3/ping", ""); !strings.Contains(got.body, `"request_headers":{}`) {
		t.Errorf("a ping says %s, want no headers", got.body)
	}
	s := w.open(t, a.AccessToken, a.ID, "3.138.1")
	s.want("resume")
	if h := s.in.Msg().GetRequestHeaders(); h == nil || len(h.GetValues()) != 0 {
		t.Errorf("the first message of a stream has the headers %v, want none in place of what the agent has", h)
	}
}

func TestMetricsCountAgentsAndJobs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.running()
	w.agent()
	w.decoded(registrationToken, "POST", "/v3/register", `{"name":"never connects"}`, 200)
	w.build("steps:\n- command: true\n- wait\n- command: true\n  parallelism: 3\n")
	const want = `{"agents":{"idle":1,"busy":1,"total":2,"queues":{"default":{"idle":1,"busy":1,"total":2}}},` +
		`"jobs":{"scheduled":1,"running":1,"waiting":3,"total":5,"queues":{"default":{"scheduled":1,"running":1,"waiting":3,"total":5}}},` +
		`"organization":{"slug":"main"},"cluster":{"name":"Default cluster"}}`
	const ofQueue = `{"agents":{"idle":1,"busy":1,"total":2},"jobs":{"scheduled":1,"running":1,"waiting":3,"total":5},` +
		`"organization":{"slug":"main"},"cluster":{"name":"Default cluster"}}`
	for path, want := range map[string]string{
		"/v3/metrics": want, "/v3/metrics/queue?name=default": ofQueue, "/v3/metrics/queue?name=__default__": ofQueue,
		"/v3/metrics/queue?name=_default": ofQueue, "/v3/metrics/queue": ofQueue,
	} {
		got := w.do(registrationToken, "GET", path, "")
		if strings.TrimSpace(got.body) != want || got.header.Get("Buildkite-Agent-Metrics-Poll-Duration") != "5" {
			t.Errorf("%s: %s, poll %q\nwant %s", path, got.body, got.header.Get("Buildkite-Agent-Metrics-Poll-Duration"), want)
		}
	}
	if got := w.do(registrationToken, "GET", "/v3/metrics/queue?name=nope", ""); got.status != 404 {
		t.Errorf("an unknown queue: %d, want 404", got.status)
	}
	finish(t, h)
}

func TestATokenIsDescribedWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.decoded(registrationToken, "GET", "/v3/token", "", 200)
	for _, name := range []string{"uuid", "token_type", "organization_slug", "organization_uuid", "cluster_uuid", "cluster_name"} {
		if s, ok := v[name].(string); !ok || s == "" {
			t.Errorf("%s = %v, want a text", name, v[name])
		}
	}
	for _, name := range []string{"description", "organization_queue_uuid", "organization_queue_key"} {
		if _, ok := v[name]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestHostileBodiesAreRefusedInJSON(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.running()
	deep := strings.Repeat(`{"a":`, 20_000) + "1" + strings.Repeat("}", 20_000)
	for name, body := range map[string]string{
		"deep": deep, "cut": `{"key":"k`, "no object": `[1,2]`, "bytes": "\x00\x01\xff",
		"two values": `{} {}`,
	} {
		for _, rt := range agentapi.Routes() {
			if rt.Permission != "own job" || rt.Method == "GET" || rt.Method == "DELETE" || strings.HasSuffix(rt.Path, "data/keys") ||
				strings.HasSuffix(rt.Path, "tokens") || strings.HasSuffix(rt.Path, "_token") {
				continue
			}
			path := strings.NewReplacer("{id}", h.job.ID).Replace(rt.Path)
			got := w.do(h.Token, rt.Method, path, body)
			if got.status != 400 && got.status != 422 {
				t.Errorf("%s to %s: %d, want 400 or 422", name, rt.Path, got.status)
			}
			got.message(t)
		}
	}
	if !json.Valid([]byte(w.do(h.Token, "GET", "/v3/jobs/"+h.job.ID, "").body)) {
		t.Error("the job is gone")
	}
}

func TestABodyOfTheWrongKindIsToldInTheWordsOfJSON(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for body, want := range map[string]string{
		`{"priority":5}`: `"priority" does not take a value of this kind: number.`,
		`[]`:             "it is of another kind: array.",
	} {
		got := w.do(registrationToken, "POST", "/v3/register", body)
		if text := got.message(t); got.status != 400 || text != "The request is not the JSON expected here: "+want {
			t.Errorf("%s: %d %q, want %q", body, got.status, text, want)
		}
	}
}

func TestAFleetWithARevokedTokenCalmsDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	honest, bad := w.agent(), w.revoked(t)
	got := map[int]int{}
	for range 50 {
		a := w.do(bad, "POST", "/v3/register", "{}")
		got[a.status]++
		if a.status == 503 && a.header.Get("Retry-After") == "" {
			t.Error("a 503 does not say when to come again")
		}
		a.message(t)
	}
	if got[401] != 20 || got[503] != 30 {
		t.Errorf("answers = %v, want 20 of 401 and 30 of 503", got)
	}
	if p := w.do(honest.AccessToken, "GET", "/v3/ping", ""); p.status != 200 {
		t.Errorf("an honest agent behind the same address: %d", p.status)
	}
	w.advance(time.Second)
	if a := w.do(bad, "POST", "/v3/register", "{}"); a.status != 401 {
		t.Errorf("a second later: %d, want 401", a.status)
	}
}

func TestRegistrationsWithOneTokenAreSpreadOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	got := map[int]int{}
	for range 320 {
		got[w.do(registrationToken, "POST", "/v3/register", "{}").status]++
	}
	if got[200] != 300 || got[503] != 20 {
		t.Errorf("answers = %v, want 300 of 200 and 20 of 503", got)
	}
}

// TestATokenThatEndsEndsNoSession: agents that are registered stay, others do not come
// (https://buildkite.com/docs/agent/v3/tokens).
func TestATokenThatEndsEndsNoSession(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t)
	org := must(w.Store.Organization(ctx, "main"))(t)
	cluster := must(w.Store.Clusters(ctx, org.ID))(t)[0]
	err := w.Store.Update(ctx, func(tx *store.Tx) error {
		return tx.InsertAgentToken(ctx, store.AgentToken{
			ID: w.NewID(), ClusterID: cluster.ID, TokenHash: hash("short"), CreatedAt: w.Now(), ExpiresAt: w.Now().Add(time.Minute),
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	a := w.decoded("short", "POST", "/v3/register", "{}", 200)
	w.advance(2 * time.Minute)
	for call, want := range map[string]int{"POST /v3/register": 401, "GET /v3/token": 401, "GET /v3/metrics": 401} {
		method, path, _ := strings.Cut(call, " ")
		if got := w.do("short", method, path, ""); got.status != want {
			t.Errorf("%s: %d, want %d", call, got.status, want)
		}
	}
	if got := w.do(a["access_token"].(string), "GET", "/v3/ping", ""); got.status != 200 {
		t.Errorf("ping of its agent: %d, want 200", got.status)
	}
}

// TestManyComeBackAtOnce opens the streams of many agents together, as after a restart.
func TestManyComeBackAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agents := make([]agent, 100)
	for i := range agents {
		agents[i] = w.agent()
	}
	began := time.Now()
	var all sync.WaitGroup
	for _, a := range agents {
		all.Go(func() {
			for range 3 { // as an agent does whose stream breaks again
				s := w.open(t, a.AccessToken, a.ID, "3.138.2")
				if got := s.next(); got != "resume" {
					t.Errorf("first message %q, want resume", got)
				}
				s.in.Close()
			}
		})
	}
	all.Wait()
	t.Logf("%d streams opened in %s", 3*len(agents), time.Since(began))
}

// TestDisconnectingAgainIsFine: the answer may be lost. What the session is good for otherwise is over.
func TestDisconnectingAgainIsFine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.agent()
	for range 3 {
		if got := w.do(a.AccessToken, "POST", "/v3/disconnect", ""); got.status != 200 {
			t.Errorf("disconnect: %d %s", got.status, got.body)
		}
	}
	if got := w.do(a.AccessToken, "POST", "/v3/connect", ""); got.status != 401 {
		t.Errorf("connecting after it: %d, want 401", got.status)
	}
}

// TestACompressedBodyIsRefusedByItsName: agents compress chunks of logs alone.
func TestACompressedBodyIsRefusedByItsName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	req := must(http.NewRequestWithContext(t.Context(), "POST", w.url+"/v3/register", bytes.NewReader(zipped(t, `{"name":"x"}`))))(t)
	req.Header.Set("Authorization", "Token "+registrationToken)
	req.Header.Set("Content-Encoding", "gzip")
	if got := w.send(req); got.status != 415 || !strings.Contains(got.body, "gzip") {
		t.Errorf("%d %s", got.status, got.body)
	}
}
