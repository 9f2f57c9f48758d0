package web

import (
	"math"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The interface's budget: style 20 kB, scripts 35 kB, with the icons 60 kB, as
// sent.
func TestAssetsStaySmall(t *testing.T) {
	t.Parallel()
	set, err := loadAssets()
	if err != nil {
		t.Fatal(err)
	}
	total, script := 0, 0
	for own, served := range set.names {
		n := len(set.served[served].packed)
		total += n
		if strings.HasSuffix(own, ".js") {
			script += n
		}
	}
	if n := len(set.served[set.names["app.css"]].packed); n > 20_000 {
		t.Errorf("style is %d bytes compressed, more than 20,000", n)
	}
	if script > 35_000 {
		t.Errorf("scripts are %d bytes compressed, more than 35,000", script)
	}
	if total > 60_000 {
		t.Errorf("all assets are %d bytes compressed, more than 60,000", total)
	}
	t.Logf("style %d, scripts %d, all %d bytes", len(set.served[set.names["app.css"]].packed), script, total)
}

// A changed asset has another name, so browsers may keep every one for good.
func TestAssetsAreImmutable(t *testing.T) {
	t.Parallel()
	p := newPages(t)
	for _, served := range p.assets.names {
		r := httptest.NewRequest("GET", "/assets/"+served, nil)
		r.Header.Set("Accept-Encoding", "br, gzip;q=0.8")
		w := httptest.NewRecorder()
		p.assets.ServeHTTP(w, r)
		if w.Code != 200 || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") || w.Header().Get("Content-Encoding") != "gzip" {
			t.Errorf("%s: %d %v", served, w.Code, w.Header())
		}
	}
}

// A module names the modules it imports by what they are served as.
func TestModulesImportWhatIsServed(t *testing.T) {
	t.Parallel()
	p := newPages(t)
	for own, served := range p.assets.names {
		for _, m := range regexp.MustCompile(`from '\./([^']+)'`).FindAllSubmatch(p.assets.served[served].plain, -1) {
			if _, ok := p.assets.served[string(m[1])]; !ok {
				t.Errorf("%s imports %s, which is not served", own, m[1])
			}
		}
	}
}

// Every icon and state that a template or a table names is in the sprite.
func TestIconsExist(t *testing.T) {
	t.Parallel()
	p := newPages(t)
	sprite := string(p.assets.served[p.assets.names["icons.svg"]].plain)
	for s := range looks {
		if !strings.Contains(sprite, `id="g-`+string(s)+`"`) {
			t.Errorf("no glyph for %s", s)
		}
	}
	use := regexp.MustCompile(`icons\.[0-9a-f]+\.svg#([\w-]+)`)
	for _, f := range fixtures() {
		for _, m := range use.FindAllSubmatch(render(t, p, f.Template, f.Data), -1) {
			if !strings.Contains(sprite, `id="`+string(m[1])+`"`) {
				t.Errorf("%s uses %s, which the sprite lacks", f.Name, m[1])
			}
		}
	}
}

// Text and glyphs hold 4.5:1 on every surface they may stand on, lines that
// carry meaning 3:1, in both themes.
func TestContrast(t *testing.T) {
	t.Parallel()
	src, err := os.ReadFile("assets/tokens.css")
	if err != nil {
		t.Fatal(err)
	}
	tok := map[string][2]rgb{}
	for _, m := range regexp.MustCompile(`--([\w-]+):\s*light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)`).FindAllStringSubmatch(string(src), -1) {
		if _, seen := tok[m[1]]; !seen {
			tok[m[1]] = [2]rgb{token(t, m[2]), token(t, m[3])}
		}
	}
	check := func(fg, bg string, need float64) {
		t.Helper()
		f, okF := tok[fg]
		b, okB := tok[bg]
		if !okF || !okB {
			t.Fatalf("no token %s or %s", fg, bg)
		}
		for k, theme := range []string{"light", "dark"} {
			if r := contrast(f[k], b[k]); r < need {
				t.Errorf("%s on %s, %s: %.2f, need %.1f", fg, bg, theme, r, need)
			}
		}
	}
	for _, fg := range []string{"ink", "ink-2", "ink-3"} {
		for _, bg := range []string{"paper", "surface", "sunken", "raised", "fill"} {
			check(fg, bg, 4.5)
		}
	}
	for _, s := range []string{"pass", "fail", "run", "person", "soft", "infra", "idle"} {
		for _, bg := range []string{s + "-bg", "paper", "surface", "sunken", "raised", "fill", "log-bg"} {
			check(s+"-fg", bg, 4.5)
		}
		for _, fg := range []string{"ink", "ink-2", "ink-3"} {
			check(fg, s+"-bg", 4.5)
		}
	}
	for k := range 16 {
		check("ansi-"+strconv.Itoa(k), "log-bg", 4.5)
	}
	for k := 1; k < 7; k++ {
		check("ansi-"+strconv.Itoa(k), "fail-bg", 4.5)
	}
	for _, bg := range []string{"log-bg", "fail-bg"} {
		check("log-ink", bg, 4.5)
		check("log-no", bg, 4.5)
	}
	check("log-ink", "mark", 4.5)
	check("ink-inv", "ink", 4.5)
	for _, bg := range []string{"paper", "surface"} {
		check("line-3", bg, 3)
		check("focus", bg, 3)
	}
	if tok["log-bg"] != logPapers || tok["log-ink"] != logInks {
		t.Error("logPapers and logInks differ from the tokens")
	}
}

// Every colour of the 256-colour table can be read in a log.
func TestTableColorsCanBeRead(t *testing.T) {
	t.Parallel()
	for n := 16; n < 256; n++ {
		for theme, paper := range logPapers {
			if r := contrast(readable(tableColor(n), theme), paper); r < 4.49 || math.IsNaN(r) {
				t.Errorf("colour %d, theme %d: %.2f", n, theme, r)
			}
		}
	}
}

func token(t *testing.T, s string) rgb {
	t.Helper()
	n, err := strconv.ParseUint(s[1:], 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	return rgb{uint8(n >> 16), uint8(n >> 8), uint8(n)}
}
