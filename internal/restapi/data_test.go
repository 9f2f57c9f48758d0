package restapi_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/store"
)

func TestArtifacts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.build(t, w.pipeline(t, "hello", "steps: [{command: a, key: a}]"))
	j, at := w.job(t, b, "a"), main+"/pipelines/hello/builds/1"
	files := must(w.CreateArtifacts(t.Context(), j, "batch", []store.Artifact{
		{Path: "out/a.txt", Size: 3, SHA1: "one", SHA256: "two", ContentType: "text/plain"},
		{Path: "b.txt"},
		{Path: "c", UploadDestination: "s3://bucket", URL: "https://bucket.example.test/c"},
	}))(t)
	w.keep(t, j, files[0])
	must(0, w.SetArtifactStates(t.Context(), j, map[string]string{files[2].ID: "finished"}))(t)
	w.golden(t, "artifacts", w.ask(t, "GET", at+"/artifacts", "", 200).text)
	for query, want := range map[string]int{"": 3, "?state=finished": 2, "?state=new": 1, "?path=b.txt": 1, "?path=*.txt": 2, "?path=out/*": 1, "?path=%5Ba-z%5D": 0, "?per_page=1": 1} {
		if got := get[[]struct{ ID string }](t, w, at+"/jobs/"+j.ID+"/artifacts"+query); len(got) != want {
			t.Errorf("%s: %d artifacts, want %d", query, len(got), want)
		}
	}
	w.ask(t, "GET", at+"/artifacts?state=odd", "", 422)
	one := main + "/jobs/" + j.ID + "/artifacts/"
	for id, want := range map[string]string{files[0].ID: w.url + "/artifacts/" + files[0].ID + "?signature=s", files[2].ID: "https://bucket.example.test/c"} {
		got := w.ask(t, "GET", one+id+"/download", "", http.StatusFound)
		if got.Header.Get("Location") != want || decode[struct{ URL string }](t, got.text).URL != want {
			t.Errorf("redirected to %s, want %s", got.Header.Get("Location"), want)
		}
	}
	w.ask(t, "GET", one+files[1].ID+"/download", "", 404)
	w.ask(t, "GET", one+"none", "", 404)
}

// keep records that an artifact's bytes arrived.
func (w *world) keep(t *testing.T, j store.Job, f store.Artifact) {
	t.Helper()
	must(w.ArtifactArrived(t.Context(), f.ID, "blobs/"+f.ID))(t)
	must(0, w.SetArtifactStates(t.Context(), j, map[string]string{f.ID: "finished"}))(t)
}

func TestADeletedArtifactIsListedAndGivenToNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.build(t, w.pipeline(t, "hello", "steps: [{command: a, key: a}]"))
	j := w.job(t, b, "a")
	f := must(w.CreateArtifacts(t.Context(), j, "batch", []store.Artifact{{Path: "a", SHA256: "sum", Size: 3}}))(t)[0]
	w.keep(t, j, f)
	one := main + "/pipelines/hello/builds/1/jobs/" + j.ID + "/artifacts/" + f.ID
	for range 2 {
		w.ask(t, "DELETE", one, "", http.StatusNoContent)
	}
	if got := get[struct{ State string }](t, w, one); got.State != "deleted" {
		t.Errorf("state %q, want deleted", got.State)
	}
	w.ask(t, "GET", one+"/download", "", 404)
	if dead := must(w.Store.DeadBlobs(t.Context(), 10))(t); len(dead) != 1 {
		t.Errorf("%d blobs are dead, want its own", len(dead))
	}
}

func TestAnnotations(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.build(t, w.pipeline(t, "hello", "steps: [{command: a, key: a}]"))
	at := main + "/pipelines/hello/builds/1/annotations"
	type view struct {
		ID, Context, Style, Scope string
		BodyHTML                  *string `json:"body_html"`
	}
	made := decode[view](t, w.ask(t, "POST", at, `{"body":"# Hi <script>alert(1)</script><b>x</b>","style":"info","context":"c"}`, 201).text)
	if made.Scope != "build" || !strings.Contains(*made.BodyHTML, "<b>x</b>") || strings.Contains(*made.BodyHTML, "script") {
		t.Errorf("%+v %s", made, *made.BodyHTML)
	}
	w.ask(t, "POST", main+"/jobs/"+w.job(t, b, "a").ID+"/annotations", `{"body":"of the job"}`, 201)
	for query, want := range map[string]int{"": 1, "?scope=job": 1, "?scope=all": 2} {
		if got := get[[]view](t, w, at+query); len(got) != want {
			t.Errorf("%s: %d annotations, want %d", query, len(got), want)
		}
	}
	if got := get[[]view](t, w, at+"?omit_body=true"); got[0].BodyHTML != nil {
		t.Errorf("body %q", *got[0].BodyHTML)
	}
	w.ask(t, "POST", at, `{"style":"info"}`, 422)
	w.ask(t, "POST", at, `{"body":"x","style":"odd"}`, 422)
	w.ask(t, "DELETE", at+"/"+made.ID, "", 204)
	w.ask(t, "DELETE", at+"/"+made.ID, "", 404)
}

func TestAgents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, at := w.agent(t, "a1"), main+"/agents"
	w.agent(t, "b1")
	type view struct {
		ID, Name, ConnectionState string
		Paused                    bool
		Note                      *string `json:"paused_note"`
		Timeout                   *int    `json:"paused_timeout_in_minutes"`
		Job                       *jobView
	}
	for query, want := range map[string]int{"": 2, "?name=A": 1, "?hostname=host-1": 2, "?version=9": 0, "?cluster_queue_id=x": 0, "?per_page=1&page=2": 1} {
		if got := get[[]view](t, w, at+query); len(got) != want {
			t.Errorf("%s: %d agents, want %d", query, len(got), want)
		}
	}
	w.ask(t, "PUT", at+"/"+a.ID+"/pause", `{"note":"disk","timeout_in_minutes":5}`, 204)
	if got := get[view](t, w, at+"/"+a.ID); !got.Paused || *got.Note != "disk" || *got.Timeout != 5 {
		t.Errorf("%+v", got)
	}
	refused := func(verb, body, want string) {
		t.Helper()
		if got := decode[errorBody](t, w.ask(t, "PUT", at+"/"+a.ID+verb, body, 422).text).Message; got != want {
			t.Errorf("%s: %q, want %q", verb, got, want)
		}
	}
	refused("/pause", "", "Agent is already paused")
	refused("/pause", `{"timeout_in_minutes":0}`, "Validation Failed")
	w.ask(t, "PUT", at+"/"+a.ID+"/resume", "", 204)
	refused("/resume", "", "Agent is not paused")
	w.ask(t, "PUT", at+"/"+a.ID+"/stop", `{"force":false}`, 204)
	must(0, w.DisconnectAgent(t.Context(), a.ID))(t)
	refused("/stop", "", "Can only stop connected agents")
	refused("/pause", "", "Only connected agents may be paused")
}

// A stopped agent's job is canceled, unless the agent may finish it first.
func TestStopIsForcedByDefault(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.build(t, w.pipeline(t, "hello", "steps: [{command: a, key: a}]"))
	a, j := w.agent(t, "a1"), w.job(t, b, "a")
	w.start(t, j, a)
	w.ask(t, "PUT", main+"/agents/"+a.ID+"/stop", "", 204)
	if got := get[jobView](t, w, main+"/jobs/"+j.ID); got.State != "canceling" {
		t.Errorf("the job is %s", got.State)
	}
}

func TestQueues(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cluster := get[[]struct{ ID string }](t, w, main+"/clusters")[0].ID
	at := main + "/clusters/" + cluster + "/queues"
	made := decode[struct{ ID, Key, Description string }](t, w.ask(t, "POST", at, `{"key":"gpu","description":"With GPUs"}`, 201).text)
	if got := get[struct{ Key string }](t, w, at+"/"+made.ID); got.Key != "gpu" {
		t.Errorf("%+v", got)
	}
	if got := get[[]struct{ Key string }](t, w, at); len(got) != 2 || got[0].Key != "default" {
		t.Errorf("%+v", got)
	}
	w.ask(t, "POST", at, `{"key":"gpu"}`, 422)
	w.ask(t, "GET", at+"/none", "", 404)
}

// Where a retried job goes is chosen for its queue; what is not given stays.
func TestTheRetryAgentAffinityOfAQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cluster := get[[]struct{ ID string }](t, w, main+"/clusters")[0].ID
	at := main + "/clusters/" + cluster + "/queues"
	type view struct {
		ID, Description string
		Affinity        string `json:"retry_agent_affinity"`
	}
	if got := decode[view](t, w.ask(t, "POST", at, `{"key":"a"}`, 201).text); got.Affinity != "prefer-warmest" {
		t.Errorf("%+v", got)
	}
	made := decode[view](t, w.ask(t, "POST", at, `{"key":"b","description":"B","retry_agent_affinity":"prefer-different"}`, 201).text)
	if made.Affinity != "prefer-different" {
		t.Errorf("%+v", made)
	}
	one := at + "/" + made.ID
	if got := decode[view](t, w.ask(t, "PUT", one, `{"description":"Bee"}`, 200).text); got.Description != "Bee" || got.Affinity != "prefer-different" {
		t.Errorf("%+v", got)
	}
	if got := decode[view](t, w.ask(t, "PATCH", one, `{"retry_agent_affinity":"prefer-warmest"}`, 200).text); got.Description != "Bee" || got.Affinity != "prefer-warmest" {
		t.Errorf("%+v", got)
	}
	for _, c := range [][2]string{{"POST", at}, {"PUT", one}, {"PATCH", one}} {
		for _, value := range []string{`"prefer-coldest"`, `""`} {
			got := w.ask(t, c[0], c[1], `{"key":"c","retry_agent_affinity":`+value+`}`, 422).text
			if !strings.Contains(got, "prefer-warmest") || !strings.Contains(got, "prefer-different") {
				t.Errorf("%s: %s", c[0], got)
			}
		}
	}
	if got := get[view](t, w, one); got.Affinity != "prefer-warmest" {
		t.Errorf("%+v", got)
	}
	w.ask(t, "PATCH", at+"/none", `{}`, 404)
}

// A paused queue keeps its jobs, says who paused it and why, and gives them out again.
func TestQueuesArePausedAndResumed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cluster := get[[]struct{ ID string }](t, w, main+"/clusters")[0].ID
	at := main + "/clusters/" + cluster + "/queues"
	id := get[[]struct{ ID string }](t, w, at)[0].ID
	type paused struct {
		On   bool                    `json:"dispatch_paused"`
		Note *string                 `json:"dispatch_paused_note"`
		By   *struct{ Email string } `json:"dispatch_paused_by"`
		At   *string                 `json:"dispatch_paused_at"`
	}
	got := decode[paused](t, w.ask(t, "POST", at+"/"+id+"/pause_dispatch", `{"dispatch_paused_note":"Moving machines"}`, 200).text)
	if !got.On || got.Note == nil || *got.Note != "Moving machines" || got.By == nil || got.At == nil {
		t.Errorf("%+v", got)
	}
	if got := get[[]paused](t, w, at)[0]; !got.On || got.By == nil {
		t.Errorf("%+v", got)
	}
	w.ask(t, "POST", at+"/"+id+"/pause_dispatch", `{"dispatch_paused_note":"`+strings.Repeat("x", 1001)+`"}`, 422)
	if got := decode[paused](t, w.ask(t, "POST", at+"/"+id+"/resume_dispatch", "", 200).text); got.On || got.Note != nil || got.By != nil || got.At != nil {
		t.Errorf("%+v", got)
	}
	w.ask(t, "POST", at+"/none/pause_dispatch", "", 404)
}

func TestRemainingPauseRoundsDownToAtLeastOneMinute(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.agent(t, "a1")
	must(0, w.PauseAgent(t.Context(), a.ID, "", w.Now().Add(2*time.Minute)))(t)
	w.advance(90 * time.Second)
	if got := get[struct {
		Timeout *int `json:"paused_timeout_in_minutes"`
	}](t, w, main+"/agents/"+a.ID); got.Timeout == nil || *got.Timeout != 1 {
		t.Errorf("%+v", got)
	}
}

func TestLinksOfAnnotationsLeadToArtifacts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.build(t, w.pipeline(t, "hello", "steps: [{command: a, key: a}]"))
	j := w.job(t, b, "a")
	var newest string
	for _, batch := range []string{"first", "second"} {
		f := must(w.CreateArtifacts(t.Context(), j, batch, []store.Artifact{{Path: "shots/a b.png", SHA256: "sum", Size: 3}}))(t)[0]
		w.keep(t, j, f)
		newest = f.ID
	}
	at := main + "/pipelines/hello/builds/1/annotations"
	want := `<p><img src="` + w.url + "/main/hello/builds/1/artifacts/" + newest + `" alt="it"> <a rel="nofollow noreferrer">none</a></p>`
	type view struct {
		BodyHTML string `json:"body_html"`
	}
	made := decode[view](t, w.ask(t, "POST", at, `{"body":"![it](<artifact://shots/a b.png>) [none](artifact://none)"}`, 201).text)
	if got := strings.TrimSpace(made.BodyHTML); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := get[[]view](t, w, at)[0]; got != made {
		t.Errorf("listed as %s", got.BodyHTML)
	}
}
