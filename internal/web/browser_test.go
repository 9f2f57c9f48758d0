package web

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience is how long a browser may take for all that a test does, on a machine that is busy.
const patience = 5 * time.Minute

// tab is a browser's tab that collects what the browser complains of.
type tab struct {
	context.Context
	t    testing.TB
	mu   sync.Mutex
	said []string
}

func newTab(t testing.TB) *tab {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("these tests need Chromium: apt-get install chromium")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, chromedp.ExecPath(path), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.UserDataDir(t.TempDir()), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true))
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &tab{Context: ctx, t: t}
	b.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, log.Enable, cdp.Empty{})
		return errors.Join(err, chromedp.Listen(ctx, b.hear))
	}))
	return b
}

func (b *tab) hear(ev any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch ev := ev.(type) {
	case *log.EventEntryAdded:
		b.said = append(b.said, ev.Entry.Text+" "+ev.Entry.URL)
	case *runtime.EventExceptionThrown:
		b.said = append(b.said, fmt.Sprint(ev.ExceptionDetails.Text, " ", ev.ExceptionDetails.Exception.Description))
	}
}

// complaints are what the browser said but for what suits the filter.
func (b *tab) complaints(expected ...string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for _, s := range b.said {
		known := false
		for _, e := range expected {
			known = known || strings.Contains(s, e)
		}
		if !known {
			out = append(out, s)
		}
	}
	return out
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	for _, a := range actions {
		err := chromedp.Do(b, a)
		for gone(err) && b.Err() == nil {
			err = chromedp.Do(b, a)
		}
		if err != nil {
			b.t.Fatalf("browser: %v\n%s", err, strings.Join(b.complaints(), "\n"))
		}
	}
}

// gone says that the page replaced an element between the moment when it was found and the one when something was to be done with it, so
// that nothing was done.
func gone(err error) bool {
	e, ok := errors.AsType[*cdproto.Error](err)
	return ok && e.Message == "Could not find node with given id"
}

// signIn opens a window of a width and lets a site's owner in.
func (b *tab) signIn(s *site, width int64) {
	b.t.Helper()
	code := must(s.NewSignInLink(b.t.Context(), s.owner.ID, time.Now().Add(time.Hour)))(b.t)
	b.do(chromedp.EmulateViewport(width, 900), chromedp.Navigate(s.url+"/sign-in?code="+code), chromedp.Click("form button", chromedp.NodeVisible), chromedp.WaitVisible("#hd"))
}

// until waits until a script's value is true.
func (b *tab) until(script string) {
	b.t.Helper()
	if _, err := chromedp.Run(b, chromedp.Poll[bool](script, chromedp.WithPollingTimeout(patience))); err != nil {
		b.t.Fatalf("waiting for %s: %v\n%s", script, err, strings.Join(b.complaints(), "\n"))
	}
}

// eval returns a script's value.
func eval[T any](b *tab, script string) T {
	b.t.Helper()
	return must(chromedp.Run(b, chromedp.Evaluate[T](script)))(b.t)
}

// No page scrolls sideways, at any width down to 320 px, and none breaks the
// content policy.
func TestBrowserShowsEveryPageWhole(t *testing.T) {
	t.Parallel()
	p := newPages(t)
	srv := httptest.NewServer(fixtureServer(p))
	t.Cleanup(srv.Close)
	b := newTab(t)
	for _, width := range []int64{1440, 1024, 390, 320} {
		b.do(chromedp.EmulateViewport(width, 800))
		for _, f := range fixtures() {
			b.do(chromedp.Navigate(srv.URL + "/" + f.Name))
			if scroll := eval[int64](b, `document.documentElement.scrollWidth`); scroll > width {
				t.Errorf("%s is %d px wide in a window of %d", f.Name, scroll, width)
			}
		}
	}
	// The fixtures have no stream.
	for _, s := range b.complaints("/main/live", "favicon") {
		t.Error(s)
	}
}

// A million lines are a few dozen elements, and the last is where it should be.
func TestBrowserReadsAMillionLines(t *testing.T) {
	t.Parallel()
	p := newPages(t)
	srv := httptest.NewServer(fixtureServer(p))
	t.Cleanup(srv.Close)
	b := newTab(t)
	b.do(chromedp.EmulateViewport(1440, 900), chromedp.Navigate(srv.URL+"/build-long"))
	b.until(`document.querySelectorAll('.vbox > .ln').length > 10`)
	eval[any](b, `slipwayLog.goto(500000)`)
	b.until(`document.querySelector('#L500000 > span')?.textContent === 'Compiling unit 500000 of the workspace'`)
	eval[any](b, `slipwayLog.end()`)
	b.until(`document.querySelector('#L1000000')?.getBoundingClientRect().bottom <= innerHeight`)
	b.until(`document.querySelectorAll('.vbox > *').length < 80`)
	eval[any](b, `slipwayLog.to_(0)`)
	b.until(`!!document.querySelector('#L1')`)
}

// Somebody signs in by the printed link, opens the failed build at its first
// error, follows a running job, and the page keeps up with it.
func TestBrowserFollowsABuild(t *testing.T) {
	t.Parallel()
	s, build := seeded(t)
	b := newTab(t)
	b.signIn(s, 1440)
	b.do(chromedp.Navigate(s.url + "/main/test/builds/1"))
	b.until(`document.querySelector('.vbox #L7.er')?.textContent.includes('<script>alert(1)')`)
	lint := s.job(build, "lint")
	s.print(lint, 1, 0, "+++ first\none\n")
	b.do(chromedp.Navigate(s.url + "/main/test/builds/1/jobs/" + lint.ID))
	b.until(`document.querySelector('.vbox #L2')?.textContent.includes('one')`)
	s.print(lint, 2, 14, "two\nthree\n")
	b.until(`document.querySelector('.vbox #L4')?.textContent.includes('three')`)
	s.finish(lint, 0)
	b.until(fmt.Sprintf(`!!document.querySelector('#step-%s .g-passed') && !!document.querySelector('#jobhead .g-passed')`, lint.ID))
	b.until(`document.querySelector('[data-toggle=follow]').hidden`)
	for _, c := range b.complaints("favicon") {
		t.Error(c)
	}
}

func scriptsOff(ctx context.Context, _ *chromedp.Target) (chromedp.Void, error) {
	_, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	return chromedp.Void{}, err
}

// With scripts off, a log can be read, searched and paged by links.
func TestBrowserWithoutScript(t *testing.T) {
	t.Parallel()
	s, build := seeded(t)
	b := newTab(t)
	b.do(scriptsOff)
	b.signIn(s, 1440)
	b.do(chromedp.Navigate(s.url+"/main/test/builds/1/jobs/"+s.job(build, "unit").ID), chromedp.WaitVisible("#L7"))
	text := must(chromedp.Run(b, chromedp.Text("#L7")))(t)
	if !strings.Contains(text, "one test failed") {
		t.Errorf("line 7 reads %q", text)
	}
	b.do(chromedp.Click(`.bh-bar a[href$="/artifacts"]`), chromedp.WaitVisible(".empty"), chromedp.Click(`a.stop`), chromedp.WaitVisible(".formpage"), chromedp.Click(".btn.stop.pri"), chromedp.WaitVisible("#bh-meta"))
	if got := must(s.Store.Build(t.Context(), build.ID))(t).State; got != "canceling" && got != "canceled" {
		t.Errorf("the build is %s after its cancel form was sent", got)
	}
}
