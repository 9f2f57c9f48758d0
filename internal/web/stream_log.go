package web

import (
	"errors"
	"strings"

	"github.com/slipway-ci/slipway/internal/joblog"
)

// logTail is how much of a log a stream has sent.
type logTail struct {
	total, settled int64
	ended          bool
}

// logEvent is new or changed lines of a log. Without html the viewer fetches
// what is in view.
type logEvent struct {
	Job    string `json:"job"`
	From   int64  `json:"from"` // number of the first line, from 1
	HTML   string `json:"html,omitempty"`
	Total  int64  `json:"total"`
	Groups string `json:"groups,omitempty"`
	Status string `json:"status"`
	Ended  bool   `json:"ended,omitempty"`
}

// lookLog sends the lines that came, and those that may have changed: a line
// changes until it has scrolled out of the terminal that the log is read as.
func (w *watcher) lookLog(t topic) error {
	tail := w.logs[t.id]
	if tail == nil {
		tail = &logTail{total: t.seen, settled: t.seen}
		w.logs[t.id] = tail
	}
	if tail.ended {
		return nil
	}
	j, err := w.Store.Job(w.ctx, t.id)
	if err != nil {
		return err
	}
	size, err := w.Logs.Size(w.ctx, t.id)
	if errors.Is(err, joblog.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	first := w.first
	from := min(tail.settled, tail.total)
	ended := !j.FinishedAt.IsZero() && size.Finished
	if same := size.Lines == tail.total && size.Settled == tail.settled; same && !ended && (!first || size.Lines == 0) {
		return nil
	}
	e := logEvent{Job: t.id, From: from + 1, Total: size.Lines, Ended: ended, Status: LogPane{Total: int(size.Lines), Bytes: size.Text}.Status()}
	outline, err := w.outline(t.id)
	if err != nil {
		return err
	}
	groups := w.pages.marks.groupsOf(outline, int(size.Lines), !ended, j.FinishedAt, w.now)
	for _, g := range groups {
		if int64(g.End) >= from {
			e.Groups += ifSet(" ", g.outline())
		}
	}
	e.Groups = strings.TrimSpace(e.Groups)
	if size.Lines-from <= maxRange {
		lines, err := w.Logs.Window(w.ctx, t.id, from, int(size.Lines-from))
		if err != nil {
			return err
		}
		e.HTML = string(w.pages.marks.writeLines(withHeads(logLinesOf(lines.Lines, w.now.Location()), groups)))
	}
	*tail = logTail{total: size.Lines, settled: min(size.Settled, size.Lines), ended: ended}
	return w.event("log", e)
}
