package agentapi_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/store"
	"github.com/slipway-ci/slipway/internal/worker"
)

// stackCall makes a call of stack k and decodes its answer.
func (w *world) stackCall(method, path, body string, want int) map[string]any {
	w.t.Helper()
	return w.decoded(registrationToken, method, "/v3/stacks/k"+path, body, want)
}

// withStack is a world with a registered stack.
func withStack(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.decoded(registrationToken, "POST", "/v3/stacks/register", `{"key":"k","type":"custom","queue_key":"default","metadata":{}}`, 201)
	return w
}

func ids(t *testing.T, v any) (out []string) {
	t.Helper()
	for _, item := range v.([]any) {
		switch item := item.(type) {
		case string:
			out = append(out, item)
		case map[string]any:
			out = append(out, item["id"].(string))
		}
	}
	return out
}

func TestAStackRegistersUnderEverySpellingOfTheDefaultQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i, queue := range []string{"default", "__default__", "_default", "~", "-", ""} {
		want := 200
		if i == 0 {
			want = 201
		}
		v := w.decoded(registrationToken, "POST", "/v3/stacks/register", `{"key":"k","type":"kubernetes","queue_key":"`+queue+`","metadata":{"a":"b"}}`, want)
		if v["cluster_queue_key"] != "default" || v["state"] != "connected" || v["id"] == "" || v["organization_uuid"] == "" || v["last_connected_on"] == nil {
			t.Errorf("queue %q: %v", queue, v)
		}
	}
	w.decoded(registrationToken, "GET", "/v3/stacks/k/scheduled-jobs", "", 200)
	for body, want := range map[string]int{
		`{"key":"no spaces","type":"custom","queue_key":"default"}`:                          422,
		`{"key":"` + strings.Repeat("k", 81) + `","type":"custom","queue_key":"default"}`:    422,
		`{"key":"k2","type":"other","queue_key":"default"}`:                                  422,
		`{"key":"k2","type":"custom","queue_key":"nope"}`:                                    404,
		`{"key":"k2","type":"custom","queue_key":"default","metadata":{"a":{"not":"flat"}}}`: 400,
	} {
		if got := w.do(registrationToken, "POST", "/v3/stacks/register", body); got.status != want {
			t.Errorf("%s: %d, want %d", body, got.status, want)
		}
	}
	if got := w.do(registrationToken, "POST", "/v3/stacks/k/deregister", ""); got.status != 204 {
		t.Errorf("deregister: %d, want 204", got.status)
	}
	if got := w.do(registrationToken, "GET", "/v3/stacks/k/scheduled-jobs?queue_key=default", ""); got.status != 404 {
		t.Errorf("a stack that left: %d, want 404", got.status)
	}
}

func TestAnOrganizationHasThirtyStacks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 31 {
		got := w.do(registrationToken, "POST", "/v3/stacks/register", fmt.Sprintf(`{"key":"k%d","type":"custom","queue_key":"default"}`, i))
		if want := map[bool]int{true: 201, false: 403}[i < 30]; got.status != want {
			t.Fatalf("stack %d: %d, want %d", i, got.status, want)
		}
	}
	w.advance(6 * time.Minute) // nobody heard of them since
	w.decoded(registrationToken, "POST", "/v3/stacks/register", `{"key":"late","type":"custom","queue_key":"default"}`, 201)
}

func TestAReservedJobIsTheStacksUntilItsTermIsOver(t *testing.T) {
	t.Parallel()
	w := withStack(t)
	w.decoded(registrationToken, "POST", "/v3/stacks/register", `{"key":"other","type":"custom","queue_key":"default"}`, 201)
	b := w.build("steps:\n- command: echo hi\n  key: a-b\n  agents: [gpu=1]\n  plugins: [docker#v5.0.0: {image: golang}]\n")
	j := w.job(b)
	list := w.stackCall("GET", "/scheduled-jobs?queue_key=_default", "", 200)
	got := list["jobs"].([]any)[0].(map[string]any)
	if got["id"] != j.ID || fmt.Sprint(got["agent_query_rules"]) != "[queue=default gpu=1]" || fmt.Sprint(got["step"]) != "map[key:a-b]" {
		t.Errorf("job = %v", got)
	}
	if v := w.stackCall("GET", "/jobs/"+j.ID, "", 200); v["command"] != "echo hi" || v["env"].(map[string]any)["BUILDKITE_REPO"] == "" {
		t.Errorf("job = %v", v)
	} else if plugins := v["env"].(map[string]any)["BUILDKITE_PLUGINS"]; !strings.Contains(fmt.Sprint(plugins), "github.com/buildkite-plugins/docker-buildkite-plugin#v5.0.0") {
		t.Errorf("plugins = %v, want them by their full names", plugins)
	}
	body := `{"job_uuids":["` + j.ID + `","nope"],"reservation_expiry_seconds":60}`
	for range 2 { // the second extends
		v := w.stackCall("PUT", "/scheduled-jobs/batch-reserve", body, 200)
		if fmt.Sprint(v) != "map[not_reserved:[nope] reserved:["+j.ID+"]]" {
			t.Errorf("reserving: %v", v)
		}
		w.advance(40 * time.Second)
	}
	if v := w.decoded(registrationToken, "PUT", "/v3/stacks/other/scheduled-jobs/batch-reserve", body, 200); len(ids(t, v["reserved"])) != 0 {
		t.Errorf("another stack reserves it too: %v", v)
	}
	if n := len(ids(t, w.stackCall("GET", "/scheduled-jobs?queue_key=default", "", 200)["jobs"])); n != 0 {
		t.Errorf("%d jobs are listed, want none: it is reserved", n)
	}
	expire := worker.ExpireOffers(w.Engine)
	for _, want := range []string{"reserved", "scheduled"} {
		must(expire(t.Context()))(t)
		if v := w.stackCall("POST", "/jobs/get-states", `{"job_uuids":["`+j.ID+`","nope"]}`, 200); fmt.Sprint(v["states"]) != "map["+j.ID+":"+want+"]" {
			t.Errorf("states = %v, want %s", v, want)
		}
		w.advance(time.Minute)
	}
}

func TestAnAgentAcquiresAReservedJob(t *testing.T) {
	t.Parallel()
	w := withStack(t)
	b := w.build("steps:\n- command: true\n")
	j, a := w.job(b), w.agent()
	w.stackCall("PUT", "/scheduled-jobs/batch-reserve", `{"job_uuids":["`+j.ID+`"]}`, 200)
	if must(w.AssignJob(t.Context(), j.ID, a.ID))(t) {
		t.Error("a reserved job was offered to an agent")
	}
	accepted := must(a.Acquire(t.Context(), j.ID, 0))(t)
	w.runToEnd(t, w.client(accepted.Token), j.ID)
	if got := w.job(b).State; got != ci.JobFinished {
		t.Errorf("the job is %s, want finished", got)
	}
}

func TestAStackEndsWhatItCannotRun(t *testing.T) {
	t.Parallel()
	w := withStack(t)
	b := w.build("steps:\n- command: true\n  retry: {automatic: [{signal_reason: stack_error, limit: 1}]}\n")
	first := w.job(b)
	w.stackCall("PUT", "/scheduled-jobs/batch-reserve", `{"job_uuids":["`+first.ID+`"]}`, 200)
	for range 2 { // the answer may be lost
		w.stackCall("POST", "/jobs/"+first.ID+"/finish", `{"detail":"no image"}`, 200)
	}
	got := must(w.Store.Job(t.Context(), first.ID))(t)
	if got.State != ci.JobFinished || *got.ExitStatus != -1 || got.SignalReason != "stack_error" || got.Reason != "no image" {
		t.Errorf("job = %s, %v, %s, %q", got.State, got.ExitStatus, got.SignalReason, got.Reason)
	}
	second := w.job(b)
	if second.ID == first.ID || second.State != ci.JobScheduled {
		t.Fatalf("the rule made job %s, %s", second.ID, second.State)
	}
	w.stackCall("POST", "/jobs/"+second.ID+"/finish", `{"exit_status":0,"detail":"done elsewhere"}`, 200)
	if got := must(w.Store.Build(t.Context(), b.ID))(t).State; got != ci.BuildPassed {
		t.Errorf("the build is %s, want passed", got)
	}
	if got := w.do(registrationToken, "POST", "/v3/stacks/k/jobs/nope/finish", `{"detail":"x"}`); got.status != 404 {
		t.Errorf("no job: %d, want 404", got.status)
	}
	h := w.running()
	if got := w.do(registrationToken, "POST", "/v3/stacks/k/jobs/"+h.job.ID+"/finish", `{"detail":"x"}`); got.status != 422 {
		t.Errorf("a job that an agent runs: %d, want 422", got.status)
	}
}

func TestAStackEndsOnlyWhatWaitsForAnAgent(t *testing.T) {
	t.Parallel()
	w := withStack(t)
	w.decoded(registrationToken, "POST", "/v3/stacks/register", `{"key":"other","type":"custom","queue_key":"default"}`, 201)
	refused := func(stack, id, body string, want int, message string) {
		t.Helper()
		v := w.decoded(registrationToken, "POST", "/v3/stacks/"+stack+"/jobs/"+id+"/finish", body, want)
		if v["message"] != message {
			t.Errorf("%s: %v, want %s", body, v["message"], message)
		}
	}
	j := w.job(w.build("steps:\n- command: true\n"))
	for body, message := range map[string]string{
		`{"exit_status":700,"detail":"x"}`:                               "The exit_status 700 is not a number from -1 to 255.",
		`{"exit_status":-2,"detail":"x"}`:                                "The exit_status -2 is not a number from -1 to 255.",
		`{"exit_status":1}`:                                              "The detail is missing; it says why the job ended.",
		`{"exit_status":1,"detail":"` + strings.Repeat("x", 5000) + `"}`: "The detail has 5000 characters; the limit is 4096.",
	} {
		refused("k", j.ID, body, 422, message)
	}
	w.stackCall("PUT", "/scheduled-jobs/batch-reserve", `{"job_uuids":["`+j.ID+`"]}`, 200)
	refused("other", j.ID, `{"detail":"x"}`, 422, "The job is reserved by another stack.")
	// As the library cuts a long detail: at 4 KiB, through the middle of a character.
	w.stackCall("POST", "/jobs/"+j.ID+"/finish", `{"exit_status":-1,"detail":"`+strings.Repeat("x", 4093)+"\xf0\x9f\x92"+`"}`, 200)
	refused("other", j.ID, `{"detail":"x"}`, 422, "The job has ended already; it is finished.")
	ran := w.running()
	refused("k", ran.job.ID, `{"detail":"x"}`, 422, "The job is running; a stack ends only jobs that wait for an agent.")
	w.runToEnd(t, w.client(ran.Token), ran.job.ID)
	refused("k", ran.job.ID, `{"detail":"x"}`, 422, "The job has ended already; it is finished.")
}

func TestANotificationSaysWhen(t *testing.T) {
	t.Parallel()
	w := withStack(t)
	j := w.job(w.build("steps:\n- command: true\n"))
	w.advance(10 * time.Minute)
	stamp := func(d time.Duration) string { return w.Now().Add(d).Format(`"` + time.RFC3339Nano + `"`) }
	var notes []string
	for i, at := range []string{`"yesterday"`, `7`, stamp(-time.Minute), "null", stamp(30 * time.Second), stamp(time.Hour), stamp(-time.Hour), `""`} {
		notes = append(notes, fmt.Sprintf(`{"job_uuid":%q,"detail":"note %d","timestamp":%s}`, j.ID, i, at))
	}
	v := w.stackCall("POST", "/notifications", `{"notifications":[`+strings.Join(notes, ",")+`]}`, 200)
	want := "[map[error:The timestamp is not an ISO 8601 time such as 2026-01-31T12:00:00Z indexes:[0 1]]" +
		" map[error:The timestamp is in the future indexes:[5]] map[error:The timestamp is before the job's creation indexes:[6]]]"
	if fmt.Sprint(v["errors"]) != want {
		t.Errorf("errors = %v, want %s", v["errors"], want)
	}
	kept := must(w.Store.StackNotes(t.Context(), j.ID))(t)
	if len(kept) != 4 || kept[0].Detail != "note 2" || kept[3].At.After(w.Now()) {
		t.Errorf("kept %v", kept)
	}
}

func TestNotificationsAreTakenOneByOne(t *testing.T) {
	t.Parallel()
	w := withStack(t)
	j := w.job(w.build("steps:\n- command: true\n"))
	note := func(id, detail string) string { return `{"job_uuid":"` + id + `","detail":"` + detail + `"}` }
	long := strings.Repeat("x", 257)
	v := w.stackCall("POST", "/notifications", `{"notifications":[`+strings.Join([]string{
		note(j.ID, "pod pending"), note("nope", "x"), note(j.ID, long), note(j.ID, ""), note(j.ID, "image pulled"),
	}, ",")+`]}`, 200)
	if want := "[map[error:No job found indexes:[1]] map[error:The detail must have 1 to 256 characters indexes:[2 3]]]"; fmt.Sprint(v["errors"]) != want {
		t.Errorf("errors = %v, want %s", v["errors"], want)
	}
	many := strings.Repeat(note(j.ID, "again")+",", 99)
	v = w.stackCall("POST", "/notifications", `{"notifications":[`+strings.TrimSuffix(many, ",")+`]}`, 200)
	if want := "[map[error:The job has 100 notifications already indexes:[98]]]"; fmt.Sprint(v["errors"]) != want {
		t.Errorf("errors = %v, want %s", v["errors"], want)
	}
	notes := must(w.Store.StackNotes(t.Context(), j.ID))(t)
	if len(notes) != 100 || notes[0].Detail != "pod pending" {
		t.Errorf("%d notes, the first %q", len(notes), notes[0].Detail)
	}
}

func TestAThousandJobsAreListedAndReservedAtOnce(t *testing.T) {
	t.Parallel()
	w := withStack(t)
	w.build("steps:\n- command: true\n  parallelism: 600\n")
	w.build("steps:\n- command: true\n  parallelism: 600\n")
	first := w.stackCall("GET", "/scheduled-jobs?queue_key=default&limit=1000&ignored=1", "", 200)
	info := first["page_info"].(map[string]any)
	page := ids(t, first["jobs"])
	if len(page) != 1000 || info["has_next_page"] != true {
		t.Fatalf("%d jobs, %v", len(page), info)
	}
	rest := w.stackCall("GET", "/scheduled-jobs?queue_key=default&after="+info["end_cursor"].(string), "", 200)
	seen := map[string]bool{}
	for _, id := range append(page, ids(t, rest["jobs"])...) {
		seen[id] = true
	}
	if len(seen) != 1200 || rest["page_info"].(map[string]any)["has_next_page"] != false {
		t.Errorf("both pages have %d jobs, and %v", len(seen), rest["page_info"])
	}
	began := time.Now()
	v := w.stackCall("PUT", "/scheduled-jobs/batch-reserve", `{"job_uuids":["`+strings.Join(page, `","`)+`"]}`, 200)
	t.Logf("1,000 jobs of two builds reserved in %s", time.Since(began))
	if n := len(ids(t, v["reserved"])); n != 1000 {
		t.Errorf("%d jobs are reserved, want 1000", n)
	}
	for query, want := range map[string]int{"limit=0": 422, "limit=1001": 422, "limit=x": 422, "after=%21": 422, "after=QQ": 422} {
		if got := w.do(registrationToken, "GET", "/v3/stacks/k/scheduled-jobs?queue_key=default&"+query, ""); got.status != want {
			t.Errorf("%s: %d, want %d", query, got.status, want)
		}
	}
}

func TestAPausedQueueSaysSoTwiceAndListsNothing(t *testing.T) {
	t.Parallel()
	w := withStack(t)
	ctx := t.Context()
	list := w.do(registrationToken, "GET", "/v3/stacks/k/scheduled-jobs?queue_key=default", "")
	for name, want := range map[string]string{"RateLimit-Scope": "list-scheduled-jobs", "RateLimit-Limit": "10", "RateLimit-Remaining": "9", "RateLimit-Reset": "1"} {
		if got := list.header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	org := must(w.Store.Organization(ctx, "main"))(t)
	cluster := must(w.Store.Clusters(ctx, org.ID))(t)[0]
	err := w.Store.Update(ctx, func(tx *store.Tx) error {
		return tx.InsertQueue(ctx, store.Queue{ID: w.NewID(), ClusterID: cluster.ID, Key: "paused", PausedAt: w.Now(), RetryAffinity: ci.PreferWarmest, CreatedAt: w.Now()})
	})
	if err != nil {
		t.Fatal(err)
	}
	w.build("steps:\n- command: true\n  agents: {queue: paused}\n")
	v := w.stackCall("GET", "/scheduled-jobs?queue_key=paused", "", 200)
	queue := v["cluster_queue"].(map[string]any)
	if queue["paused"] != true || queue["dispatch_paused"] != true || len(ids(t, v["jobs"])) != 0 {
		t.Errorf("page = %v", v)
	}
}
