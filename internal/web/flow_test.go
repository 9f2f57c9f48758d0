package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/store"
)

// drawnBuild is a build in the making, for pictures: times are seconds since its start.
type drawnBuild struct {
	*buildView
	jobs []store.JobLine
}

func newDrawn(now int) *drawnBuild {
	start := noon.Add(-time.Hour)
	return &drawnBuild{buildView: &buildView{
		now: start.Add(time.Duration(now) * time.Second), org: org, pipeline: store.Pipeline{Slug: "test", Name: "test"},
		build:   store.Build{Build: ci.Build{CreatedAt: start}, ID: "b", Number: 7},
		edgesTo: map[string][]string{}, specs: map[string]store.Job{}, waits: map[string][]string{}, stepAt: map[string]int{},
	}}
}

func (d *drawnBuild) step(kind ci.StepKind, id, group string, after ...string) {
	d.stepAt[id] = len(d.steps)
	d.steps = append(d.steps, store.StepLine{ID: id, Kind: kind, Key: id, Label: id, GroupID: group})
	d.edgesTo[id] = after
}

// ran adds a command step with one job that was runnable, began and ended then; -1: not yet.
func (d *drawnBuild) ran(id, group string, runnable, began, ended int, after ...string) {
	d.step("command", id, group, after...)
	d.try(id, 0, runnable, began, ended)
}

func (d *drawnBuild) at(s int) time.Time {
	if s < 0 {
		return time.Time{}
	}
	return d.build.CreatedAt.Add(time.Duration(s) * time.Second)
}

func (d *drawnBuild) try(step string, number, runnable, began, ended int) {
	exit := 0
	j := store.JobLine{StepID: step, Number: number, Job: ci.Job{
		ID: fmt.Sprintf("%s-%d-%d", step, number, len(d.jobs)), Kind: ci.JobScript, State: ci.JobWaiting,
		RunnableAt: d.at(runnable), StartedAt: d.at(began), FinishedAt: d.at(ended),
	}}
	switch {
	case ended >= 0:
		j.State, j.ExitStatus = ci.JobFinished, &exit
	case began >= 0:
		j.State = ci.JobRunning
	case runnable >= 0:
		j.State = ci.JobScheduled
	}
	d.jobs = append(d.jobs, j)
}

func (d *drawnBuild) flow() *flow {
	d.sortJobs(d.jobs)
	d.end()
	d.look()
	return newFlow(d.buildView)
}

// diamond is a build of which everything has happened that can: two ways from the first to the last
// step, a group between, and a wait.
func diamond() *drawnBuild {
	d := newDrawn(60)
	d.ran("plan", "", 0, 1, 3)
	d.ran("lint", "", 3, 3, 8, "plan")
	d.step(ci.StepGroup, "tests", "", "plan")
	d.ran("unit", "tests", 3, 5, 20, "tests")
	d.ran("slow", "tests", 20, 30, 50, "tests", "unit")
	d.step(ci.StepWait, "gate", "", "lint", "tests")
	d.ran("ship", "", 50, -1, -1, "gate")
	d.ran("after", "", -1, -1, -1, "ship")
	return d
}

func TestTheCriticalPathLeadsThroughGroupsAndWaits(t *testing.T) {
	t.Parallel()
	f := diamond().flow()
	var got []string
	for _, k := range f.critical() {
		got = append(got, f.steps[k].ID)
	}
	if want := "plan unit slow gate ship"; strings.Join(got, " ") != want {
		t.Errorf("critical path %v, want %s", got, want)
	}
}

func TestAGraphHasAColumnForEachStage(t *testing.T) {
	t.Parallel()
	g := diamond().flow().graph("")
	var columns [][]string
	for _, n := range g.Nodes {
		for len(columns) <= n.Column {
			columns = append(columns, nil)
		}
		columns[n.Column] = append(columns[n.Column], n.Label)
	}
	if got, want := fmt.Sprint(columns), "[[plan] [lint unit] [slow] [gate] [ship] [after]]"; got != want {
		t.Errorf("columns %s, want %s", got, want)
	}
	var edges []string
	for _, e := range g.Edges {
		text := g.Nodes[e.From].Label + ">" + g.Nodes[e.To].Label
		if e.Critical {
			text += "!"
		}
		edges = append(edges, text)
	}
	slices.Sort(edges)
	if got, want := strings.Join(edges, " "), "gate>ship! lint>gate plan>lint plan>unit! ship>after slow>gate! unit>slow!"; got != want {
		t.Errorf("edges %s, want %s", got, want)
	}
}

// A picture stays one that a person can look at, however large the build is.
func TestLargeGraphsFold(t *testing.T) {
	t.Parallel()
	groups, alike, chain := newDrawn(5000), newDrawn(5000), newDrawn(5000)
	for n := range 100 {
		group := fmt.Sprint("g", n)
		groups.step(ci.StepGroup, group, "")
		for k := range 20 {
			groups.ran(fmt.Sprint(group, "-", k), group, 0, 1, 2, group)
		}
	}
	alike.ran("first", "", 0, 1, 2)
	chain.ran("c0", "", 0, 1, 2)
	for n := 1; n < 2000; n++ {
		alike.ran(fmt.Sprint("a", n), "", 2, 3, 4, "first")
		chain.ran(fmt.Sprint("c", n), "", n, n, n+1, fmt.Sprint("c", n-1))
	}
	if g := groups.flow().graph(""); len(g.Nodes) != 100 || g.Nodes[0].Note != "20 of 20 ended well" {
		t.Errorf("%d nodes of 100 groups", len(g.Nodes))
	}
	if g := alike.flow().graph(""); len(g.Nodes) != 2 || g.Nodes[1].Label != "a1 and 1998 more" {
		t.Errorf("%d nodes of steps that wait for the same", len(g.Nodes))
	}
	if g := chain.flow().graph(""); len(g.Nodes) != 0 || g.TooMany != 2000 {
		t.Errorf("%d nodes are drawn of a chain of 2000", len(g.Nodes))
	}
	if w := chain.flow().water(); len(w.Rows) != maxRows || w.Left != 2000-maxRows {
		t.Errorf("%d rows, %d left out", len(w.Rows), w.Left)
	}
	if w := groups.flow().water(); len(w.Rows) != 100 || w.Rows[0].Text != "20 jobs" {
		t.Errorf("%d rows of 100 groups", len(w.Rows))
	}
}

func TestAWaterfallSaysWhereTheTimeWent(t *testing.T) {
	t.Parallel()
	d := diamond()
	d.try("after", 1, 40, 41, 45)
	w := d.flow().water()
	var figures []string
	for _, f := range w.Figures {
		figures = append(figures, f.Key+" "+f.Value)
	}
	// Queued: plan 1, unit 2, slow 10, ship 10; ran: plan 2, unit 15, slow 20.
	if got, want := strings.Join(figures, ", "), "Elapsed 1m 00s, Queued on it 23 s, Running on it 37 s, Neither 0 s"; got != want {
		t.Errorf("figures %s, want %s", got, want)
	}
	if got, want := w.Rows[2].Name(), "unit, Passed, queued 2 s, ran 15 s"; got != want || !w.Rows[2].Critical {
		t.Errorf("%q, want %q", got, want)
	}
	if want := "Waterfall of 7 jobs over 1m 00s. Critical path: plan, unit, slow, ship."; w.Summary() != want {
		t.Errorf("%q, want %q", w.Summary(), want)
	}
}

func TestAxesAreRound(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0:01", 700 * time.Millisecond: "0:01", 61 * time.Second: "1:10", 8 * time.Minute: "8:00", 100 * time.Minute: "1:45:00", 30 * 24 * time.Hour: "32 d",
	} {
		if got := axisText(niceAxis(d)); got != want {
			t.Errorf("the axis of %v ends at %s, want %s", d, got, want)
		}
	}
}

func graphFixture(view string) BuildPage {
	p := BuildPage{Frame: frame("Graph", "pipelines"), Head: headFixture(), View: view, StepsRef: "/build", FilesRef: "/build-artifacts", Cancel: confirmFixture()}
	d := diamond()
	d.step("command", "shards", "", "plan")
	for n := range 4 {
		d.try("shards", n, 3, 4, 9-n*4)
	}
	f := d.flow()
	if view == "waterfall" {
		p.Water = f.water()
		return p
	}
	p.Body, p.Graph = "fit", f.graph(d.jobs[1].ID)
	p.Graph.Peek = &GraphPeek{JobPane: JobPane{ID: "1", State: Failed, Label: ":rust: cargo test", Phases: []Phase{{Name: "exit", Text: "1"}}, Retry: "/x"}, Href: "/build", After: []string{"build"}, Error: "error: " + strings.Repeat("long ", 80)}
	return p
}

func TestBuildsHaveAGraphAndAWaterfall(t *testing.T) {
	t.Parallel()
	s, b := seeded(t)
	page := s.get("/main/test/builds/1/graph", http.StatusOK)
	s.has(page, `aria-label="Dependency graph, 12 jobs in`, "after Release?", `aria-label="Selected: unit"`, "error: one test failed &lt;script&gt;")
	s.has(s.get("/main/test/builds/1/graph?job="+s.job(b, "lint").ID, http.StatusOK), `aria-label="Selected: lint"`)
	page = s.get("/main/test/builds/1/waterfall", http.StatusOK)
	s.has(page, "Where the time goes", "Elapsed")
	if !regexp.MustCompile(`aria-label="unit, Failed, queued \d+ s, ran \d+ s"`).MatchString(page) {
		t.Error("the page does not say how long unit was queued and ran")
	}
	s.get("/main/test/builds/9/graph", http.StatusNotFound)
}

// The arrow keys follow what waits for what, through waits.
func TestBrowserWalksTheGraph(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(fixtureServer(newPages(t)))
	t.Cleanup(srv.Close)
	b := newTab(t)
	b.do(chromedp.EmulateViewport(1440, 900), chromedp.Navigate(srv.URL+"/build-graph"), chromedp.WaitVisible("a.nd"))
	eval[any](b, `document.querySelector('a.nd[aria-label^="plan,"]').focus()`)
	for _, move := range []struct{ key, want string }{{"ArrowRight", "lint,"}, {"ArrowDown", "unit,"}, {"ArrowRight", "slow,"}, {"ArrowRight", "ship,"}, {"ArrowLeft", "lint,"}, {"ArrowLeft", "plan,"}} {
		eval[any](b, fmt.Sprintf(`document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: %q, bubbles: true}))`, move.key))
		b.until(fmt.Sprintf(`document.activeElement.getAttribute('aria-label').startsWith(%q)`, move.want))
	}
	for _, c := range b.complaints("/main/live", "favicon") {
		t.Error(c)
	}
}
