package restapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/httperr"
	"github.com/slipway-ci/slipway/internal/joblog"
	"github.com/slipway-ci/slipway/internal/joblog/lines"
	"github.com/slipway-ci/slipway/internal/store"
)

// jobLog answers in the form that Accept asks for: JSON, plain text or HTML. HEAD tells how long the
// text is.
func jobLog(q *request) error {
	accept := q.r.Header.Get("Accept")
	switch {
	case q.r.Method == http.MethodHead, strings.Contains(accept, "text/plain"):
		return jobLogText(q)
	case strings.Contains(accept, "text/html"):
		return jobLogHTML(q)
	}
	j, b, err := q.job()
	if err != nil {
		return err
	}
	size, err := q.logSize(j)
	if err != nil {
		return err
	}
	return q.writeLogJSON(j, b, size)
}

// logSize describes the log of a job. One that has begun has a log, be it empty; before that there is
// none.
func (q *request) logSize(j store.Job) (joblog.Size, error) {
	size, err := q.Logs.Size(q.ctx, j.ID)
	if errors.Is(err, joblog.ErrNotFound) {
		if gone, err := q.Store.JobLog(q.ctx, j.ID); err == nil && gone.Note != "" {
			return size, httperr.New(http.StatusNotFound, "%s", gone.Note)
		}
		if j.Kind != ci.JobScript || j.StartedAt.IsZero() {
			return size, missing("log")
		}
		return joblog.Size{}, nil
	}
	return size, err
}

// logText reads the text between two offsets.
func (q *request) logText(j store.Job, from, to int64) (io.ReadCloser, error) {
	if from >= to {
		return io.NopCloser(strings.NewReader("")), nil
	}
	r, err := q.Logs.Reader(q.ctx, j.ID, from)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(r, to-from), r}, nil
}

// writeLogJSON writes the log as one JSON document without holding it in memory.
func (q *request) writeLogJSON(j store.Job, b store.Build, size joblog.Size) error {
	pl, err := q.Store.PipelineByID(q.ctx, b.PipelineID)
	if err != nil {
		return err
	}
	times, err := q.headerTimes(j)
	if err != nil {
		return err
	}
	text, err := q.logText(j, 0, size.Text)
	if err != nil {
		return err
	}
	defer text.Close()
	head, err := json.Marshal(map[string]any{
		"url": q.addresses().build(pl.Slug, b.Number) + "/jobs/" + j.ID + "/log", "size": size.Text, "header_times": times,
	})
	if err != nil {
		return err
	}
	q.w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if _, err := fmt.Fprintf(q.w, `%s,"content":"`, bytes.TrimSuffix(head, []byte("}"))); err != nil {
		return err
	}
	if err := copyEscaped(q.w, text); err != nil {
		return err
	}
	_, err = io.WriteString(q.w, "\"}\n")
	return err
}

// headerTimes are when the log's groups began, in nanoseconds since 1970: by the log's own marks, or as the agent said apart from it.
func (q *request) headerTimes(j store.Job) ([]int64, error) {
	times := []int64{}
	outline, err := q.Logs.Outline(q.ctx, j.ID)
	if err != nil && !errors.Is(err, joblog.ErrNotFound) {
		return nil, err
	}
	if !slices.ContainsFunc(outline.Groups, func(g lines.Group) bool { return g.Time > 0 }) {
		apart, err := q.Store.HeaderTimes(q.ctx, j.ID)
		for _, n := range slices.Sorted(maps.Keys(apart)) {
			times = append(times, apart[n].UnixNano())
		}
		return times, err
	}
	for _, g := range outline.Groups {
		if g.Time > 0 {
			times = append(times, g.Time*1e6)
		}
	}
	return times, nil
}

// copyEscaped copies text as the inside of a JSON string. A character may lie across two reads; bytes
// that are no UTF-8 become U+FFFD.
func copyEscaped(w io.Writer, r io.Reader) error {
	buf, kept := make([]byte, 64<<10), 0
	for {
		n, err := r.Read(buf[kept:])
		n += kept
		kept = 0
		if err == nil {
			kept = unfinished(buf[:n])
		}
		if escapeErr := escape(w, buf[:n-kept]); escapeErr != nil {
			return escapeErr
		}
		copy(buf, buf[n-kept:n])
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// unfinished is how many bytes at the end begin a character that is not there as a whole.
func unfinished(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if c := b[len(b)-n]; utf8.RuneStart(c) {
			if utf8.FullRune(b[len(b)-n:]) {
				return 0
			}
			return n
		}
	}
	return 0
}

func escape(w io.Writer, b []byte) error {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(string(b)); err != nil {
		return err
	}
	_, err := w.Write(out.Bytes()[1 : out.Len()-2]) // without the quotes and the line feed
	return err
}

// jobLogText answers with the text, the agent's time markers in it. "Range: bytes=-N" asks for its
// end; the query offset, which is ours, for all from a byte on, so that a log can be followed.
func jobLogText(q *request) error {
	j, _, err := q.job()
	if err != nil {
		return err
	}
	size, err := q.logSize(j)
	if err != nil {
		return err
	}
	from, status, err := q.logStart(size.Text)
	if err != nil {
		return err
	}
	text, err := q.logText(j, from, size.Text)
	if err != nil {
		return err
	}
	defer text.Close()
	h := q.w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Accept-Ranges", "bytes")
	h.Set("Content-Length", strconv.FormatInt(max(size.Text-from, 0), 10))
	if status == http.StatusPartialContent {
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, size.Text-1, size.Text))
	}
	q.w.WriteHeader(status)
	if q.r.Method == http.MethodHead {
		return nil
	}
	_, err = io.Copy(q.w, text)
	return err
}

// logStart is where the text asked for begins.
func (q *request) logStart(size int64) (from int64, status int, err error) {
	if offset := q.r.URL.Query().Get("offset"); offset != "" {
		from, err := strconv.ParseInt(offset, 10, 64)
		if err != nil || from < 0 {
			return 0, 0, httperr.New(http.StatusBadRequest, "The offset %q is not a number of bytes.", offset)
		}
		return from, http.StatusOK, nil
	}
	asked := q.r.Header.Get("Range")
	if asked == "" || q.r.Method == http.MethodHead {
		return 0, http.StatusOK, nil
	}
	tail, ok := strings.CutPrefix(asked, "bytes=-")
	n, err := strconv.ParseInt(tail, 10, 64)
	if !ok || err != nil || n < 1 {
		return 0, 0, httperr.New(http.StatusBadRequest, "The range %q is not supported; bytes=-N asks for the last N bytes.", asked)
	}
	if size == 0 {
		q.w.Header().Set("Content-Range", "bytes */0")
		return 0, 0, httperr.New(http.StatusRequestedRangeNotSatisfiable, "The log is empty.")
	}
	return max(size-n, 0), http.StatusPartialContent, nil
}

// linesAtOnce is how many lines of a log are rendered before they are written.
const linesAtOnce = 1000

// maxHTML is how much of a log's text is rendered at a time, as the service does
// (https://buildkite.com/docs/pipelines/configure/managing-log-output).
const maxHTML = 2 << 20

// jobLogHTML answers with the end of the log as a fragment of HTML, one line of it a line of the log. A first line says what stands
// before.
func jobLogHTML(q *request) error {
	j, _, err := q.job()
	if err != nil {
		return err
	}
	size, err := q.logSize(j)
	if err != nil {
		return err
	}
	q.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	q.w.Header().Set("Content-Security-Policy", "default-src 'none'; sandbox")
	q.w.Header().Set("X-Content-Type-Options", "nosniff")
	first := int64(0)
	if size.Text > maxHTML {
		if first, err = q.Logs.LineFrom(q.ctx, j.ID, size.Text-maxHTML); err != nil {
			return err
		}
	}
	if first > 0 {
		const before = "<span class=\"term-fg2\">[slipway: %d lines stand before; the whole log is to be had as text]</span>\n"
		if _, err := fmt.Fprintf(q.w, before, first); err != nil {
			return err
		}
	}
	for from := first; from < size.Lines; from += linesAtOnce {
		window, err := q.Logs.Window(q.ctx, j.ID, from, int(min(linesAtOnce, size.Lines-from)))
		if err != nil {
			return err
		}
		for _, l := range window.Lines {
			if _, err := io.WriteString(q.w, l.HTML+"\n"); err != nil {
				return err
			}
		}
	}
	return nil
}

// deleteJobLog removes the log of a job that has ended.
func deleteJobLog(q *request) error {
	j, _, err := q.job()
	if err != nil {
		return err
	}
	if !j.State.Terminal() {
		return httperr.New(http.StatusUnprocessableEntity, "The log of a job that has not ended can't be deleted")
	}
	if err := q.Logs.Delete(q.ctx, j.ID); err != nil {
		return err
	}
	note := fmt.Sprintf("%s deleted the log on %s.", cmp.Or(q.actor.User.Name, "Somebody"), q.Now().UTC().Format("2 January 2006 at 15:04 UTC"))
	if err := q.Engine.DropLog(q.ctx, j, engine.LogDeleted, note); err != nil {
		return err
	}
	return q.done()
}
