package engine

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/forge"
	"github.com/slipway-ci/slipway/internal/pipeline"
	"github.com/slipway-ci/slipway/internal/store"
)

// Reserved are the first path segments of the routes, which no organization's slug may be.
var Reserved = []string{"v2", "v3", "graphql", "deliver", "healthz", "readyz", "metrics", "assets", "sign-in", "sign-out", "setup", "theme", "artifacts", "caches"}

// ReservedPipelines are the pages of an organization, which no pipeline's slug may be.
var ReservedPipelines = []string{"builds", "agents", "pools", "queues", "images", "tests", "performance", "audit", "settings", "live", "new"}

var (
	slugJunk    = regexp.MustCompile(`[^a-z0-9]+`)
	slugPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,99}$`)
	queueKey    = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`)
)

// Slug makes a slug of a name: "My Pipeline!" is "my-pipeline".
func Slug(name string) string {
	return strings.Trim(slugJunk.ReplaceAllString(strings.ToLower(name), "-"), "-")
}

// CreatePipeline asks for a pipeline.
type CreatePipeline struct {
	OrganizationID string
	ClusterID      string // "": the organization's default
	Name           string
	Slug           string // "": made of the name
	Description    string
	Repository     string
	Configuration  string // YAML; "": read from the repository
	Path           string
	DefaultBranch  string          // "": main
	Settings       json.RawMessage // an object, or nil
	CreatedBy      string
}

// CreatePipeline adds a pipeline. A configuration that cannot be parsed is refused with line and
// column.
func (e *Engine) CreatePipeline(ctx context.Context, op CreatePipeline) (store.Pipeline, error) {
	pl := store.Pipeline{
		ID: e.NewID(), OrganizationID: op.OrganizationID, ClusterID: op.ClusterID, Name: strings.TrimSpace(op.Name),
		Slug: firstNonEmpty(op.Slug, Slug(op.Name)), Description: op.Description, Repository: op.Repository,
		Configuration: op.Configuration, Path: op.Path, DefaultBranch: firstNonEmpty(op.DefaultBranch, "main"),
		Settings: op.Settings, CreatedBy: op.CreatedBy, CreatedAt: e.Now(),
	}
	if pl.Settings == nil {
		pl.Settings = json.RawMessage("{}")
	}
	if err := checkPipeline(pl); err != nil {
		return pl, err
	}
	err := e.Store.Update(ctx, func(tx *store.Tx) error {
		if err := e.defaultCluster(ctx, tx, &pl); err != nil {
			return err
		}
		if err := slugTaken(tx.InsertPipeline(ctx, pl)); err != nil {
			return err
		}
		return e.firstWebhook(ctx, tx, pl.ID)
	})
	return pl, err
}

// defaultCluster fills in and checks the pipeline's cluster.
func (e *Engine) defaultCluster(ctx context.Context, tx *store.Tx, pl *store.Pipeline) error {
	clusters, err := tx.Clusters(ctx, pl.OrganizationID)
	if err != nil {
		return err
	}
	if pl.ClusterID == "" && len(clusters) > 0 {
		pl.ClusterID = clusters[0].ID
	}
	if !slices.ContainsFunc(clusters, func(c store.Cluster) bool { return c.ID == pl.ClusterID }) {
		return invalidField("cluster_id", "does not name a cluster of this organization")
	}
	return nil
}

func slugTaken(err error) error {
	if errors.Is(err, store.ErrConflict) {
		return invalidField("slug", "has already been taken")
	}
	return err
}

func invalidField(field, why string) error {
	return &Refused{Why: Invalid, Message: "Validation Failed", Fields: map[string]string{field: why}}
}

func checkPipeline(pl store.Pipeline) error {
	fields := map[string]string{}
	if pl.Name == "" {
		fields["name"] = "can't be blank"
	}
	if !slugPattern.MatchString(pl.Slug) || slices.Contains(ReservedPipelines, pl.Slug) {
		fields["slug"] = "must be lower-case letters, digits, dashes and dots, and not the name of a page"
	}
	if strings.TrimSpace(pl.Repository) == "" || strings.HasPrefix(pl.Repository, "-") {
		fields["repository"] = "can't be blank"
	}
	if strings.HasPrefix(pl.DefaultBranch, "-") {
		fields["default_branch"] = "is not a branch name"
	}
	if settings, err := forge.ParseSettings(pl.Settings, pl.DefaultBranch); err != nil {
		fields["provider_settings"] = err.Error()
	} else {
		maps.Copy(fields, settings.Check())
	}
	if len(fields) > 0 {
		return &Refused{Why: Invalid, Message: "Validation Failed", Fields: fields}
	}
	if pl.Configuration == "" {
		return nil
	}
	r := pipeline.Check([]byte(pl.Configuration), "configuration", documentFacts(store.Organization{}, pl, true))
	if err := r.Err(); err != nil {
		return &Refused{Why: Invalid, Message: err.Error(), Fields: map[string]string{"configuration": "is invalid"}}
	}
	return nil
}

// UpdatePipeline changes a pipeline: change gets the current one and returns the wanted one.
func (e *Engine) UpdatePipeline(ctx context.Context, id string, change func(store.Pipeline) store.Pipeline) (store.Pipeline, error) {
	var out store.Pipeline
	// A large document takes seconds to check, which no transaction is held for.
	checked, err := e.checkChange(ctx, id, change)
	if err != nil {
		return out, err
	}
	err = e.Store.Update(ctx, func(tx *store.Tx) error {
		pl, err := tx.LockPipeline(ctx, id)
		if err != nil {
			return missing(err, "No pipeline found")
		}
		out = change(pl)
		out.ID, out.OrganizationID, out.CreatedAt = pl.ID, pl.OrganizationID, pl.CreatedAt
		known := out
		if out.Configuration == pl.Configuration || out.Configuration == checked {
			known.Configuration = "" // it was checked when it was new, by the rules of that time
		}
		if err := checkPipeline(known); err != nil {
			return err
		}
		return slugTaken(tx.UpdatePipeline(ctx, out))
	})
	return out, err
}

// checkChange checks the configuration that a pipeline would get, if it is a new one, and returns it.
func (e *Engine) checkChange(ctx context.Context, id string, change func(store.Pipeline) store.Pipeline) (string, error) {
	pl, err := e.Store.PipelineByID(ctx, id)
	if err != nil {
		return "", missing(err, "No pipeline found")
	}
	wanted := change(pl)
	if wanted.Configuration == pl.Configuration {
		return "", nil
	}
	return wanted.Configuration, checkPipeline(wanted)
}

// SignInTerm is how long a session lasts.
const SignInTerm = 30 * 24 * time.Hour
