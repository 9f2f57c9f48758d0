package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

const edited = `steps:
  - label: ":hammer: build"
    key: build
    command: make
    agents: { queue: linux }
  - label: test
    command: make test
    parallelism: 3
    depends_on: build
  - group: docs
    key: docs
    depends_on: build
    steps:
      - { label: html, command: make html }
      - { label: links, command: make links, plugins: [ "docker" ] }
  - wait
  - block: Release?
  - trigger: deploy
`

func TestStepsAreCheckedAndSaved(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.signIn()
	p := s.pipeline("app", "steps: [{command: make}]")
	must(s.CreateQueue(t.Context(), engine.CreateQueue{ClusterID: p.ClusterID, Key: "linux"}))(t)
	for _, want := range []string{"Nothing is wrong", "steps: [{command: make}]", "no agent matches queue=default", "1 step, 1 job"} {
		s.shows("/main/app/settings", want)
	}

	page := s.post("/main/app/settings", url.Values{"do": {"check"}, "configuration": {edited}}, http.StatusOK)
	for _, want := range []string{"4 warnings", "line 15, column", "the plugin docker has no version", "<svg", "a person decides", "starts pipeline deploy"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q after a check", want)
		}
	}
	bad := "steps:\n  - command: make\n    agents: {queue: linus}\n    if: build.brunch == \"<b>\"\n"
	page = s.post("/main/app/settings", url.Values{"do": {"save"}, "configuration": {bad}}, http.StatusUnprocessableEntity)
	for _, want := range []string{"2 problems", "perhaps you meant `build.branch`?", "line 4, column 9", "did you mean linux?", "if: build.brunch == &#34;&lt;b&gt;&#34;"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q after saving what is wrong", want)
		}
	}
	if got := must(s.Store.PipelineByID(t.Context(), p.ID))(t).Configuration; got != "steps: [{command: make}]" {
		t.Errorf("what is wrong was saved: %s", got)
	}
	page = s.post("/main/app/settings", url.Values{"do": {"save"}, "configuration": {strings.ReplaceAll(edited, "\n", "\r\n")}}, http.StatusOK)
	if !strings.Contains(page, "Saved.") {
		t.Error("the page does not say that it is saved")
	}
	if got := must(s.Store.PipelineByID(t.Context(), p.ID))(t).Configuration; got != edited {
		t.Errorf("saved %q", got)
	}
}

func TestAStepThatNothingChangedForNamesWhatWasChanged(t *testing.T) {
	t.Parallel()
	got := changesText(&store.Changes{Base: "origin/main", Since: strings.Repeat("a", 40), Count: 3, Files: []string{"docs/a.txt", "b"}})
	if want := "3 files changed since origin/main (aaaaaaa)\ndocs/a.txt\nb\nand 1 more"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// While somebody types, the report keeps up.
func TestBrowserChecksStepsWhileTheyAreTyped(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.pipeline("app", edited)
	must(s.CreateQueue(t.Context(), engine.CreateQueue{ClusterID: p.ClusterID, Key: "linux"}))(t)
	b := newTab(t)
	b.signIn(s, 1440)
	b.do(chromedp.Navigate(s.url + "/main/app/settings"))
	b.until(`!!document.querySelector('#report .gr svg')`)
	eval[any](b, `(() => { const y = document.querySelector('#yaml'); y.value = 'steps:\n- comand: make\n'; y.dispatchEvent(new Event('input', {bubbles: true})) })()`)
	b.until(`document.querySelector('#found-t').textContent === '1 problem' && document.querySelector('#report .mark').textContent === '  ^'`)
	for _, width := range []int64{1440, 390, 320} {
		b.do(chromedp.EmulateViewport(width, 900), chromedp.Navigate(s.url+"/main/app/settings"))
		if scroll := eval[int64](b, `document.documentElement.scrollWidth`); scroll > width {
			t.Errorf("the editor is %d px wide in a window of %d", scroll, width)
		}
	}
	for _, c := range b.complaints("favicon") {
		t.Error(c)
	}
}
