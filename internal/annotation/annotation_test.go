package annotation

import (
	"fmt"
	"strings"
	"testing"
)

func TestP261_ScriptsAndStylesAreStrippedAndKnownClassesStay(t *testing.T) {
	t.Parallel()
	r := New()
	for body, want := range map[string]string{
		`<div class="flex evil p2 col-12 btn-primary">x</div>`:                  `<div class="flex p2 col-12 btn-primary">x</div>`,
		`<span class="red bg-muted border-navy mxn4 col-13 m5 redder">x</span>`: `<p><span class="red bg-muted border-navy mxn4">x</span></p>`,
		`<span class="nothing">x</span>`:                                        `<p><span>x</span></p>`,
		`<p style="position:fixed" onclick="x()" id="a">x</p>`:                  `<p>x</p>`,
		`<script>alert(1)</script>x`:                                            ``,
		"<style>p{}</style>\n\nx":                                               "<p>x</p>",
		"<iframe src='https://x.test'></iframe>\n\nx":                           "<p>x</p>",
		`<svg onload=alert(1)></svg>x`:                                          `<p>x</p>`,
		"<details open><summary>s</summary>x</details>":                         "<details open=\"\"><summary>s</summary>x</details>",
		"<form action=/x><input name=a><button>b</button></form>":               "b",
		"- [ ] task":           "<ul>\n<li>[ ] task</li>\n</ul>",
		"~~a~~ https://a.test": `<p><del>a</del> <a href="https://a.test" rel="nofollow noreferrer">https://a.test</a></p>`,
		"<object data=x></object><embed src=x><base href=//x.test><meta x=y>\n\ny": "<p></p>\n<p>y</p>",
	} {
		if got := strings.TrimSpace(r.HTML(body, Options{})); got != want && !(want == "" && !strings.Contains(got, "alert")) {
			t.Errorf("%s\nbecame %s\nwant   %s", body, got, want)
		}
	}
}

func TestLinksLeadToKnownSchemes(t *testing.T) {
	t.Parallel()
	r := New()
	for href, want := range map[string]bool{
		"https://a.test": true, "http://a.test": true, "mailto:a@b.test": true, "itms-services://?action=x": true, "/relative": true,
		"javascript:alert(1)": false, "JaVaScRiPt:alert(1)": false, "data:text/html,x": false, "vbscript:x": false, "file:///etc/passwd": false,
	} {
		for _, body := range []string{"[x](" + href + ")", `<a href="` + href + `">x</a>`} {
			if got := r.HTML(body, Options{}); strings.Contains(got, "href=") != want {
				t.Errorf("%s became %s", body, got)
			}
		}
	}
}

func TestP264_TenLinksToArtifactsWork(t *testing.T) {
	t.Parallel()
	r := New()
	o := Options{Artifact: func(path string) string {
		if path == "none.txt" {
			return ""
		}
		return "/artifacts/" + strings.ReplaceAll(path, " ", "+") + `?"`
	}}
	for body, want := range map[string]string{
		"![shot](artifact://a/b.png)":                       `<p><img src="/artifacts/a/b.png?&#34;" alt="shot"></p>`,
		`<img alt=x src='artifact://my%20dir/B.png'>`:       `<img alt="x" src="/artifacts/my+dir/B.png?&#34;">`,
		`<img src=artifact://plain.png>`:                    `<img src="/artifacts/plain.png?&#34;">`,
		"[log](artifact://log.txt)":                         `<p><a href="/artifacts/log.txt?&#34;" rel="nofollow noreferrer">log</a></p>`,
		"[x](artifact://none.txt)":                          `<p><a rel="nofollow noreferrer">x</a></p>`,
		"![x](https://tracker.test/x.png)":                  `<p><img alt="x"></p>`,
		"`artifact://x` and artifact://y, a=\"artifact://z": "<p><code>artifact://x</code> and artifact://y, a=&#34;artifact://z</p>",
	} {
		if got := strings.TrimSpace(r.HTML(body, o)); got != want {
			t.Errorf("%s\nbecame %s\nwant   %s", body, got, want)
		}
	}
	var many strings.Builder
	for i := range 15 {
		fmt.Fprintf(&many, "[x](artifact://%d.txt)\n", i)
	}
	if n := strings.Count(r.HTML(many.String(), o), "href="); n != maxLinks {
		t.Errorf("%d links work, want %d", n, maxLinks)
	}
}

func TestTerminalOutputIsDrawnInItsColors(t *testing.T) {
	t.Parallel()
	body := "```term\n\x1b[31mred\x1b[0m <b>\n```\n"
	got := New().HTML(strings.Repeat(body, 12), Options{})
	if n := strings.Count(got, `<span class="term-fg31">red</span> &lt;b&gt;`); n != maxTerminals {
		t.Errorf("%d blocks are drawn, want %d: %s", n, maxTerminals, got)
	}
}

func TestShortcodesConvertOutsideOfCode(t *testing.T) {
	t.Parallel()
	o := Options{Emoji: func(name string) string { return map[string]string{"ship": "S"}[name] }}
	want := `<p>S :none: <code>:ship:</code> <a href="https://a.test/:ship:" rel="nofollow noreferrer">S</a></p>`
	if got := strings.TrimSpace(New().HTML(":ship: :none: `:ship:` [:ship:](https://a.test/:ship:)", o)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func FuzzHTML(f *testing.F) {
	for _, s := range []string{
		"# hi", "<script>alert(1)</script>", "[x](javascript:alert(1))", "<img src=x onerror=alert(1)>",
		"<a href='data:text/html,x' style='x'>", "<form><input>", "|a|b|\n|-|-|\n|1|2|", "```term\n\x1b[31m<b>\n```", "![](artifact://<x>)",
		`<img alt=' src="x' src=y>`, ":a:<b :c:",
	} {
		f.Add(s)
	}
	r := New()
	o := Options{Artifact: func(path string) string { return "/" + path }, Emoji: func(string) string { return "e" }}
	f.Fuzz(func(t *testing.T, s string) {
		got := strings.ToLower(r.HTML(s, o))
		for _, bad := range []string{"<script", "<form", "<input", "<iframe", "<style", "<svg", "href=\"javascript:", "href=\"data:", "src=\"http", " style=\"", " onerror=\""} {
			if strings.Contains(got, bad) {
				t.Errorf("%q became %q", s, got)
			}
		}
		r.Summary(s)
	})
}
