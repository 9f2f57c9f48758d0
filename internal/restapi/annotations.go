package restapi

import (
	"net/http"
	"slices"

	"github.com/slipway-ci/slipway/internal/annotation"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// annotationJSON is an annotation (https://buildkite.com/docs/apis/rest-api/annotations).
type annotationJSON struct {
	ID        string  `json:"id"`
	Context   string  `json:"context"`
	Style     maybe   `json:"style"`
	Scope     string  `json:"scope"`
	JobID     maybe   `json:"job_id"`
	Priority  int     `json:"priority"`
	BodyHTML  *string `json:"body_html,omitempty"`
	CreatedAt stamp   `json:"created_at"`
	UpdatedAt stamp   `json:"updated_at"`
}

// rendered turns what jobs write into HTML.
var rendered = annotation.New()

func toAnnotation(a store.Annotation) annotationJSON {
	out := annotationJSON{
		ID: a.ID, Context: a.Context, Style: maybe(a.Style), Scope: "build", JobID: maybe(a.JobID), Priority: a.Priority,
		CreatedAt: stamp(a.CreatedAt), UpdatedAt: stamp(a.UpdatedAt),
	}
	if a.JobID != "" {
		out.Scope = "job"
	}
	return out
}

// withBodies answers with annotations of a build and their bodies as HTML. Links to artifacts lead
// to the newest artifact of the build with the path.
func (q *request) withBodies(b store.Build, list []store.Annotation) ([]annotationJSON, error) {
	artifact, err := q.artifactPages(b, list)
	if err != nil {
		return nil, err
	}
	out := []annotationJSON{}
	for _, a := range list {
		body, v := rendered.HTML(a.Body, annotation.Options{Artifact: artifact}), toAnnotation(a)
		v.BodyHTML = &body
		out = append(out, v)
	}
	return out, nil
}

// artifactPages tells where people find the artifact of a build with a path, nil if no annotation asks.
func (q *request) artifactPages(b store.Build, list []store.Annotation) (func(path string) string, error) {
	if !slices.ContainsFunc(list, func(a store.Annotation) bool { return annotation.NamesArtifacts(a.Body) }) {
		return nil, nil
	}
	pl, err := q.Store.PipelineByID(q.ctx, b.PipelineID)
	if err != nil {
		return nil, err
	}
	all, err := q.Store.Artifacts(q.ctx, b.ID)
	if err != nil {
		return nil, err
	}
	page, newest := q.addresses().buildPage(pl.Slug, b.Number), map[string]string{}
	for _, a := range all {
		if a.State == "finished" {
			newest[a.Path] = page + "/artifacts/" + a.ID
		}
	}
	return func(path string) string { return newest[path] }, nil
}

func listAnnotations(q *request) error {
	b, err := q.build()
	if err != nil {
		return err
	}
	scope := q.r.URL.Query().Get("scope")
	return q.replyAnnotations(b, func(a store.Annotation) bool {
		return scope == "all" || (scope == "job") == (a.JobID != "")
	})
}

func listJobAnnotations(q *request) error {
	j, b, err := q.job()
	if err != nil {
		return err
	}
	return q.replyAnnotations(b, func(a store.Annotation) bool { return a.JobID == j.ID })
}

func (q *request) replyAnnotations(b store.Build, wanted func(store.Annotation) bool) error {
	all, err := q.Store.Annotations(q.ctx, b.ID)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(a store.Annotation) bool { return !wanted(a) })
	p, out := q.page(), []annotationJSON{}
	if q.flag("omit_body", false) {
		for _, a := range slice(all, p) {
			out = append(out, toAnnotation(a))
		}
	} else if out, err = q.withBodies(b, slice(all, p)); err != nil {
		return err
	}
	q.link(p, len(all))
	return q.reply(http.StatusOK, out)
}

func annotate(q *request) error {
	b, err := q.build()
	if err != nil {
		return err
	}
	return q.annotate(b, engine.Annotate{BuildID: b.ID})
}

func annotateJob(q *request) error {
	j, b, err := q.job()
	if err != nil {
		return err
	}
	return q.annotate(b, engine.Annotate{BuildID: b.ID, JobID: j.ID})
}

func (q *request) annotate(b store.Build, op engine.Annotate) error {
	var body struct {
		Body     string `json:"body"`
		Style    string `json:"style"`
		Context  string `json:"context"`
		Append   bool   `json:"append"`
		Priority int    `json:"priority"`
	}
	if err := q.decode(&body); err != nil {
		return err
	}
	if body.Body == "" {
		return invalid("body", "can't be blank")
	}
	op.Body, op.Style, op.Context, op.Append, op.Priority = body.Body, body.Style, body.Context, body.Append, body.Priority
	a, err := q.Engine.Annotate(q.ctx, op)
	if err != nil {
		return err
	}
	out, err := q.withBodies(b, []store.Annotation{a})
	if err != nil {
		return err
	}
	return q.reply(http.StatusCreated, out[0])
}

// deleteAnnotation removes an annotation of a build or, where the path names a job, of that job.
func deleteAnnotation(q *request) error {
	b, jobID, err := q.buildOrJob()
	if err != nil {
		return err
	}
	all, err := q.Store.Annotations(q.ctx, b.ID)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(a store.Annotation) bool {
		return a.ID == q.r.PathValue("annotation") && (jobID == "" || a.JobID == jobID)
	})
	if i < 0 {
		return missing("annotation")
	}
	if err := q.Engine.RemoveAnnotation(q.ctx, b.ID, all[i].JobID, all[i].Context); err != nil {
		return err
	}
	return q.done()
}

// buildOrJob is what the path names: a build, or a job with its build.
func (q *request) buildOrJob() (store.Build, string, error) {
	if q.r.PathValue("job") == "" {
		b, err := q.build()
		return b, "", err
	}
	j, b, err := q.job()
	return b, j.ID, err
}
