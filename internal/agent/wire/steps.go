package wire

import (
	"context"
	"net/http"
)

// StepExport says which attribute of a step is wanted; without one, the whole
// step.
type StepExport struct {
	Attribute string `json:"attribute,omitempty"`
	BuildID   string `json:"build_id,omitempty"`
	Format    string `json:"format,omitempty"` // "string" or "json"
}

// ExportStep returns an attribute of a step, by its id or key, as text.
func (c *Client) ExportStep(ctx context.Context, step string, e StepExport) (string, error) {
	var out struct {
		Output string `json:"output"`
	}
	_, err := c.do(ctx, call{method: http.MethodPost, path: path("steps", step, "export"), body: e}, &out)
	return out.Output, err
}

// StepUpdate changes an attribute of a step.
type StepUpdate struct {
	// IdempotencyUUID is kept over retries, so that an append happens once.
	IdempotencyUUID string `json:"idempotency_uuid,omitempty"`
	BuildID         string `json:"build_id,omitempty"`
	Attribute       string `json:"attribute,omitempty"` // label, notify or priority
	Value           string `json:"value,omitempty"`
	Append          bool   `json:"append,omitempty"`
}

// UpdateStep changes a step, by its id or key.
func (c *Client) UpdateStep(ctx context.Context, step string, u StepUpdate) error {
	_, err := c.do(ctx, call{method: http.MethodPut, path: path("steps", step), body: u}, nil)
	return err
}

// StepCancel cancels the unfinished jobs of a step.
type StepCancel struct {
	BuildID          string `json:"build_id"`
	Force            bool   `json:"force"`
	ForceGracePeriod int64  `json:"force_grace_period"` // seconds
}

// CancelStep cancels a step, by its id or key, and returns its id.
func (c *Client) CancelStep(ctx context.Context, step string, s StepCancel) (string, error) {
	var out struct {
		UUID string `json:"uuid"`
	}
	_, err := c.do(ctx, call{method: http.MethodPost, path: path("steps", step, "cancel"), body: s}, &out)
	return out.UUID, err
}

// CancelBuild cancels a build and returns its id.
func (c *Client) CancelBuild(ctx context.Context, buildID string) (string, error) {
	var out struct {
		UUID string `json:"uuid"`
	}
	_, err := c.do(ctx, call{method: http.MethodPost, path: path("builds", buildID, "cancel")}, &out)
	return out.UUID, err
}
