package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/joblog"
	"github.com/slipway-ci/slipway/internal/joblog/lines"
	"github.com/slipway-ci/slipway/internal/store"
)

// Bounds of what is read of a log at a time, in lines.
const (
	firstScreen = 200
	wrapScreen  = 1000
	maxRange    = 2000
	maxHits     = 5000
	searchTerm  = time.Second // after which a search says what it has found so far
)

// logPane reads the part of a log that the address asks for: from a line on,
// or round the first error, or the end of a running job, or the start.
func (q *request) logPane(b *buildView, j store.JobLine, label string) (*LogPane, error) {
	v := q.r.URL.Query()
	pane := &LogPane{
		Base: b.jobPath(j.ID), Label: label, Live: j.FinishedAt.IsZero(), Started: j.StartedAt, Now: q.now, Zone: q.now.Format("MST"),
		Query: v.Get("q"), Stamps: v.Get("ts") == "1", Wrap: v.Get("wrap") == "1",
	}
	total, err := q.Logs.Size(q.ctx, j.ID)
	if errors.Is(err, joblog.ErrNotFound) {
		pane.Gone, err = q.whyGone(j.ID)
		return pane, err
	}
	if err != nil {
		return nil, fmt.Errorf("log of job %s: %w", j.ID, err)
	}
	outline, err := q.outline(j.ID)
	if err != nil {
		return nil, fmt.Errorf("outline of job %s: %w", j.ID, err)
	}
	pane.Total, pane.Bytes = int(total.Lines), total.Text
	pane.Groups = q.pages.marks.groupsOf(outline, pane.Total, pane.Live, j.FinishedAt, q.now)
	if len(outline.Errors) > 0 && !endedWell(b.facts(j).Look()) {
		pane.ErrorLine = int(outline.Errors[0]) + 1
	}
	if pane.Query != "" {
		if err := q.hits(pane, j.ID, 0); err != nil {
			return nil, err
		}
	}
	from := pane.start(v)
	if at, ok := clock(v.Get("line"), j.StartedAt.In(q.now.Location())); ok {
		if from, err = q.lineAt(j.ID, at, pane.Total); err != nil {
			return nil, err
		}
	}
	return pane, q.window(pane, j.ID, from)
}

// clock reads a time of day as one after a log's start: 14:08, 14:08:21 or 14:08:21.5.
func clock(s string, start time.Time) (time.Time, bool) {
	for _, layout := range []string{"15:04", "15:04:05"} {
		t, err := time.Parse(layout, strings.TrimSpace(s))
		if err != nil {
			continue
		}
		y, m, d := start.Date()
		at := time.Date(y, m, d, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), start.Location())
		if at.Before(start.Truncate(time.Minute)) {
			at = at.AddDate(0, 0, 1)
		}
		return at, true
	}
	return time.Time{}, false
}

// lineAt is the number of the first line printed at a time or after it, or of the last of all.
func (q *request) lineAt(jobID string, at time.Time, total int) (int, error) {
	n, err := q.Logs.LineAt(q.ctx, jobID, at.UnixMilli())
	if err != nil {
		return 0, fmt.Errorf("log of job %s: %w", jobID, err)
	}
	return max(1, min(int(n)+1, total)), nil
}

// logLineAt tells the viewer which line was the first at a time, in Unix milliseconds.
func logLineAt(q *request) error {
	j, err := q.jobRef()
	if err != nil {
		return err
	}
	ms, err := strconv.ParseInt(q.r.FormValue("ms"), 10, 64)
	if err != nil {
		return &problem{status: http.StatusBadRequest, title: "ms is a time in milliseconds"}
	}
	size, err := q.Logs.Size(q.ctx, j.ID)
	if err != nil {
		return err
	}
	line, err := q.lineAt(j.ID, time.UnixMilli(ms), int(size.Lines))
	if err != nil {
		return err
	}
	q.w.Header().Set("Content-Type", "application/json")
	return q.send(http.StatusOK, func(w io.Writer) error { return json.NewEncoder(w).Encode(map[string]int{"line": line}) })
}

// outline is the structure of a log, with the times that its agent told apart from it where it has none itself.
func (q *request) outline(jobID string) (joblog.Outline, error) {
	o, err := q.Logs.Outline(q.ctx, jobID)
	if err != nil || len(o.Groups) == 0 || slices.ContainsFunc(o.Groups, func(g lines.Group) bool { return g.Time > 0 }) {
		return o, err
	}
	times, err := q.Store.HeaderTimes(q.ctx, jobID)
	o.Groups = slices.Clone(o.Groups)
	for k := range o.Groups {
		if at, ok := times[k]; ok {
			o.Groups[k].Time = at.UnixMilli()
		}
	}
	return o, err
}

// whyGone says why a job that has ended has no log any more.
func (q *request) whyGone(jobID string) (string, error) {
	l, err := q.Store.JobLog(q.ctx, jobID)
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	return l.Note, err
}

// start is the number of the first line to render.
func (l *LogPane) start(v url.Values) int {
	for _, key := range []string{"from", "line"} {
		if n, err := strconv.Atoi(v.Get(key)); err == nil && n > 0 {
			return min(n, max(1, l.Total))
		}
	}
	switch {
	case l.Query != "" && len(l.Hits) > 0:
		return max(1, l.Hits[0]-10)
	case l.ErrorLine > 0:
		return max(1, l.ErrorLine-30)
	case l.Live:
		return max(1, l.Total-firstScreen+1)
	}
	return 1
}

func (q *request) window(pane *LogPane, jobID string, from int) error {
	count := firstScreen
	if pane.Wrap {
		count = wrapScreen
	}
	w, err := q.Logs.Window(q.ctx, jobID, int64(from-1), count)
	if err != nil {
		return fmt.Errorf("log of job %s: %w", jobID, err)
	}
	list := logLinesOf(w.Lines, q.now.Location())
	pane.First = from
	pane.Blocks = groupLines(list, pane.Groups)
	if n := len(list); n > 0 && list[n-1].At.After(pane.Last) {
		pane.Last = list[n-1].At
	}
	if from > 1 {
		pane.Prev = pane.at(max(1, from-count))
	}
	if last := from + len(list); last <= pane.Total && len(list) > 0 {
		pane.Next = pane.at(last)
	}
	return nil
}

// at is the address of the same view from another line on.
func (l *LogPane) at(from int) string {
	v := url.Values{"from": {strconv.Itoa(from)}}
	if l.Stamps {
		v.Set("ts", "1")
	}
	if l.Wrap {
		v.Set("wrap", "1")
	}
	if l.Query != "" {
		v.Set("q", l.Query)
	}
	return l.Base + "?" + v.Encode()
}

// hits finds the lines from line from on that match the query, as many as it can in searchTerm. What is wrong with a query the pane says.
func (q *request) hits(pane *LogPane, jobID string, from int64) error {
	query, err := lines.ParseQuery(pane.Query)
	if err != nil {
		pane.Problem = err.Error()
		return nil
	}
	found, err := q.Logs.Search(q.ctx, jobID, query, from, maxHits, searchTerm)
	if errors.Is(err, joblog.ErrNotFound) {
		return nil
	}
	for _, n := range found.Lines {
		pane.Hits = append(pane.Hits, int(n)+1)
	}
	pane.HitsNext = int(found.Next) + 1
	return err
}

func logLinesOf(list []lines.Line, zone *time.Location) []LogLine {
	out := make([]LogLine, 0, len(list))
	for _, l := range list {
		line := LogLine{No: int(l.Number) + 1, HTML: template.HTML(l.HTML)} // package lines escapes all text
		if l.Time > 0 {
			line.At = time.UnixMilli(l.Time).In(zone)
		}
		if l.Kind == lines.Error {
			line.Class = "er"
		}
		if l.Cut {
			line.HTML += template.HTML(fmt.Sprintf(`<span class="term-fg2"> … %s in all, see the raw log</span>`, size(int64(l.Length))))
		}
		out = append(out, line)
	}
	return out
}

// groupsOf numbers the groups of a log from 1 and gives each its end.
func (m marks) groupsOf(o joblog.Outline, total int, growing bool, finished, now time.Time) []LogGroup {
	out := make([]LogGroup, 0, len(o.Groups))
	for k, g := range o.Groups {
		last := k+1 == len(o.Groups)
		lg := LogGroup{
			Start: int(g.Line) + 1, End: total, Title: m.heading(g.Name), Open: g.Open,
			Muted: g.Kind == lines.Muted, Errors: g.Errors, Live: last && growing,
		}
		end := finished
		if !last {
			lg.End = int(o.Groups[k+1].Line)
			end = millis(o.Groups[k+1].Time)
		}
		if g.Time > 0 && (!end.IsZero() || growing && last) {
			lg.Took = Span{Start: millis(g.Time), End: end, Now: now}
		}
		out = append(out, lg)
	}
	return out
}

func millis(ms int64) time.Time {
	if ms <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// jobRef finds the job of a log's address without reading its whole build.
func (q *request) jobRef() (store.Job, error) {
	p, err := q.pipeline()
	if err != nil {
		return store.Job{}, err
	}
	j, err := q.Store.Job(q.ctx, q.r.PathValue("job"))
	if err == nil && j.PipelineID != p.ID {
		err = store.ErrNotFound
	}
	if err != nil {
		return j, err
	}
	b, err := q.Store.Build(q.ctx, j.BuildID)
	if err == nil && strconv.FormatInt(b.Number, 10) != q.r.PathValue("number") {
		err = store.ErrNotFound
	}
	return j, err
}

// logLines sends a rendered range: one element a line, a line of text each. A
// range whose lines cannot change any more is kept by browsers for good.
func logLines(q *request) error {
	j, err := q.jobRef()
	if err != nil {
		return err
	}
	from, count, err := q.lineRange()
	if err != nil {
		return err
	}
	w, err := q.Logs.Window(q.ctx, j.ID, int64(from-1), count)
	if err != nil {
		return err
	}
	outline, err := q.outline(j.ID)
	if err != nil {
		return err
	}
	list := withHeads(logLinesOf(w.Lines, q.now.Location()), q.pages.marks.groupsOf(outline, int(w.Size.Lines), j.FinishedAt.IsZero(), j.FinishedAt, q.now))
	h := q.w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "private, no-cache")
	if w.Finished && len(list) > 0 {
		h.Set("Cache-Control", "private, max-age=31536000, immutable")
	}
	return q.send(http.StatusOK, func(out io.Writer) error {
		_, err := out.Write(q.pages.marks.writeLines(list))
		return err
	})
}

func (q *request) lineRange() (from, count int, err error) {
	from, err = strconv.Atoi(q.r.FormValue("from"))
	if err == nil {
		count, err = strconv.Atoi(q.r.FormValue("count"))
	}
	if err != nil || from < 1 || count < 1 || count > maxRange {
		return 0, 0, &problem{status: 400, title: fmt.Sprintf("from is a line's number, count is 1 to %d", maxRange)}
	}
	return from, count, nil
}

// withHeads marks the lines that begin a group.
func withHeads(list []LogLine, groups []LogGroup) []LogLine {
	g := 0
	for k := range list {
		for g < len(groups) && groups[g].Start < list[k].No {
			g++
		}
		if g < len(groups) && groups[g].Start == list[k].No {
			list[k].Head = &groups[g]
		}
	}
	return list
}

func rawLog(q *request) error {
	j, err := q.jobRef()
	if err != nil {
		return err
	}
	r, err := q.Logs.Reader(q.ctx, j.ID, 0)
	if errors.Is(err, joblog.ErrNotFound) {
		r = io.NopCloser(strings.NewReader(""))
		var gone string
		if gone, err = q.whyGone(j.ID); gone != "" {
			return missing(gone)
		}
	}
	if err != nil {
		return err
	}
	defer r.Close()
	h := q.w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Security-Policy", "sandbox")
	q.w.WriteHeader(http.StatusOK)
	_, err = io.Copy(q.w, r)
	return err
}

// searchLog answers the viewer with the numbers of the lines found from one on, and with the one from which to ask on; 0 is the end.
func searchLog(q *request) error {
	j, err := q.jobRef()
	if err != nil {
		return err
	}
	pane := LogPane{Query: q.r.FormValue("q"), Hits: []int{}}
	from := 1
	if s := q.r.FormValue("from"); s != "" {
		if from, err = strconv.Atoi(s); err != nil || from < 1 {
			return &problem{status: http.StatusBadRequest, title: "from is a line's number"}
		}
	}
	if pane.Query != "" {
		if err := q.hits(&pane, j.ID, int64(from-1)); err != nil {
			return err
		}
	}
	q.w.Header().Set("Content-Type", "application/json")
	return q.send(http.StatusOK, func(w io.Writer) error {
		return json.NewEncoder(w).Encode(map[string]any{"hits": pane.Hits, "next": pane.HitsNext, "problem": pane.Problem})
	})
}
