package agentapi_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/agent/wire"
	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/store"
)

// heldAll starts every job of a build that can run.
func (w *world) heldAll(b store.Build) (out []held) {
	w.t.Helper()
	for _, j := range must(w.Store.Jobs(w.t.Context(), b.ID))(w.t) {
		if j.Kind != ci.JobScript || j.State != ci.JobScheduled {
			continue
		}
		a := w.agent()
		w.assign(j, a)
		accepted := must(a.Accept(w.t.Context(), j.ID))(w.t)
		h := held{job: accepted, Client: w.client(accepted.Token), agent: a, build: b}
		if err := h.Start(w.t.Context(), j.ID, w.Now()); err != nil {
			w.t.Fatal(err)
		}
		out = append(out, h)
	}
	return out
}

// contents downloads what a search finds.
func (h held) contents(t *testing.T, q wire.Search) []string {
	t.Helper()
	out := []string{}
	for _, f := range must(h.SearchArtifacts(t.Context(), h.build.ID, q))(t) {
		var got bytes.Buffer
		must(h.WithToken("").Download(t.Context(), f.URL, &got))(t)
		out = append(out, got.String())
	}
	slices.Sort(out)
	return out
}

func TestP268_AStepsSearchFindsOneOfEachParallelJobAndNoneThatWasRetried(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.build("steps:\n- {command: make, key: one, label: Some tests, parallelism: 3, retry: {manual: {permit_on_passed: true}}}\n- {command: x, key: two}\n")
	jobs := w.heldAll(b)
	for i, h := range jobs {
		h.upload(t, "out.txt", "first of "+string(rune('a'+i)))
	}
	w.advance(time.Second)
	jobs[0].upload(t, "out.txt", "second of a")
	finish(t, jobs[1])
	must(w.RetryJob(t.Context(), jobs[1].job.ID, "a person"))(t)
	again := w.heldAll(b)[0]
	again.upload(t, "out.txt", "retry of b")
	for name, c := range map[string]struct {
		in   wire.Search
		want []string
	}{
		"by key":               {wire.Search{Query: "out.txt", Scope: "one"}, []string{"first of c", "retry of b", "second of a"}},
		"by label":             {wire.Search{Query: "*", Scope: "Some tests"}, []string{"first of c", "retry of b", "second of a"}},
		"by job":               {wire.Search{Query: "out.txt", Scope: jobs[0].job.ID}, []string{"second of a"}},
		"by a retried job":     {wire.Search{Query: "out.txt", Scope: jobs[1].job.ID}, []string{}},
		"retried ones as well": {wire.Search{Query: "out.txt", Scope: jobs[1].job.ID, IncludeRetriedJobs: true}, []string{"first of b"}},
		"all of them":          {wire.Search{Query: "out.txt", Scope: "one", IncludeDuplicates: true}, []string{"first of a", "first of c", "retry of b", "second of a"}},
		"the build by a glob":  {wire.Search{Query: "out*"}, []string{"retry of b"}},
	} {
		if d := cmp.Diff(c.want, again.contents(t, c.in)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestP269_AFileThatSeveralJobsUploadedIsAmbiguousByItsNameAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.build("steps:\n- {command: a, key: one}\n- {command: b, key: two}\n")
	jobs := w.heldAll(b)
	jobs[0].upload(t, "ambiguous.txt", "one")
	jobs[0].upload(t, "ambiguous.txt", "one, later")
	jobs[1].upload(t, "other.txt", "other")
	if got := jobs[0].contents(t, wire.Search{Query: "ambiguous.txt", State: "finished"}); !slices.Equal(got, []string{"one, later"}) {
		t.Errorf("of one job: %q", got)
	}
	jobs[1].upload(t, "ambiguous.txt", "two")
	_, err := jobs[0].SearchArtifacts(t.Context(), b.ID, wire.Search{Query: "ambiguous.txt", State: "finished"})
	const want = "Multiple artifacts were found for query: `ambiguous.txt`. Try scoping by the job ID or name."
	if wire.Status(err) != 400 || !strings.Contains(err.Error(), want) {
		t.Errorf("of two jobs: %v, want 400 and %s", err, want)
	}
	for name, c := range map[string]struct {
		in   wire.Search
		want []string
	}{
		"of a step": {wire.Search{Query: "ambiguous.txt", Scope: "two"}, []string{"two"}},
		"a glob":    {wire.Search{Query: "ambiguous*"}, []string{"two"}},
		"all":       {wire.Search{Query: "ambiguous.txt", IncludeDuplicates: true}, []string{"one", "one, later", "two"}},
	} {
		if d := cmp.Diff(c.want, jobs[0].contents(t, c.in)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

// Of what has a meaning in the globs of uploads only "*" has one here: "There is no need to escape characters such as ?, [ and ]."
func TestOnlyStarsMeanSomethingInASearch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.build("steps:\n- {command: a, key: one}\n- {command: b, key: two}\n")
	jobs := w.heldAll(b)
	for _, path := range []string{"out [1]/a.txt", "out [1]/b/c.txt", "out 1/d.txt", "what??.html", "whatis.html", `win\dir\[e].txt`, "f{g,h}.txt", "i*j.txt", "ikj.txt"} {
		jobs[0].upload(t, path, path)
	}
	for query, want := range map[string][]string{
		"out [1]/*":        {"out [1]/a.txt", "out [1]/b/c.txt"},
		"*[1]*c.txt":       {"out [1]/b/c.txt"},
		"out [1]/**/c.txt": {"out [1]/b/c.txt"},
		"what??.html":      {"what??.html"},
		`win\dir\*`:        {`win\dir\[e].txt`},
		"win/dir/[e]*":     {`win\dir\[e].txt`},
		"f{g,h}.*":         {"f{g,h}.txt"},
		"i*j.txt":          {"i*j.txt", "ikj.txt"},
		`i\*j.txt`:         {"i*j.txt"}, // nothing is called that, so it is read as a glob of uploads
		"w?atis.html":      {"whatis.html"},
		"[o]ut 1/*":        {"out 1/d.txt"},
	} {
		if d := cmp.Diff(want, jobs[0].contents(t, wire.Search{Query: query})); d != "" {
			t.Errorf("%s (-want +got):\n%s", query, d)
		}
	}
	jobs[1].upload(t, "what??.html", "of another job")
	if _, err := jobs[0].SearchArtifacts(t.Context(), b.ID, wire.Search{Query: "what??.html"}); wire.Status(err) != 400 {
		t.Errorf("a name that two jobs uploaded: %v, want 400", err)
	}
}
