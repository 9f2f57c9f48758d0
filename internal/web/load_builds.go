package web

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/store"
)

// pageSize is the number of builds in a table.
const pageSize = 50

// scanLimit is how many builds a filtered table looks through before it offers
// to go on from there.
const scanLimit = 1000

// buildRow is a build in a table. Its marks stand in the order of results, not
// of steps: the build's own row has only counts.
func (q *request) buildRow(b store.Build, p store.Pipeline, named bool) BuildRow {
	jobs := looksOf(b.Jobs)
	row := BuildRow{
		ID: b.ID, Number: int(b.Number), Message: message(b), State: buildLook(b, jobs), Branch: b.Branch, Commit: b.Commit,
		Author: author(b), Why: why(b), Jobs: jobs, Took: Span{Start: b.StartedAt, End: b.FinishedAt, Now: q.now},
		Created: Moment{At: b.CreatedAt.In(q.now.Location()), Now: q.now},
		Href:    fmt.Sprintf("/%s/%s/builds/%d", q.org.Slug, p.Slug, b.Number),
	}
	row.Waited, _ = waited(b)
	if pr := b.Detail.PullRequest; pr != nil {
		row.PR = pr.Number
	}
	if named {
		row.Pipeline = p.Name
	}
	return row
}

func message(b store.Build) string { return orElse(b.Message, b.Detail.CommitSubject) }

func author(b store.Build) string {
	return orElse(b.Detail.Author.Name, b.Detail.Author.Email)
}

// sources puts what started a build into words.
var sources = map[string]string{
	"ui": "New build", "api": "API", "cli": "command line", "webhook": "push", "schedule": "schedule", "trigger_job": "another pipeline", "pipeline_trigger": "trigger address",
}

func why(b store.Build) string {
	switch {
	case b.Detail.RebuiltFrom != nil:
		return fmt.Sprintf("rebuild of #%d", b.Detail.RebuiltFrom.Number)
	case b.Detail.TriggeredFrom != nil:
		return fmt.Sprintf("%s #%d", b.Detail.TriggeredFrom.Pipeline, b.Detail.TriggeredFrom.Number)
	}
	return orElse(sources[b.Source], b.Source)
}

func (q *request) filters(action string) (Filters, error) {
	v := q.r.URL.Query()
	f := Filters{State: v.Get("state"), Branch: strings.TrimSpace(v.Get("branch")), Query: strings.TrimSpace(v.Get("q")), Action: action}
	if s := v.Get("before"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			return f, &problem{status: 400, title: "before is a number"}
		}
		f.Before = n
	}
	return f, nil
}

// link is the address of the list with other filters.
func (f Filters) link(state string, before int) string {
	v := url.Values{}
	set := func(key, value string) {
		if value != "" {
			v.Set(key, value)
		}
	}
	set("state", state)
	set("branch", f.Branch)
	set("q", f.Query)
	if before > 0 {
		v.Set("before", strconv.Itoa(before))
	}
	if len(v) == 0 {
		return f.Action
	}
	return f.Action + "?" + v.Encode()
}

func (f Filters) choices() []Choice {
	out := []Choice{}
	for _, c := range [][2]string{{"", "All"}, {"active", "Active"}, {"failed", "Failed"}, {"mine", "Mine"}} {
		out = append(out, Choice{Text: c[1], Href: f.link(c[0], 0), On: f.State == c[0]})
	}
	return out
}

// keep reports whether a build holds the filters. The branch is left to the
// query where the store can answer it.
func (f Filters) keep(b store.Build, s State, userID string) bool {
	if f.Branch != "" && b.Branch != f.Branch {
		return false
	}
	switch f.State {
	case "active":
		if s.Over() {
			return false
		}
	case "failed":
		switch s {
		case Failed, Failing, TimedOut, Lost, Expired:
		default:
			return false
		}
	case "mine":
		if b.CreatorID == "" || b.CreatorID != userID {
			return false
		}
	}
	q := strings.ToLower(f.Query)
	return q == "" || strings.Contains(strings.ToLower(message(b)), q) || strings.HasPrefix(b.Commit, q) || strings.TrimPrefix(q, "#") == strconv.FormatInt(b.Number, 10)
}

func pipelinePage(q *request) error {
	p, err := q.pipeline()
	if err != nil {
		return err
	}
	page, err := q.loadPipeline(p)
	if err != nil {
		return err
	}
	return q.html(200, "pipeline", page)
}

func (q *request) loadPipeline(p store.Pipeline) (PipelinePage, error) {
	path := "/" + q.org.Slug + "/" + p.Slug
	f, err := q.filters(path)
	page := PipelinePage{Slug: p.Slug, Name: p.Name, Description: strings.TrimSuffix(p.Description, "."), Repository: p.Repository, CanBuild: p.ArchivedAt.IsZero()}
	if err != nil {
		return page, err
	}
	page.BuildsPage = BuildsPage{Frame: q.frame(p.Name, "pipelines"), Filters: f, States: f.choices()}
	if page.Form, err = q.newBuildForm(p); err != nil {
		return page, err
	}
	if page.Total, err = q.Store.CountBuilds(q.ctx, p.ID); err != nil {
		return page, err
	}
	recent, err := q.Store.BuildsOfBranch(q.ctx, p.ID, p.DefaultBranch, store.CreatedBefore{}, homeBars)
	if err != nil {
		return page, err
	}
	row := pipelineRow(p, recent, q.now)
	page.Worst, page.Figures = row.State, figures(row, p.DefaultBranch)
	if err = q.buildsOf(p, &page.BuildsPage); err != nil {
		return page, err
	}
	newest, err := q.Store.Builds(q.ctx, p.ID, store.CreatedBefore{}, 1)
	seen := int64(0)
	if len(newest) > 0 {
		seen = newest[0].Number
	}
	page.listen(fmt.Sprintf("pipe:%s@%d", p.ID, seen))
	return page, err
}

// figures are the numbers above the table, once enough builds stand behind
// them.
func figures(row PipelineRow, branch string) []Figure {
	ended := 0
	for _, b := range row.Recent {
		if b.State.Over() && b.State != Canceled && b.State != Skipped {
			ended++
		}
	}
	if ended < 3 {
		return nil
	}
	trend := []float64{}
	for _, b := range row.Recent {
		if b.State == Passed {
			trend = append(trend, b.Took.Seconds())
		}
	}
	return []Figure{
		{Key: "Pass rate on " + branch, Value: row.Rate(), Small: "of " + plural(ended, "build")},
		{Key: "Median build", Value: duration(row.Median), Small: row.Delta().Text, Class: row.Delta().Class, Trend: trend},
		{Key: "Median queue wait", Value: duration(row.Wait), Small: "p95 " + duration(row.WaitP95)},
	}
}

// buildsOf fills a page of a pipeline's builds, looking through at most
// scanLimit of them.
func (q *request) buildsOf(p store.Pipeline, page *BuildsPage) error {
	before := int64(page.Before)
	step := pageSize + 1
	if page.Any() {
		step = pageSize * 4
	}
	for seen := 0; seen < scanLimit; {
		limit := min(step, scanLimit-seen)
		builds, err := q.batch(p, page.Filters, before, limit)
		if err != nil {
			return err
		}
		for _, b := range builds {
			before = b.Number
			row := q.buildRow(b, p, false)
			if !page.keep(b, row.State, q.user.ID) {
				continue
			}
			if len(page.Builds) == pageSize {
				page.Older = page.link(page.State, page.Builds[pageSize-1].Number)
				return nil
			}
			page.Builds = append(page.Builds, row)
		}
		seen += len(builds)
		if len(builds) < limit {
			return nil
		}
	}
	page.Older = page.link(page.State, int(before))
	return nil
}

func (q *request) batch(p store.Pipeline, f Filters, before int64, limit int) ([]store.Build, error) {
	if f.Branch != "" {
		return q.Store.BuildsOfBranch(q.ctx, p.ID, f.Branch, store.CreatedBefore{Number: before}, limit)
	}
	return q.Store.Builds(q.ctx, p.ID, store.CreatedBefore{Number: before}, limit)
}

func allBuilds(q *request) error {
	f, err := q.filters("/" + q.org.Slug + "/builds")
	if err != nil {
		return err
	}
	page := BuildsPage{Frame: q.frame("Builds", "builds", fmt.Sprintf("builds@%d", q.now.UnixMilli())), Filters: f, States: f.choices()}
	if err := q.buildsOfAll(&page); err != nil {
		return err
	}
	return q.html(200, "builds", page)
}

// buildsOfAll is buildsOf over all pipelines. Before is in milliseconds since
// 1970 here, since numbers are a pipeline's own.
func (q *request) buildsOfAll(page *BuildsPage) error {
	pipelines, err := q.Store.Pipelines(q.ctx, q.org.ID, "", 1000)
	if err != nil {
		return err
	}
	byID := map[string]store.Pipeline{}
	for _, p := range pipelines {
		byID[p.ID] = p
		n, err := q.Store.CountBuilds(q.ctx, p.ID)
		if err != nil {
			return err
		}
		page.Total += n
	}
	before := q.now.Add(time.Minute)
	if page.Before > 0 {
		before = time.UnixMilli(int64(page.Before))
	}
	builds, err := q.Store.RecentBuilds(q.ctx, q.org.ID, before, scanLimit)
	if err != nil {
		return err
	}
	for _, b := range builds {
		row := q.buildRow(b, byID[b.PipelineID], true)
		if !page.keep(b, row.State, q.user.ID) {
			continue
		}
		if len(page.Builds) == pageSize {
			page.Older = page.link(page.State, int(before.UnixMilli()))
			return nil
		}
		page.Builds = append(page.Builds, row)
		before = b.CreatedAt
	}
	return nil
}

func toPipeline(q *request) error {
	return q.seeOther("/" + q.org.Slug + "/" + q.r.PathValue("pipe"))
}

// latestBuild leads to a branch's newest build, for badges and chat.
func latestBuild(q *request) error {
	p, err := q.pipeline()
	if err != nil {
		return err
	}
	builds, err := q.batch(p, Filters{Branch: q.r.FormValue("branch")}, 0, 1)
	if err != nil {
		return err
	}
	if len(builds) == 0 {
		return missing("There is no such build of "+p.Name+" yet", Link{Text: "Builds of " + p.Name, Href: "/" + q.org.Slug + "/" + p.Slug})
	}
	return q.seeOther(fmt.Sprintf("/%s/%s/builds/%d", q.org.Slug, p.Slug, builds[0].Number))
}
