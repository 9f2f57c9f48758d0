package web

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// send buffers what write makes, so that an error can still become a page, and
// sends it compressed to browsers that take it.
func (q *request) send(status int, write func(io.Writer) error) error {
	var buf bytes.Buffer
	if !acceptsGzip(q.r) {
		if err := write(&buf); err != nil {
			return err
		}
		return q.finish(status, &buf)
	}
	z, err := gzip.NewWriterLevel(&buf, gzip.BestSpeed)
	if err != nil {
		return err
	}
	if err := write(z); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	q.w.Header().Set("Content-Encoding", "gzip")
	return q.finish(status, &buf)
}

// finish writes the answer. Whoever asked may have gone, and then there is
// nobody to tell.
func (q *request) finish(status int, buf *bytes.Buffer) error {
	q.w.WriteHeader(status)
	if q.r.Method != http.MethodHead {
		_, _ = buf.WriteTo(q.w)
	}
	return nil
}

// seeOther sends the browser on after a form.
func (q *request) seeOther(path string) error {
	http.Redirect(q.w, q.r, path, http.StatusSeeOther)
	return nil
}

// local returns path if it is one of this server, and otherwise "/": a link
// must not send people elsewhere after they signed in.
func local(path string) string {
	u, err := url.Parse(path)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.ContainsAny(path, "\\\r\n\t") {
		return "/"
	}
	return path
}

func urlQuery(s string) string { return url.QueryEscape(s) }

func theme(r *http.Request) string {
	c, err := r.Cookie("slipway_theme")
	if err != nil || c.Value != "light" && c.Value != "dark" {
		return ""
	}
	return c.Value
}
