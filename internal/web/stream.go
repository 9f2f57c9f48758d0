package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/live"
)

// Bounds of a stream.
const (
	streamPause = 100 * time.Millisecond // least time between two looks
	streamLook  = 5 * time.Second        // a look without a hint: hints may be lost
	streamWrite = 20 * time.Second       // to take one event
	maxTopics   = 8
)

// topic is one thing a page wants to hear of. Seen is how much of it the page
// shows already: a build's version, a log's lines, a list's newest build.
type topic struct {
	kind string // org, builds, agents, agent, queue, pipe, build, graph, waterfall, job, log
	id   string
	job  string // that a graph shows
	seen int64
}

// parseTopic reads kind[:id][@seen].
func parseTopic(s string) (topic, error) {
	name, seen, _ := strings.Cut(s, "@")
	kind, id, _ := strings.Cut(name, ":")
	t := topic{kind: kind, id: id}
	if seen != "" {
		n, err := strconv.ParseInt(seen, 10, 64)
		if err != nil || n < 0 {
			return t, fmt.Errorf("topic %q: what was seen is a number", s)
		}
		t.seen = n
	}
	switch kind {
	case "org", "builds", "agents":
		return t, nil
	case "graph":
		t.id, t.job, _ = strings.Cut(id, "/")
		return t, nil
	case "agent", "queue", "pipe", "build", "waterfall", "job", "log":
		if id != "" {
			return t, nil
		}
	}
	return t, fmt.Errorf("topic %q is not known", s)
}

// watcher is one open stream: what it listens to, and what it has sent.
type watcher struct {
	*request
	topics []topic
	sent   map[string]uint64 // hash of the latest form of each fragment
	seed   maphash.Seed
	rc     *http.ResponseController
	id     int64
	first  bool
	steps  string // ids of the rows sent, to notice when rows come or go
	newer  int
	logs   map[string]*logTail
}

// stream sends what changes on a page until the browser leaves.
func stream(q *request) error {
	w := &watcher{request: q, sent: map[string]uint64{}, seed: maphash.MakeSeed(), rc: http.NewResponseController(q.w), first: true, logs: map[string]*logTail{}}
	for _, s := range q.r.URL.Query()["t"] {
		t, err := parseTopic(s)
		if err != nil || len(w.topics) == maxTopics {
			return &problem{status: http.StatusBadRequest, title: "The page asks for a stream that does not exist"}
		}
		w.topics = append(w.topics, t)
	}
	if err := w.permit(); err != nil {
		return err
	}
	h := q.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	q.w.WriteHeader(http.StatusOK)
	if err := w.run(); err != nil && q.ctx.Err() == nil {
		q.Log.InfoContext(q.ctx, "live stream ended", "error", err)
	}
	return nil
}

// permit checks that every topic belongs to the organization in the path.
func (w *watcher) permit() error {
	for _, t := range w.topics {
		pipelineID := t.id
		switch t.kind {
		case "org", "builds", "agents":
			continue
		case "agent":
			if err := w.permitAgent(t.id); err != nil {
				return err
			}
			continue
		case "queue":
			if _, err := w.queueByID(t.id); err != nil {
				return err
			}
			continue
		case "build", "graph", "waterfall":
			b, err := w.Store.Build(w.ctx, t.id)
			if err != nil {
				return err
			}
			pipelineID = b.PipelineID
		case "job", "log":
			j, err := w.Store.Job(w.ctx, t.id)
			if err != nil {
				return err
			}
			pipelineID = j.PipelineID
		}
		p, err := w.Store.PipelineByID(w.ctx, pipelineID)
		if err != nil {
			return err
		}
		if p.OrganizationID != w.org.ID {
			return missing("There is nothing at this address")
		}
	}
	return nil
}

// hubTopics are the hints that may mean news for the stream.
func (w *watcher) hubTopics() []string {
	out := []string{live.Fleet}
	for _, t := range w.topics {
		switch t.kind {
		case "org", "builds":
			out = append(out, live.Organization(w.org.ID))
		case "agent":
			out = append(out, live.Agent(t.id))
		case "queue":
			out = append(out, live.Assign)
		case "pipe":
			out = append(out, live.Pipeline(t.id))
		case "build":
			out = append(out, live.Build(t.id))
		}
	}
	return out
}

// run looks whenever something may have changed, and on a timer besides. The
// more a look costs, the longer it waits for the next.
func (w *watcher) run() error {
	sub := w.Hub.Subscribe(w.hubTopics()...)
	defer sub.Close()
	grown, stop := w.watchLog()
	defer stop()
	tick := time.NewTicker(streamLook)
	defer tick.Stop()
	for {
		began := time.Now()
		if err := w.look(); err != nil {
			return err
		}
		if over, err := w.pause(max(streamPause, 10*time.Since(began))); over || err != nil {
			return err
		}
		select {
		case <-w.ctx.Done():
			return nil
		case <-w.Stopping:
			return w.event("bye", struct{}{})
		case <-sub.C:
		case <-grown:
		case <-tick.C:
		}
	}
}

// pause waits between two looks; over says that the stream ended meanwhile.
func (w *watcher) pause(d time.Duration) (over bool, err error) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-w.ctx.Done():
		return true, nil
	case <-w.Stopping:
		return true, w.event("bye", struct{}{})
	case <-t.C:
		return false, nil
	}
}

// watchLog listens to the log in view; a page shows one at most.
func (w *watcher) watchLog() (<-chan struct{}, func()) {
	for _, t := range w.topics {
		if t.kind == "log" {
			return w.Logs.Watch(t.id)
		}
	}
	return nil, func() {}
}

// look reads what the page shows and sends what differs from what was sent.
func (w *watcher) look() error {
	w.now = w.Now().In(w.Zone)
	err := w.fragment("fleet", "fleet", Frame{Org: Org{Slug: w.org.Slug}, Fleet: w.fleetCounts(), Now: w.now, Still: true})
	for _, t := range w.topics {
		switch t.kind {
		case "org":
			err = errors.Join(err, w.lookHome())
		case "builds", "pipe":
			err = errors.Join(err, w.lookBuilds(t))
		case "agents":
			err = errors.Join(err, w.lookAgents())
		case "agent":
			err = errors.Join(err, w.lookAgent(t))
		case "queue":
			err = errors.Join(err, w.lookQueue(t))
		case "build":
			err = errors.Join(err, w.lookBuild(t))
		case "log":
			err = errors.Join(err, w.lookLog(t))
		}
	}
	if err == nil && w.first {
		err = w.comment("open")
	}
	w.first = false
	return err
}

// counting matches the counting figures of a fragment, which differ at every
// look without being news.
var counting = regexp.MustCompile(`(<time data-since="\d+">)[^<]*`)

// fragment renders a template and sends it as the element's new form, unless
// that is what was sent last.
func (w *watcher) fragment(to, name string, data any) error {
	html, err := w.pages.Fragment(name, data)
	if err != nil {
		return err
	}
	return w.swap(to, html, false)
}

// swap sends a fragment if it is news; quiet only remembers it, for what the
// page shows already.
func (w *watcher) swap(to, html string, quiet bool) error {
	same := html
	if strings.Contains(html, "data-since") {
		same = counting.ReplaceAllString(html, "$1")
	}
	sum := maphash.String(w.seed, same)
	if w.sent[to] == sum {
		return nil
	}
	w.sent[to] = sum
	if quiet {
		return nil
	}
	return w.event("swap", map[string]any{"to": to, "v": w.now.UnixMicro(), "html": html})
}

func (w *watcher) event(name string, data any) error {
	body, err := json.Marshal(data)
	if err != nil {
		return err
	}
	w.id++
	return w.write(fmt.Sprintf("event: %s\nid: %d\ndata: %s\n\n", name, w.id, body))
}

func (w *watcher) comment(text string) error { return w.write(": " + text + "\n\n") }

func (w *watcher) write(s string) error {
	if err := w.rc.SetWriteDeadline(time.Now().Add(streamWrite)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := w.w.Write([]byte(s)); err != nil {
		return err
	}
	return w.rc.Flush()
}

func (w *watcher) lookHome() error {
	page, err := w.loadHome("")
	if err != nil {
		return err
	}
	page.Still = true
	return errors.Join(
		w.fragment("needs", "needs", page), w.fragment("pipelines", "pipelines", page),
		w.fragment("mine", "mine", page), w.fragment("queues", "queues", page),
	)
}

// lookBuilds sends the rows that changed and how many builds are newer than
// the page; the page does not grow under its reader.
func (w *watcher) lookBuilds(t topic) error {
	page := BuildsPage{Frame: Frame{Now: w.now, Still: true, Org: Org{Slug: w.org.Slug}}}
	if t.kind == "pipe" {
		p, err := w.Store.PipelineByID(w.ctx, t.id)
		if err != nil {
			return err
		}
		if err := w.buildsOf(p, &page); err != nil {
			return err
		}
	} else if err := w.buildsOfAll(&page); err != nil {
		return err
	}
	newer := 0
	for _, row := range page.Builds {
		if t.newer(row) {
			newer++
			continue
		}
		if err := w.fragment("build-"+row.ID, "buildrow", pair(page.Frame, row)); err != nil {
			return err
		}
	}
	if newer > w.newer {
		w.newer = newer
		return w.event("new", map[string]int{"count": newer})
	}
	return nil
}

// newer reports whether a build came after the page was made.
func (t topic) newer(row BuildRow) bool {
	if t.kind == "pipe" {
		return int64(row.Number) > t.seen
	}
	return row.Created.At.UnixMilli() > t.seen
}

// lookBuild sends what changed of a build's header, steps and job. A build
// that the page shows in its present version is only remembered.
func (w *watcher) lookBuild(t topic) error {
	build, err := w.Store.Build(w.ctx, t.id)
	if err != nil {
		return err
	}
	p, err := w.Store.PipelineByID(w.ctx, build.PipelineID)
	if err != nil {
		return err
	}
	b, err := w.loadBuild(p, build)
	if err != nil {
		return err
	}
	quiet := w.first && build.Version == t.seen
	if err := w.lookViews(b, quiet); err != nil {
		return err
	}
	return errors.Join(w.lookHead(b, quiet), w.lookSteps(b, quiet), w.lookJob(b, quiet))
}

// lookViews sends the picture of a build that the page shows.
func (w *watcher) lookViews(b *buildView, quiet bool) error {
	for _, t := range w.topics {
		if t.id != b.build.ID {
			continue
		}
		switch t.kind {
		case "graph":
			g, err := w.graphPane(b, t.job, "0")
			if err == nil {
				err = w.render("graph", "graphbox", g, quiet)
			}
			if err != nil {
				return err
			}
		case "waterfall":
			p, err := w.waterPane(b, "0")
			if err == nil {
				err = w.render("waterfall", "waterbox", p, quiet)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *watcher) lookHead(b *buildView, quiet bool) error {
	head := w.head(b, "0")
	for _, name := range []string{"bh-title", "bh-times", "bh-acts", "bh-meta", "bh-tally"} {
		if err := w.render(name, name, head, quiet); err != nil {
			return err
		}
	}
	page := BuildPage{Frame: Frame{Now: w.now, Still: true}, Head: head, Notes: b.notes()}
	return errors.Join(w.render("strip", "strip", page, quiet), w.render("anns", "annotations", page, quiet))
}

func (w *watcher) render(to, name string, data any, quiet bool) error {
	html, err := w.pages.Fragment(name, data)
	if err != nil {
		return err
	}
	return w.swap(to, html, quiet)
}

// lookSteps sends the rows that changed, or the whole list when rows came or
// went.
func (w *watcher) lookSteps(b *buildView, quiet bool) error {
	if err := w.labelStep(b, w.current()); err != nil {
		return err
	}
	rows := b.stepRows(w.current(), "0")
	unmark(rows)
	ids := rowIDs(rows)
	whole := w.steps != "" && ids != w.steps
	w.steps = ids
	if whole {
		page := BuildPage{Frame: Frame{Now: w.now, Still: true}, Steps: rows}
		if err := w.render("steps", "steplist", page, quiet); err != nil {
			return err
		}
	}
	return w.sendRows(rows, quiet || whole)
}

func (w *watcher) sendRows(rows []StepRow, quiet bool) error {
	for _, r := range rows {
		if err := w.swap("step-"+r.ID, string(w.pages.marks.stepRow(r)), quiet); err != nil {
			return err
		}
		if r.Open {
			if err := w.sendRows(r.Rows, quiet); err != nil {
				return err
			}
		}
	}
	return nil
}

// current is the id of the job in view, "" if none is.
func (w *watcher) current() string {
	for _, t := range w.topics {
		if t.kind == "job" {
			return t.id
		}
	}
	return ""
}

// unmark leaves the mark of the current row to the browser.
func unmark(rows []StepRow) {
	for k := range rows {
		rows[k].Current = false
		unmark(rows[k].Rows)
	}
}

func rowIDs(rows []StepRow) string {
	var b strings.Builder
	for _, r := range rows {
		b.WriteString(r.ID)
		b.WriteByte(' ')
		if r.Open {
			b.WriteString(rowIDs(r.Rows))
		}
	}
	return b.String()
}

// lookJob sends the header of the job in view. When what stands below it turns
// into something else, as when a waiting job starts, the page is asked to load
// anew.
func (w *watcher) lookJob(b *buildView, quiet bool) error {
	for k, t := range w.topics {
		if t.kind != "job" {
			continue
		}
		j, ok := b.find(t.id)
		if !ok {
			return nil
		}
		if now := int64(paneOf(j)); now != t.seen {
			w.topics[k].seen = now
			return w.event("turn", struct{}{})
		}
		pane, err := w.jobHead(b, j, "0")
		if err != nil || pane.State == Blocked {
			return err
		}
		return errors.Join(w.render("jobhead", "jobhead", pane, quiet), w.render("attempts", "attempts", pane, quiet))
	}
	return nil
}
