package annotation

import (
	"fmt"
	"strings"
	"testing"
)

func TestABodyIsRenderedOnce(t *testing.T) {
	t.Parallel()
	c, rendered := newCache(), 0
	render := func(body string) string { rendered++; return "<p>" + body }
	for range 3 {
		if got := c.get("a", render); got != "<p>a" {
			t.Errorf("got %s", got)
		}
	}
	if c.get("b", render); rendered != 2 {
		t.Errorf("two bodies were rendered %d times", rendered)
	}
}

func TestWhatIsRememberedIsBoundedAndTheLatestStays(t *testing.T) {
	t.Parallel()
	c, rendered := newCache(), map[string]int{}
	render := func(body string) string { rendered[body]++; return strings.Repeat("x", maxCached/4) }
	c.get("often", render)
	for i := range 20 {
		c.get(fmt.Sprint(i), render)
		c.get("often", render)
		if c.bytes > maxCached || len(c.byKey) > 3 || c.order.Len() != len(c.byKey) {
			t.Fatalf("%d bodies of %d bytes are remembered", len(c.byKey), c.bytes)
		}
	}
	if c.get("0", render); rendered["often"] != 1 || rendered["0"] != 2 {
		t.Errorf("rendered %v", rendered)
	}
	if got := c.get("huge", func(string) string { return strings.Repeat("x", maxCached+1) }); len(got) != maxCached+1 || c.bytes > maxCached {
		t.Errorf("of a body too large to remember came %d bytes, %d are remembered", len(got), c.bytes)
	}
}

// TestArtifactsOfARememberedBodyAreThoseOfNow: the same text in two builds leads to the artifacts of each.
func TestArtifactsOfARememberedBodyAreThoseOfNow(t *testing.T) {
	t.Parallel()
	r := New()
	for _, build := range []string{"/one/", "/two/"} {
		got := r.HTML("[log](artifact://log.txt)", Options{Artifact: func(path string) string { return build + path }})
		if !strings.Contains(got, `href="`+build+`log.txt"`) {
			t.Errorf("in %s the link is %s", build, got)
		}
	}
}

// BenchmarkShownAgain shows an annotation of 1 MB that was shown before: against BenchmarkFirstShown.
func BenchmarkShownAgain(b *testing.B) {
	r := New()
	r.HTML(megabyte, Options{})
	for b.Loop() {
		r.HTML(megabyte, Options{})
	}
}

func BenchmarkFirstShown(b *testing.B) {
	for b.Loop() {
		New().HTML(megabyte, Options{})
	}
}

var megabyte = strings.Repeat("# h\n\nthe **quick** `fox` [jumps](https://a.test)\n\n- a\n- b\n\n", 18_000)
