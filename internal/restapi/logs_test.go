package restapi_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/joblog"
)

func TestLogForms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.build(t, w.pipeline(t, "hello", "steps: [{command: a, key: a}]"))
	j, at := w.job(t, b, "a"), main+"/pipelines/hello/builds/1/jobs/"
	at += j.ID + "/log"
	w.ask(t, "HEAD", at, "", http.StatusNotFound)
	w.start(t, j, w.agent(t, "a1"))
	if got := w.call(t, apiToken, "GET", at+".txt", "", "Range", "bytes=-5"); got.StatusCode != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("range of an empty log: status %d", got.StatusCode)
	}
	text := "\x1b_bk;t=1700000000123\x07~~~ Preparing\n\"q\" \x1b[31mréd\x1b[0m <b>\n"
	w.print(t, j, 1, 0, text[:40])
	w.print(t, j, 2, 40, text[40:])
	for accept, want := range map[string]string{"": "application/json; charset=utf-8", "text/plain": "text/plain; charset=utf-8", "text/html": "text/html; charset=utf-8"} {
		if got := w.call(t, apiToken, "GET", at, "", "Accept", accept).Header.Get("Content-Type"); got != want {
			t.Errorf("Accept %q: %s", accept, got)
		}
	}
	log := get[struct {
		URL, Content string
		Size         int64
		HeaderTimes  []int64 `json:"header_times"`
	}](t, w, at)
	if log.URL != w.url+at || log.Content != text || log.Size != int64(len(text)) || len(log.HeaderTimes) != 1 || log.HeaderTimes[0] != 1700000000123e6 {
		t.Errorf("%+v", log)
	}
	head := w.ask(t, "HEAD", at, "", 200)
	if head.ContentLength != int64(len(text)) || head.Header.Get("Accept-Ranges") != "bytes" {
		t.Errorf("HEAD: %v", head.Header)
	}
	if got := w.ask(t, "GET", at+".html", "", 200); !strings.Contains(got.text, "&lt;b&gt;") || strings.Contains(got.text, "bk;t=") {
		t.Errorf("HTML: %q", got.text)
	}
	ranges(t, w, at, text)
}

func ranges(t *testing.T, w *world, at, text string) {
	t.Helper()
	tail := w.call(t, apiToken, "GET", at, "", "Accept", "text/plain", "Range", "bytes=-5")
	if tail.StatusCode != http.StatusPartialContent || tail.text != text[len(text)-5:] || tail.Header.Get("Content-Range") != "bytes 52-56/57" {
		t.Errorf("tail: %d %q %v", tail.StatusCode, tail.text, tail.Header)
	}
	if all := w.call(t, apiToken, "GET", at+".txt", "", "Range", "bytes=-999"); all.text != text || all.StatusCode != 206 {
		t.Errorf("longer than the log: %d %q", all.StatusCode, all.text)
	}
	for _, bad := range []string{"bytes=0-4", "bytes=5-", "lines=-5", "bytes=-0"} {
		if got := w.call(t, apiToken, "GET", at+".txt", "", "Range", bad); got.StatusCode != http.StatusBadRequest {
			t.Errorf("Range %s: status %d", bad, got.StatusCode)
		}
	}
	if got := w.ask(t, "GET", at+".txt?offset=50", "", 200); got.text != text[50:] || got.ContentLength != int64(len(text)-50) {
		t.Errorf("from an offset: %q", got.text)
	}
	if got := w.ask(t, "GET", at+".txt?offset=5000", "", 200); got.text != "" {
		t.Errorf("past the end: %q", got.text)
	}
	w.ask(t, "GET", at+".txt?offset=-1", "", 400)
}

// A log larger than any buffer comes whole, also where a character lies across two reads.
func TestLongLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.build(t, w.pipeline(t, "hello", "steps: [{command: a, key: a}]"))
	j := w.job(t, b, "a")
	text := strings.Repeat("aé€😀\xff\n", 30_000)
	w.print(t, j, 1, 0, text)
	got := get[struct{ Content string }](t, w, main+"/jobs/"+j.ID+"/log")
	if want := strings.ToValidUTF8(text, "\uFFFD"); got.Content != want {
		t.Errorf("%d bytes came of %d", len(got.Content), len(want))
	}
	if raw := w.ask(t, "GET", main+"/jobs/"+j.ID+"/log.txt", "", 200); raw.text != text {
		t.Errorf("%d bytes came of %d", len(raw.text), len(text))
	}
}

func TestDeleteLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.build(t, w.pipeline(t, "hello", "steps: [{command: a, key: a}]"))
	j := w.job(t, b, "a")
	w.print(t, j, 1, 0, "x\n")
	w.ask(t, "DELETE", main+"/jobs/"+j.ID+"/log", "", 422)
	w.run(t, j, w.agent(t, "a1"), 0)
	w.ask(t, "DELETE", main+"/jobs/"+j.ID+"/log", "", 204)
	for _, form := range []string{"", ".txt", ".html"} {
		if got := w.ask(t, "GET", main+"/jobs/"+j.ID+"/log"+form, "", 404); !strings.Contains(got.text, "deleted the log on 23 November 2026 at 12:00 UTC.") {
			t.Errorf("log%s: %s", form, got.text)
		}
	}
	w.ask(t, "HEAD", main+"/jobs/"+j.ID+"/log", "", 404)
	w.ask(t, "DELETE", main+"/jobs/"+j.ID+"/log", "", 204)
	if _, err := w.logs.Size(t.Context(), j.ID); err == nil || !strings.Contains(err.Error(), joblog.ErrNotFound.Error()) {
		t.Errorf("the log is still there: %v", err)
	}
}

// TestP274_ALogIsBoundedAndSoIsWhatIsShownOfIt says where it was cut and what is not shown.
func TestP274_ALogIsBoundedAndSoIsWhatIsShownOfIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	j := w.job(t, w.build(t, w.pipeline(t, "hello", "steps: [{command: a, key: a}]")), "a")
	line := strings.Repeat("x", 99) + "\n"
	piece := strings.Repeat(line, 10_000)
	for n := range int64(5) {
		w.print(t, j, n+1, n*int64(len(piece)), piece)
	}
	w.print(t, j, 6, 5*int64(len(piece)), "the end\n")
	html := w.ask(t, "GET", main+"/jobs/"+j.ID+"/log.html", "", 200).text
	first, rest, _ := strings.Cut(html, "\n")
	if shown := len(rest); shown > 2<<20 || shown < 1<<20 || !strings.HasSuffix(rest, "\nthe end\n") {
		t.Errorf("%d bytes are rendered of %d, ending with %q", shown, 5*len(piece), rest[max(0, len(rest)-20):])
	}
	if want := fmt.Sprintf("[slipway: %d lines stand before; the whole log is to be had as text]", 50_001-strings.Count(rest, "\n")); !strings.Contains(first, want) {
		t.Errorf("the first line is %q, want %q", first, want)
	}
	over := w.append(j, 7, 1<<30, "too much")
	if limit, ok := errors.AsType[*joblog.LimitError](over); !ok || limit.Limit != 1<<30 {
		t.Errorf("text beyond the limit: %v", over)
	}
	w.print(t, j, 7, 5*int64(len(piece))+8, "more\n")
	w.run(t, j, w.agent(t, "a1"), 0)
	if err := w.logs.Finish(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	raw := w.ask(t, "GET", main+"/jobs/"+j.ID+"/log.txt", "", 200).text
	if !strings.HasSuffix(raw, "more\n\r\n[slipway: the log has reached its limit of 1073741824 bytes; what follows was not kept]\r\n") {
		t.Errorf("the log ends with %q", raw[len(raw)-150:])
	}
}
