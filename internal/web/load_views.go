package web

import (
	"fmt"
	"net/http"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/store"
)

// viewPage is a build's page before it has content.
func (q *request) viewPage(b *buildView, view, title string, topics ...string) BuildPage {
	f := q.frame(fmt.Sprintf("%s of #%d %s", title, b.build.Number, b.pipeline.Name), "pipelines", fmt.Sprintf("build:%s@%d", b.build.ID, b.build.Version))
	f.listen(topics...)
	page := BuildPage{Frame: f, Head: q.head(b, f.Version()), View: view, StepsRef: b.path(), FilesRef: b.path() + "/artifacts"}
	if page.Head.Actions.Cancel != "" {
		page.Cancel = cancelForm(b)
	}
	return page
}

// graphPage shows how the jobs of a build wait for each other, and one of them closer.
func graphPage(q *request) error {
	b, err := q.view()
	if err != nil {
		return err
	}
	j, ok := b.find(q.r.FormValue("job"))
	if !ok {
		j, ok = b.chosen()
	}
	page := q.viewPage(b, "graph", "Graph", "graph:"+b.build.ID+"/"+j.ID)
	page.Body = "fit"
	if page.Graph, err = q.graphPane(b, j.ID, page.Frame.Version()); err != nil {
		return err
	}
	if ok {
		if page.Graph.Peek, err = q.peek(b, j, page.Frame.Version()); err != nil {
			return err
		}
	}
	return q.html(http.StatusOK, "build", page)
}

func (q *request) graphPane(b *buildView, current, version string) (*GraphPane, error) {
	f, err := q.loadFlow(b)
	if err != nil {
		return nil, err
	}
	g := f.graph(current)
	g.Version = version
	return g, nil
}

// peek is a job below the graph: how it is, what it waited for, its first error.
func (q *request) peek(b *buildView, j store.JobLine, version string) (*GraphPeek, error) {
	if err := q.labelStep(b, j.ID); err != nil {
		return nil, err
	}
	pane, err := q.jobHead(b, j, version)
	if err != nil {
		return nil, err
	}
	p := &GraphPeek{JobPane: *pane, Href: b.jobPath(j.ID), Error: b.errors[j.ID]}
	f, err := q.loadFlow(b)
	if err != nil {
		return nil, err
	}
	for _, k := range f.preds[b.stepAt[j.StepID]] {
		if f.steps[k].Kind != ci.StepWait {
			p.After = append(p.After, b.stepName(f.steps[k].ID))
		}
	}
	return p, nil
}

// waterfallPage shows when each job of a build waited and ran.
func waterfallPage(q *request) error {
	b, err := q.view()
	if err != nil {
		return err
	}
	page := q.viewPage(b, "waterfall", "Waterfall", "waterfall:"+b.build.ID)
	if page.Water, err = q.waterPane(b, page.Frame.Version()); err != nil {
		return err
	}
	return q.html(http.StatusOK, "build", page)
}

func (q *request) waterPane(b *buildView, version string) (*WaterPane, error) {
	f, err := q.loadFlow(b)
	if err != nil {
		return nil, err
	}
	w := f.water()
	w.Version = version
	return w, nil
}
