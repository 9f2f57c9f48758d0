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

func toAnnotation(a store.Annotation, withBody bool) (annotationJSON, error) {
	out := annotationJSON{
		ID: a.ID, Context: a.Context, Style: maybe(a.Style), Scope: "build", JobID: maybe(a.JobID), Priority: a.Priority,
		CreatedAt: stamp(a.CreatedAt), UpdatedAt: stamp(a.UpdatedAt),
	}
	if a.JobID != "" {
		out.Scope = "job"
	}
	if !withBody {
		return out, nil
	}
	body := rendered.HTML(a.Body, annotation.Options{})
	out.BodyHTML = &body
	return out, nil
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
	for _, a := range slice(all, p) {
		v, err := toAnnotation(a, !q.flag("omit_body", false))
		if err != nil {
			return err
		}
		out = append(out, v)
	}
	q.link(p, len(all))
	return q.reply(http.StatusOK, out)
}

func annotate(q *request) error {
	b, err := q.build()
	if err != nil {
		return err
	}
	return q.annotate(engine.Annotate{BuildID: b.ID})
}

func annotateJob(q *request) error {
	j, b, err := q.job()
	if err != nil {
		return err
	}
	return q.annotate(engine.Annotate{BuildID: b.ID, JobID: j.ID})
}

func (q *request) annotate(op engine.Annotate) error {
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
	out, err := toAnnotation(a, true)
	if err != nil {
		return err
	}
	return q.reply(http.StatusCreated, out)
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
