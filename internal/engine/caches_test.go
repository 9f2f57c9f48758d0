package engine_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// cached makes a build, of a stranger's code if approved, and returns its job, which runs.
func (w *world) cached(t testing.TB, op engine.CreateBuild, approved bool) store.Job {
	t.Helper()
	b := w.ask(t, op, steps("{command: x, key: a}"), "")
	j := w.begin(t, b, "a")
	if approved {
		must(0, w.Store.Update(t.Context(), func(tx *store.Tx) error {
			b := must(tx.LockBuild(t.Context(), b.ID))(t)
			b.Verdict.Profile = "approved"
			return tx.UpdateBuild(t.Context(), b)
		}))(t)
	}
	return j
}

// key is a key of parts; those before the bar are mandatory, all of them if there is none.
func key(parts string) (out []store.CachePart) {
	mandatory, optional, bar := strings.Cut(parts, "|")
	for p := range strings.FieldsSeq(mandatory) {
		out = append(out, store.CachePart{Value: p, Mandatory: true})
	}
	if bar {
		for p := range strings.FieldsSeq(optional) {
			out = append(out, store.CachePart{Value: p})
		}
	}
	return out
}

func cacheOf(j store.Job, parts string) engine.Cache {
	return engine.Cache{JobID: j.ID, Registry: "~", TargetPaths: []string{"node_modules"}, Key: key(parts)}
}

func blobOf(digit string, size int64) []store.CacheBlob {
	b := store.CacheBlob{Size: size, Compression: "zip"}
	b.Digest.Algorithm, b.Digest.Value = "sha256", strings.Repeat(digit, 64)
	return []store.CacheBlob{b}
}

// save saves a cache whose digest is a digit.
func (w *world) save(t testing.TB, j store.Job, parts, digit string) {
	t.Helper()
	w.advance(time.Second)
	v := must(w.SaveCache(t.Context(), cacheOf(j, parts), blobOf(digit, 10), "linux/amd64"))(t)
	must(0, w.CommitCache(t.Context(), j.ID, v.ID))(t)
}

// found is the digit of what a job restores, "~" before it if that is a fallback, "" for a miss.
func (w *world) found(t testing.TB, j store.Job, parts string) string {
	t.Helper()
	v, fallback, _, err := w.RetrieveCache(t.Context(), cacheOf(j, parts))
	if err != nil {
		if r := refused(t, err); r.Why != engine.Missing || r.Message != "Cache entry not found" {
			t.Fatal(err)
		}
		return ""
	}
	if fallback {
		return "~" + v.Spec.Blobs[0].Digest.Value[:1]
	}
	return v.Spec.Blobs[0].Digest.Value[:1]
}

func TestACacheIsFoundByItsKeyOrByItsFirstParts(t *testing.T) {
	w := stated(t)
	j := w.cached(t, engine.CreateBuild{}, false)
	w.save(t, j, "node linux one", "1")
	w.save(t, j, "node linux two", "2")
	w.save(t, j, "node darwin one", "3")
	other := w.cached(t, engine.CreateBuild{Branch: "topic"}, false)
	for parts, want := range map[string]string{
		"node linux one":         "1",
		"node linux | one":       "1",
		"node linux three":       "",
		"node linux | three":     "~2", // what was saved last
		"node | linux three":     "~2",
		"node | windows":         "~3",
		"node | linux one extra": "~1", // the longest
		"node linux":             "",   // all mandatory
		"go | linux":             "",
		"node | linuxone":        "~3",
	} {
		if got := w.found(t, other, parts); got != want {
			t.Errorf("%q finds %q, want %q", parts, got, want)
		}
	}
	w.save(t, other, "node linux one", "4")
	if got := w.found(t, j, "node linux one"); got != "4" {
		t.Errorf("what was saved again is %q", got)
	}
	c := cacheOf(j, "node linux one")
	c.TargetPaths = []string{"vendor"}
	if _, err := w.PeekCache(t.Context(), c); err == nil {
		t.Error("a cache of other paths was found")
	}
	c = cacheOf(j, "node linux one")
	c.Registry = "another"
	if _, err := w.PeekCache(t.Context(), c); err == nil {
		t.Error("a cache of another registry was found")
	}
}

// What a stranger's code saves is found by nobody but that code.
func TestAStrangersCodeCannotPoisonCaches(t *testing.T) {
	w := stated(t)
	trusted := w.cached(t, engine.CreateBuild{}, false)
	w.save(t, trusted, "node one", "1")
	pull := func(n string) engine.CreateBuild {
		return engine.CreateBuild{PullRequest: &store.PullRequest{Number: n, Repository: "git@example.test:p.git"}}
	}
	stranger, unnumbered := w.cached(t, pull("7"), true), w.cached(t, engine.CreateBuild{}, true)
	w.save(t, stranger, "node one", "2")
	w.save(t, stranger, "node two", "3")
	for _, c := range []struct {
		name  string
		job   store.Job
		parts string
		want  string
	}{
		{"a trusted build", trusted, "node one", "1"},
		{"a trusted build, of what only strangers saved", trusted, "node two", ""},
		{"a trusted build by the first part", trusted, "node | three", "~1"},
		{"the stranger itself", stranger, "node one", "2"},
		{"the stranger, later", stranger, "node two", "3"},
		{"another stranger", unnumbered, "node one", "1"},
		{"another stranger, of the first's", unnumbered, "node two", ""},
	} {
		if got := w.found(t, c.job, c.parts); got != c.want {
			t.Errorf("%s finds %q, want %q", c.name, got, c.want)
		}
	}
	if r := refused(t, w.ExpireCache(t.Context(), cacheOf(unnumbered, "node one"))); r.Why != engine.Forbidden {
		t.Errorf("a stranger takes away a trusted cache: %v", r)
	}
	must(0, w.ExpireCache(t.Context(), cacheOf(stranger, "node one")))(t)
	if got := w.found(t, stranger, "node one"); got != "1" {
		t.Errorf("after it took its own away, a stranger finds %q", got)
	}
	for range 2 {
		must(0, w.ExpireCache(t.Context(), cacheOf(trusted, "node one")))(t)
	}
	if got := w.found(t, trusted, "node one"); got != "" {
		t.Errorf("after it was taken away %q is found", got)
	}
}

func TestCachesBeyondTheQuotaPushOutTheLeastUsed(t *testing.T) {
	w := stated(t)
	must(w.ChangeSettings(t.Context(), w.org.ID, map[string]json.RawMessage{"max_cache_mib": json.RawMessage("2"), "max_cache_mib_in_total": json.RawMessage("3")}))(t)
	j, stranger := w.cached(t, engine.CreateBuild{}, false), w.cached(t, engine.CreateBuild{}, true)
	begin := func(j store.Job, name string, mib int64) error {
		w.advance(time.Second)
		c := cacheOf(j, name)
		c.Store = store.CacheServer
		_, err := w.SaveCache(t.Context(), c, blobOf("1", mib<<20), "")
		return err
	}
	must(0, begin(j, "a", 2))(t)
	must(0, begin(j, "b", 1))(t)
	if r := refused(t, begin(stranger, "s", 1)); r.Why != engine.Forbidden || !strings.Contains(r.Message, "no room") {
		t.Errorf("a stranger pushes others out: %v", r)
	}
	must(0, begin(j, "c", 2))(t)
	if n, bytes, err := w.Store.CacheTotals(t.Context(), w.org.ID); n != 2 || bytes != 3<<20 || err != nil {
		t.Errorf("%d entries with %d bytes, %v", n, bytes, err)
	}
	must(w.ChangeSettings(t.Context(), w.org.ID, map[string]json.RawMessage{"max_cache_mib_in_total": json.RawMessage("2")}))(t)
	if more := must(w.TrimCaches(t.Context(), w.org.ID))(t); more {
		t.Error("there is more to take away")
	}
	if n, bytes, err := w.Store.CacheTotals(t.Context(), w.org.ID); n != 1 || bytes != 2<<20 || err != nil {
		t.Errorf("after the limit was lowered %d entries with %d bytes, %v", n, bytes, err)
	}
	if r := refused(t, begin(j, "d", 3)); r.Why != engine.Forbidden || !strings.Contains(r.Message, "max_cache_mib") {
		t.Errorf("one that is too large: %v", r)
	}
}

func TestCachesThatMakeNoSenseAreRefused(t *testing.T) {
	w := stated(t)
	j := w.cached(t, engine.CreateBuild{}, false)
	md5 := blobOf("1", 1)
	md5[0].Digest.Algorithm = "md5"
	outside := blobOf("1", 1)
	outside[0].Digest.Value = "../../etc/passwd"
	for name, c := range map[string]struct {
		change func(*engine.Cache)
		blobs  []store.CacheBlob
		want   engine.Why
	}{
		"no paths":          {func(c *engine.Cache) { c.TargetPaths = nil }, blobOf("1", 1), engine.Invalid},
		"no key":            {func(c *engine.Cache) { c.Key = nil }, blobOf("1", 1), engine.Invalid},
		"a key too long":    {func(c *engine.Cache) { c.Key = key(strings.Repeat("x ", 33)) }, blobOf("1", 1), engine.Invalid},
		"no registry":       {func(c *engine.Cache) { c.Registry = "No such!" }, blobOf("1", 1), engine.Missing},
		"an unknown store":  {func(c *engine.Cache) { c.Store = "tape" }, blobOf("1", 1), engine.Invalid},
		"no blobs":          {func(*engine.Cache) {}, nil, engine.Invalid},
		"an unchecked sum":  {func(*engine.Cache) {}, md5, engine.Invalid},
		"a name for a sum":  {func(*engine.Cache) {}, outside, engine.Invalid},
		"less than nothing": {func(*engine.Cache) {}, blobOf("1", -1), engine.Invalid},
	} {
		cache := cacheOf(j, "a")
		c.change(&cache)
		_, err := w.SaveCache(t.Context(), cache, c.blobs, "")
		if r := refused(t, err); r.Why != c.want {
			t.Errorf("%s: %v", name, r)
		}
	}
	if r := refused(t, w.CommitCache(t.Context(), j.ID, "nothing")); r.Why != engine.Missing {
		t.Errorf("an upload that was not begun: %v", r)
	}
}
