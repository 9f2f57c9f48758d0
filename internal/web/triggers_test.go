package web

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/forge"
)

var deliverAddress = regexp.MustCompile(`https://ci\.test/deliver/(bkwh|bktr)_[A-Za-z0-9_-]{43}`)

func TestTriggersAreShownAndChanged(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.signIn()
	p := s.pipeline("app", "steps: [{command: make}]")
	must(s.Deliver(t.Context(), engine.Deliver{PipelineID: p.ID, Key: "1", Event: forge.Event{
		Kind: forge.Push, Name: "push", Branch: "<b>", Repositories: []string{p.Repository}, Message: "[skip ci]", Commit: strings.Repeat("1", 40),
	}}))(t)
	page := s.read(must(s.client.Get(s.url+"/main/app/triggers"))(t), http.StatusOK)
	for _, want := range []string{"says [skip ci]", "&lt;b&gt;", "None: deliveries are not signed."} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	first := deliverAddress.FindString(page)
	do := func(status int, fields ...string) string {
		t.Helper()
		form := url.Values{}
		for i := 0; i < len(fields); i += 2 {
			form.Set(fields[i], fields[i+1])
		}
		return s.post("/main/app/triggers", form, status)
	}
	if next := deliverAddress.FindString(do(http.StatusOK, "do", "address")); next == "" || next == first {
		t.Errorf("the address was %q and is %q", first, next)
	}
	if page = do(http.StatusOK, "do", "sign", "secret", "s3cret"); !strings.Contains(page, "One is set.") || strings.Contains(page, "s3cret") {
		t.Error("the secret is not set, or is shown")
	}
	if page = do(http.StatusOK, "do", "switch", "off", "1"); !strings.Contains(page, "Take deliveries") {
		t.Error("deliveries are not disabled")
	}
	page = do(http.StatusUnprocessableEntity, "do", "schedule", "label", "Often", "cronline", "* * * * *", "branch", "main")
	if !strings.Contains(page, "would come every 1 minutes") || !strings.Contains(page, `value="* * * * *"`) {
		t.Error("a schedule that comes too often is not refused with what was filled in")
	}
	page = do(http.StatusOK, "do", "schedule", "label", "Nightly", "cronline", "@daily", "branch", "main")
	id := regexp.MustCompile(`name="id" value="([^"]+)"`).FindStringSubmatch(page)
	if len(id) != 2 || !strings.Contains(page, "Nightly") {
		t.Fatal("the schedule is not there")
	}
	if page = do(http.StatusOK, "do", "schedule-switch", "off", "1", "id", id[1]); !strings.Contains(page, "Enable Nightly") {
		t.Error("the schedule is not disabled")
	}
	if page = do(http.StatusOK, "do", "schedule-delete", "id", id[1]); strings.Contains(page, "Nightly") {
		t.Error("the schedule is still there")
	}
	page = do(http.StatusOK, "do", "trigger", "label", "Alerts", "branch", "main")
	if !strings.Contains(page, "shown this once") || !strings.Contains(page, "/deliver/bktr_") {
		t.Error("the new address is not shown")
	}
	if page = s.read(must(s.client.Get(s.url+"/main/app/triggers"))(t), http.StatusOK); strings.Contains(page, "/deliver/bktr_") {
		t.Error("a trigger address is shown twice")
	}
	do(http.StatusBadRequest, "do", "nothing")
}

func TestBrowserShowsTriggersInAnyWidth(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.pipeline("app", "steps: [{command: make}]")
	for i, message := range []string{"Fix the parser", "Docs [skip ci]"} {
		must(s.Deliver(t.Context(), engine.Deliver{PipelineID: p.ID, Key: message, Event: forge.Event{
			Kind: forge.Push, Name: "push", Branch: strings.Repeat("a-long-branch/", i*5) + "main", Repositories: []string{p.Repository}, Message: message, Commit: strings.Repeat("1", 40),
		}}))(t)
	}
	b := newTab(t)
	b.signIn(s, 1440)
	b.do(chromedp.Navigate(s.url+"/main/app/triggers"), chromedp.SendKeys("#s-l", "Nightly"), chromedp.SendKeys("#s-c", "0 2 * * MON-FRI Europe/Berlin\r"), chromedp.WaitVisible(".rowacts"))
	b.do(chromedp.SendKeys("#t-l", "Alerts\r"), chromedp.WaitVisible(".note"))
	for _, width := range []int64{1440, 390, 320} {
		b.do(chromedp.EmulateViewport(width, 900), chromedp.Navigate(s.url+"/main/app/triggers"))
		if scroll := eval[int64](b, `document.documentElement.scrollWidth`); scroll > width {
			t.Errorf("the page is %d px wide in a window of %d", scroll, width)
		}
	}
	for _, c := range b.complaints("favicon") {
		t.Error(c)
	}
}
