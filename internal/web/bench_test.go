package web

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/engine"
)

// jobs2000 is a pipeline of 100 steps with 20 jobs each, with a wait between
// every ten.
func jobs2000() string {
	var b strings.Builder
	b.WriteString("steps:\n")
	for k := range 100 {
		if k > 0 && k%10 == 0 {
			b.WriteString("- wait\n")
		}
		fmt.Fprintf(&b, "- {label: \":test: part %d %%n\", command: make part, key: k%d, parallelism: 20}\n", k, k)
	}
	return b.String()
}

// wide2000 is a pipeline of 2,000 steps with a job each.
func wide2000() string {
	var b strings.Builder
	b.WriteString("steps:\n")
	for k := range 2000 {
		fmt.Fprintf(&b, "- {label: \"part %d\", command: make part}\n", k)
	}
	return b.String()
}

// BenchmarkBuildPage is the server's time for the page of a build of 2,000
// jobs, from the request to the last byte, compressed. The budget is 50 ms.
func BenchmarkBuildPage(b *testing.B) {
	for name, configuration := range map[string]string{"100 steps of 20": jobs2000(), "2000 steps": wide2000()} {
		b.Run(name, func(b *testing.B) {
			s := newSite(b)
			s.signIn()
			p := s.pipeline("big", configuration)
			must(s.CreateBuild(b.Context(), engine.CreateBuild{PipelineID: p.ID, Source: "ui"}))(b)
			r := httptest.NewRequest(http.MethodGet, "/main/big/builds/1", nil)
			r.Header.Set("Accept-Encoding", "gzip")
			for _, c := range s.client.Jar.Cookies(must(http.NewRequest("GET", s.url, nil))(b).URL) {
				r.AddCookie(c)
			}
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				s.handler.ServeHTTP(w, r)
				if w.Code != http.StatusOK {
					b.Fatalf("%d %.200s", w.Code, w.Body)
				}
				b.ReportMetric(float64(w.Body.Len()), "bytes/page")
			}
		})
	}
}

// BenchmarkRenderBuild is the template's part of it.
func BenchmarkRenderBuild(b *testing.B) {
	p := newPages(b)
	page := buildFixture()
	row := page.Steps[0]
	for k := range 2000 {
		row.ID = fmt.Sprint("j", k)
		page.Steps = append(page.Steps, row)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Write(io.Discard, "build", page); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLines is a range of 2,000 lines of a log, read and rendered.
func BenchmarkLines(b *testing.B) {
	p := newPages(b)
	lines := longLog(1, 1_000_000)
	b.ReportAllocs()
	for b.Loop() {
		if len(p.marks.writeLines(lines)) == 0 {
			b.Fatal("nothing rendered")
		}
	}
}
