package restapi_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type pipelineView struct {
	Slug, Name, Configuration, Repository, Description string
	Steps                                              []map[string]any
	Tags                                               []string
	SkipQueued                                         bool           `json:"skip_queued_branch_builds"`
	Timeout                                            *int           `json:"default_command_step_timeout"`
	ArchivedAt                                         *string        `json:"archived_at"`
	Env                                                map[string]any `json:"env"`
	Provider                                           struct {
		ID       string
		Settings map[string]any
	}
}

func TestPipelineLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	created := decode[pipelineView](t, w.ask(t, "POST", main+"/pipelines/", `{"name":"My App","repository":"https://github.com/o/r.git",
		"configuration":"steps: [{command: make, label: Make}]","tags":["a"],"default_command_step_timeout":7,"provider_settings":{"trigger_mode":"code"},"odd":{}}`, 201).text)
	if created.Slug != "my-app" || *created.Timeout != 7 || created.Provider.ID != "github" || created.Provider.Settings["trigger_mode"] != "code" {
		t.Errorf("created %+v", created)
	}
	if len(created.Steps) != 1 || created.Steps[0]["command"] != "make" || created.Steps[0]["type"] != "script" {
		t.Errorf("steps %v", created.Steps)
	}
	changed := decode[pipelineView](t, w.ask(t, "PATCH", main+"/pipelines/my-app",
		`{"name":"Your App","skip_queued_branch_builds":true,"default_command_step_timeout":null}`, 200).text)
	if changed.Slug != "your-app" || !changed.SkipQueued || changed.Timeout != nil || changed.Configuration != created.Configuration || changed.Tags[0] != "a" {
		t.Errorf("changed %+v", changed)
	}
	if archived := decode[pipelineView](t, w.ask(t, "POST", main+"/pipelines/your-app/archive", "", 200).text); archived.ArchivedAt == nil {
		t.Error("not archived")
	}
	w.ask(t, "POST", main+"/pipelines/your-app/builds", `{"commit":"HEAD","branch":"main"}`, 422)
	if back := decode[pipelineView](t, w.ask(t, "POST", main+"/pipelines/your-app/unarchive", "", 200).text); back.ArchivedAt != nil {
		t.Error("still archived")
	}
}

func TestPipelineWithoutConfigurationReadsItsRepository(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	got := decode[pipelineView](t, w.ask(t, "POST", main+"/pipelines", `{"name":"x","repository":"/srv/x.git"}`, 201).text)
	if got.Configuration != "" || got.Steps[0]["command"] != "buildkite-agent pipeline upload" {
		t.Errorf("%+v", got)
	}
	b := decode[buildView](t, w.ask(t, "POST", main+"/pipelines/x/builds", `{"commit":"HEAD","branch":"main"}`, 201).text)
	if b.State != "creating" || b.Commit != "HEAD" {
		t.Errorf("%+v", b)
	}
}

// Steps as the visual editor's clients send them run as the configuration that they amount to.
func TestVisualStepsAreConverted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	body := `{"name":"v","repository":"r","env":{"A":1},"steps":[
		{"type":"script","name":"Test","command":"make \"x\"","artifact_paths":"out/*","env":{"B":"c"},"timeout_in_minutes":5,
		 "agent_query_rules":["os=linux"],"concurrency":1,"parallelism":2,"branch_configuration":"main","plugins":{"docker#v1":{"image":"x"}}},
		{"type":"waiter"}, {"type":"manual","label":"Go?"},
		{"type":"script","command":"ship"}]}`
	got := decode[pipelineView](t, w.ask(t, "POST", main+"/pipelines", body, 201).text)
	if got.Configuration != "" || len(got.Steps) != 4 || got.Steps[0]["name"] != "Test" || got.Env["A"] != "1" {
		t.Errorf("steps are not read back: %+v", got)
	}
	want := `env:
  A: "1"
steps:
- label: Test
  command: make "x"
  artifact_paths: out/*
  env:
    B: c
  timeout_in_minutes: 5
  agents:
  - os=linux
  concurrency: 1
  concurrency_group: v/1
  parallelism: 2
  plugins:
    "docker#v1":
      image: x
  branches: main
- wait: null
- block: Go?
- command: ship
`
	pl := must(w.Store.Pipeline(t.Context(), w.org.ID, "v"))(t)
	if diff := cmp.Diff(want, pl.Configuration); diff != "" {
		t.Error(diff)
	}
	b := decode[buildView](t, w.ask(t, "POST", main+"/pipelines/v/builds", `{"commit":"HEAD","branch":"main"}`, 201).text)
	if len(b.Jobs) != 5 || *b.Jobs[0].ParallelTotal != 2 || b.Jobs[0].Command != `make "x"` {
		t.Errorf("jobs %+v", b.Jobs)
	}
	w.ask(t, "PATCH", main+"/pipelines/v", `{"steps":[{"type":"script","command":"other"}]}`, 200)
	if pl = must(w.Store.Pipeline(t.Context(), w.org.ID, "v"))(t); !strings.Contains(pl.Configuration, "command: other") {
		t.Errorf("configuration %q", pl.Configuration)
	}
	yaml := decode[pipelineView](t, w.ask(t, "PATCH", main+"/pipelines/v", `{"configuration":"steps: [{command: x}]"}`, http.StatusOK).text)
	if yaml.Configuration == "" || yaml.Steps[0]["command"] != "x" {
		t.Errorf("a configuration does not take the place of the steps: %+v", yaml)
	}
}

func TestPipelinesAreFiltered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"alpha", "Alphabet", "100%", "beta_1"} {
		w.pipeline(t, name, "")
	}
	for query, want := range map[string]string{
		"name=ALPHA": "alpha alphabet", "name=%25": "100", "name=_": "beta-1", "repository=bet": "alphabet beta-1", "name=zzz": "",
	} {
		var slugs []string
		for _, p := range get[[]pipelineView](t, w, main+"/pipelines?"+query) {
			slugs = append(slugs, p.Slug)
		}
		if got := strings.Join(slugs, " "); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
}

func TestPipelinesAreCheckedBeforeTheyRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	got := decode[struct {
		OK       bool
		Problems []struct {
			Message string
			At      struct{ Line, Column int }
		}
		Needs []struct {
			Queue   string
			Service struct{ Known bool }
		}
		Steps []struct{ Name string }
	}](t, w.ask(t, "POST", main+"/check-pipeline", `{"configuration":"steps:\n- command: make\n- comand: x","file":"p.yml"}`, 200).text)
	if got.OK || len(got.Problems) != 1 || got.Problems[0].At.Line != 3 {
		t.Errorf("a bad document: %+v", got)
	}
	w.ask(t, "POST", main+"/pipelines", `{"name":"hello","repository":"r"}`, 201)
	fine := w.ask(t, "POST", main+"/check-pipeline", `{"configuration":"steps:\n- command: make","pipeline":"hello","editor":true}`, 200).text
	if !strings.Contains(fine, `"ok":true`) || !strings.Contains(fine, `"known":true`) || !strings.Contains(fine, `"name":"make"`) {
		t.Errorf("a good document: %s", fine)
	}
	w.ask(t, "POST", main+"/check-pipeline", `{"configuration":"","pipeline":"none"}`, 404)
}

func TestASavedConfigurationIsAnsweredWithItsWarnings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agent(t, "a1")
	type view struct{ Warnings []string }
	want := "configuration:1:9: a wants queue=mac, which does not exist; the queues are: default"
	for _, call := range []struct{ method, path, configuration string }{
		{"POST", "/pipelines", "steps: [{command: a, key: a, agents: {queue: mac}}]"},
		{"PATCH", "/pipelines/p", "steps: [{command: a, key: a, agents: {queue: mac}}, wait]"},
	} {
		body, _ := json.Marshal(map[string]string{"name": "p", "repository": "r", "configuration": call.configuration})
		answer := w.ask(t, call.method, main+call.path, string(body), map[string]int{"POST": 201, "PATCH": 200}[call.method]).text
		if got := decode[view](t, answer).Warnings; len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q", call.method, got)
		}
	}
	for _, body := range []string{`{"description":"x"}`, `{"configuration":"steps: [{command: a}]"}`} {
		if got := decode[view](t, w.ask(t, "PATCH", main+"/pipelines/p", body, 200).text).Warnings; got != nil {
			t.Errorf("%s: %q", body, got)
		}
	}
	if got := get[view](t, w, main+"/pipelines/p").Warnings; got != nil {
		t.Errorf("read with %q", got)
	}
}

func TestABuildSaysForWhichStepsNoAgentIsThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pl := w.pipeline(t, "p", "steps: [{command: a, key: a}]")
	b := w.build(t, pl)
	const warning = "configuration:1:9: a waits until there is an agent for it: no agent matches queue=default"
	type view struct {
		Warnings []string
		Unserved []struct {
			StepID  string `json:"step_id"`
			Warning string
			Passed  bool
		}
	}
	at := main + "/pipelines/p/builds/1"
	got := get[view](t, w, at)
	if len(got.Warnings) != 1 || got.Warnings[0] != warning || len(got.Unserved) != 1 || got.Unserved[0].Passed || got.Unserved[0].StepID != w.job(t, b, "a").StepID {
		t.Errorf("%+v", got)
	}
	w.agent(t, "a1")
	if got = get[view](t, w, at); got.Warnings != nil || len(got.Unserved) != 1 || !got.Unserved[0].Passed || got.Unserved[0].Warning != warning {
		t.Errorf("with an agent: %+v", got)
	}
}
