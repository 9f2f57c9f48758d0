package wire

import (
	"context"
	"net/http"
	"net/url"
)

// Scope says whose data is meant: that of a job's build, or of a build.
type Scope struct {
	kind, id string
}

// OfJob is the data of the build that the job belongs to.
func OfJob(id string) Scope { return Scope{"jobs", id} }

// OfBuild is the data of the build.
func OfBuild(id string) Scope { return Scope{"builds", id} }

// MetaData is one value of a build.
type MetaData struct {
	Key   string `json:"key"`
	Value string `json:"value,omitempty"`
}

// SetMetaData stores one value.
func (c *Client) SetMetaData(ctx context.Context, jobID string, m MetaData) error {
	_, err := c.do(ctx, call{method: http.MethodPost, path: path("jobs", jobID, "data", "set"), body: m}, nil)
	return err
}

// SetMetaDataBatch stores all values or none.
func (c *Client) SetMetaDataBatch(ctx context.Context, jobID string, items []MetaData) error {
	body := struct {
		Items []MetaData `json:"items"`
	}{items}
	_, err := c.do(ctx, call{method: http.MethodPost, path: path("jobs", jobID, "data", "set-batch"), body: body}, nil)
	return err
}

// MetaData returns one value; status 404 says that it is not set.
func (c *Client) MetaData(ctx context.Context, s Scope, key string) (string, error) {
	out := MetaData{Key: key}
	_, err := c.do(ctx, call{method: http.MethodPost, path: path(s.kind, s.id, "data", "get"), body: MetaData{Key: key}}, &out)
	return out.Value, err
}

// MetaDataExists reports whether a value is set.
func (c *Client) MetaDataExists(ctx context.Context, s Scope, key string) (bool, error) {
	var out struct {
		Exists bool `json:"exists"`
	}
	_, err := c.do(ctx, call{method: http.MethodPost, path: path(s.kind, s.id, "data", "exists"), body: MetaData{Key: key}}, &out)
	return out.Exists, err
}

// MetaDataKeys lists the keys that are set.
func (c *Client) MetaDataKeys(ctx context.Context, s Scope) ([]string, error) {
	var out []string
	_, err := c.do(ctx, call{method: http.MethodPost, path: path(s.kind, s.id, "data", "keys")}, &out)
	return out, err
}

// Annotation is a note on the build page. Its size limit is 1 MiB.
type Annotation struct {
	Body     string `json:"body,omitempty"`    // Markdown; may be empty to change only the style
	Context  string `json:"context,omitempty"` // identity; "" = "default"
	Style    string `json:"style,omitempty"`   // success, info, warning or error
	Append   bool   `json:"append,omitempty"`
	Priority int    `json:"priority,omitempty"` // 1 to 10
	Scope    string `json:"scope,omitempty"`    // build or job
}

// Annotate creates or changes an annotation.
func (c *Client) Annotate(ctx context.Context, jobID string, a Annotation) error {
	_, err := c.do(ctx, call{method: http.MethodPost, path: path("jobs", jobID, "annotations"), body: a}, nil)
	return err
}

// RemoveAnnotation deletes the annotation with that context and scope.
func (c *Client) RemoveAnnotation(ctx context.Context, jobID, annotationContext, scope string) error {
	_, err := c.do(ctx, call{
		method: http.MethodDelete, path: path("jobs", jobID, "annotations", annotationContext),
		query: url.Values{"scope": {scope}},
	}, nil)
	return err
}
