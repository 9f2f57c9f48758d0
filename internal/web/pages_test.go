package web

import (
	"bytes"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
)

var update = flag.Bool("update", false, "rewrite golden files")

func newPages(t testing.TB) *Pages {
	t.Helper()
	p, err := NewPages()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func render(t testing.TB, p *Pages, name string, data any) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := p.Write(&buf, name, data); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// golden compares got with testdata/name, with asset hashes taken out.
func golden(t *testing.T, p *Pages, name string, got []byte) {
	t.Helper()
	for own, served := range p.assets.names {
		got = bytes.ReplaceAll(got, []byte(served), []byte(own))
	}
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (-want +got):\n%s", name, d)
	}
}

// Every page renders from its literal, keeps to the content policy, and can be
// used by its labels alone.
func TestPagesAreSoundHTML(t *testing.T) {
	t.Parallel()
	p := newPages(t)
	for _, f := range fixtures() {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			body := render(t, p, f.Template, f.Data)
			for _, problem := range soundness(t, body) {
				t.Error(problem)
			}
		})
	}
}

func TestPagesGolden(t *testing.T) {
	t.Parallel()
	p := newPages(t)
	for _, name := range []string{"home", "pipeline", "build", "build-ask", "sign-in"} {
		k := slices.IndexFunc(fixtures(), func(f fixture) bool { return f.Name == name })
		f := fixtures()[k]
		golden(t, p, name+".html", render(t, p, f.Template, f.Data))
	}
}

func fixtureServer(p *Pages) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /assets/", p.assets)
	mux.HandleFunc("GET /jobs/cargo/lines", func(w http.ResponseWriter, r *http.Request) {
		from, _ := strconv.Atoi(r.FormValue("from"))
		_, _ = w.Write(p.marks.writeLines(longLog(from, 1208)))
	})
	mux.HandleFunc("GET /jobs/long/lines", func(w http.ResponseWriter, r *http.Request) {
		from, _ := strconv.Atoi(r.FormValue("from"))
		_, _ = w.Write(p.marks.writeLines(longLog(from, 1_000_000)))
	})
	mux.HandleFunc("GET /jobs/cargo/search", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(`{"hits":[1190,1191,1192],"next":0}`))
	})
	for _, f := range fixtures() {
		mux.HandleFunc("GET /"+f.Name, func(w http.ResponseWriter, r *http.Request) {
			setPolicy(w.Header())
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			if err := p.Write(w, f.Template, f.Data); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		})
	}
	return mux
}

// soundness is what no page may get wrong.
func soundness(t *testing.T, body []byte) []string {
	t.Helper()
	doc, err := html.Parse(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	c := checker{ids: map[string]bool{}, labels: map[string]bool{}}
	c.collect(doc)
	c.check(doc)
	if c.h1 != 1 {
		c.say("%d h1", c.h1)
	}
	if c.mains != 1 {
		c.say("%d main", c.mains)
	}
	if bytes.Contains(body, []byte("ZgotmplZ")) {
		c.say("html/template refused a value")
	}
	if strings.Contains(string(body), "<no value>") {
		c.say("a template names a missing value")
	}
	return c.found
}
