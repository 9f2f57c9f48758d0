package restapi

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// settings are what clients set and read back of a pipeline beside its columns.
type settings map[string]json.RawMessage

func settingsOf(pl store.Pipeline) settings {
	var s settings
	if json.Unmarshal(pl.Settings, &s) != nil || s == nil {
		return settings{} // what is not an object sets nothing
	}
	return s
}

func (s settings) has(key string) bool {
	v, ok := s[key]
	return ok && string(v) != "null"
}

func (s settings) get(key, otherwise string) json.RawMessage {
	if s.has(key) {
		return s[key]
	}
	return json.RawMessage(otherwise)
}

// kinds of settings by the first character of their JSON.
const (
	boolean = "tf"
	text    = `"`
	integer = "0123456789"
	object  = "{"
	array   = "["
)

// settingKinds are the settings that are kept, with what they must be.
var settingKinds = map[string]string{
	"branch_configuration": text, "skip_queued_branch_builds": boolean, "skip_queued_branch_builds_filter": text,
	"cancel_running_branch_builds": boolean, "cancel_running_branch_builds_filter": text, "allow_rebuilds": boolean,
	"default_command_step_timeout": integer, "maximum_command_step_timeout": integer, "artifact_retention_days": integer, "color": text, "emoji": text,
	"tags": array, "visibility": text, "provider_settings": object, "teams": object, "team_uuids": array,
	"clone_mirror_url": text, "pipeline_template_uuid": text,
}

// take keeps what a body says of settings; null removes one.
func (s settings) take(body map[string]json.RawMessage) error {
	for key, kind := range settingKinds {
		v, ok := body[key]
		switch {
		case !ok:
		case string(v) == "null":
			delete(s, key)
		case !strings.ContainsRune(kind, rune(v[0])) || kind == integer && strings.ContainsAny(string(v), ".eE"):
			return invalid(key, "is invalid")
		default:
			s[key] = v
		}
	}
	return nil
}

// pipelineBody is what creating or updating a pipeline sends; nil fields are absent.
type pipelineBody struct {
	Name          *string           `json:"name"`
	Slug          *string           `json:"slug"`
	Description   *string           `json:"description"`
	Repository    *string           `json:"repository"`
	Configuration *string           `json:"configuration"`
	Path          *string           `json:"path"`
	DefaultBranch *string           `json:"default_branch"`
	ClusterID     *string           `json:"cluster_id"`
	Steps         []json.RawMessage `json:"steps"`
	Env           looseMap          `json:"env"`
}

func (q *request) pipelineBody() (body pipelineBody, raw map[string]json.RawMessage, err error) {
	if err := q.decode(&raw); err != nil {
		return body, nil, err
	}
	whole, err := json.Marshal(raw)
	if err != nil {
		return body, nil, err
	}
	if err := json.Unmarshal(whole, &body); err != nil {
		field, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "json: cannot unmarshal "), " into ")
		return body, nil, invalid("body", "has a member of the wrong type ("+field+")")
	}
	return body, raw, nil
}

func createPipeline(q *request) error {
	body, raw, err := q.pipelineBody()
	if err != nil {
		return err
	}
	kept := settings{}
	if err := kept.take(raw); err != nil {
		return err
	}
	op := engine.CreatePipeline{
		OrganizationID: q.org.ID, ClusterID: value(body.ClusterID), Name: value(body.Name), Slug: value(body.Slug),
		Description: value(body.Description), Repository: value(body.Repository), Configuration: value(body.Configuration),
		Path: value(body.Path), DefaultBranch: value(body.DefaultBranch), CreatedBy: q.actor.User.ID,
	}
	if op.Configuration == "" && len(body.Steps) > 0 {
		if op.Configuration, err = visual(kept, body, op.Name); err != nil {
			return err
		}
	}
	if op.Settings, err = json.Marshal(kept); err != nil {
		return err
	}
	pl, err := q.Engine.CreatePipeline(q.ctx, op)
	if err != nil {
		return err
	}
	warnings, err := q.configurationWarnings(pl)
	if err != nil {
		return err
	}
	return q.replySaved(http.StatusCreated, pl, warnings)
}

// configurationWarnings is what a check says of a pipeline's configuration, which was good enough to be
// saved: a queue that does not exist yet refuses builds, not the pipeline.
func (q *request) configurationWarnings(pl store.Pipeline) ([]string, error) {
	if pl.Configuration == "" {
		return nil, nil
	}
	r, err := q.Engine.CheckPipeline(q.ctx, engine.CheckPipeline{
		OrganizationID: q.org.ID, ClusterID: pl.ClusterID, Source: []byte(pl.Configuration), File: "configuration", Editor: true, Pipeline: pl,
	})
	var out []string
	for _, p := range append(r.Problems, r.Warnings...) {
		out = append(out, p.String())
	}
	return out, err
}

// visual keeps the steps of a visual pipeline and returns the configuration that they amount to.
func visual(kept settings, body pipelineBody, name string) (string, error) {
	configuration, err := fromSteps(body.Steps, body.Env.texts(), name)
	if err != nil {
		return "", err
	}
	if kept["steps"], err = json.Marshal(body.Steps); err != nil {
		return "", err
	}
	if body.Env != nil {
		kept["env"], err = json.Marshal(body.Env.texts())
	}
	return configuration, err
}

func updatePipeline(q *request) error {
	pl, err := q.pipeline()
	if err != nil {
		return err
	}
	body, raw, err := q.pipelineBody()
	if err != nil {
		return err
	}
	if body.ClusterID != nil && *body.ClusterID != pl.ClusterID && *body.ClusterID != "" {
		return invalid("cluster_id", "can't be changed")
	}
	change, err := changes(settingsOf(pl), pl, body, raw)
	if err != nil {
		return err
	}
	before := pl.Configuration
	if pl, err = q.Engine.UpdatePipeline(q.ctx, pl.ID, change); err != nil {
		return err
	}
	if pl.Configuration == before {
		return q.replyPipeline(http.StatusOK, pl)
	}
	warnings, err := q.configurationWarnings(pl)
	if err != nil {
		return err
	}
	return q.replySaved(http.StatusOK, pl, warnings)
}

// changes is what a body changes in a pipeline.
func changes(kept settings, pl store.Pipeline, body pipelineBody, raw map[string]json.RawMessage) (func(store.Pipeline) store.Pipeline, error) {
	yaml := pl.Configuration != "" && !kept.has("steps")
	if len(body.Steps) > 0 && body.Configuration == nil {
		if yaml {
			return nil, invalid("steps", "can't be set on a pipeline that has a YAML configuration")
		}
		configuration, err := visual(kept, body, pl.Name)
		if err != nil {
			return nil, err
		}
		body.Configuration = &configuration
	} else if body.Configuration != nil {
		delete(kept, "steps")
		delete(kept, "env")
	}
	if err := kept.take(raw); err != nil {
		return nil, err
	}
	saved, err := json.Marshal(kept)
	if err != nil {
		return nil, err
	}
	return func(pl store.Pipeline) store.Pipeline {
		if body.Name != nil && *body.Name != pl.Name && body.Slug == nil {
			slug := engine.Slug(*body.Name)
			body.Slug = &slug
		}
		for to, from := range map[*string]*string{
			&pl.Name: body.Name, &pl.Slug: body.Slug, &pl.Description: body.Description, &pl.Repository: body.Repository,
			&pl.Configuration: body.Configuration, &pl.Path: body.Path, &pl.DefaultBranch: body.DefaultBranch,
		} {
			if from != nil {
				*to = *from
			}
		}
		pl.Settings = saved
		return pl
	}, nil
}

func archivePipeline(q *request) error   { return q.setArchived(q.Now()) }
func unarchivePipeline(q *request) error { return q.setArchived(time.Time{}) }

func (q *request) setArchived(at time.Time) error {
	pl, err := q.pipeline()
	if err != nil {
		return err
	}
	pl, err = q.Engine.UpdatePipeline(q.ctx, pl.ID, func(pl store.Pipeline) store.Pipeline {
		if pl.ArchivedAt.IsZero() || at.IsZero() {
			pl.ArchivedAt = at
		}
		return pl
	})
	if err != nil {
		return err
	}
	return q.replyPipeline(http.StatusOK, pl)
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func joined(paths []string) string { return strings.Join(slices.Clone(paths), ";") }
