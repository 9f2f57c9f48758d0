package web

import (
	"html"
	"net/url"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

const leading = `steps:
- input: What to release
  key: ask
  fields:
  - {text: Version, key: version, format: '[0-9.]+', hint: As in 1.2}
  - {select: Ring, key: ring, options: [{label: Canary, value: canary}, {label: All, value: all}]}
  - {select: Regions, key: regions, multiple: true, required: false, default: [eu], options: [{label: Europe, value: eu}, {label: America, value: us}]}
- {command: x, key: x, depends_on: ask}
`

func TestP177_ALeadingStepsFieldsAreAskedForWithTheBuild(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.signIn()
	s.pipeline("release", leading)
	field := "meta_data[version]"
	for _, path := range []string{"/main/release", "/main/release/builds/new"} {
		body := s.get(path+"?message=Hi&meta_data[version]=7.1&meta_data[regions]=eu,us", 200)
		for _, want := range []string{`name="` + field + `"`, "7.1</textarea>", `type="radio" name="meta_data[ring]"`, "As in 1.2", `value="eu" checked`, `value="us" checked`, `value="Hi"`} {
			if !strings.Contains(body, want) {
				t.Errorf("the form of %s has no %s", path, want)
			}
		}
	}
	form := url.Values{"branch": {"main"}, "commit": {"HEAD"}, "message": {"Go"}, field: {"seven"}, "meta_data[ring]": {"all"}, "meta_data[regions]": {""}}
	if body := html.UnescapeString(s.post("/main/release/builds", form, 422)); !strings.Contains(body, "must match [0-9.]+") || !strings.Contains(body, "seven</textarea>") {
		t.Error("an answer that is refused is not explained beside what was typed")
	}
	form.Set(field, "7.1")
	s.post("/main/release/builds", form, 200)
	pl := must(s.Store.Pipeline(t.Context(), must(s.Store.Organization(t.Context(), "main"))(t).ID, "release"))(t)
	b := must(s.Store.BuildByNumber(t.Context(), pl.ID, 1))(t)
	for key, want := range map[string]string{"version": "7.1", "ring": "all", "regions": ""} {
		if got, err := s.Store.MetaData(t.Context(), b.ID, key); err != nil || got != want {
			t.Errorf("%s is %q, want %q: %v", key, got, want, err)
		}
	}
	if got := s.job(b, "x").State; got != "scheduled" {
		t.Errorf("the job behind the answered step is %s", got)
	}
	other := must(s.CreateBuild(t.Context(), engine.CreateBuild{PipelineID: pl.ID, Source: "api"}))(t)
	if got := s.job(other, "ask").State; got != "blocked" {
		t.Errorf("a build that was made without answers has its step %s", got)
	}
}

func TestP275_ShortcodesConvertInHeadersAndLabelsOnly(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.signIn()
	b := s.build(s.pipeline("emoji", "steps:\n- {command: x, key: x, label: ':tada: party :nothing:'}\n"))
	j := s.job(b, "x")
	s.start(j)
	s.print(j, 1, 0, "--- :bug: header\n--- :rust:\na line with :bug: in it\n")
	s.finish(j, 1)
	body := s.get("/main/emoji/builds/1/jobs/"+j.ID, 200)
	for _, want := range []string{"\U0001F389 party nothing", "\U0001F41B header", `aria-label="rust"`, "a line with :bug: in it"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

func TestAnnotationsShowArtifactsAndComeByPriority(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.signIn()
	b := s.build(s.pipeline("notes", "steps:\n- {command: x, key: x}\n"))
	j := s.job(b, "x")
	s.start(j)
	a := must(s.CreateArtifacts(t.Context(), j, "batch", []store.Artifact{{Path: "shots/main page.png", SHA256: strings.Repeat("0", 64)}}))(t)[0]
	must(s.ArtifactArrived(t.Context(), a.ID, "blob"))(t)
	must(0, s.SetArtifactStates(t.Context(), j, map[string]string{a.ID: "finished"}))(t)
	must(s.Annotate(t.Context(), engine.Annotate{BuildID: b.ID, Context: "low", Body: "lowest of all", Priority: 1, Style: "error"}))(t)
	must(s.Annotate(t.Context(), engine.Annotate{BuildID: b.ID, Context: "high", Body: "# :tada: :rocket: Shot\n\n![it](<artifact://shots/main page.png>)", Priority: 10}))(t)
	must(s.Annotate(t.Context(), engine.Annotate{BuildID: b.ID, JobID: j.ID, Context: "high", Body: "of the job"}))(t)
	body := s.get("/main/notes/builds/1", 200)
	at := func(text string) int { return strings.Index(body, text) }
	if img := `<img src="/main/notes/builds/1/artifacts/` + a.ID + `" alt="it">`; at(img) < 0 {
		t.Errorf("no %s on the page", img)
	}
	if high, job, low := at("\U0001F389 \U0001F680 Shot</h1>"), at("of the job"), at("lowest of all"); high < 0 || high > job || job > low {
		t.Errorf("the annotations stand at %d, %d and %d", high, job, low)
	}
}
